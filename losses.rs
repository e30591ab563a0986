// SPDX-License-Identifier: GPL-2.0

//! Group frames that were lost, to be counted later on the slaves that would have got them: who those are takes a walk
//! through all slaves, too long for the moment of a loss.

#![forbid(unsafe_code)]

use crate::listeners::{
    each_bit,
    EachBit, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
};

/// What was lost since it was last settled.
pub(crate) struct Losses {
    /// How many frames, by the bit of their group.
    by_bit: EachBit<Atomic<u32>>,
    /// Whether there are any.
    any: Atomic<bool>,
}

impl Losses {
    /// None. Process context.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            by_bit: each_bit(|| Atomic::new(0))?,
            any: Atomic::new(false),
        })
    }

    /// Notes that a frame was lost. Any context.
    pub(crate) fn note(&self, bit: u8) {
        if let Some(lost) = self.by_bit.get(usize::from(bit)) {
            lost.fetch_add(1, Relaxed);
        }
        // Ordering: who sees the flag sees the count. Pairs with the exchange in `settle`.
        self.any.store(true, Release);
    }

    /// Calls `count` with each bit and how many of its frames were lost, and forgets them.
    pub(crate) fn settle(&self, mut count: impl FnMut(u8, u32)) {
        // Ordering: taken down before the counts are read, so that a loss in between puts it up again.
        if !self.any.xchg(false, Full) {
            return;
        }
        for (bit, lost) in (0..=u8::MAX).zip(self.by_bit.iter()) {
            match lost.xchg(0, Relaxed) {
                0 => {}
                lost => count(bit, lost),
            }
        }
    }
}
