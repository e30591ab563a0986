// SPDX-License-Identifier: GPL-2.0

//! The multicast filter of a slave.

#![forbid(unsafe_code)]

use super::addr::Seed;

/// The group addresses a slave listens to, as a set of 256 hash bits.
///
/// It errs only towards delivering: an address that was inserted is always found, another one is
/// found with about the probability that its bit is taken, and the slave's stack drops the frame.
/// Bits cannot be removed singly, since addresses share them: a changed list means a new filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MacFilter([u64; 4]);

impl MacFilter {
    /// Nothing passes.
    pub const EMPTY: Self = Self([0; 4]);

    /// Everything passes: promiscuous or all-multicast.
    pub const FULL: Self = Self([u64::MAX; 4]);

    /// The bit that stands for `mac` under `seed`. Computed once per frame, then tried against the
    /// filter of every slave.
    #[inline]
    pub fn bit(mac: &[u8; 6], seed: &Seed) -> u8 {
        let [a, b, c, d, e, f] = *mac;
        let hash = seed.hash_word(u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
        let [bit, ..] = hash.to_le_bytes();
        bit
    }

    /// Lets the addresses pass that `bit` stands for.
    #[inline]
    pub fn insert(&mut self, bit: u8) {
        // `bit >> 6` is below 4, so there always is a word.
        if let Some(word) = self.0.get_mut(usize::from(bit >> 6)) {
            *word |= mask(bit);
        }
    }

    /// Whether addresses that `bit` stands for pass.
    #[inline]
    pub fn contains(&self, bit: u8) -> bool {
        self.0
            .get(usize::from(bit >> 6))
            .is_some_and(|word| word & mask(bit) != 0)
    }
}

#[inline]
const fn mask(bit: u8) -> u64 {
    1u64.wrapping_shl((bit & 63) as u32)
}
