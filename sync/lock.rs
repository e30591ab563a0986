// SPDX-License-Identifier: GPL-2.0

//! A spinlock that also keeps bottom halves away, for data shared between process and softirq context.

use crate::sys;
use core::{
    cell::UnsafeCell,
    ffi::CStr,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    alloc::AllocError,
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A value behind `spin_lock_bh()`.
///
/// The kernel's lock may not move, so lock and value live in an allocation of their own and the handle needs no
/// pinning.
///
/// # Invariants
///
/// `inner.raw` is an initialised spinlock.
pub(crate) struct SpinLockBh<T> {
    inner: KBox<Inner<T>>,
}

struct Inner<T> {
    raw: Opaque<bindings::spinlock_t>,
    value: UnsafeCell<T>,
}

// SAFETY: Sending the lock sends the value.
unsafe impl<T: Send> Send for SpinLockBh<T> {}
// SAFETY: Shared use gives exclusive access to the value, to one CPU at a time.
unsafe impl<T: Send> Sync for SpinLockBh<T> {}

impl<T> SpinLockBh<T> {
    /// Makes an unlocked lock. Process context; may sleep.
    ///
    /// Lockdep checks the order of locks by `class` (`static_lock_class!()`) and reports `name`; two locks of one class
    /// must not be held together.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory; `value` is then dropped.
    pub(crate) fn new(
        value: T,
        name: &'static CStr,
        class: Pin<&'static LockClassKey>,
    ) -> Result<Self, AllocError> {
        let inner = KBox::new(
            Inner {
                raw: Opaque::uninit(),
                value: UnsafeCell::new(value),
            },
            GFP_KERNEL_ACCOUNT,
        )?;

        // SAFETY: `raw` is memory for a spinlock that nobody else has seen, and is at its final address; name and class
        // are static.
        unsafe { bindings::__spin_lock_init(inner.raw.get(), name.as_char_ptr(), class.as_ptr()) };
        // INVARIANT: `raw` was just initialised.
        Ok(Self { inner })
    }

    /// Takes the lock and disables bottom halves until the guard is dropped.
    ///
    /// Process and softirq context, not hard interrupts. The holder must not sleep (except on PREEMPT_RT).
    #[inline]
    pub(crate) fn lock(&self) -> SpinLockBhGuard<'_, T> {
        // SAFETY: By the type invariant the lock is initialised.
        unsafe { sys::ipvlan_rs_spin_lock_bh(self.inner.raw.get().cast()) };
        // INVARIANT: The lock was just taken.
        SpinLockBhGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Reaches the value without locking: the borrow proves that nobody else can.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.inner.value.get_mut()
    }
}

/// The held lock.
///
/// # Invariants
///
/// This task holds `lock`.
#[must_use = "the lock is released when the guard is dropped"]
pub(crate) struct SpinLockBhGuard<'a, T> {
    lock: &'a SpinLockBh<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for SpinLockBhGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariant the lock is held, so nobody else touches the value.
        unsafe { &*self.lock.inner.value.get() }
    }
}

impl<T> DerefMut for SpinLockBhGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As in `deref`, and the guard itself is borrowed exclusively.
        unsafe { &mut *self.lock.inner.value.get() }
    }
}

impl<T> Drop for SpinLockBhGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant this task holds the lock.
        unsafe { sys::ipvlan_rs_spin_unlock_bh(self.lock.inner.raw.get().cast()) };
    }
}
