// SPDX-License-Identifier: GPL-2.0
//! What a cache miss takes, in the same run as the rows that are judged by it.

use super::Bench;
use anyhow::{ensure, Result};
use std::hint::black_box;
use std::time::Instant;

/// Twice what 100 000 addresses and their buckets take: what a look-up at random has to fetch from.
const BYTES: usize = 16 << 20;
const LINE: usize = 64;
const STEPS: usize = 200_000;

/// Follows pointers through all lines of the memory in random order: each load waits for the one before.
pub fn chase(b: &mut Bench<'_>) -> Result<()> {
    // Under emulation there are no caches.
    if b.emulated() || !b.wants("cache miss") {
        return Ok(());
    }
    let lines = BYTES / LINE;
    let mut memory = vec![[0u64; LINE / 8]; lines];
    // Sattolo's shuffle: one cycle through all.
    let mut order: Vec<usize> = (0..lines).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for n in (1..lines).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        order.swap(n, (random % n as u64) as usize);
    }
    for (line, next) in memory.iter_mut().zip(&order) {
        line[0] = *next as u64;
    }
    let mut costs = Vec::new();
    let mut at = 0;
    for _ in 0..b.rounds {
        let begin = Instant::now();
        for _ in 0..STEPS {
            at = memory[at][0] as usize;
        }
        costs.push(begin.elapsed().as_nanos() as f64 / STEPS as f64);
    }
    ensure!(black_box(at) < lines, "the chase left its memory");
    b.report("cache miss", 1, "memory", "per load", &costs);
    Ok(())
}
