// SPDX-License-Identifier: GPL-2.0

//! What the RCU hash table needs from its surroundings, on the host: the twin of `sync/platform.rs`.
//!
//! Built on std, or on loom's models of it with `--cfg loom`. Beyond the kernel's version it can fail allocations on
//! demand, call the test in the middle of a resize, and tell how much memory is in use.

#[cfg(loom)]
use loom::sync::{
    atomic::{AtomicPtr, AtomicU64, Ordering},
    Mutex, MutexGuard,
};
#[cfg(not(loom))]
use std::sync::{
    atomic::{AtomicPtr, AtomicU64, Ordering},
    Mutex, MutexGuard,
};
use std::{
    alloc::Layout,
    cell::{Cell, RefCell},
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull,
    sync::PoisonError,
};

use super::rcu;
pub use super::rcu::{barrier, RcuGuard, RcuRead};

/// Entries in a cache line. Fewer under loom, so that two make a full bucket.
pub const SLOTS: usize = if cfg!(loom) { 1 } else { 6 };
/// log2 of the buckets of the smallest table.
pub const MIN_BITS: u32 = if cfg!(loom) { 1 } else { 2 };
/// log2 of the entries per bucket above which a table should grow.
pub const LOAD_BITS: u32 = if cfg!(loom) { 0 } else { 2 };
/// Buckets that are copied or scanned in one go: few, so that much happens between.
pub const CHUNK: u32 = if cfg!(loom) { 1 } else { 3 };

/// There is no memory, or the test says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// Whether an allocation may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// It must not.
    Atomic,
    /// It may.
    Sleeping,
}

