// SPDX-License-Identifier: GPL-2.0
//! Inputs that are mutated further, and what every mutation does: bytes that change, come, go, or are another's.

use super::kcov::Kcov;
use crate::debug;
use anyhow::Result;
use rand::Rng;
use rand_xorshift::XorShiftRng;

/// Inputs that reached something new.
pub struct Corpus<T> {
    kept: Vec<T>,
    kcov: Option<Kcov>,
}

/// More are not worth the memory: the oldest ones make room.
const MOST: usize = 4096;

impl<T: Clone> Corpus<T> {
    pub fn new() -> Result<Corpus<T>> {
        Ok(Corpus {
            kept: Vec::new(),
            kcov: Kcov::begin()?,
        })
    }

    /// One to mutate, now and then, if there is any.
    pub fn pick(&self, rng: &mut XorShiftRng) -> Option<T> {
        if self.kept.is_empty() || rng.random_range(0..3) == 0 {
            return None;
        }
        Some(self.kept[rng.random_range(0..self.kept.len())].clone())
    }

    /// Runs something and keeps its input if that reached what none before it had.
    pub fn run<R>(&mut self, input: &T, run: impl FnOnce(&T) -> R) -> R {
        let Some(kcov) = &mut self.kcov else {
            return run(input);
        };
        kcov.reset();
        let result = run(input);
        if kcov.anything_new() {
            if self.kept.len() == MOST {
                self.kept.remove(0);
            }
            self.kept.push(input.clone());
        }
        result
    }

    /// A line for the log.
    pub fn describe(&self) -> String {
        match &self.kcov {
            None => "not guided: this kernel has no KCOV".into(),
            Some(kcov) => format!(
                "guided by KCOV: {} places in the module, {} inputs kept",
                kcov.places(),
                self.kept.len()
            ),
        }
    }

    /// Whether the module's code was seen to run. Where that cannot be seen, and need not be (no debug kernel), true.
    pub fn alive(&self) -> bool {
        match &self.kcov {
            None => !debug::kernel(),
            Some(kcov) => kcov.places() > 50,
        }
    }
}

/// Values at the edges of what a field may hold.
const EDGES: [u64; 14] = [
    0,
    1,
    4,
    5,
    0x3f,
    0x40,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    u64::MAX,
];

/// Changes some bytes from `from` on; the length too, if it may.
pub fn mutate(rng: &mut XorShiftRng, bytes: &mut Vec<u8>, from: usize, resize: bool) {
    for _ in 0..rng.random_range(1..=4) {
        let length = bytes.len();
        if length <= from {
            return;
        }
        let at = rng.random_range(from..length);
        match rng.random_range(0..10) {
            0..=2 => bytes[at] ^= 1 << rng.random_range(0..8),
            3 | 4 => bytes[at] = rng.random(),
            5 | 6 => {
                let value = EDGES[rng.random_range(0..EDGES.len())].to_be_bytes();
                let width = [1, 2, 4][rng.random_range(0..3)].min(length - at);
                bytes[at..at + width].copy_from_slice(&value[8 - width..]);
            }
            7 if resize => bytes.truncate(at),
            8 if resize => {
                let more = rng.random_range(1..64);
                bytes.extend((0..more).map(|_| rng.random::<u8>()));
            }
            _ => {
                let other = rng.random_range(from..length);
                let width = rng.random_range(1..=8).min(length - at.max(other));
                bytes.copy_within(other..other + width, at);
            }
        }
    }
}
