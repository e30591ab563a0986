// SPDX-License-Identifier: GPL-2.0

//! Values that each CPU has for itself, made when they are first needed.

use super::{
    percpu::BhOff,
    rcu::RcuBox, //
};
use crate::sys;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// A place on each CPU for a value of its own.
///
/// The value belongs to its CPU's softirqs: [`enter`](Self::enter) lends it there without any lock, so it may be full of
/// cells. On PREEMPT_RT, where softirqs of one CPU preempt each other, a lock of that CPU takes their place
/// (`local_lock_nested_bh()`), which is nothing but a check by lockdep elsewhere.
///
/// Who is in process context may only take all values away ([`clear`](Self::clear)); they are dropped after a grace
/// period, when no CPU can be at them any more.
///
/// # Invariants
///
/// `place` is from `ipvlan_rs_place_alloc()`. Each of its pointers is null or an [`RcuBox`] of ours; only its own CPU
/// sets it, with bottom halves disabled.
pub(crate) struct PerCpuBox<T: Send + 'static> {
    place: NonNull<sys::ipvlan_rs_place>,
    _value: PhantomData<T>,
}

/// A value in its box. Shared references to it are on one CPU only.
struct Own<T>(T);

// SAFETY: By `PerCpuBox`, only the CPU that it belongs to refers to the value.
unsafe impl<T: Send> Sync for Own<T> {}

// SAFETY: The values may be dropped on any CPU.
unsafe impl<T: Send> Send for PerCpuBox<T> {}
// SAFETY: Each CPU gets at its own value only.
unsafe impl<T: Send> Sync for PerCpuBox<T> {}

/// This CPU's value, lent. On PREEMPT_RT its lock is held until this is dropped: the same box must not be entered again.
pub(crate) struct Entered<'a, T: Send + 'static> {
    of: &'a PerCpuBox<T>,
    _bh: &'a BhOff,
}

impl<T: Send> Entered<'_, T> {
    /// The value, if the CPU has one.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: By the type invariant null, or a live box: who takes it away drops it after a grace period, which
        // waits for whoever has bottom halves disabled, as `_bh` says that we have, for longer than the reference lasts.
        // Nobody else refers to the value: softirqs of this CPU come one after another, on PREEMPT_RT by its lock.
        let own = unsafe { self.of.this_cpu().as_ref() }?;
        Some(&own.0)
    }

    /// The value, made by `make` if the CPU has none; `None` if that fails.
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Result<T, AllocError>) -> Option<&T> {
        if self.of.this_cpu().is_null() {
            let own = RcuBox::new(Own(make().ok()?), GFP_ATOMIC | __GFP_NOWARN).ok()?;
            let ptr = own.into_raw().as_ptr().cast();
            // INVARIANT: The box is ours, and this is its CPU: nobody else has set the pointer meanwhile.
            // SAFETY: The place is alive, and bottom halves are disabled.
            unsafe { sys::ipvlan_rs_place_set(self.of.place.as_ptr(), ptr) };
        }
        self.get()
    }
}

impl<T: Send> Drop for Entered<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(any(CONFIG_PREEMPT_RT, CONFIG_DEBUG_LOCK_ALLOC))]
        // SAFETY: Locked in `enter`, on this CPU.
        unsafe {
            sys::ipvlan_rs_place_unlock(self.of.place.as_ptr())
        };
    }
}

impl<T: Send> PerCpuBox<T> {
    /// No values. Process context; sleeps.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no per-CPU memory.
    pub(crate) fn new() -> Result<Self, AllocError> {
        // SAFETY: Process context.
        let place = NonNull::new(unsafe { sys::ipvlan_rs_place_alloc() }).ok_or(AllocError)?;
        // INVARIANT: Just allocated, all pointers null.
        Ok(Self {
            place,
            _value: PhantomData,
        })
    }

    /// This CPU's value.
    #[inline(always)]
    fn this_cpu(&self) -> *mut Own<T> {
        // SAFETY: By the type invariant the place is alive, and a pointer comes first in it.
        unsafe { sys::arch::percpu_pointer(self.place.as_ptr().cast()) }.cast()
    }

    /// Gets at this CPU's value.
    #[inline(always)]
    pub(crate) fn enter<'a>(&'a self, bh: &'a BhOff) -> Entered<'a, T> {
        #[cfg(any(CONFIG_PREEMPT_RT, CONFIG_DEBUG_LOCK_ALLOC))]
        // SAFETY: The place is alive, and bottom halves are disabled.
        unsafe {
            sys::ipvlan_rs_place_lock(self.place.as_ptr())
        };
        Entered { of: self, _bh: bh }
    }

    /// Takes all values away. Process context.
    pub(crate) fn clear(&self) {
        // SAFETY: Reads a number.
        for cpu in 0..unsafe { sys::ipvlan_rs_nr_cpus() } {
            // SAFETY: The place is alive.
            let taken = unsafe { sys::ipvlan_rs_place_take(self.place.as_ptr(), cpu) };
            if let Some(ptr) = NonNull::new(taken.cast::<Own<T>>()) {
                // SAFETY: By the type invariant a box of ours, which nobody else has taken: the exchange was atomic.
                drop(unsafe { RcuBox::from_raw(ptr) });
            }
        }
    }
}

impl<T: Send> Drop for PerCpuBox<T> {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: By the type invariant ours; nobody uses it any more.
        unsafe { sys::ipvlan_rs_place_free(self.place.as_ptr()) };
    }
}
