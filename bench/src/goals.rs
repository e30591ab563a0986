// SPDX-License-Identifier: GPL-2.0
//! The project's goals, each a bound on a ratio of measured rows.

use crate::parse::{Results, Row};
use serde::Serialize;
use std::fmt::Write;

#[derive(Debug, PartialEq, Serialize)]
pub struct Goal {
    pub what: String,
    pub bound: f64,
    pub seen: Option<f64>,
    pub verdict: &'static str,
}

/// The ratio of two figures less what is common to both.
struct Ask<'a> {
    what: String,
    bound: f64,
    above: [Option<&'a Row>; 2],
    below: [Option<&'a Row>; 2],
}

pub fn judge(r: &Results) -> Vec<Goal> {
    let own = |row: &str, x, common: &str, bound| Ask {
        what: format!("{row}, {x}: own share, ipvlan_rs : ipvlan"),
        bound,
        above: [r.get(row, x, "ipvlan_rs"), r.get(row, x, common)],
        below: [r.get(row, x, "ipvlan"), r.get(row, x, common)],
    };
    let most = r.rows.iter().filter(|r| r.row == "rx random");
    let most = most.map(|r| r.x).max().unwrap_or(1);
    let mut asks = vec![
        own("tx l2 v4 60", 1, "bare-queue", 0.9),
        own("rx fixed", 1, "bare", 0.9),
        own("tx l3 v4 destinations", 1, "bare", 0.7),
        own("tx l3 v4 destinations", 64, "bare", 0.7),
        own("tx l3 v4 destinations", 4096, "bare", 1.05),
        Ask {
            what: format!("rx random: ipvlan_rs with {most} addresses : with 1"),
            bound: 1.1,
            above: [r.get("rx random", most, "ipvlan_rs"), None],
            below: [r.get("rx random", 1, "ipvlan_rs"), None],
        },
    ];
    for mode in ["l2", "l3"] {
        let row = format!("sibling {mode} v4 60");
        asks.push(Ask {
            what: format!("{row}: ipvlan_rs : veth"),
            bound: 1.02,
            above: [r.get(&row, 1, "ipvlan_rs"), None],
            below: [r.get(&row, 1, "veth"), None],
        });
    }
    for x in [100, 200] {
        asks.push(Ask {
            what: format!("broadcast to {x}: per copy, ipvlan_rs : ipvlan"),
            bound: 0.8,
            above: [r.get("broadcast", x, "ipvlan_rs"), None],
            below: [r.get("broadcast", x, "ipvlan"), None],
        });
    }
    let add = "adding an address";
    for x in [4096, 10_000] {
        asks.push(Ask {
            what: format!("{add}: over a dummy's, ipvlan_rs, {x}th : 256th"),
            bound: 1.2,
            above: [r.get(add, x, "ipvlan_rs"), r.get(add, x, "dummy")],
            below: [r.get(add, 256, "ipvlan_rs"), r.get(add, 256, "dummy")],
        });
    }
    for x in [100, 1000] {
        asks.push(Ask {
            what: format!("adding the {x}th slave, ipvlan_rs : macvlan"),
            bound: 1.05,
            above: [r.get("adding a slave", x, "ipvlan_rs"), None],
            below: [r.get("adding a slave", x, "macvlan"), None],
        });
    }
    let mut goals: Vec<Goal> = asks.into_iter().map(decide).collect();
    for lost in r
        .rows
        .iter()
        .filter(|r| r.row == "broadcast lost" && r.kind == "ipvlan_rs")
    {
        let worst = lost.values.iter().copied().fold(0.0, f64::max);
        goals.push(Goal {
            what: format!("broadcast to {}: copies lost", lost.x),
            bound: 0.0,
            seen: Some(worst),
            verdict: if worst == 0.0 { "met" } else { "NOT MET" },
        });
    }
    goals
}

fn decide(ask: Ask<'_>) -> Goal {
    // A common part that is asked for must have been measured: `None` is right only where there is none.
    let value =
        |[row, common]: [Option<&Row>; 2]| row.map(|r| r.median - common.map_or(0.0, |c| c.median));
    let rows = ask.above.iter().chain(&ask.below).flatten();
    let noisy = rows.clone().any(|r| !r.steady());
    let seen = match (value(ask.above), value(ask.below)) {
        (Some(a), Some(b)) if b > 0.0 => Some(a / b),
        _ => None,
    };
    let verdict = match seen {
        None => "not measured",
        Some(_) if noisy => "noisy: no verdict",
        Some(seen) if seen <= ask.bound => "met",
        Some(_) => "NOT MET",
    };
    Goal {
        what: ask.what,
        bound: ask.bound,
        seen,
        verdict,
    }
}

pub fn table(goals: &[Goal]) -> String {
    let mut out = String::from("\nGoals\n\n");
    for g in goals {
        let seen = g.seen.map_or("-".into(), |s| format!("{s:.3}"));
        let _ = writeln!(
            out,
            "{:<66} {seen:>8}  ≤ {:<5} {}",
            g.what, g.bound, g.verdict
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn verdict(text: &str, what: &str) -> &'static str {
        let goals = judge(&parse(text).unwrap());
        goals
            .iter()
            .find(|g| g.what.starts_with(what))
            .unwrap()
            .verdict
    }

    #[test]
    fn what_is_common_is_taken_off_before_the_ratio() {
        let row = |kind: &str, v: u32| format!("bench | tx l2 v4 60 | 1 | {kind} | u | {v}\n");
        let with = |rs| row("bare-queue", 1000) + &row("ipvlan", 1100) + &row("ipvlan_rs", rs);
        assert_eq!(verdict(&with(1090), "tx l2"), "met");
        assert_eq!(verdict(&with(1091), "tx l2"), "NOT MET");
        assert_eq!(verdict(&row("ipvlan", 5), "tx l2"), "not measured");
    }

    #[test]
    fn noise_is_no_success() {
        let text = "bench | sibling l2 v4 60 | 1 | veth | u | 100 110\nbench | sibling l2 v4 60 | 1 | ipvlan_rs | u | 90";
        assert_eq!(verdict(text, "sibling l2"), "noisy: no verdict");
    }

    #[test]
    fn one_lost_copy_is_one_too_many() {
        let text = |n| format!("bench | broadcast lost | 100 | ipvlan_rs | copies | 0 {n} 0");
        assert_eq!(verdict(&text(0), "broadcast to 100: copies"), "met");
        assert_eq!(verdict(&text(1), "broadcast to 100: copies"), "NOT MET");
    }
}
