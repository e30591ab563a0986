// SPDX-License-Identifier: GPL-2.0

//! A bucket: a cache line of tags and entry pointers, with a chain of overflow lines behind the few that are full.

use super::super::platform::{
    self,
    AllocError,
    MarkedU64,
    RcuPointer,
    RcuRead,
    SLOTS, //
};
use core::{
    array::from_fn,
    iter::successors,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::{
        drop_in_place,
        null_mut,
        NonNull, //
    },
};

/// One in every tag byte that has a slot.
const ONES: u64 = (u64::MAX / 255) >> (8 * (8 - SLOTS));
/// The top bit of every tag byte that has a slot.
const TOPS: u64 = ONES << 7;

/// A cache line of a bucket.
///
/// Byte `i` of `tags` holds the tag of the entry in `slots[i]`, which spares readers the entries that do not match. It
/// is a hint: the tag of a free slot means nothing, and a reader may see a tag older or newer than the slot. Either way
/// the reader compares the key of the entry it finds.
///
/// # Invariants
///
/// - A slot is null or points to an entry that stays valid for a grace period after it left the slot.
/// - `next` is null or points to a line that lives as long as this one; once set it does not change.
/// - Both change only under the lock of the table, or before anybody else can see the line.
#[repr(C, align(64))]
pub(super) struct Line<E> {
    tags: MarkedU64,
    slots: [RcuPointer<E>; SLOTS],
    next: RcuPointer<Line<E>>,
}

#[cfg(CONFIG_RUST)]
const _: () = assert!(size_of::<Line<u8>>() == 64, "a bucket is one cache line");

impl<E> Line<E> {
    pub(super) fn new() -> Self {
        // INVARIANT: Every pointer is null.
        Self {
            tags: MarkedU64::new(0),
            slots: from_fn(|_| RcuPointer::null()),
            next: RcuPointer::null(),
        }
    }

    /// The slots whose tag matches `hash`, and now and then one whose tag does not.
    #[inline]
    pub(super) fn candidates(&self, hash: u32) -> Candidates {
        // A byte of `differ` is zero where the tag matches. Subtracting one borrows into its top bit; it may also
        // borrow from the byte above, which then is a false candidate.
        let differ = self.tags.load() ^ ONES.wrapping_mul(tag(hash));

        // INVARIANT: No bit outside `TOPS` is set.
        Candidates(differ.wrapping_sub(ONES) & !differ & TOPS)
    }

