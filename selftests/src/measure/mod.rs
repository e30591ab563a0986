// SPDX-License-Identifier: GPL-2.0
//! What packets and requests cost, kind beside kind in one boot.
//!
//! The clock decides what a figure means. In a guest with `-icount shift=0` a nanosecond is an instruction, so whatever
//! measures time counts instructions; elsewhere the same figures are nanoseconds.
//!
//! A row is measured in rounds, in each round once per kind, so that what changes slowly meets all kinds alike. The result
//! is a line of data per row and kind, `bench | ROW | X | KIND | UNIT | VALUE VALUE …`, for the tool in bench/ to judge.
//! Every shot is witnessed: counters must show that the packets went the way the row is named after.

mod control;
mod group;
mod net;
mod pktgen;
mod unicast;

use crate::options::Options;
use crate::{init, modules};
use anyhow::{bail, Result};
use std::str::FromStr;

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Quick,
    Full,
}

impl FromStr for Scale {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Scale> {
        match text {
            "quick" => Ok(Scale::Quick),
            "full" => Ok(Scale::Full),
            _ => bail!("st.bench=quick or st.bench=full"),
        }
    }
}

/// The kernel modules that the rows need; netkit is built in or missing.
const MODULES: &[&str] = &[
    "dummy",
    "veth",
    "macvlan",
    "ipvlan",
    "ipvlan_rs",
    "pktgen",
    "sch_ingress",
    "cls_matchall",
    "act_gact",
];

/// What every row is given.
pub struct Bench<'a> {
    pub scale: Scale,
    pub rounds: usize,
    /// Packets per shot.
    pub packets: u64,
    options: &'a Options,
    failed: Vec<String>,
    rows: usize,
}

impl Bench<'_> {
    pub fn wants(&self, row: &str) -> bool {
        self.options.wants(row)
    }

    pub fn full(&self) -> bool {
        self.scale == Scale::Full
    }

    /// One result: what was seen for this kind in each round.
    pub fn report(&mut self, row: &str, x: u64, kind: &str, unit: &str, values: &[f64]) {
        let values: Vec<String> = values.iter().map(|v| format!("{v:.1}")).collect();
        println!(
            "bench | {row} | {x} | {kind} | {unit} | {}",
            values.join(" ")
        );
        self.rows += 1;
    }

    /// Runs what a group of rows takes; what goes wrong fails the whole, and leaves the other groups alone.
    fn group(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) {
        println!("# {name}");
        if let Err(e) = run(self) {
            println!("bench-failed | {name} | {e:#}");
            self.failed.push(name.into());
        }
    }
}

/// Measures everything that was asked for; whether nothing failed.
pub fn run(scale: Scale, options: &Options) -> Result<bool> {
    init::tune();
    for module in MODULES {
        modules::load(module)?;
    }
    let mut bench = Bench {
        scale,
        rounds: 5,
        packets: if scale == Scale::Full { 2000 } else { 500 },
        options,
        failed: Vec::new(),
        rows: 0,
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!("bench-kernel | {}", release.trim());
    bench.group("tx", unicast::transmit);
    bench.group("sibling", unicast::siblings);
    bench.group("rx", control::growth);
    bench.group("slaves", control::slaves);
    bench.group("memory", control::space);
    bench.group("broadcast", group::broadcast);
    println!(
        "# {} rows, {} groups failed",
        bench.rows,
        bench.failed.len()
    );
    Ok(bench.failed.is_empty() && bench.rows > 0)
}
