// SPDX-License-Identifier: GPL-2.0
//! Sends probes in both worlds, collects what becomes of them, and compares.

use super::probe::{ends, Place, Sighting, Traces};
use super::rules::{self, Sent};
use super::step::Probe;
use super::tally::Tally;
use super::view::View;
use super::walker::Walker;
use crate::cx::Decision;
use anyhow::{bail, Result};
use std::collections::VecDeque;
use std::time::Duration;

/// How often a probe is sent before its different ends are a finding: routes, filters and memberships follow from work
/// items.
const TRIES: usize = 5;
/// How many probes are remembered for frames that arrive late.
const REMEMBERED: usize = 8;

/// A probe that was sent in both worlds, and what was seen of it so far.
pub(super) struct Record {
    number: u32,
    probe: Probe,
    view: View,
    traces: [Traces; 2],
}

impl Walker {
    /// Sends probes in both worlds and compares who received them.
    pub(super) async fn probe(&mut self, probes: &[Probe], tally: &mut Tally) -> Result<()> {
        let view = self.view.clone();
        let mut left: Vec<Probe> = probes.to_vec();
        let mut last = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tally.repeated += left.len();
                tokio::time::sleep(Duration::from_millis(30 << attempt)).await;
            }
            let numbers: Vec<u32> = left.iter().map(|p| self.send(p, &view, tally)).collect();
            for (world, state) in self.worlds.iter().enumerate() {
                let records = &mut self.records;
                state
                    .fence(&view, |n, s| note(records, world, n, s))
                    .await?;
            }
            self.listen(|| false).await?;
            self.late(&numbers)?;
            let mut again = Vec::new();
            for (probe, number) in left.iter().zip(&numbers) {
                let at = self.records.iter().position(|r| r.number == *number);
                let Some(record) = at.map(|at| &self.records[at]) else {
                    continue;
                };
                match verdict(record) {
                    Ok(decisions) => {
                        decisions.into_iter().for_each(|d| tally.explain(d));
                        tally.note(
                            record.traces.iter().map(|t| t.seen.len()).sum(),
                            chance(record),
                        );
                    }
                    Err(text) => {
                        last = format!("{probe}: {text}");
                        again.push(*probe);
                        self.records.remove(at.unwrap_or(0));
                    }
                }
            }
            if again.is_empty() {
                return Ok(());
            }
            left = again;
        }
        bail!("{last}")
    }

    pub(super) fn send(&mut self, probe: &Probe, view: &View, tally: &mut Tally) -> u32 {
        let number = self.next;
        self.next += 1;
        tally.probes += 1;
        let mut traces = [Traces::default(), Traces::default()];
        for (world, traces) in self.worlds.iter().zip(&mut traces) {
            traces.sent = world.send(probe, view, number);
        }
        if self.records.len() == REMEMBERED {
            self.records.pop_front();
        }
        self.records.push_back(Record {
            number,
            probe: *probe,
            view: view.clone(),
            traces,
        });
        number
    }

    /// Reads what arrived, until the latest probes' ends are alike or it takes too long.
    pub(super) async fn listen(&mut self, enough: impl Fn() -> bool) -> Result<()> {
        for round in 0..6 {
            for (world, state) in self.worlds.iter().enumerate() {
                let records = &mut self.records;
                state.sightings(|n, s| note(records, world, n, s))?;
            }
            if round > 0 && (enough() || self.records.iter().all(|r| verdict(r).is_ok())) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1 << round)).await;
        }
        Ok(())
    }

    /// A probe of an earlier step whose ends differ now had a frame that came late.
    fn late(&self, current: &[u32]) -> Result<()> {
        for record in self.records.iter().filter(|r| !current.contains(&r.number)) {
            if let Err(text) = verdict(record) {
                bail!("late, {}: {text}", record.probe);
            }
        }
        Ok(())
    }

    pub(super) fn take(&mut self, number: u32) -> [Traces; 2] {
        match self.records.iter().position(|r| r.number == number) {
            Some(at) => self
                .records
                .remove(at)
                .map(|r| r.traces)
                .unwrap_or_default(),
            None => Default::default(),
        }
    }

    /// What still comes after the last step.
    pub async fn finish(&mut self) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.listen(|| false).await?;
        self.late(&[])
    }
}

/// Adds a sighting to the record of its probe.
fn note(records: &mut VecDeque<Record>, world: usize, number: u32, sighting: Sighting) {
    if let Some(record) = records.iter_mut().find(|r| r.number == number) {
        *record.traces[world].seen.entry(sighting).or_default() += 1;
    }
}

/// How many slaves got a probe by chance, of how many that could have.
fn chance(record: &Record) -> (usize, usize) {
    let sent = Sent {
        number: record.number,
        probe: &record.probe,
        view: &record.view,
    };
    rules::forget_chance(&sent, &mut record.traces[1].clone(), true)
}

/// Whether a probe came to the same end in both worlds, save for the decisions that are returned.
fn verdict(record: &Record) -> std::result::Result<Vec<Decision>, String> {
    let sent = Sent {
        number: record.number,
        probe: &record.probe,
        view: &record.view,
    };
    let [mut theirs, mut ours] = record.traces.clone();
    rules::forget_chance(&sent, &mut theirs, false);
    rules::forget_chance(&sent, &mut ours, true);
    if let Some(owner) = rules::is_shadowed(&sent) {
        let got = |traces: &Traces| {
            owner.is_some_and(|o| traces.seen.keys().any(|s| s.place == Place::Slave(o)))
        };
        if got(&ours) {
            return Err(format!(
                "s{} gets what is for {:?}, which the master has",
                owner.unwrap_or(0),
                ends(&sent.probe.shape).0
            ));
        }
        return Ok(if theirs == ours {
            Vec::new()
        } else {
            vec![Decision::D4]
        });
    }
    let mut decisions = Vec::new();
    let mut due = theirs.clone();
    for (decision, rule) in rules::ON_PROBES {
        let before = due.clone();
        rule(&sent, &mut due);
        if due != before {
            decisions.push(*decision);
        }
    }
    if rules::master_failed(&sent, &due, &ours) {
        due.sent = ours.sent;
        decisions.push(Decision::D13);
    }
    if due != ours && rules::forged(&sent) && ours.seen.is_empty() {
        due = ours.clone();
        decisions.push(Decision::D2);
    }
    if due == ours {
        return Ok(decisions);
    }
    Err(format!(
        "mode {:?} flags {}: ipvlan: {}. ipvlan_rs: {}. Due by {decisions:?}: {}",
        record.view.mode(),
        record.view.port_flags(),
        theirs.describe(),
        ours.describe(),
        due.describe()
    ))
}
