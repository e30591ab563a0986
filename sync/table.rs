// SPDX-License-Identifier: GPL-2.0

//! A hash table for data that is looked up for every packet and changed by hand.
//!
//! - **Lookups are wait-free**: one hash, one load of the table's word, normally one cache line (the bucket) and the
//!   entry. They write nothing and take no lock, so they scale with the number of CPUs.
//! - **Flat**: the array grows and shrinks with the number of entries, by [`Table::resize`], which never makes a reader
//!   wait: readers see the old array until the new one is complete.
//! - **Insertion may be atomic**: it needs no memory unless a bucket is full, and then 64 bytes, which
//!   [`Table::prepare`] has ready for whoever must not fail. What it says about the size ([`Advice`]) is carried out
//!   later, in process context. A resize that gets no memory leaves a table that works, only slower.
//!
//! # Shape
//!
//! An array of `2^n` buckets of one cache line each, which the top bits of a 32-bit hash choose. A bucket holds a byte of
//! the hash and a pointer for each of its entries, and a link to an overflow line for the rare case that it is full.
//! Entries are allocations of their own: a resize copies pointers and moves no entry.
//!
//! # Memory ordering
//!
//! Writers hold one lock and are ordered by it. Readers hold nothing but RCU:
//!
//! | store, under the lock | load, by a reader | what it orders | model in `host/tests/loom.rs` |
//! |---|---|---|---|
//! | release of a slot: `Line::put` from [`Table::insert`] | dependent load of the slot: `Line::entry` | the entry's bytes, written before | `lookup_during_first_insert`, `lookup_during_replacement` |
//! | release of a link: `Line::put` | dependent load of the link: `Line::next` | the overflow line with the entry in it | `lookup_during_insert`, `lookup_and_insert_during_resize` |
//! | release of the table's word: the end of [`Table::resize`] | dependent load of the word: [`Table::lookup`] | all slots, tags and links of the new array | `lookup_during_resize`, `lookup_and_insert_during_resize` |
//! | relaxed store of the tags: `Line::set` | relaxed load of the tags: `Line::candidates` | nothing: a reader that misses the tag came before the insertion, and one that sees it still loads the slot | `lookup_during_insert`, `lookup_during_replacement` |
//! | null into a slot: [`Table::remove_if`], then the drop of the box | the slot, and the entry until the end of the section: [`Table::lookup`] | a grace period: whoever loaded the old pointer is waited for | `lookup_during_removal`, `lookup_and_removal_during_resize` |
//! | null into each slot of an owner: [`Table::retain`], then the drop of the boxes and of the owner | the slot, the entry and its owner until the end of the section: [`Table::lookup`] | a grace period: an entry's reference keeps the owner | `lookup_during_an_owners_removal`, `owners_removal_during_resize` |
//! | the table's word, then `wait_for_readers`: [`Table::resize`] | the word, and the old array until the end of the section: [`Table::lookup`] | a grace period, as above | `lookup_during_resize` |
//! | the array, its copy and the number of entries: all writers | the same, by the next writer: `Lock::lock` | the lock's own acquire and release | `insert_during_resize`, `removal_during_resize`, `resize_during_resize` |
//!
//! "Dependent" is the address dependency that the kernel's memory model honours after a marked load; the host build,
//! whose language has no such ordering, uses acquire.
//!
//! During a resize, entries of the part already copied are in both arrays: insertion and removal change both under the
//! lock. So an entry that is in the table throughout is found by every lookup, in whichever array it looks. A removal
//! that happens after a new array was published leaves the old one as it is; who still reads that one began before, and
//! the entry's own grace period waits for them.
//!
//! `host/tests/loom.rs` checks this against all interleavings of a few operations; each of the orderings and grace
//! periods above, when weakened, makes a model of its row fail. `scripts/lint` holds the names in the last column against
//! the models that there are. What the other parts of `sync/` order is in the table of its own documentation.

// The same file is compiled into the crate of the host tests, and is more general than its present user.
#![allow(dead_code, unreachable_pub)]

