// SPDX-License-Identifier: GPL-2.0
//! What packets and requests cost, kind beside kind in one boot.
//!
//! The clock decides what a figure means. In a guest with `-icount shift=0` a nanosecond is an instruction, so whatever
//! measures time counts instructions; elsewhere the same figures are nanoseconds.
//!
//! A row is measured in rounds, in each round once per kind, so that what changes slowly meets all kinds alike. The result
//! is a line of data per row and kind, `bench | ROW | X | KIND | UNIT | VALUE VALUE …`, for the tool in bench/ to judge.
//! Every shot is witnessed: counters must show that the packets went the way the row is named after.

mod ask;
mod control;
mod group;
mod memory;
mod miss;
mod net;
mod pktgen;
mod receive;
mod stream;
mod unicast;
mod work;

use crate::options::Options;
use crate::{init, modules};
use anyhow::{bail, Result};
use std::str::FromStr;
use work::Meter;

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
    pub meter: Meter,
    uml: bool,
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

    /// Whether instructions are counted, by an emulator that takes its time.
    pub fn emulated(&self) -> bool {
        !self.uml
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
    // Packet sockets of the harness live on it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _inside = runtime.enter();
    let uml = std::fs::read_to_string("/proc/cpuinfo")?.contains("User Mode Linux");
    let mut bench = Bench {
        scale,
        // Time has noise, which more rounds tell from the figure; instructions have next to none.
        rounds: match (uml, scale) {
            (true, Scale::Full) => 11,
            _ => 5,
        },
        packets: match (uml, scale) {
            (true, Scale::Full) => 100_000,
            (true, Scale::Quick) => 20_000,
            (false, Scale::Full) => 2000,
            (false, Scale::Quick) => 500,
        },
        meter: Meter::new(uml)?,
        uml,
        options,
        failed: Vec::new(),
        rows: 0,
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!("bench-kernel | {}", release.trim());
    println!(
        "bench-clock | {}",
        if uml { "nanoseconds" } else { "instructions" }
    );
    bench.group("tx", unicast::transmit);
    bench.group("sibling", unicast::siblings);
    bench.group("tcp", stream::tcp);
    bench.group("cache", miss::chase);
    bench.group("rx", receive::growth);
    bench.group("rx on few slaves", receive::few_slaves);
    bench.group("slaves", control::slaves);
    if bench.emulated() {
        // What things take does not depend on who counts.
        bench.group("memory", memory::space);
    }
    bench.group("broadcast", group::flood);
    bench.group("ask", ask::neighbours);
    println!(
        "# {} rows, {} groups failed",
        bench.rows,
        bench.failed.len()
    );
    Ok(bench.failed.is_empty() && bench.rows > 0)
}
