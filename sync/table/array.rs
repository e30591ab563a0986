// SPDX-License-Identifier: GPL-2.0

//! The array of buckets, known by a single word so that readers get address and size with one load.

use super::{
    super::platform::{
        self,
        AllocError, //
    },
    line::Line, //
};
use core::{
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};

/// Lines are aligned to this, which leaves the low bits of their address free.
const ALIGN_MASK: usize = align_of::<Line<u8>>() - 1;
/// log2 of the buckets of the largest array: as many bits of the hash as the tags leave.
pub(super) const MAX_BITS: u32 = 24;

const _: () = assert!(MAX_BITS as usize <= ALIGN_MASK && MAX_BITS < usize::BITS - 7);

/// A handle on `2^bits` buckets: the address of the first, with `bits` in its low bits.
///
/// The top `bits` of a hash choose the bucket, so bucket `i` covers the `i`-th part of all hashes whatever the size.
///
/// # Invariants
///
/// The word is the address of an allocation of `2^bits` initialised [`Line`]s, plus `bits`, which is at most
/// [`MAX_BITS`]. The handle does not keep them alive.
pub(super) struct Array<E>(NonNull<Line<E>>);

impl<E> Clone for Array<E> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Array<E> {}

impl<E> Array<E> {
    /// Allocates an array of `2^bits` empty buckets. Process context; may sleep.
    pub(super) fn new(bits: u32) -> Result<Self, AllocError> {
        let bits = bits.min(MAX_BITS);
        let n = 1_usize << bits;
        let first = platform::alloc::<Line<E>>(n, platform::sleeping())?;

        for i in 0..n {
            // SAFETY: The allocation has room for `n` lines.
            unsafe { first.add(i).write(Line::new()) };
        }

        let word = first.as_ptr().map_addr(|addr| addr | bits as usize);
        // INVARIANT: All lines are initialised, and their alignment left room for `bits`.
        // SAFETY: An allocation's address is not null, so neither is one with more bits set.
        Ok(Self(unsafe { NonNull::new_unchecked(word) }))
    }

    /// The word to publish.
    pub(super) fn into_word(self) -> *mut Line<E> {
        self.0.as_ptr()
    }

    /// Takes a published word.
    ///
    /// # Safety
    ///
    /// `word` is from [`Array::into_word`].
    #[inline]
    pub(super) unsafe fn from_word(word: *mut Line<E>) -> Self {
        // INVARIANT: As that of the array that gave the word.
        // SAFETY: By the safety requirements the word was a `NonNull`.
        Self(unsafe { NonNull::new_unchecked(word) })
    }

    /// log2 of the number of buckets.
    #[inline]
    pub(super) fn bits(self) -> u32 {
        (self.0.as_ptr().addr() & ALIGN_MASK) as u32
    }

    /// The number of buckets.
    pub(super) fn buckets(self) -> u32 {
        1_u32.wrapping_shl(self.bits())
    }

    /// The bucket that a hash belongs to. Less than [`Array::buckets`].
    #[inline]
    pub(super) fn index(self, hash: u32) -> u32 {
        (u64::from(hash).wrapping_shl(self.bits()) >> 32) as u32
    }

    /// The first hash beyond the bucket that `hash` belongs to; `2^32` after the last bucket.
    pub(super) fn end(self, hash: u32) -> u64 {
        let next = u64::from(self.index(hash)).wrapping_add(1);

        next.wrapping_shl(32) >> self.bits()
    }

    /// The bucket that a hash belongs to.
    ///
    /// # Safety
    ///
    /// The array is not freed for the lifetime `'a`.
    #[inline]
    pub(super) unsafe fn bucket<'a>(self, hash: u32) -> &'a Line<E> {
        // SAFETY: By the type invariant there are `2^bits` lines from `first` on, which by the safety requirements are
        // alive, and the index, the top `bits` of a 32-bit word, is less than that.
        unsafe { &*self.first().add(self.index(hash) as usize) }
    }

    /// All buckets, in the order of their index.
    ///
    /// # Safety
    ///
    /// The array is not freed for the lifetime `'a`.
    pub(super) unsafe fn lines<'a>(self) -> &'a [Line<E>] {
        // SAFETY: By the type invariant there are `2^bits` initialised lines from `first` on, which by the safety
        // requirements are alive. They change only by interior mutability.
        unsafe { slice::from_raw_parts(self.first(), self.buckets() as usize) }
    }

    /// Frees the array with its overflow lines. Does nothing to the entries.
    ///
    /// Process context.
    ///
    /// # Safety
    ///
    /// Nobody else uses the array, nor will again.
    pub(super) unsafe fn free(self) {
        // SAFETY: The array is freed only below.
        for line in unsafe { self.lines() } {
            // SAFETY: Nobody else uses the array, so nobody the chain.
            unsafe { line.free_overflow() };
        }

        let first = self.first();
        let n = self.buckets() as usize;
        // SAFETY: By the type invariant there are `n` initialised lines, which nobody uses any more.
        unsafe { ptr::slice_from_raw_parts_mut(first, n).drop_in_place() };
        // SAFETY: By the type invariant the array was allocated as `n` lines; it is not used after this.
        unsafe { platform::free(NonNull::new_unchecked(first), n) };
    }

    /// The first line.
    #[inline]
    fn first(self) -> *mut Line<E> {
        self.0.as_ptr().map_addr(|addr| addr & !ALIGN_MASK)
    }
}
