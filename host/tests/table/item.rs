// SPDX-License-Identifier: GPL-2.0

//! What the tests store: a key, a value, and a trace of how often it was dropped.

use ipvlan_rs_host::sync::{platform::RcuBox, table::Entry};
use std::sync::{
    atomic::{AtomicU32, AtomicUsize, Ordering},
    Arc,
};

/// Counts the items that exist.
pub type Population = Arc<AtomicUsize>;

/// What a live item says of itself.
const ALIVE: u32 = 0xa11_f00d;

/// An entry of the tests.
pub struct Item {
    key: u16,
    value: u32,
    state: AtomicU32,
    population: Population,
}

impl Item {
    pub fn boxed(key: u16, value: u32, population: &Population) -> RcuBox<Self> {
        population.fetch_add(1, Ordering::Relaxed);
        RcuBox::new(Self {
            key,
            value,
            state: AtomicU32::new(ALIVE),
            population: population.clone(),
        })
    }

    /// The value, if the item has not been dropped.
    pub fn value(&self) -> u32 {
        assert_eq!(
            self.state.load(Ordering::Relaxed),
            ALIVE,
            "a dropped item is used"
        );
        self.value
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        assert_eq!(
            self.state.swap(0, Ordering::Relaxed),
            ALIVE,
            "an item is dropped twice"
        );
        self.population.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A hash with some bits stuck, to make tags, buckets or both collide, and one that can be turned.
#[derive(Debug)]
pub struct Hash {
    pub and: u32,
    pub or: u32,
    pub twist: AtomicU32,
}

impl Hash {
    pub fn stuck(and: u32, or: u32) -> Self {
        Self {
            and,
            or,
            twist: AtomicU32::new(0),
        }
    }
}

impl Entry for Item {
    type Key = u16;
    type Seed = Arc<Hash>;

    fn key(&self) -> u16 {
        self.key
    }

    fn hash(key: &u16, seed: &Arc<Hash>) -> u32 {
        let twisted = u32::from(*key) ^ seed.twist.load(Ordering::Relaxed);
        let mixed = twisted.wrapping_mul(0x9e37_79b1);

        (mixed ^ (mixed >> 15)) & seed.and | seed.or
    }
}
