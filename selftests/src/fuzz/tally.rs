// SPDX-License-Identifier: GPL-2.0
//! How often what happened.

use std::collections::BTreeMap;

/// Counts by name.
#[derive(Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub fn count(&mut self, what: &str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &str, number: u64) {
        if let Some(n) = self.0.get_mut(what) {
            *n += number;
        } else if number > 0 {
            self.0.insert(what.into(), number);
        }
    }

    /// Counts an answer by its errno, 0 being `good`.
    pub fn answer(&mut self, good: &str, errno: i32) {
        if errno == 0 {
            self.count(good);
        } else {
            self.count(&format!("{:?}", nix::Error::from_raw(errno)));
        }
    }

    pub fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<(&String, &u64)> = self.0.iter().collect();
        parts.sort_by(|a, b| b.1.cmp(a.1));
        let parts: Vec<String> = parts
            .iter()
            .map(|(what, n)| format!("{what} {n}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}
