// SPDX-License-Identifier: GPL-2.0

//! Addresses as a tenant that counts would choose them, and their entries: for the tests and for the bench.

use ipvlan_rs_host::{
    logic::addr::{Seed, V6},
    sync::table::Entry,
};

pub struct Address {
    key: V6,
    pub number: u32,
}

impl Address {
    /// The entry of the `n`-th.
    pub fn new(n: u32) -> Self {
        Self {
            key: address(n),
            number: n,
        }
    }
}

impl Entry for Address {
    type Key = V6;
    type Seed = Seed;

    fn key(&self) -> V6 {
        self.key
    }

    fn hash(key: &V6, seed: &Seed) -> u32 {
        key.hash(seed)
    }
}

/// The `n`-th address of a prefix.
pub fn address(n: u32) -> V6 {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    octets[12..].copy_from_slice(&n.to_be_bytes());
    V6::from_octets(octets)
}
