// SPDX-License-Identifier: GPL-2.0

//! A look into the table for host tests: checks what its types claim, and measures its shape.

use super::{Entry, Table};
use std::collections::HashSet;

/// What a table looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Buckets of the array.
    pub buckets: usize,
    /// Entries in it.
    pub entries: usize,
    /// Overflow lines behind the buckets.
    pub overflow_lines: usize,
    /// Cache lines of the array that are read when each entry is looked up once.
    pub lines_read: usize,
    /// Other entries that are read when each entry is looked up once.
    pub wrong_entries_read: usize,
}

impl<E: Entry> Table<E> {
    /// Checks the table, which nobody else may be changing, and measures it.
    ///
    /// # Panics
    ///
    /// If an invariant does not hold.
    pub fn audit(&self) -> Shape {
        let state = self.state.lock();
        let array = state.array;
        let mut seen = HashSet::new();
        let mut shape = Shape::default();

        assert_eq!(self.current.load_exclusive(), array.into_word());
        assert!(
            !state.resizing && state.copying.is_none(),
            "a resize was left unfinished"
        );

        // SAFETY: The array is not freed while the lock is held.
        for (index, bucket) in unsafe { array.lines() }.iter().enumerate() {
            shape.buckets += 1;
            shape.overflow_lines += bucket.chain().count() - 1;

            for (line, slot, ptr) in bucket.entries() {
                // SAFETY: The table owns what is in its slots.
                let entry = unsafe { ptr.as_ref() };
                let hash = E::hash(&entry.key(), &self.seed);

                shape.entries += 1;
                assert!(seen.insert(ptr), "an entry is in two slots");
                assert_eq!(
                    array.index(hash) as usize,
                    index,
                    "an entry is in a wrong bucket"
                );
                assert!(
                    line.candidates(hash).any(|s| s == slot),
                    "an entry has a wrong tag"
                );

                for on_the_way in bucket.chain() {
                    shape.lines_read += 1;
                    let before = on_the_way
                        .candidates(hash)
                        .filter_map(|s| on_the_way.held(s));
                    shape.wrong_entries_read += before.take_while(|other| *other != ptr).count();
                    if std::ptr::eq(on_the_way, line) {
                        break;
                    }
                }
            }
        }

        assert_eq!(shape.entries, state.len);
        shape
    }
}