#[path = "table/array.rs"]
mod array;
#[cfg(not(CONFIG_RUST))]
#[path = "../host/audit.rs"]
mod audit;
#[path = "table/line.rs"]
mod line;
#[path = "table/resize.rs"]
mod resize;

#[cfg(not(CONFIG_RUST))]
pub use self::audit::Shape;
use self::{
    array::Array,
    line::{Line, OwnedLine},
    resize::Copying,
};
use super::platform::{
    self,
    AllocError,
    Lock,
    RcuBox,
    RcuPointer,
    RcuRead,
    CHUNK,
    MIN_BITS, //
};
use core::ptr::NonNull;

/// What a [`Table`] stores.
///
/// The table calls these methods with its lock held: they must not sleep nor use the table. Memory safety does not
/// depend on their answers, but an entry whose key or hash changes may no longer be found.
pub trait Entry: Send + Sync + Sized + 'static {
    /// What identifies an entry. No two entries in a table have equal keys.
    type Key: Copy + Eq;
    /// What a table adds to the hash, so that nobody outside can predict which keys collide.
    type Seed: Send + Sync;

    /// The key of this entry, always the same.
    fn key(&self) -> Self::Key;

    /// The hash of a key. The highest bits choose the bucket and the lowest the tag, so both must be evenly spread.
    fn hash(key: &Self::Key, seed: &Self::Seed) -> u32;
}

/// What a change of the table says about its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a table that is never resized gets slow"]
pub enum Advice {
    /// The size fits.
    None,
    /// [`Table::resize`] should be called soon, in process context.
    Resize,
}

/// Why an entry was not inserted, with the entry.
pub enum InsertError<E: Entry> {
    /// An entry with an equal key is in the table.
    Taken(RcuBox<E>),
    /// The bucket is full and there was no memory for another line.
    NoMemory(RcuBox<E>),
}

/// A resizable hash table of [`Entry`]s, read under RCU. See the [module's documentation](self).
///
/// # Invariants
///
/// - `current` is the word of `state.array`, and changes only with it, under the lock.
/// - An array that `current` ever held is freed a grace period after it was replaced.
/// - Every pointer in `state.array` stands for an [`RcuBox`] that the table owns, and is in one slot only; it is in the
///   copy, if there is one, just when its bucket has been copied.
// The fields that lookups read come first, next to each other.
#[repr(C)]
pub struct Table<E: Entry> {
    current: RcuPointer<Line<E>>,
    seed: E::Seed,
    state: Lock<State<E>>,
}

/// What writers share.
struct State<E: Entry> {
    array: Array<E>,
    /// The array that a resize is filling.
    copying: Option<Copying<E>>,
    /// A line for the insertion that finds its bucket full and no memory.
    spare: Option<OwnedLine<E>>,
    /// Somebody is in [`Table::resize`].
    resizing: bool,
    /// The number of entries.
    len: usize,
}

// SAFETY: The pointers in the table stand for boxes of `E` and are used as `RcuBox<E>` and `&E`, for an `E` that is
// `Send` and `Sync`; the seed is both too.
unsafe impl<E: Entry> Send for Table<E> {}
// SAFETY: As above; changes are made under the lock.
unsafe impl<E: Entry> Sync for Table<E> {}
// SAFETY: As above: the handles in `State` stand for boxes that another CPU may drop.
unsafe impl<E: Entry> Send for State<E> {}

impl<E: Entry> Table<E> {
    /// Makes an empty table. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    pub fn new(seed: E::Seed) -> Result<Self, AllocError> {
        let array = Array::new(MIN_BITS)?;
        let state = platform::table_lock(State {
            array,
            copying: None,
            spare: None,
            resizing: false,
            len: 0,
        })
        // SAFETY: Nobody else has seen the array.
        .inspect_err(|_| unsafe { array.free() })?;