    /// Loads the entry in a slot as a reader.
    #[inline]
    pub(super) fn entry<'r>(&self, slot: Slot, rcu: &'r RcuRead) -> Option<&'r E> {
        // SAFETY: By the type invariant what a slot points to is not freed while the caller is a reader.
        unsafe { self.slot(slot).load(rcu).as_ref() }
    }

    /// Loads the next line as a reader.
    #[inline]
    pub(super) fn next(&self, rcu: &RcuRead) -> Option<&Self> {
        // SAFETY: By the type invariant the next line lives as long as this one.
        unsafe { self.next.load(rcu).as_ref() }
    }

    /// Loads the entry in a slot as the writer.
    #[inline]
    pub(super) fn held(&self, slot: Slot) -> Option<NonNull<E>> {
        NonNull::new(self.slot(slot).load_exclusive())
    }

    /// The lines of the chain that begins here, as the writer.
    pub(super) fn chain(&self) -> impl Iterator<Item = &Self> {
        successors(Some(self), |line| {
            // SAFETY: By the type invariant the next line lives as long as its predecessor.
            unsafe { line.next.load_exclusive().as_ref() }
        })
    }

    /// The entries of the chain that begins here and where they are, as the writer.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Self, Slot, NonNull<E>)> {
        self.chain().flat_map(|line| {
            Slot::all().filter_map(move |slot| Some((line, slot, line.held(slot)?)))
        })
    }

    /// Empties a slot, as the writer.
    pub(super) fn clear(&self, slot: Slot) {
        self.slot(slot).assign(null_mut());
    }

    /// Fills a slot, as the writer.
    fn set(&self, slot: Slot, hash: u32, entry: NonNull<E>) {
        let shift = (slot.0 as u32).wrapping_mul(8);
        let others = self.tags.load() & !0xff_u64.wrapping_shl(shift);

        self.slot(slot).assign(entry.as_ptr());
        self.tags.store(others | tag(hash).wrapping_shl(shift));
    }

    /// Stores an entry in the chain that begins here, in a new line if need be, as the writer. Without memory for one
    /// it takes the spare line.
    pub(super) fn put(
        &self,
        hash: u32,
        entry: NonNull<E>,
        spare: &mut Option<OwnedLine<E>>,
    ) -> Result<(), AllocError> {
        let mut last = self;

        for line in self.chain() {
            if let Some(slot) = Slot::all().find(|slot| line.held(*slot).is_none()) {
                line.set(slot, hash, entry);
                return Ok(());
            }
            last = line;
        }

        let line = OwnedLine::new(platform::atomic()).or_else(|error| spare.take().ok_or(error))?;
        line.set(Slot(0), hash, entry);
        // INVARIANT: `next` was null, as this is the last line. The new one is freed only with its predecessor.
        last.next.assign(line.into_raw().as_ptr());
        Ok(())
    }

    /// Finds the entry that satisfies `matches` in the chain that begins here, as the writer.
    pub(super) fn find(
        &self,
        hash: u32,
        mut matches: impl FnMut(NonNull<E>) -> bool,
    ) -> Option<(&Self, Slot, NonNull<E>)> {
        self.chain()
            .flat_map(|line| line.candidates(hash).map(move |slot| (line, slot)))
            .find_map(|(line, slot)| Some((line, slot, line.held(slot).filter(|e| matches(*e))?)))
    }

    /// Frees the overflow lines of the chain that begins here.
    ///
    /// # Safety
    ///
    /// Nobody else uses the chain, nor will again.
    pub(super) unsafe fn free_overflow(&self) {
        let mut next = NonNull::new(self.next.load_exclusive());

        while let Some(line) = next {
            // SAFETY: By the type invariant the line lives as long as its predecessor, whose owner calls this.
            next = NonNull::new(unsafe { line.as_ref() }.next.load_exclusive());
            // SAFETY: `put` made the line of an owned one, and by the safety requirements nobody uses it any more.
            drop(unsafe { OwnedLine::from_raw(line) });
        }
    }

    #[inline]
    fn slot(&self, slot: Slot) -> &RcuPointer<E> {
        // SAFETY: By the invariant of `Slot` the index is in bounds.
        unsafe { self.slots.get_unchecked(slot.0) }
    }
}

/// A line in an allocation of its own, which belongs to no bucket yet.
///
/// # Invariants
///
/// The pointer is to a line that [`platform::alloc`] gave the memory of, and that nobody else knows.
pub(super) struct OwnedLine<E>(NonNull<Line<E>>);

impl<E> OwnedLine<E> {
    pub(super) fn new(flags: platform::Flags) -> Result<Self, AllocError> {
        let line = platform::alloc::<Line<E>>(1, flags)?;
        // SAFETY: The allocation is large and aligned enough for one line.
        unsafe { line.write(Line::new()) };
        // INVARIANT: The line was just written.
        Ok(Self(line))
    }

    fn into_raw(self) -> NonNull<Line<E>> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// `line` came from [`Self::into_raw`], and nobody uses it any more.
    unsafe fn from_raw(line: NonNull<Line<E>>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(line)
    }
}

impl<E> Deref for OwnedLine<E> {
    type Target = Line<E>;

    fn deref(&self) -> &Line<E> {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<E> Drop for OwnedLine<E> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the line is live, and nobody else will use it.
        unsafe { drop_in_place(self.0.as_ptr()) };
        // SAFETY: By the type invariant the memory is from `alloc`, for one line, and nothing is left in it.
        unsafe { platform::free(self.0, 1) };
    }
}

/// The bits of a hash that a tag holds: the lowest, as the highest choose the bucket.
#[inline]
fn tag(hash: u32) -> u64 {
    u64::from(hash & 0xff)
}

/// The index of a slot.
///
/// # Invariants
///
/// Less than [`SLOTS`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(usize);

impl Slot {
    /// Every slot of a line.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        // INVARIANT: The range ends before `SLOTS`.
        (0..SLOTS).map(Self)
    }
}

/// Slots left to be looked at.
///
/// # Invariants
///
/// No bit is set but those of [`TOPS`]: bit `8 * i + 7` for slot `i`.
pub(super) struct Candidates(u64);

impl Iterator for Candidates {
    type Item = Slot;

    #[inline]
    fn next(&mut self) -> Option<Slot> {
        if self.0 == 0 {
            return None;
        }

        let bit = self.0.trailing_zeros();
        // INVARIANT: This clears the lowest bit and sets none.
        self.0 &= self.0.wrapping_sub(1);
        // INVARIANT: By the type invariant the bit belongs to a slot.
        Some(Slot((bit / 8) as usize))
    }
}
