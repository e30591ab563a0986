// SPDX-License-Identifier: GPL-2.0
//! Churn: threads that create, change and delete slaves, addresses, masters and namespaces, and unload the module, all at
//! once and from a seed, while packets pass both ways.

pub mod traffic;
pub mod worker;

use std::collections::BTreeMap;

/// What was done: how often each operation was carried out, and refused with which errno.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub done: BTreeMap<&'static str, u64>,
    pub refused: BTreeMap<(&'static str, i32), u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        for (op, n) in &other.done {
            *self.done.entry(op).or_default() += n;
        }
        for (which, n) in &other.refused {
            *self.refused.entry(*which).or_default() += n;
        }
    }

    pub fn carried_out(&self) -> u64 {
        self.done.values().sum()
    }

    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// The operations of [`worker::OPERATIONS`] that were never carried out.
    pub fn never(&self) -> Vec<&'static str> {
        let all = worker::OPERATIONS.iter().map(|(op, _)| *op);
        all.filter(|op| !self.done.contains_key(op)).collect()
    }

    /// `create 12, delete 10, …`
    pub fn describe(&self) -> String {
        let done: Vec<_> = self
            .done
            .iter()
            .map(|(op, n)| format!("{op} {n}"))
            .collect();
        done.join(", ")
    }

    /// `create: EBUSY 3, …`
    pub fn describe_refused(&self) -> String {
        let refused: Vec<_> = self
            .refused
            .iter()
            .map(|((op, errno), n)| format!("{op}: {:?} {n}", nix::Error::from_raw(*errno)))
            .collect();
        refused.join(", ")
    }
}
