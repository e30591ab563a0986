// SPDX-License-Identifier: GPL-2.0
//! The table: a line per row, a column per kind.

use crate::parse::{Results, Row};
use std::fmt::Write;

const KINDS: &[&str] = &["ipvlan", "ipvlan_rs", "macvlan", "veth", "netkit"];

/// What the kinds of a row are compared with: the core's own share of the work.
pub fn base<'a>(results: &'a Results, row: &str, x: u64) -> Option<&'a Row> {
    ["bare", "dummy"]
        .iter()
        .find_map(|kind| results.get(row, x, kind))
}

/// ipvlan_rs : ipvlan, if both were measured and neither was noisy.
pub fn ratio(results: &Results, row: &str, x: u64) -> Option<Result<f64, f64>> {
    let (rs, c) = (
        results.get(row, x, "ipvlan_rs")?,
        results.get(row, x, "ipvlan")?,
    );
    if !rs.steady() || !c.steady() {
        return Some(Err(rs.spread.max(c.spread)));
    }
    (c.median > 0.0).then(|| Ok(rs.median / c.median))
}

pub fn table(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\nInstructions, median of the rounds (+ over the bare master; requests: over a dummy); Linux {}, {}\n",
        results.kernel, results.date
    );
    let _ = write!(out, "{:<22} {:>6} {:>7}", "row", "n", "bare");
    for kind in KINDS {
        let _ = write!(out, " {kind:>16}");
    }
    let _ = writeln!(out, "  rs : ipvlan");
    for (row, x) in results.points() {
        let base = base(results, row, x);
        let _ = write!(out, "{row:<22} {x:>6} {:>7}", number(base));
        for kind in KINDS {
            let cell = results.get(row, x, kind);
            let over = match (cell, base) {
                (Some(c), Some(b)) => format!(" ({:+.0})", c.median - b.median),
                _ => String::new(),
            };
            let _ = write!(out, " {:>16}", number(cell) + &over);
        }
        let verdict = match ratio(results, row, x) {
            Some(Ok(r)) => format!("{r:.3}"),
            Some(Err(spread)) => format!("noisy: rounds differ by {:.0} %", spread * 100.0),
            None => "-".into(),
        };
        let _ = writeln!(out, "  {verdict}");
    }
    out
}

fn number(row: Option<&Row>) -> String {
    row.map_or("-".into(), |r| format!("{:.0}", r.median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    #[test]
    fn a_noisy_row_gets_no_verdict() {
        let r = parse("bench | a | 1 | ipvlan | u | 100 100\nbench | a | 1 | ipvlan_rs | u | 90 96\nbench | b | 1 | ipvlan | u | 100\nbench | b | 1 | ipvlan_rs | u | 90").unwrap();
        assert!(matches!(ratio(&r, "a", 1), Some(Err(_))));
        assert_eq!(ratio(&r, "b", 1), Some(Ok(0.9)));
        assert!(table(&r).contains("noisy"));
    }
}
