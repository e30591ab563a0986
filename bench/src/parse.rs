// SPDX-License-Identifier: GPL-2.0
//! The harness's lines, `bench | ROW | X | KIND | UNIT | VALUE VALUE …`.

use anyhow::{ensure, Context, Result};
use serde::Serialize;

/// A run whose rounds differ by more than this, in parts of the median, gets no verdict.
pub const NOISE: f64 = 0.02;

/// What one kind gave in one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub row: String,
    /// How many addresses, slaves or destinations.
    pub x: u64,
    pub kind: String,
    pub unit: String,
    pub values: Vec<f64>,
    pub median: f64,
    /// Largest less smallest, in parts of the median; of five and more rounds one at each end is left out, since a timer
    /// of the kernel's may fall into any one.
    pub spread: f64,
}

impl Row {
    /// Whether the rounds agree well enough for a verdict.
    pub fn steady(&self) -> bool {
        self.spread <= NOISE
    }
}

/// Everything that one run gave.
#[derive(Debug, Default)]
pub struct Results {
    pub kernel: String,
    pub date: String,
    pub rows: Vec<Row>,
    /// Groups that could not be measured, with the reason.
    pub failed: Vec<String>,
}

impl Results {
    pub fn get(&self, row: &str, x: u64, kind: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|r| r.row == row && r.x == x && r.kind == kind)
    }

    /// Rows and their `x` in the order in which they were measured, each once.
    pub fn points(&self) -> Vec<(&str, u64)> {
        let mut points = Vec::new();
        for r in &self.rows {
            let point = (r.row.as_str(), r.x);
            if !points.contains(&point) {
                points.push(point);
            }
        }
        points
    }
}

pub fn parse(text: &str) -> Result<Results> {
    let mut results = Results::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split(" | ").map(str::trim).collect();
        match words.as_slice() {
            ["bench-kernel", kernel] => results.kernel = (*kernel).into(),
            ["bench-date", date] => results.date = (*date).into(),
            ["bench-failed", what, why] => results.failed.push(format!("{what}: {why}")),
            ["bench", row, x, kind, unit, values] => results
                .rows
                .push(self::row(row, x, kind, unit, values).context(line.to_string())?),
            _ => ensure!(!line.starts_with("bench |"), "not understood: {line}"),
        }
    }
    ensure!(!results.rows.is_empty(), "there are no measurements in it");
    Ok(results)
}

fn row(row: &str, x: &str, kind: &str, unit: &str, values: &str) -> Result<Row> {
    let values: Vec<f64> = values
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    ensure!(!sorted.is_empty(), "no values");
    let aside = usize::from(sorted.len() >= 5);
    let (first, last) = (sorted[aside], sorted[sorted.len() - 1 - aside]);
    let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
    let spread = if median > 0.0 {
        (last - first) / median
    } else {
        0.0
    };
    Ok(Row {
        row: row.into(),
        x: x.parse()?,
        kind: kind.into(),
        unit: unit.into(),
        median,
        spread,
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_row_with_median_and_spread() {
        let r = parse("# x\nbench-kernel | 7.3\nbench | tx l2 | 1 | ipvlan | per packet | 100 104 98 107 90\n").unwrap();
        let row = r.get("tx l2", 1, "ipvlan").unwrap();
        assert_eq!((row.median, row.spread), (100.0, 0.06));
        assert!(!row.steady());
        assert_eq!(r.kernel, "7.3");
    }

    #[test]
    fn an_even_number_of_rounds_has_its_median_between_the_middle_two() {
        let r = parse("bench | a | 1 | k | u | 4 1 2 3").unwrap();
        assert_eq!(r.rows[0].median, 2.5);
    }

    #[test]
    fn what_is_torn_or_empty_is_an_error() {
        assert!(parse("").is_err());
        assert!(parse("bench | a | 1 | k | u | ").is_err());
        assert!(parse("bench | a | 1 | k | u | 1 x").is_err());
        assert!(parse("bench | a | 1 | k").is_err());
    }

    #[test]
    fn what_failed_is_kept() {
        let r = parse("bench | a | 1 | k | u | 1\nbench-failed | rx | no pktgen").unwrap();
        assert_eq!(r.failed, ["rx: no pktgen"]);
    }
}
