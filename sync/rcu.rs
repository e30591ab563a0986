// SPDX-License-Identifier: GPL-2.0

//! Read-copy-update: a witness of the read side, a box freed after a grace period, a pointer read under the witness.
//!
//! C headers: `include/linux/rcupdate.h`, `include/asm-generic/rwonce.h`.

// Part of the interface of `table.rs`, which also is a module of the host crate and says `pub`.
#![allow(unreachable_pub)]

use crate::sys;
use core::{
    mem::{
        needs_drop,
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings, container_of,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed,
        Release, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// Proof that this CPU is inside an RCU read-side critical section.
///
/// Zero-sized and not [`Send`]: the property belongs to a CPU or task. What was read under RCU borrows the witness, so
/// it cannot be kept past the end of the section.
///
/// # Invariants
///
/// While a witness can be used, what was reachable by RCU when its section began is not freed.
pub struct RcuRead(NotThreadSafe);

impl RcuRead {
    /// Takes the word of the caller that a read-side critical section is already there.
    ///
    /// For callbacks that the kernel runs as readers: with `rcu_read_lock()` held or with bottom halves or preemption
    /// disabled, all of which [`wait_for_readers`] waits for. Costs nothing; a kernel with `CONFIG_PROVE_RCU` checks it.
    ///
    /// # Safety
    ///
    /// The section must last until the witness is gone. Lend the witness to safe code by reference only, from a
    /// variable of the callback: an owned one could be leaked and would then outlast its section.
    #[inline]
    pub unsafe fn assume() -> Self {
        assert_reader();
        // INVARIANT: By the safety requirements a read-side section lasts as long as the witness.
        Self(NotThreadSafe)
    }

    /// Begins a read-side critical section, which ends when the guard is dropped.
    ///
    /// Any context. The section must not sleep.
    #[inline]
    pub fn lock() -> RcuGuard {
        // SAFETY: May be called in any context; the guard's `Drop` has the matching unlock.
        unsafe { sys::ipvlan_rs_rcu_read_lock() };
        // INVARIANT: The section begun above ends only in `RcuGuard::drop`.
        RcuGuard(RcuRead(NotThreadSafe))
    }
}

/// Has lockdep complain unless this is inside a read-side critical section, on kernels with `CONFIG_PROVE_RCU`.
#[inline(always)]
fn assert_reader() {
    #[cfg(CONFIG_PROVE_RCU)]
    // SAFETY: Looks at this CPU and task only; any context.
    unsafe {
        sys::ipvlan_rs_assert_reader()
    };
}

/// A read-side critical section of its own, made by [`RcuRead::lock`].
pub struct RcuGuard(RcuRead);

impl Deref for RcuGuard {
    type Target = RcuRead;

    #[inline]
    fn deref(&self) -> &RcuRead {
        &self.0
    }
}

impl Drop for RcuGuard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `RcuRead::lock` took the lock on this task: the guard is not `Send`.
        unsafe { sys::ipvlan_rs_rcu_read_unlock() };
    }
}

/// Waits until every read-side critical section that is running now has ended (`synchronize_rcu()`).
///
/// Process context; sleeps. Must not be called from within a read-side section.
pub fn wait_for_readers() {
    // SAFETY: Only asks for process context; a reader that calls it waits for itself, which is a hang, not unsafe.
    unsafe { bindings::synchronize_rcu() };
}

/// Waits, when it is dropped, until all callbacks of [`RcuBox`]es that were dropped before have run (`rcu_barrier()`).
///
/// For the last field of a module: the callbacks are in its text.
pub struct Barrier(());

impl Barrier {
    /// To be dropped in process context.
    pub const fn new() -> Self {
        Self(())
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        // SAFETY: Only asks for process context.
        unsafe { bindings::rcu_barrier() };
    }
}

/// A pointer that readers load under RCU while a single writer at a time changes it.
///
/// Null at first. Neither owns nor dereferences what it points to.
#[repr(transparent)]
pub struct RcuPointer<T>(Atomic<*mut T>);

impl<T> RcuPointer<T> {
    /// A null pointer.
    #[inline]
    pub const fn null() -> Self {
        Self(Atomic::new(core::ptr::null_mut()))
    }

