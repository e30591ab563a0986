// SPDX-License-Identifier: GPL-2.0
//! The harness's lines, `bench | ROW | X | KIND | UNIT | VALUE VALUE …`.

use anyhow::{ensure, Context, Result};
use serde::Serialize;

/// A run whose rounds differ by more than this, in parts of the median, gets no verdict.
pub const NOISE: f64 = 0.02;

/// What a figure counts: a guest's clock is made of its instructions, User-Mode Linux's kernel has its processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    #[default]
    Instructions,
    Nanoseconds,
}

/// What one kind gave in one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub row: String,
    /// How many addresses, slaves or destinations.
    pub x: u64,
    pub kind: String,
    pub clock: Clock,
    pub unit: String,
    pub values: Vec<f64>,
    pub median: f64,
    /// The middle half of the rounds: a quarter at each end is left out, since a timer of the kernel's, or another
    /// process of the machine's, may fall into any one.
    pub low: f64,
    pub high: f64,
}

impl Row {
    /// How far the middle half is apart, in parts of the median.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 {
            (self.high - self.low) / self.median
        } else {
            0.0
        }
    }

    /// What this row has more than another in each round, for who does the same in the same round; none where the rounds
    /// are not the same.
    pub fn over(&self, other: &Row) -> Option<Row> {
        if self.values.len() != other.values.len() {
            return None;
        }
        let pairs = self.values.iter().zip(&other.values);
        let values: Vec<f64> = pairs.map(|(own, other)| own - other).collect();
        let (median, low, high) = middle(&values)?;
        Some(Row {
            median,
            low,
            high,
            values,
            ..self.clone()
        })
    }

    /// Whether the rounds agree well enough for a ratio.
    pub fn steady(&self) -> bool {
        self.spread() <= NOISE
    }
}

/// Everything that one run gave.
#[derive(Debug, Default)]
pub struct Results {
    pub kernels: Vec<String>,
    pub date: String,
    pub rows: Vec<Row>,
    /// Groups that could not be measured, with the reason.
    pub failed: Vec<String>,
}

impl Results {
    pub fn get(&self, clock: Clock, row: &str, x: u64, kind: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|r| r.clock == clock && r.row == row && r.x == x && r.kind == kind)
    }

    /// Whether there is a row for all of this.
    pub fn has(&self, row: &str, x: u64) -> bool {
        self.rows.iter().any(|r| r.row == row && r.x == x)
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
    let mut clock = Clock::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split(" | ").map(str::trim).collect();
        match words.as_slice() {
            ["bench-kernel", kernel] => results.kernels.push((*kernel).into()),
            ["bench-clock", "instructions"] => clock = Clock::Instructions,
            ["bench-clock", "nanoseconds"] => clock = Clock::Nanoseconds,
            ["bench-date", date] => results.date = (*date).into(),
            ["bench-failed", what, why] => results.failed.push(format!("{what}: {why}")),
            ["bench", row, x, kind, unit, values] => results
                .rows
                .push(self::row(clock, row, x, kind, unit, values).context(line.to_string())?),
            _ => ensure!(!line.starts_with("bench"), "not understood: {line}"),
        }
    }
    ensure!(!results.rows.is_empty(), "there are no measurements in it");
    Ok(results)
}

fn row(clock: Clock, row: &str, x: &str, kind: &str, unit: &str, values: &str) -> Result<Row> {
    let values: Vec<f64> = values
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let (median, low, high) = middle(&values).context("no values")?;
    Ok(Row {
        row: row.into(),
        x: x.parse()?,
        kind: kind.into(),
        unit: unit.into(),
        clock,
        low,
        high,
        median,
        values,
    })
}

/// The median, and the ends of the middle half.
fn middle(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let aside = sorted.len() / 4;
    let last = sorted.len().checked_sub(1)?;
    let median = (sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0;
    Some((median, sorted[aside], sorted[last - aside]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ICOUNT: Clock = Clock::Instructions;

    #[test]
    fn a_line_becomes_a_row_with_median_and_middle() {
        let r = parse("# x\nbench-kernel | 7.3\nbench | tx l2 | 1 | ipvlan | per packet | 100 104 98 107 90\n").unwrap();
        let row = r.get(ICOUNT, "tx l2", 1, "ipvlan").unwrap();
        assert_eq!((row.median, row.low, row.high), (100.0, 98.0, 104.0));
        assert_eq!(row.spread(), 0.06);
        assert!(!row.steady());
        assert_eq!(r.kernels, ["7.3"]);
    }

    #[test]
    fn of_many_rounds_a_quarter_at_each_end_is_left_out() {
        let r = parse("bench | a | 1 | k | u | 1 2 10 11 12 13 14 15 16 98 99").unwrap();
        assert_eq!((r.rows[0].low, r.rows[0].high), (10.0, 16.0));
        // And none of few.
        let r = parse("bench | a | 1 | k | u | 1 2 9").unwrap();
        assert_eq!((r.rows[0].low, r.rows[0].high), (1.0, 9.0));
    }

    #[test]
    fn an_even_number_of_rounds_has_its_median_between_the_middle_two() {
        let r = parse("bench | a | 1 | k | u | 4 1 2 3").unwrap();
        assert_eq!(r.rows[0].median, 2.5);
    }

    #[test]
    fn rows_are_of_the_clock_that_was_named_last() {
        let r = parse(
            "bench | a | 1 | k | u | 1\nbench-clock | nanoseconds\nbench | a | 1 | k | u | 2",
        )
        .unwrap();
        assert_eq!(r.get(ICOUNT, "a", 1, "k").unwrap().median, 1.0);
        assert_eq!(r.get(Clock::Nanoseconds, "a", 1, "k").unwrap().median, 2.0);
        assert_eq!(r.points(), [("a", 1)]);
    }

    #[test]
    fn what_is_torn_or_empty_is_an_error() {
        assert!(parse("").is_err());
        assert!(parse("bench | a | 1 | k | u | ").is_err());
        assert!(parse("bench | a | 1 | k | u | 1 x").is_err());
        assert!(parse("bench | a | 1 | k").is_err());
        assert!(parse("bench | a | 1 | k | u | 1\nbench-clock | sundial").is_err());
    }

    #[test]
    fn what_failed_is_kept() {
        let r = parse("bench | a | 1 | k | u | 1\nbench-failed | rx | no pktgen").unwrap();
        assert_eq!(r.failed, ["rx: no pktgen"]);
    }
}
