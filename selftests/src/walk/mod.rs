// SPDX-License-Identifier: GPL-2.0
//! The random walk: operations and probes, chosen from a seed, go step by step to a world of each kind. After each step
//! the answers, the dumps and who received what must agree, save for the differences that [`rules`] lists.
//!
//! There is no third model of what is right: the in-tree driver is it. Where a decision lets the worlds part, the walker
//! sees that it does as decided and leads one world to where the other is ([`walker`] says how for each), so that what
//! follows can be compared again:
//!
//! * D1: ours is sent to L3, where theirs went;
//! * D3, a second prefix: ours loses it again; a pair of addresses: both lose it after probes;
//! * D4: theirs loses the master's address again. One that the master gets later stays, and what depends on it is
//!   compared no further than that the slave gets nothing by it;
//! * D5: theirs gets our MTU;
//! * D6: the master's count is computed for both.
//!
//! A failure is reduced to the steps that it takes, by replaying parts in fresh worlds, and printed as an option that
//! replays it.

mod apply;
mod compare;
mod generate;
mod peer;
mod probe;
mod rules;
mod shrink;
mod step;
pub mod tally;
mod view;
mod walker;
mod world;

use crate::cx::Master;
use anyhow::{ensure, Context, Result};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use step::Step;
use tally::Tally;
use walker::Walker;

/// Steps per pair of worlds.
const LENGTH: usize = 105;
/// The walks of every run; one more has the day's number.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=19;
/// How long a failure may be reduced.
const REDUCING: Duration = Duration::from_secs(120);
/// How long a walk may take, its reduction included.
pub const LIMIT: Duration = Duration::from_secs(400);

/// A walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    pub seed: u64,
    pub steps: usize,
    /// Only these of the steps, counted from 1.
    pub only: Option<Vec<usize>>,
}

impl FromStr for Walk {
    type Err = anyhow::Error;

    /// `SEED:STEPS`, or `SEED@N,N,...` for single steps of a walk.
    fn from_str(text: &str) -> Result<Walk> {
        if let Some((seed, list)) = text.split_once('@') {
            let only: Vec<usize> = list
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .context("st.walk=SEED@N,N,...")?;
            return Ok(Walk {
                seed: seed.parse()?,
                steps: only.iter().copied().max().unwrap_or(0),
                only: Some(only),
            });
        }
        let (seed, steps) = text.split_once(':').context("st.walk=SEED:STEPS")?;
        Ok(Walk {
            seed: seed.parse()?,
            steps: steps.parse()?,
            only: None,
        })
    }
}

impl Walk {
    /// Every other walk is on a dummy.
    fn sort(&self) -> Master {
        if self.seed % 2 == 0 {
            Master::Dummy
        } else {
            Master::Veth
        }
    }

    pub fn name(&self) -> String {
        let on = match self.sort() {
            Master::Veth => "veth",
            Master::Dummy => "dummy",
        };
        format!("guest:walk:seed-{}:{on}", self.seed)
    }

    fn generate(&self) -> Vec<(usize, Step)> {
        let movable = self.sort() == Master::Veth;
        (1..)
            .zip(generate::steps(self.seed, self.steps, movable))
            .filter(|(n, _)| self.only.as_ref().is_none_or(|only| only.contains(n)))
            .collect()
    }
}

/// The walks of a run: those asked for, cut to the length of one world; else the usual ones.
pub fn plan(asked: Option<&Walk>) -> Vec<Walk> {
    let walk = |seed, steps| Walk {
        seed,
        steps,
        only: None,
    };
    match asked {
        None => {
            let day = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |t| t.as_secs() / 86400);
            SEEDS.chain([day]).map(|seed| walk(seed, LENGTH)).collect()
        }
        Some(Walk { only: Some(_), .. }) => asked.into_iter().cloned().collect(),
        Some(Walk { seed, steps, .. }) => (0..steps.div_ceil(LENGTH))
            .map(|i| walk(seed + i as u64, LENGTH.min(steps - i * LENGTH)))
            .collect(),
    }
}

/// Takes one walk; its amounts are added to `tally`.
pub async fn run(walk: Walk, tally: &mut Tally) -> Result<()> {
    let steps = walk.generate();
    let mut own = Tally::default();
    let result = replay(walk.sort(), &steps, &mut own).await;
    tally.add(&own);
    let Err((failed, error)) = result else {
        return Ok(());
    };
    let mut report = format!("{error:#}\n");
    let begin: Vec<(usize, Step)> = steps.into_iter().take(failed).collect();
    let reduced = shrink::reduce(walk.sort(), begin, REDUCING).await;
    report += &format!(
        "seed {}, step {}; {} steps are enough{}:\n",
        walk.seed,
        failed,
        reduced.steps.len(),
        if reduced.finished {
            ""
        } else {
            " (fewer may be)"
        }
    );
    for (n, step) in &reduced.steps {
        report += &format!("  {n}: {step}\n");
    }
    let list: Vec<String> = reduced.steps.iter().map(|(n, _)| n.to_string()).collect();
    report += &format!("which end in: {:#}\n", reduced.error.unwrap_or(error));
    report += &format!("replay: st.walk={}@{}", walk.seed, list.join(","));
    Err(anyhow::Error::msg(report))
}

/// Takes steps in fresh worlds. On failure: how many steps were taken, and what was found.
async fn replay(
    sort: Master,
    steps: &[(usize, Step)],
    tally: &mut Tally,
) -> std::result::Result<(), (usize, anyhow::Error)> {
    let mut walker = Walker::new(sort).map_err(|e| (0, e.context("making the worlds")))?;
    for (taken, (_, step)) in steps.iter().enumerate() {
        let name = || format!("{step}");
        if let Err(e) = walker.step(step, tally).await.with_context(name) {
            return Err((taken + 1, e));
        }
    }
    walker.finish().await.map_err(|e| (steps.len(), e))
}

/// What the whole of the walks has to show.
pub fn conclude(tally: &Tally) -> Result<()> {
    for line in tally.lines() {
        println!("# walk: {line}");
    }
    ensure!(
        !tally.filters_leak(),
        "slaves that do not listen to a group got its frames in {} of {} cases",
        tally.chance.0,
        tally.chance.1
    );
    // Filters and carriers take effect late; a driver that loses or doubles now and then must not pass for that.
    ensure!(
        tally.repeated * 50 <= tally.probes + 250,
        "{} of {} probes had to be sent again",
        tally.repeated,
        tally.probes
    );
    Ok(())
}