    /// Loads the pointer as a reader (`rcu_dereference()`).
    ///
    /// What was written before [`RcuPointer::assign`] stored the pointer is seen through it.
    #[inline]
    pub fn load(&self, _rcu: &RcuRead) -> *mut T {
        assert_reader();
        // `Atomic::load` calls a C helper on kernels built with gcc, so this is READ_ONCE by hand: a volatile load of
        // one word. Ordering: pairs with the release in `assign` by the address dependency of the caller's accesses.
        //
        // SAFETY: `as_ptr` is valid and aligned. The concurrent stores are atomic, and the kernel's memory model lets
        // a volatile access of a word race with them.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    /// Loads the pointer as the writer (`rcu_dereference_protected()`): nobody else can change it meanwhile.
    #[inline]
    pub fn load_exclusive(&self) -> *mut T {
        // SAFETY: As in `load`; concurrent readers do no harm.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    /// Stores the pointer (`rcu_assign_pointer()`).
    #[inline]
    pub fn assign(&self, ptr: *mut T) {
        // Ordering: pairs with the address dependency of readers, see `load`.
        self.0.store(ptr, Release);
    }
}

/// A word that is read without a lock and carries no pointer: `READ_ONCE()` and `WRITE_ONCE()`, no ordering.
#[repr(transparent)]
pub struct MarkedU64(Atomic<u64>);

impl MarkedU64 {
    /// A word of this value.
    #[inline]
    pub const fn new(value: u64) -> Self {
        Self(Atomic::new(value))
    }

    /// Loads the word. On 32-bit machines its bytes may stem from different stores.
    #[inline]
    pub fn load(&self) -> u64 {
        // SAFETY: `as_ptr` is valid and aligned. The concurrent stores are atomic, and the kernel's memory model lets
        // a volatile access race with them.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    /// Stores the word.
    #[inline]
    pub fn store(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

/// A heap allocation that RCU readers may still look at when its owner drops it.
///
/// Dropping returns at once; the value is dropped (in softirq context) and its memory freed after a grace period. A
/// value without drop glue needs no callback of this module and is handed to `kvfree_call_rcu()`; for any other the
/// module must call `rcu_barrier()` before its text is unloaded.
///
/// Only shared references to the value are given out, so publishing the pointer does not break the box.
///
/// # Invariants
///
/// `ptr` is the `value` of a live [`RcuBoxInner`] from [`KBox`], and is valid for the whole of it. Nobody else frees it.
pub struct RcuBox<T: Send + Sync + 'static> {
    ptr: NonNull<T>,
}

/// Memory for an [`RcuBox`] to come, so that who must not fail later can fail now.
pub struct RcuSpace<T: Send + Sync + 'static>(KBox<MaybeUninit<RcuBoxInner<T>>>);

// SAFETY: It owns uninitialised memory only, which any CPU may fill or free; the raw pointers of the head to come say
// nothing yet.
unsafe impl<T: Send + Sync> Send for RcuSpace<T> {}

impl<T: Send + Sync> RcuSpace<T> {
    /// Allocates it. `flags` decide whether this may sleep and whom the memory is charged to.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    pub fn new(flags: Flags) -> Result<Self, AllocError> {
        Ok(Self(KBox::new_uninit(flags)?))
    }

    /// Makes the box. Any context.
    pub fn fill(self, value: T) -> RcuBox<T> {
        let inner = KBox::write(
            self.0,
            RcuBoxInner {
                value,
                head: Opaque::uninit(),
            },
        );

        // CAST: `RcuBoxInner` is `repr(C)` and begins with the value.
        let ptr = KBox::into_raw(inner).cast::<T>();
        // SAFETY: `KBox::into_raw` never returns null.
        let ptr = unsafe { NonNull::new_unchecked(ptr) };
        // INVARIANT: The allocation was just taken out of a `KBox`, and now only this box knows it.
        RcuBox { ptr }
    }
}

/// `value` comes first, so that a pointer to it is also one to the allocation.
#[repr(C)]
struct RcuBoxInner<T> {
    value: T,
    head: Opaque<bindings::callback_head>,
}

// SAFETY: The box owns a `T`, which may be dropped on another CPU, and gives out only shared references.
unsafe impl<T: Send + Sync> Send for RcuBox<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T: Send + Sync> RcuBox<T> {
    /// Allocates a box. `flags` decide whether this may sleep and whom the memory is charged to.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory; `value` is then dropped.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(RcuSpace::new(flags)?.fill(value))
    }

    /// Gives up the box for a pointer to its value. [`RcuBox::from_raw`] takes it back.
    #[inline]
    pub fn into_raw(self) -> NonNull<T> {
        ManuallyDrop::new(self).ptr
    }

    /// Takes back a box.
    ///
    /// # Safety
    ///
    /// `ptr` came from [`RcuBox::into_raw`] and has not been taken back since.
    #[inline]
    pub unsafe fn from_raw(ptr: NonNull<T>) -> Self {
        // INVARIANT: By the safety requirements the allocation is live and has no other owner.
        Self { ptr }
    }
}

impl<T: Send + Sync> Deref for RcuBox<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariant the value is live, and nobody has a mutable reference to it.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: Send + Sync> Drop for RcuBox<T> {
    #[inline]
    fn drop(&mut self) {
        let inner = self.ptr.cast::<RcuBoxInner<T>>().as_ptr();
        // SAFETY: By the type invariant `inner` points to a live allocation.
        let head = Opaque::cast_into(unsafe { &raw const (*inner).head });

        if needs_drop::<T>() {
            // SAFETY: `head` stays valid until the callback frees it, and is in no other use: this box was the owner.
            unsafe { bindings::call_rcu(head, Some(drop_after_grace_period::<T>)) };
        } else {
            // CAST: `struct kvfree_rcu_head` is made to fit in a `struct rcu_head`, which `kfree_rcu()` also takes.
            // SAFETY: `inner` was allocated by `KBox`, that is by kmalloc, and contains `head`; nobody else frees it,
            // and there is no drop glue to run.
            unsafe { bindings::kvfree_call_rcu(head.cast(), inner.cast()) };
        }
    }
}

/// Drops and frees the [`RcuBoxInner`] whose `head` this is.
///
/// # Safety
///
/// To be called by RCU only, once for each `head` given to `call_rcu()` in [`RcuBox::drop`].
unsafe extern "C" fn drop_after_grace_period<T>(head: *mut bindings::callback_head) {
    // SAFETY: By the safety requirements `head` is the field of a live `RcuBoxInner<T>`.
    let inner = unsafe { container_of!(Opaque::cast_from(head), RcuBoxInner<T>, head) };

    // SAFETY: The allocation came from `KBox::into_raw` in `RcuSpace::fill`, and `RcuBox::drop` passed its ownership on.
    drop(unsafe { KBox::from_raw(inner.cast_mut()) });
}
