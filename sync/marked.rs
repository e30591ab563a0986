// SPDX-License-Identifier: GPL-2.0

//! Words that are read and written without a lock: `READ_ONCE()` and `WRITE_ONCE()`.
//!
//! `kernel::sync::atomic` would do, but on a kernel built with gcc each of its loads is a call of a C helper; these are
//! one instruction.

use core::cell::UnsafeCell;

/// What one machine access reads or writes whole.
///
/// # Safety
///
/// Implementors are no larger than a machine word, aligned to their size, and valid for each of their bit patterns that
/// is ever stored.
pub(crate) unsafe trait Word: Copy + Send {}

// SAFETY: At most a machine word, naturally aligned.
unsafe impl Word for bool {}
// SAFETY: As above.
unsafe impl Word for u16 {}
// SAFETY: As above.
unsafe impl Word for u32 {}
// SAFETY: As above.
unsafe impl Word for usize {}

/// A word without ordering: each access is whole, and orders nothing else.
#[repr(transparent)]
pub(crate) struct Marked<T: Word>(UnsafeCell<T>);

// SAFETY: All accesses are volatile accesses of a word, which the kernel's memory model lets race with each other.
unsafe impl<T: Word> Sync for Marked<T> {}

impl<T: Word> Marked<T> {
    /// A word with this value.
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Reads the word (`READ_ONCE()`).
    #[inline]
    pub(crate) fn read(&self) -> T {
        // SAFETY: The cell is valid and aligned, and holds a value that was stored whole.
        unsafe { self.0.get().read_volatile() }
    }

    /// Writes the word (`WRITE_ONCE()`).
    #[inline]
    pub(crate) fn write(&self, value: T) {
        // SAFETY: As above; concurrent readers see the old or the new value.
        unsafe { self.0.get().write_volatile(value) }
    }
}