        let current = RcuPointer::null();
        // INVARIANT: This is the word of the array in `state`, and it is empty.
        current.assign(array.into_word());
        Ok(Self {
            current,
            seed,
            state,
        })
    }

    /// Finds the entry with this key.
    ///
    /// Wait-free; any context. An entry that is in the table throughout the call is found.
    #[inline(always)]
    pub fn lookup<'r>(&'r self, key: &E::Key, rcu: &'r RcuRead) -> Option<&'r E> {
        let hash = E::hash(key, &self.seed);
        // SAFETY: By the type invariant `current` holds the word of an array.
        let array = unsafe { Array::from_word(self.current.load(rcu)) };
        // SAFETY: By the type invariant an array that was current is not freed while its readers are in their section.
        let mut line = unsafe { array.bucket(hash) };

        loop {
            for slot in line.candidates(hash) {
                if let Some(entry) = line.entry(slot, rcu) {
                    if entry.key() == *key {
                        return Some(entry);
                    }
                }
            }
            line = line.next(rcu)?;
        }
    }

    /// Has memory ready, so that the next [`Table::insert`] does not fail for want of it.
    ///
    /// Process context; may sleep.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    pub fn prepare(&self) -> Result<(), AllocError> {
        if self.state.lock().spare.is_none() {
            let line = OwnedLine::new(platform::sleeping())?;
            // If somebody else was faster, that one goes, without the lock.
            let other = self.state.lock().spare.replace(line);
            drop(other);
        }
        Ok(())
    }

    /// Inserts an entry unless one with an equal key is there.
    ///
    /// Process or softirq context; does not sleep.
    ///
    /// # Errors
    ///
    /// [`InsertError`] gives the entry back.
    pub fn insert(&self, entry: RcuBox<E>) -> Result<Advice, InsertError<E>> {
        let key = entry.key();
        let hash = E::hash(&key, &self.seed);
        let mut state = self.state.lock();

        let State { array, spare, .. } = &mut *state;
        // SAFETY: An array is not freed while it is in the state, which is locked.
        let bucket = unsafe { array.bucket(hash) };
        if bucket.find(hash, has_key(&key)).is_some() {
            return Err(InsertError::Taken(entry));
        }

        let ptr = entry.into_raw();
        if bucket.put(hash, ptr, spare).is_err() {
            // SAFETY: `into_raw` gave the pointer, and `put` stored it nowhere.
            return Err(InsertError::NoMemory(unsafe { RcuBox::from_raw(ptr) }));
        }

        // INVARIANT: The table owns the box now, and the copy has it too if it should.
        let index = state.array.index(hash);
        state.mirror(index, |copying| copying.put(hash, ptr));
        state.len = state.len.wrapping_add(1);
        Ok(state.advice())
    }

    /// Removes the entry with this key if `f` agrees, and returns it.
    ///
    /// Readers may go on using the entry until they end their sections; lookups that begin later do not find it.
    /// Process or softirq context; does not sleep. `f` is called with the lock held: it must not sleep nor use the
    /// table.
    pub fn remove_if(
        &self,
        key: &E::Key,
        f: impl FnOnce(&E) -> bool,
    ) -> (Option<RcuBox<E>>, Advice) {
        let hash = E::hash(key, &self.seed);
        let mut state = self.state.lock();

        // SAFETY: An array is not freed while it is in the state, which is locked.
        let bucket = unsafe { state.array.bucket(hash) };
        let Some((line, slot, ptr)) = bucket.find(hash, has_key(key)) else {
            return (None, Advice::None);
        };
        // SAFETY: With the lock held nobody else removes the entry, so the table owns it.
        if !f(unsafe { ptr.as_ref() }) {
            return (None, Advice::None);
        }

        line.clear(slot);
        let index = state.array.index(hash);
        // SAFETY: `ptr` was in a slot of this bucket, which is now empty.
        let entry = unsafe { state.release(index, hash, ptr) };
        (Some(entry), state.advice())
    }

    /// Calls `f` with the entry of this key, if there is one, while no entry comes or goes.
    ///
    /// Process or softirq context; does not sleep. `f` must not either, nor use the table.
    pub fn with<R>(&self, key: &E::Key, f: impl FnOnce(&E) -> R) -> Option<R> {
        let hash = E::hash(key, &self.seed);
        let state = self.state.lock();

        // SAFETY: An array is not freed while it is in the state, which is locked.
        let (_, _, ptr) = unsafe { state.array.bucket(hash) }.find(hash, has_key(key))?;
        // SAFETY: With the lock held nobody removes the entry, so the table owns it.
        Some(f(unsafe { ptr.as_ref() }))
    }

    /// Removes every entry that `keep` rejects; they are dropped as any [`RcuBox`].
    ///
    /// Scans the whole table, with the lock held for a few buckets at a time. An entry that is there throughout is asked
    /// about at least once, more often if the table is resized meanwhile; one that comes or goes meanwhile, perhaps.
    /// Process context; may sleep. `keep` is called with the lock held: it must not sleep nor use the table.
    pub fn retain(&self, mut keep: impl FnMut(&E) -> bool) -> Advice {
        // How far the scan has come, as a hash: that means the same in arrays of all sizes.
        let mut at = 0_u32;

        loop {
            let mut state = self.state.lock();

            for _ in 0..CHUNK {
                let index = state.array.index(at);
                // SAFETY: An array is not freed while it is in the state, which is locked.
                for (line, slot, ptr) in unsafe { state.array.bucket(at) }.entries() {
                    // SAFETY: With the lock held nobody else removes the entry, so the table owns it.
                    let entry = unsafe { ptr.as_ref() };
                    if !keep(entry) {
                        let hash = E::hash(&entry.key(), &self.seed);
                        line.clear(slot);
                        // SAFETY: `ptr` was in a slot of this bucket, which is now empty.
                        drop(unsafe { state.release(index, hash, ptr) });
                    }
                }

                match u32::try_from(state.array.end(at)) {
                    Ok(end) => at = end,
                    Err(_) => return state.advice(),
                }
            }

            drop(state);
            platform::cond_resched();
        }
    }

    /// The number of entries, at some moment during the call.
    pub fn len(&self) -> usize {
        self.state.lock().len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E: Entry> Drop for Table<E> {
    fn drop(&mut self) {
        let state = self.state.get_mut();

        if let Some(copying) = state.copying.take() {
            copying.abandon();
        }
        // SAFETY: The array is freed only below.
        for (_, _, ptr) in unsafe { state.array.lines() }
            .iter()
            .flat_map(Line::entries)
        {
            // SAFETY: By the type invariant the table owns the box, and nobody can find it any more: lookups borrow
            // the table.
            drop(unsafe { RcuBox::from_raw(ptr) });
        }
        // SAFETY: Lookups borrow the table, so there are none, nor will there be.
        unsafe { state.array.free() };
    }
}

impl<E: Entry> State<E> {
    /// Does to the copy what was just done to a bucket of the array, if that has been copied.
    ///
    /// A failure spoils the copy, not the table.
    fn mirror(&mut self, bucket: u32, change: impl FnOnce(&Copying<E>) -> Result<(), AllocError>) {
        if let Some(copying) = &mut self.copying {
            if copying.has(bucket) && change(copying).is_err() {
                copying.spoil();
            }
        }
    }

    /// Accounts for an entry that was taken out of the array.
    ///
    /// # Safety
    ///
    /// The caller just took `ptr` out of the only slot of the array that held it, which was in this bucket.
    unsafe fn release(&mut self, bucket: u32, hash: u32, ptr: NonNull<E>) -> RcuBox<E> {
        // The bucket is where the entry was, whatever the hash says now: a copy that has the bucket has the entry.
        self.mirror(bucket, |copying| copying.clear(hash, ptr));
        self.len = self.len.wrapping_sub(1);
        // SAFETY: By the invariant of `Table` it owned the box, and no slot that readers see holds it any more.
        unsafe { RcuBox::from_raw(ptr) }
    }

    fn advice(&self) -> Advice {
        // Who is resizing looks again before leaving.
        if !self.resizing && self.fitting_bits().is_some() {
            Advice::Resize
        } else {
            Advice::None
        }
    }
}

/// Tells whether an entry of the table, which is locked, has this key.
fn has_key<E: Entry>(key: &E::Key) -> impl FnMut(NonNull<E>) -> bool + '_ {
    // SAFETY: With the lock held nobody removes entries, so the table owns what its slots point to.
    move |ptr| unsafe { ptr.as_ref() }.key() == *key
}
