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

/// ipvlan_rs : ipvlan, if both were measured; the spread if one was noisy.
fn ratio(results: &Results, clock: Clock, row: &str, x: u64) -> Option<Result<f64, f64>> {
    let (rs, c) = (
        results.get(clock, row, x, "ipvlan_rs")?,
        results.get(clock, row, x, "ipvlan")?,
    );
    if !rs.steady() || !c.steady() {
        return Some(Err(rs.spread().max(c.spread())));
    }
    (c.median > 0.0).then(|| Ok(rs.median / c.median))
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
    let verdict = match ratio(results, clock, row, x) {
        Some(Ok(r)) => format!("{r:.3}"),
        Some(Err(spread)) => format!("noisy: rounds differ by {:.0} %", spread * 100.0),
        None => "-".into(),
    };
    Some(out + "  " + &verdict)
}

fn number(row: Option<&Row>) -> String {
    row.map_or("-".into(), |r| format!("{:.0}", r.median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    #[test]
    fn a_noisy_row_gets_no_ratio() {
        let r = parse("bench | a | 1 | ipvlan | u | 100 100\nbench | a | 1 | ipvlan_rs | u | 90 96\nbench | b | 1 | ipvlan | u | 100\nbench | b | 1 | ipvlan_rs | u | 90").unwrap();
        assert!(matches!(
            ratio(&r, Clock::Instructions, "a", 1),
            Some(Err(_))
        ));
        assert_eq!(ratio(&r, Clock::Instructions, "b", 1), Some(Ok(0.9)));
        assert!(table(&r).contains("noisy"));
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
