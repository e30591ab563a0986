// SPDX-License-Identifier: GPL-2.0
//! The table: a line per row and clock, a column per kind.

use crate::parse::{Clock, Results, Row};
use std::fmt::Write;

const KINDS: [&str; 5] = ["ipvlan", "ipvlan_rs", "macvlan", "veth", "netkit"];

/// What the kinds of a row are compared with: the core's own share of the work.
fn base<'a>(results: &'a Results, clock: Clock, row: &str, x: u64) -> Option<&'a Row> {
    ["bare", "dummy"]
        .iter()
        .find_map(|kind| results.get(clock, row, x, kind))
}

/// ipvlan_rs : ipvlan, if both were measured, and between what by the middle half of their rounds, where that is far. If
/// it leaves open which of them takes less, there is no ratio.
fn ratio(results: &Results, clock: Clock, row: &str, x: u64) -> Option<String> {
    let rs = results.get(clock, row, x, "ipvlan_rs")?;
    let c = results.get(clock, row, x, "ipvlan")?;
    if c.low <= 0.0 {
        return (c.median > 0.0).then(|| format!("{:.3}", rs.median / c.median));
    }
    let (low, high) = (rs.low / c.high, rs.high / c.low);
    Some(if rs.steady() && c.steady() {
        format!("{:.3}", rs.median / c.median)
    } else if low <= 1.0 && high >= 1.0 {
        format!("noisy: {low:.2} to {high:.2}")
    } else {
        format!("{:.3} ({low:.2} to {high:.2})", rs.median / c.median)
    })
}

pub fn table(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\nMedians of the rounds: instructions on the stock kernel; ns: the kernel's processor time under User-Mode Linux\n\
         (+ over the bare master; of requests: over a dummy). Linux {}; {}\n",
        results.kernels.join(", "),
        results.date
    );
    let _ = write!(out, "{:<40} {:>6}    {:>7}", "row", "n", "bare");
    for kind in KINDS {
        let _ = write!(out, " {kind:>16}");
    }
    let _ = writeln!(out, "  rs : ipvlan");
    for (row, x) in results.points() {
        let mut name = row;
        for clock in [Clock::Instructions, Clock::Nanoseconds] {
            if let Some(cells) = line(results, clock, row, x) {
                let unit = match clock {
                    Clock::Instructions => "",
                    Clock::Nanoseconds => "ns",
                };
                let _ = writeln!(out, "{name:<40} {x:>6} {unit:<2}{cells}");
                name = "";
            }
        }
    }
    out
}

/// A row's cells under one clock, if it was measured under it.
fn line(results: &Results, clock: Clock, row: &str, x: u64) -> Option<String> {
    let base = base(results, clock, row, x);
    let cells = KINDS.map(|kind| results.get(clock, row, x, kind));
    if base.is_none() && cells.iter().all(Option::is_none) {
        // A row of no kind's, such as a cache miss.
        let own = results
            .rows
            .iter()
            .find(|r| r.clock == clock && r.row == row && r.x == x)?;
        return Some(format!(" {:>7}  ({})", number(Some(own)), own.kind));
    }
    let mut out = format!(" {:>7}", number(base));
    for cell in cells {
        let over = match (cell, base) {
            (Some(c), Some(b)) => format!(" ({:+.0})", c.median - b.median),
            _ => String::new(),
        };
        let _ = write!(out, " {:>16}", number(cell) + &over);
    }
    let ratio = ratio(results, clock, row, x);
    Some(out + "  " + ratio.as_deref().unwrap_or("-"))
}

fn number(row: Option<&Row>) -> String {
    row.map_or("-".into(), |r| format!("{:.0}", r.median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    #[test]
    fn a_ratio_says_how_far_the_rounds_are_apart() {
        let of = |ours: &str, others: &str| {
            let text = format!(
                "bench | a | 1 | ipvlan | u | {others}\nbench | a | 1 | ipvlan_rs | u | {ours}"
            );
            ratio(&parse(&text).unwrap(), Clock::Instructions, "a", 1).unwrap()
        };
        assert_eq!(of("90", "100"), "0.900");
        assert_eq!(of("90 96", "100 100"), "0.930 (0.90 to 0.96)");
        assert_eq!(of("90 101", "100 100"), "noisy: 0.90 to 1.01");
        // Of a loss there may be none.
        assert_eq!(of("0", "5"), "0.000");
    }

    #[test]
    fn each_clock_has_a_line_and_its_own_base() {
        let row = |kind, v: u32| format!("bench | a | 1 | {kind} | u | {v}\n");
        let text = row("bare", 1000) + &row("ipvlan_rs", 1500);
        let ns = "bench-clock | nanoseconds\n".to_string() + &row("bare", 70) + &row("veth", 90);
        let out = table(&parse(&(text + &ns)).unwrap());
        assert!(out.contains("1500 (+500)"), "{out}");
        assert!(out.contains("90 (+20)"), "{out}");
        assert_eq!(out.lines().filter(|l| l.starts_with("a ")).count(), 1);
    }
}