thread_local! {
    /// How many allocations of this thread will succeed.
    static BUDGET: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Bytes that this thread allocated, less those it freed.
    static IN_USE: Cell<isize> = const { Cell::new(0) };
    /// What to do where a kernel thread could be preempted.
    static INTERLUDE: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Lets the next `n` allocations of this thread succeed and the following fail. `usize::MAX`: no limit.
pub fn limit_allocations(n: usize) {
    BUDGET.set(n);
}

/// Bytes that this thread has allocated for lines and arrays and not freed.
pub fn bytes_in_use() -> isize {
    IN_USE.get()
}

/// Has `f` called by this thread wherever the table would let others run, while `body` does.
pub fn with_interlude(f: impl FnMut() + 'static, body: impl FnOnce()) {
    INTERLUDE.set(Some(Box::new(f)));
    body();
    INTERLUDE.set(None);
}

/// For allocations under a lock.
pub fn atomic() -> Flags {
    Flags::Atomic
}

/// For allocations without a lock.
pub fn sleeping() -> Flags {
    Flags::Sleeping
}

/// Lets the test do something in between.
pub fn cond_resched() {
    // Taken out meanwhile: what it calls may come here again.
    if let Some(mut f) = INTERLUDE.take() {
        f();
        INTERLUDE.set(Some(f));
    }
}

/// Waits until all read-side sections that are running now have ended.
pub fn wait_for_readers() {
    cond_resched();
    rcu::wait_for_readers();
}

fn spend() -> Result<(), AllocError> {
    match BUDGET.get() {
        usize::MAX => Ok(()),
        0 => Err(AllocError),
        n => {
            BUDGET.set(n - 1);
            Ok(())
        }
    }
}

/// Allocates uninitialised memory for `n` values in a row.
pub fn alloc<T>(n: usize, _flags: Flags) -> Result<NonNull<T>, AllocError> {
    let layout = Layout::array::<T>(n).map_err(|_| AllocError)?;
    assert_ne!(layout.size(), 0);

    spend()?;
    IN_USE.set(IN_USE.get() + layout.size() as isize);
    // SAFETY: The size is not zero.
    let ptr = unsafe { std::alloc::alloc(layout) };
    Ok(NonNull::new(ptr).expect("out of memory").cast())
}

/// Frees what [`alloc`] gave, without dropping the values.
///
/// # Safety
///
/// `ptr` is from `alloc::<T>(n, _)` with this `n`, and is not used any more.
pub unsafe fn free<T>(ptr: NonNull<T>, n: usize) {
    let layout = Layout::array::<T>(n).expect("was allocated");

    IN_USE.set(IN_USE.get() - layout.size() as isize);
    // SAFETY: By the safety requirements the allocation has this layout and is not used any more.
    unsafe { release(ptr.cast(), layout) };
}

/// # Safety
///
/// `ptr` was allocated with this layout and is not used any more.
#[cfg(not(loom))]
unsafe fn release(ptr: NonNull<u8>, layout: Layout) {
    // SAFETY: By the safety requirements.
    unsafe { std::alloc::dealloc(ptr.as_ptr(), layout) };
}

/// Under loom a use after free must be seen, not happen: memory is kept until the iteration is over, see [`bury`].
///
/// # Safety
///
/// As above.
#[cfg(loom)]
unsafe fn release(ptr: NonNull<u8>, layout: Layout) {
    GRAVES.with_borrow_mut(|graves| graves.push((ptr, layout)));
}

#[cfg(loom)]
thread_local! {
    static GRAVES: RefCell<Vec<(NonNull<u8>, Layout)>> = const { RefCell::new(Vec::new()) };
}

/// Frees the memory that the iterations before this one released. To be called first in a model.
#[cfg(loom)]
pub fn bury() {
    for (ptr, layout) in GRAVES.take() {
        // SAFETY: All threads of the iteration that released it have ended.
        unsafe { std::alloc::dealloc(ptr.as_ptr(), layout) };
    }
}

/// The kernel's `RcuPointer`. Under loom it also notices that it is used after it was dropped.
pub struct RcuPointer<T>(AtomicPtr<T>);

impl<T> RcuPointer<T> {
    /// A null pointer.
    pub fn null() -> Self {
        Self(AtomicPtr::default())
    }

    /// Loads the pointer as a reader.
    ///
    /// The kernel relies on the address dependency of what follows. Rust has no such ordering: acquire is the next
    /// stronger.
    pub fn load(&self, _rcu: &RcuRead) -> *mut T {
        check(self.0.load(Ordering::Acquire))
    }

    /// Loads the pointer as the only writer.
    pub fn load_exclusive(&self) -> *mut T {
        check(self.0.load(Ordering::Relaxed))
    }

    /// Stores the pointer.
    pub fn assign(&self, ptr: *mut T) {
        self.0.store(ptr, Ordering::Release);
    }
}

#[cfg(not(loom))]
fn check<T>(ptr: *mut T) -> *mut T {
    ptr
}

#[cfg(loom)]
fn check<T>(ptr: *mut T) -> *mut T {
    assert!(ptr.addr() != usize::MAX, "used after free");
    ptr
}

#[cfg(loom)]
impl<T> Drop for RcuPointer<T> {
    fn drop(&mut self) {
        self.0.store(
            std::ptr::without_provenance_mut(usize::MAX),
            Ordering::Relaxed,
        );
    }
}

/// The kernel's `MarkedU64`.
pub struct MarkedU64(AtomicU64);

impl MarkedU64 {
    /// A word of this value.
    pub fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Loads the word.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Stores the word.
    pub fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The kernel's `SpinLockBh`.
pub struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    /// An unlocked lock.
    pub fn new(value: T) -> Result<Self, AllocError> {
        spend()?;
        Ok(Self(Mutex::new(value)))
    }

    /// Takes the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // After a failed assertion the table is still dropped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reaches the value without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An unlocked lock.
pub fn table_lock<T>(value: T) -> Result<Lock<T>, AllocError> {
    Lock::new(value)
}

/// The kernel's `RcuBox`: what it holds is dropped by [`barrier`], some time after the box.
#[derive(Debug)]
pub struct RcuBox<T: Send + Sync + 'static>(NonNull<T>);

// SAFETY: The box owns a `T`, which may be dropped by another thread, and gives out only shared references.
unsafe impl<T: Send + Sync> Send for RcuBox<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T: Send + Sync> RcuBox<T> {
    /// Allocates a box.
    pub fn new(value: T) -> Self {
        // SAFETY: A box is not null.
        Self(unsafe { NonNull::new_unchecked(Box::into_raw(Box::new(value))) })
    }

    /// Gives up the box for a pointer to its value.
    pub fn into_raw(self) -> NonNull<T> {
        ManuallyDrop::new(self).0
    }

    /// Takes back a box.
    ///
    /// # Safety
    ///
    /// `ptr` came from [`RcuBox::into_raw`] and has not been taken back since.
    pub unsafe fn from_raw(ptr: NonNull<T>) -> Self {
        Self(ptr)
    }
}

impl<T: Send + Sync> Deref for RcuBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The box owns the value and nobody changes it.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Send + Sync> Drop for RcuBox<T> {
    fn drop(&mut self) {
        struct Owned<T>(NonNull<T>);
        // SAFETY: As for `RcuBox`.
        unsafe impl<T: Send> Send for Owned<T> {}

        let owned = Owned(self.0);
        rcu::defer(move || {
            let Owned(ptr) = { owned };
            // SAFETY: The box owned the value, and a grace period has passed since it was dropped.
            unsafe { ptr.drop_in_place() };
            if size_of::<T>() != 0 {
                // SAFETY: A `Box` of a `T` that is not zero-sized has the layout of `T`.
                unsafe { release(ptr.cast(), Layout::new::<T>()) };
            }
        });
    }
}
