// SPDX-License-Identifier: GPL-2.0
//! Which case covers which behaviour of the in-tree driver, row by row, and which rows have none and why.
//!
//! The harness checks this table before it runs anything: every case that is named must exist, every row must have a
//! case or a reason, and no row may be missing or named twice.

mod control;
mod data;

use crate::cases;
use anyhow::{ensure, Result};
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

/// Checks the table against the cases that exist.
pub fn check() -> Result<()> {
    let names: BTreeSet<&str> = cases::all().map(|c| c.name).collect();
    ensure!(
        names.len() == cases::all().count(),
        "two cases share a name"
    );
    for (table, rows) in [(control::ROWS, CONTROL_ROWS), (data::ROWS, DATA_ROWS)] {
        ensure!(
            table.len() == rows,
            "{} rows instead of {rows}",
            table.len()
        );
        let mut seen = BTreeSet::new();
        for (row, covered) in table {
            ensure!(seen.insert(row), "row {row:?} is there twice");
            match covered {
                Cases(list) => {
                    ensure!(!list.is_empty(), "row {row:?} has no case");
                    for case in *list {
                        ensure!(
                            names.contains(case),
                            "row {row:?} names {case}, which does not exist"
                        );
                    }
                }
                Skipped(why) => ensure!(!why.is_empty(), "row {row:?} is skipped without a reason"),
            }
        }
    }
    Ok(())
}

/// The rows without a case, for the report.
pub fn skipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    control::ROWS
        .iter()
        .chain(data::ROWS)
        .filter_map(|(row, covered)| match covered {
            Skipped(why) => Some((*row, *why)),
            Cases(_) => None,
        })
}
