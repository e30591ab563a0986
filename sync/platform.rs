// SPDX-License-Identifier: GPL-2.0

//! What [`super::table`] needs from its surroundings, in the kernel. `host/platform.rs` is its twin for host tests.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        allocator::KVmalloc,
        Allocator,
        NumaNode, //
    },
    sync::static_lock_class, //
};

pub(super) use super::{
    lock::SpinLockBh as Lock,
    rcu::{
        wait_for_readers,
        MarkedU64,
        RcuBox,
        RcuPointer,
        RcuRead, //
    },
};
pub(super) use kernel::alloc::{
    AllocError,
    Flags, //
};

/// Entries in a cache line: eight words less the tags and the link.
pub(super) const SLOTS: usize = 6;
/// log2 of the buckets of the smallest table.
pub(super) const MIN_BITS: u32 = 2;
/// log2 of the entries per bucket above which a table should grow.
pub(super) const LOAD_BITS: u32 = 2;
/// Buckets that are copied or scanned in one go with the lock held.
pub(super) const CHUNK: u32 = 64;

/// A table's lock; those of all tables are one class. Process context; may sleep.
pub(super) fn table_lock<T>(value: T) -> Result<Lock<T>, AllocError> {
    Lock::new(value, c"Table::state", static_lock_class!())
}

/// For allocations that must not sleep, charged as below. Small, so that failing is no catastrophe and not worth a
/// warning.
pub(super) fn atomic() -> Flags {
    use kernel::alloc::flags::*;

    GFP_ATOMIC | __GFP_NOWARN | (GFP_KERNEL_ACCOUNT & !GFP_KERNEL)
}

/// For allocations in process context, charged to the cgroup of the task at work: that of the worker which enlarges a
/// table is the root's, so what all slaves share is no tenant's.
pub(super) fn sleeping() -> Flags {
    kernel::alloc::flags::GFP_KERNEL_ACCOUNT | kernel::alloc::flags::__GFP_NOWARN
}

/// Lets others run on a kernel that does not preempt. Process context, no lock held.
pub(super) fn cond_resched() {
    // SAFETY: Called in process context with no spinlock held, see above.
    unsafe { crate::sys::ipvlan_rs_cond_resched() };
}

/// Allocates uninitialised memory for `n` values in a row.
pub(super) fn alloc<T>(n: usize, flags: Flags) -> Result<NonNull<T>, AllocError> {
    let layout = Layout::array::<T>(n).map_err(|_| AllocError)?;

    Ok(KVmalloc::alloc(layout, flags, NumaNode::NO_NODE)?.cast())
}

/// Frees what [`alloc`] gave, without dropping the values.
///
/// # Safety
///
/// `ptr` is from `alloc::<T>(n, _)` with this `n`, and is not used any more.
pub(super) unsafe fn free<T>(ptr: NonNull<T>, n: usize) {
    if let Ok(layout) = Layout::array::<T>(n) {
        // SAFETY: By the safety requirements the allocation has this layout and is not used any more.
        unsafe { KVmalloc::free(ptr.cast(), layout) };
    }
}
