// SPDX-License-Identifier: GPL-2.0
//! Which case covers which behaviour of the in-tree driver, row by row, and which rows have none and why.
//!
//! The harness checks this table before it runs anything: every case that is named must exist, every row must have a
//! case or a reason, and no row may be missing or named twice. On the host, proof.rs checks the same, and that
//! of every case that is named a failure has been seen.

mod control;
mod data;

use crate::cases;
use anyhow::{ensure, Context, Result};
use std::collections::BTreeSet;

/// How a row is covered.
pub enum Row {
    Cases(&'static [&'static str]),
    Skipped(&'static str),
}

use Row::{Cases, Skipped};

/// How many rows there are, so that one that is taken out is missed.
const CONTROL_ROWS: usize = 47;
const DATA_ROWS: usize = 39;

/// Cases that no change of the module can fail for certain, mostly because the core alone answers: they show that it does
/// so for this kind too. They need no mutant (see proof.rs).
#[cfg(test)]
pub const OF_THE_CORE: &[(&str, &str)] = &[
    (
        "link.names",
        "the core makes the name from that of the kind",
    ),
    (
        "link.short_dump_has_no_link_info",
        "the core does not ask for the link's information",
    ),
    (
        "address.unrelated_devices",
        "a driver without the check reads what is not its own, and may find anything there",
    ),
    (
        "routed.group_in_a_unicast_frame",
        "7.3 asks no socket of another family (sk_mc_loop() in net/core/sock.c), whichever it is told of",
    ),
    (
        "paged.checksum_from_before_the_packet",
        "packet sockets refuse it (include/linux/virtio_net.h)",
    ),
    (
        "permission.create_without_capability",
        "the core asks for the right before it calls the kind",
    ),
];

/// Checks the table against the cases that exist.
pub fn check() -> Result<()> {
    let names = names()?;
    for (table, rows) in [(control::ROWS, CONTROL_ROWS), (data::ROWS, DATA_ROWS)] {
        ensure!(
            table.len() == rows,
            "{} rows instead of {rows}",
            table.len()
        );
        let mut seen = BTreeSet::new();
        for (row, covered) in table {
            ensure!(seen.insert(row), "row {row:?} is there twice");
            covered
                .check(&names)
                .with_context(|| format!("row {row:?}"))?;
        }
    }
    Ok(())
}

/// The names of all cases.
pub fn names() -> Result<BTreeSet<&'static str>> {
    let names: BTreeSet<&str> = cases::all().map(|c| c.name).collect();
    ensure!(
        names.len() == cases::all().count(),
        "two cases share a name"
    );
    Ok(names)
}

impl Row {
    /// There is a case, and each that is named exists; or there is a reason.
    pub fn check(&self, names: &BTreeSet<&str>) -> Result<()> {
        match self {
            Cases(list) => {
                ensure!(!list.is_empty(), "no case");
                for case in *list {
                    ensure!(names.contains(case), "{case} does not exist");
                }
            }
            Skipped(why) => ensure!(!why.is_empty(), "skipped without a reason"),
        }
        Ok(())
    }

    /// The cases named.
    #[cfg(test)]
    pub fn cases(&self) -> &'static [&'static str] {
        match self {
            Cases(list) => list,
            Skipped(_) => &[],
        }
    }
}

fn all() -> impl Iterator<Item = &'static (&'static str, Row)> {
    control::ROWS.iter().chain(data::ROWS)
}

/// Every case that covers a row.
#[cfg(test)]
pub fn cases() -> impl Iterator<Item = &'static str> {
    all().flat_map(|(_, row)| row.cases().iter().copied())
}

/// The rows without a case, for the report.
pub fn skipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    all().filter_map(|(row, covered)| match covered {
        Skipped(why) => Some((*row, *why)),
        Cases(_) => None,
    })
}
