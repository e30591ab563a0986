// SPDX-License-Identifier: GPL-2.0

//! What a look-up takes among up to a million addresses, on this machine, and what a cache miss does: the lines that
//! `scripts/bench` judges.
//!
//! Each look-up waits for the one before it, as each load of the chase does: nothing of a miss is hidden.

#[path = "../tests/table/tenant.rs"]
mod tenant;

use ipvlan_rs_host::{
    logic::addr::Seed,
    sync::{
        platform::{barrier, RcuBox, RcuRead},
        table::{Advice, Table},
    },
};
use std::{hint::black_box, time::Instant};
use tenant::{address, Address};

const ROUNDS: usize = 11;
const STEPS: usize = 300_000;
const SIZES: [u32; 5] = [1, 256, 20_000, 100_000, 1_000_000];

/// About what a million addresses and their buckets take.
const BYTES: usize = 128 << 20;
const LINE: usize = 64;

fn next(random: u64) -> u64 {
    let random = random ^ (random << 13);
    let random = random ^ (random >> 7);
    random ^ (random << 17)
}

fn grow(table: &Table<Address>, from: u32, to: u32) {
    for number in from..to {
        match table.insert(RcuBox::new(Address::new(number))) {
            Ok(Advice::None) => (),
            Ok(Advice::Resize) => table.resize().expect("memory for the table"),
            Err(_) => panic!("address {number} was refused"),
        }
    }
}

/// Nanoseconds of each of `STEPS` look-ups at random.
fn look_ups(table: &Table<Address>, n: u32) -> f64 {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let begin = Instant::now();
    for _ in 0..STEPS {
        random = next(random);
        let wanted = (((random >> 32) * u64::from(n)) >> 32) as u32;
        let rcu = RcuRead::lock();
        let found = table.lookup(&address(wanted), &rcu).expect("it is there");
        // Nothing is added, but not before it was found.
        random ^= u64::from(found.number ^ wanted);
    }
    let took = begin.elapsed().as_nanos() as f64 / STEPS as f64;
    black_box(random);
    took
}

/// One cycle through all lines of the memory, in random order.
fn cycle() -> Vec<[u64; LINE / 8]> {
    let mut order: Vec<usize> = (0..BYTES / LINE).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    // Sattolo's shuffle.
    for n in (1..order.len()).rev() {
        random = next(random);
        order.swap(n, (random % n as u64) as usize);
    }
    order.iter().map(|n| [*n as u64; LINE / 8]).collect()
}

fn chase(memory: &[[u64; LINE / 8]], at: &mut usize) -> f64 {
    let begin = Instant::now();
    for _ in 0..STEPS {
        *at = memory[*at][0] as usize;
    }
    begin.elapsed().as_nanos() as f64 / STEPS as f64
}

fn main() {
    let table = Table::new(Seed::new([1, 2, 3, 4].map(next))).expect("memory for the table");
    let memory = cycle();
    let (mut at, mut have) = (0, 0);
    let mut misses = Vec::new();
    println!("bench-clock | nanoseconds");
    for n in SIZES {
        grow(&table, have, n);
        have = n;
        look_ups(&table, n);
        let mut costs = Vec::new();
        for _ in 0..ROUNDS {
            costs.push(look_ups(&table, n));
            // Beside the largest, which is judged by it.
            if n == SIZES[SIZES.len() - 1] {
                misses.push(chase(&memory, &mut at));
            }
        }
        report("look-up in the table, host", n, "ipvlan_rs", &costs);
    }
    report("cache miss, host", 1, "memory", &misses);
    drop(table);
    barrier();
}

fn report(row: &str, x: u32, kind: &str, values: &[f64]) {
    let values: Vec<String> = values.iter().map(|v| format!("{v:.1}")).collect();
    println!("bench | {row} | {x} | {kind} | each | {}", values.join(" "));
}
