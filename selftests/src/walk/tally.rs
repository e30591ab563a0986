// SPDX-License-Identifier: GPL-2.0
//! What a walk amounted to.

use super::apply::Outcome;
use super::rules::UNSEEN;
use crate::cx::Decision;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub steps: usize,
    pub granted: usize,
    pub skipped: usize,
    /// Refusals by errno.
    pub refused: BTreeMap<i32, usize>,
    pub probes: usize,
    /// Probes that were sent again because their ends differed at first.
    pub repeated: usize,
    pub sightings: usize,
    /// Slaves that got a group's frame by chance, and that could have.
    pub chance: (usize, usize),
    pub explained: BTreeMap<Decision, usize>,
}

impl Tally {
    pub fn count(&mut self, ours: &Outcome) {
        match ours {
            Outcome::Skipped => self.skipped += 1,
            Outcome::Answered(Ok(_)) => self.granted += 1,
            Outcome::Answered(Err(refusal)) => *self.refused.entry(refusal.errno).or_default() += 1,
        }
    }

    pub fn explain(&mut self, decision: Decision) {
        *self.explained.entry(decision).or_default() += 1;
    }

    /// Counts a probe whose ends were alike.
    pub fn note(&mut self, sightings: usize, chance: (usize, usize)) {
        self.sightings += sightings;
        self.chance.0 += chance.0;
        self.chance.1 += chance.1;
    }

    pub fn add(&mut self, other: &Tally) {
        self.steps += other.steps;
        self.granted += other.granted;
        self.skipped += other.skipped;
        self.probes += other.probes;
        self.repeated += other.repeated;
        self.note(other.sightings, other.chance);
        for (errno, count) in &other.refused {
            *self.refused.entry(*errno).or_default() += count;
        }
        for (decision, count) in &other.explained {
            *self.explained.entry(*decision).or_default() += count;
        }
    }

    /// Whether frames for groups got to slaves that do not listen more often than by chance: each of a slave's few groups
    /// sets one of 256 bits.
    pub fn filters_leak(&self) -> bool {
        self.chance.0 * 8 > self.chance.1 + 64
    }

    pub fn lines(&self) -> Vec<String> {
        let list = |words: Vec<String>| words.join(", ");
        let mut lines = vec![
            format!(
                "{} steps: {} granted, {} with nothing to act on, refused: {}",
                self.steps,
                self.granted,
                self.skipped,
                list(
                    self.refused
                        .iter()
                        .map(|(errno, n)| format!("{n} {:?}", nix::Error::from_raw(*errno)))
                        .collect()
                )
            ),
            format!(
                "{} probes in both worlds, {} of them again; {} sightings; {} of {} slaves that do not listen got a group's frame by chance",
                self.probes, self.repeated, self.sightings, self.chance.0, self.chance.1
            ),
            format!(
                "differences explained: {}",
                list(self.explained.iter().map(|(d, n)| format!("{d:?} {n}")).collect())
            ),
        ];
        for (decision, why) in UNSEEN {
            lines.push(format!("{decision:?} cannot show: {why}"));
        }
        for decision in [
            Decision::D1,
            Decision::D2,
            Decision::D3,
            Decision::D4,
            Decision::D5,
            Decision::D6,
            Decision::D8,
            Decision::D9,
            Decision::D13,
            Decision::D16,
            Decision::D17,
        ] {
            if !self.explained.contains_key(&decision) {
                lines.push(format!("{decision:?} was never met"));
            }
        }
        lines
    }
}
