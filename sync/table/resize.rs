// SPDX-License-Identifier: GPL-2.0

//! Growing and shrinking: a new array is filled behind the readers' back and published when it is complete.

use super::{
    super::platform::{
        self,
        AllocError,
        CHUNK,
        LOAD_BITS,
        MIN_BITS, //
    },
    array::{
        Array,
        MAX_BITS, //
    },
    Entry,
    State,
    Table, //
};
use core::{
    mem::replace,
    ptr::NonNull, //
};

/// An array that is being filled and that no reader has seen.
///
/// # Invariants
///
/// Unless `spoiled`, it holds the entries of the first `done` buckets of the table's array, each in one slot.
pub(super) struct Copying<E> {
    array: Array<E>,
    /// How many buckets of the old array have been copied.
    done: u32,
    /// A change could not be carried over. What the array holds means nothing any more.
    spoiled: bool,
}

impl<E> Copying<E> {
    fn new(array: Array<E>) -> Self {
        // INVARIANT: Nothing has been copied.
        Self {
            array,
            done: 0,
            spoiled: false,
        }
    }

    /// Whether the copy holds the entries of this bucket of the old array.
    pub(super) fn has(&self, bucket: u32) -> bool {
        bucket < self.done && !self.spoiled
    }

    /// Adds an entry.
    pub(super) fn put(&self, hash: u32, ptr: NonNull<E>) -> Result<(), AllocError> {
        // SAFETY: The array is freed by `abandon`, or by the table once it is the table's own.
        unsafe { self.array.bucket(hash) }.put(hash, ptr, &mut None)
    }

    /// Removes an entry.
    pub(super) fn clear(&self, hash: u32, ptr: NonNull<E>) -> Result<(), AllocError> {
        // SAFETY: As in `put`.
        let bucket = unsafe { self.array.bucket(hash) };
        // It is there, unless the key or the hash of the entry has changed: then its slot would keep a dangling
        // pointer, so the copy must go.
        let (line, slot, _) = bucket.find(hash, |other| other == ptr).ok_or(AllocError)?;

        line.clear(slot);
        Ok(())
    }

    /// Gives up the copy: it will not be published.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Frees the array.
    pub(super) fn abandon(self) {
        // SAFETY: No reader has seen the array, and this was the only handle on it.
        unsafe { self.array.free() };
    }
}

/// How many entries an array of `2^bits` buckets may hold before it should grow.
fn capacity(bits: u32) -> usize {
    1_usize.wrapping_shl(bits.wrapping_add(LOAD_BITS))
}

impl<E: Entry> State<E> {
    /// The size that the array should have, as log2 of its buckets, unless the present one will do.
    ///
    /// A new array is at most half full, and far from empty enough to shrink: an entry that comes and goes does not
    /// cause a resize each time.
    pub(super) fn fitting_bits(&self) -> Option<u32> {
        let bits = self.array.bits();
        let full = self.len > capacity(bits) && bits < MAX_BITS;
        let empty = self.len < capacity(bits) / 8 && bits > MIN_BITS;

        if full || empty {
            (MIN_BITS..=MAX_BITS).find(|bits| self.len <= capacity(*bits) / 2 || *bits == MAX_BITS)
        } else {
            None
        }
    }

    /// Copies the entries of one bucket. `false` if there was none left to copy.
    fn copy_bucket(&mut self, seed: &E::Seed) -> Result<bool, AllocError> {
        let Some(copying) = self.copying.as_mut().filter(|copying| !copying.spoiled) else {
            return Err(AllocError);
        };
        // SAFETY: An array is not freed while it is in the state, which is locked.
        let Some(bucket) = (unsafe { self.array.lines() }).get(copying.done as usize) else {
            return Ok(false);
        };

        for (_, _, ptr) in bucket.entries() {
            // SAFETY: With the lock held nobody removes the entry, so the table owns it.
            let key = unsafe { ptr.as_ref() }.key();
            // On failure the copy is without some entries of a bucket that is not counted as done.
            copying.put(E::hash(&key, seed), ptr)?;
        }
        // INVARIANT: The bucket was copied completely, under the lock.
        copying.done = copying.done.wrapping_add(1);
        Ok(true)
    }
}

impl<E: Entry> Table<E> {
    /// Makes the array as large as the number of entries wants it, if it is much too small or too large.
    ///
    /// Readers and writers go on meanwhile: the lock is held for a few buckets at a time. Returns at once if somebody
    /// else is at it, who will then notice what has changed. Process context; sleeps, also for a grace period.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there was no memory. The table stays as it was; the next change advises a resize again.
    pub fn resize(&self) -> Result<(), AllocError> {
        {
            let mut state = self.state.lock();
            if state.resizing {
                return Ok(());
            }
            state.resizing = true;
        }

        loop {
            let bits = {
                let mut state = self.state.lock();
                let bits = state.fitting_bits();
                // Under the same lock: whoever changes the table from now on is advised to call again.
                state.resizing = bits.is_some();
                bits
            };
            let Some(bits) = bits else {
                return Ok(());
            };

            if let Err(err) = Array::new(bits).and_then(|array| self.replace(array)) {
                self.state.lock().resizing = false;
                return Err(err);
            }
        }
    }

    /// Moves the table to another array, whose size it takes on. To be called by the one who set `resizing`.
    fn replace(&self, array: Array<E>) -> Result<(), AllocError> {
        self.state.lock().copying = Some(Copying::new(array));

        loop {
            match self.copy_chunk() {
                Ok(None) => platform::cond_resched(),
                Ok(Some(old)) => {
                    platform::wait_for_readers();
                    // SAFETY: The array was replaced before the grace period, so that no reader has it any more, and
                    // this is the only handle on it.
                    unsafe { old.free() };
                    return Ok(());
                }
                Err(err) => {
                    let copying = self.state.lock().copying.take();
                    if let Some(copying) = copying {
                        copying.abandon();
                    }
                    return Err(err);
                }
            }
        }
    }

    /// Copies some buckets, and after the last publishes the new array and returns the old one.
    fn copy_chunk(&self) -> Result<Option<Array<E>>, AllocError> {
        let mut state = self.state.lock();

        for _ in 0..CHUNK {
            if state.copy_bucket(&self.seed)? {
                continue;
            }
            let Some(copying) = state.copying.take() else {
                return Err(AllocError);
            };
            // INVARIANT: All buckets have been copied, so the new array holds every entry, each in one slot.
            // Ordering: pairs with the load in `lookup`; all that the copy consists of was stored before.
            self.current.assign(copying.array.into_word());
            return Ok(Some(replace(&mut state.array, copying.array)));
        }
        Ok(None)
    }
}
