// SPDX-License-Identifier: GPL-2.0

//! Per-CPU counters of 64 bits.

use crate::sys;
use core::{
    marker::PhantomData,
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    bindings,
    types::NotThreadSafe, //
};

/// Proof that bottom halves are disabled on this CPU, so that softirq code runs neither beside nor inside.
pub(crate) struct BhOff(NotThreadSafe);

impl BhOff {
    /// Takes the word of the caller that bottom halves are disabled. A kernel with `CONFIG_PROVE_RCU` checks it.
    ///
    /// # Safety
    ///
    /// They must stay so until the witness is gone. Lend it by reference only.
    #[inline]
    pub(crate) unsafe fn assume() -> Self {
        #[cfg(CONFIG_PROVE_RCU)]
        // SAFETY: Looks at this CPU only.
        unsafe {
            sys::ipvlan_rs_assert_bh_off()
        };
        Self(NotThreadSafe)
    }

    /// Runs `f` with bottom halves disabled (`local_bh_disable()`); pending softirqs run before this returns.
    ///
    /// Process and softirq context.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(&BhOff) -> R) -> R {
        // SAFETY: May be called in any context but hard interrupts; enabled again below.
        unsafe { sys::ipvlan_rs_local_bh_disable() };
        let result = f(&Self(NotThreadSafe));
        // SAFETY: Disabled above, on this CPU.
        unsafe { sys::ipvlan_rs_local_bh_enable() };
        result
    }
}

/// One of a set of counters that are kept together: an index below [`CounterSet::COUNT`].
pub(crate) trait CounterSet: Copy {
    /// How many counters the set has.
    const COUNT: usize;

    /// Which of them this is.
    fn index(self) -> usize;
}

/// A set of 64-bit counters on each CPU. Adding costs one instruction and touches no memory of another CPU.
///
/// On 32-bit machines a sum taken during an addition may be off by one carry.
///
/// # Invariants
///
/// `base` is a per-CPU allocation of `S::COUNT` u64.
pub(crate) struct Counters<S: CounterSet> {
    base: NonNull<u64>,
    _set: PhantomData<S>,
}

// SAFETY: The allocation belongs to no CPU or task; the counters are only added to and read.
unsafe impl<S: CounterSet> Send for Counters<S> {}
// SAFETY: As above: an addition is one instruction on this CPU's own instance, under `BhOff`.
unsafe impl<S: CounterSet> Sync for Counters<S> {}

impl<S: CounterSet> Counters<S> {
    /// Allocates the set, all zero. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no per-CPU memory.
    pub(crate) fn new() -> Result<Self, AllocError> {
        const { assert!(S::COUNT > 1 && S::COUNT <= 64) };

        // SAFETY: A plain allocation; it gives zeroed memory, or null.
        let ptr = unsafe {
            sys::pcpu_alloc_noprof(
                S::COUNT * size_of::<u64>(),
                size_of::<u64>(),
                false,
                bindings::GFP_KERNEL,
            )
        };
        // INVARIANT: An allocation of that many u64.
        Ok(Self {
            base: NonNull::new(ptr.cast()).ok_or(AllocError)?,
            _set: PhantomData,
        })
    }

    /// The per-CPU address of a counter.
    #[inline]
    fn counter(&self, which: S) -> *mut u64 {
        let index = which.index();
        let index = if index < S::COUNT { index } else { 0 };
        // The address is one of the per-CPU space, which only per-CPU accessors turn into memory: no pointer
        // arithmetic in Rust's sense, hence `wrapping_add`.
        self.base.as_ptr().wrapping_add(index)
    }

    /// Adds to a counter of this CPU.
    #[inline]
    pub(crate) fn add(&self, which: S, value: u64, _bh: &BhOff) {
        // SAFETY: By the type invariant and `counter`, a live per-CPU u64.
        unsafe { sys::arch::percpu_add(self.counter(which), value) }
    }

    /// Counts one in `which` and `value` in the counter behind it, which there must be.
    #[inline]
    pub(crate) fn count(&self, which: S, value: u64, _bh: &BhOff) {
        let last = S::COUNT.wrapping_sub(2);
        let index = which.index();
        let index = if index <= last { index } else { 0 };
        // SAFETY: By the type invariant two live per-CPU u64 are there: the index is at most the last but one.
        unsafe { sys::arch::percpu_count(self.base.as_ptr().wrapping_add(index), value) }
    }

    /// The sum of a counter over all CPUs. Any context.
    pub(crate) fn sum(&self, which: S) -> u64 {
        // SAFETY: As in `add`.
        unsafe { sys::ipvlan_rs_percpu_sum(self.counter(which)) }
    }
}

impl<S: CounterSet> Drop for Counters<S> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the allocation is ours; nobody reads it any more.
        unsafe { sys::free_percpu(self.base.as_ptr().cast()) }
    }
}
