// SPDX-License-Identifier: GPL-2.0
//! The project's goals, each a bound on a ratio of measured rows.

use crate::parse::{Clock, Results, Row};
use serde::Serialize;
use std::fmt::Write;

#[derive(Debug, PartialEq, Serialize)]
pub struct Goal {
    pub what: String,
    pub bound: f64,
    pub seen: Option<f64>,
    pub verdict: &'static str,
}

/// A sum of measured rows, some of them taken away; none if one of them is missing.
type Sum<'a> = Vec<(f64, Option<&'a Row>)>;

/// How a sum's figure follows from its rows: their medians, or the ends of their middle halves.
#[derive(Clone, Copy)]
enum End {
    Low,
    Median,
    High,
}

fn figure(sum: &Sum<'_>, end: End) -> Option<f64> {
    sum.iter().try_fold(0.0, |total, (sign, row)| {
        let row = (*row)?;
        Some(
            total
                + sign
                    * match (end, *sign > 0.0) {
                        (End::Median, _) => row.median,
                        (End::Low, true) | (End::High, false) => row.low,
                        (End::High, true) | (End::Low, false) => row.high,
                    },
        )
    })
}

/// Whether above : below is at most the bound. If that depends on which rounds of the middle half are taken, it is noise.
fn decide(what: String, bound: f64, above: Sum<'_>, below: Sum<'_>) -> Goal {
    let ratio = |a, b| match (figure(&above, a), figure(&below, b)) {
        (Some(a), Some(b)) if b > 0.0 => Some(a / b),
        _ => None,
    };
    let seen = ratio(End::Median, End::Median);
    let verdict = match (seen, ratio(End::Low, End::High), ratio(End::High, End::Low)) {
        (None, ..) => "not measured",
        (_, _, Some(worst)) if worst <= bound => "met",
        (_, Some(best), _) if best > bound => "NOT MET",
        _ => "noisy: no verdict",
    };
    Goal {
        what,
        bound,
        seen,
        verdict,
    }
}

/// The bound on what is counted, every round of it.
fn at_most(what: String, bound: f64, row: &Row) -> Goal {
    let worst = row.values.iter().copied().fold(0.0, f64::max);
    Goal {
        what,
        bound,
        seen: Some(worst),
        verdict: if worst <= bound { "met" } else { "NOT MET" },
    }
}

pub fn judge(r: &Results) -> Vec<Goal> {
    let icount = |row: &str, x, kind| r.get(Clock::Instructions, row, x, kind);
    let ns = |row: &str, x, kind| r.get(Clock::Nanoseconds, row, x, kind);
    let mut goals = Vec::new();

    let over = [
        ("tx l2 v4 60", 1, "bare-queue", 0.9),
        ("rx fixed", 1, "bare", 0.9),
        ("tx l3 v4 destinations", 1, "bare", 0.7),
        ("tx l3 v4 destinations", 64, "bare", 0.7),
        ("tx l3 v4 destinations", 4096, "bare", 1.05),
        ("tx l3 v4 destinations", 65536, "bare", 1.05),
        ("tx l3 v4 pairs", 65536, "bare", 1.05),
        ("tx l3 v6 destinations", 1, "bare", 0.7),
        ("tx l3 v6 destinations", 64, "bare", 0.7),
        ("tx l3 v6 destinations", 65536, "bare", 1.05),
        ("rx miss", 1, "bare", 1.0),
        ("rx miss", 256, "bare", 1.0),
        ("rx miss", 1000, "bare", 1.0),
    ];
    for (row, x, common, bound) in over {
        let share = |kind| vec![(1.0, icount(row, x, kind)), (-1.0, icount(row, x, common))];
        let what = format!("{row}, {x}: over {common}, ipvlan_rs : ipvlan");
        goals.push(decide(what, bound, share("ipvlan_rs"), share("ipvlan")));
    }

    // The generator's draws cost something too, which the bare master shows.
    let row = "rx random";
    let most = [20_000, 4096].into_iter().find(|x| r.has(row, *x));
    let most = most.unwrap_or(20_000);
    goals.push(decide(
        format!("{row}: ipvlan_rs with {most} addresses : with 1, less the generator's draws"),
        1.1,
        vec![
            (1.0, icount(row, most, "ipvlan_rs")),
            (-1.0, icount(row, most, "bare")),
            (1.0, icount(row, 1, "bare")),
        ],
        vec![(1.0, icount(row, 1, "ipvlan_rs"))],
    ));
    for (row, few, name) in [
        (row, 1, "1"),
        (row, 1000, "one on each slave"),
        ("rx random, 10 slaves", 1, "1"),
    ] {
        let own = |sign: f64, x| [(sign, ns(row, x, "ipvlan_rs")), (-sign, ns(row, x, "bare"))];
        goals.push(decide(
            format!("{row}, ns: what 100000 addresses add to {name} : two cache misses"),
            1.0,
            [own(1.0, 100_000), own(-1.0, few)].concat(),
            vec![(2.0, ns("cache miss", 1, "memory"))],
        ));
    }
    let row = "look-up in the table, host";
    goals.push(decide(
        format!("{row}, ns: what 1000000 addresses add to 1 : two cache misses"),
        1.0,
        vec![
            (1.0, ns(row, 1_000_000, "ipvlan_rs")),
            (-1.0, ns(row, 1, "ipvlan_rs")),
        ],
        vec![(2.0, ns("cache miss, host", 1, "memory"))],
    ));

    for mode in ["l2", "l3"] {
        let row = format!("sibling {mode} v4 60");
        goals.push(decide(
            format!("{row}: ipvlan_rs : veth"),
            1.02,
            vec![(1.0, icount(&row, 1, "ipvlan_rs"))],
            vec![(1.0, icount(&row, 1, "veth"))],
        ));
    }

    let row = "broadcast burst";
    let crowd = [200, 100].into_iter().find(|x| r.has(row, *x));
    let crowd = crowd.unwrap_or(200);
    for clock in [Clock::Nanoseconds, Clock::Instructions] {
        let per_copy = |kind| vec![(1.0, r.get(clock, row, crowd, kind))];
        goals.push(decide(
            format!(
                "{row} to {crowd}: per copy, {}, ipvlan_rs : ipvlan",
                self::clock(clock)
            ),
            0.8,
            per_copy("ipvlan_rs"),
            per_copy("ipvlan"),
        ));
    }
    for lost in &r.rows {
        if lost.row.ends_with(" lost") && lost.kind == "ipvlan_rs" {
            let what = format!("{} to {}, {}", lost.row, lost.x, clock(lost.clock));
            goals.push(at_most(what, 0.0, lost));
        }
        if lost.row.ends_with(": slaves that see it") && lost.kind == "ipvlan_rs" {
            // Its owner and the sender's.
            let what = format!("{}, of {}, {}", lost.row, lost.x, clock(lost.clock));
            goals.push(at_most(what, 2.0, lost));
        }
    }

    let row = "adding an address";
    let most = [10_000, 4096].into_iter().find(|x| r.has(row, *x));
    let most = most.unwrap_or(10_000);
    // The core's share climbs and falls with each address, a hundred times ours; the nth of either is the same to it.
    let own = |x| icount(row, x, "ipvlan_rs")?.over(icount(row, x, "dummy")?);
    let (above, below) = (own(most), own(100));
    goals.push(decide(
        format!("{row}: over a dummy's, one by one, ipvlan_rs, {most}th : 100th"),
        1.2,
        vec![(1.0, above.as_ref())],
        vec![(1.0, below.as_ref())],
    ));
    let row = "adding a slave";
    let most = [10_000, 300].into_iter().find(|x| r.has(row, *x));
    let most = most.unwrap_or(10_000);
    goals.push(decide(
        format!("{row}: the {most}th, ipvlan_rs : macvlan"),
        1.05,
        vec![(1.0, icount(row, most, "ipvlan_rs"))],
        vec![(1.0, icount(row, most, "macvlan"))],
    ));
    goals
}

fn clock(clock: Clock) -> &'static str {
    match clock {
        Clock::Instructions => "in the guest",
        Clock::Nanoseconds => "User-Mode Linux",
    }
}

/// The goals as lines; what was not measured only if `all`.
pub fn table(goals: &[Goal], all: bool) -> String {
    let mut out = String::from("\nGoals\n\n");
    for g in goals {
        let Some(seen) = g.seen else {
            if all {
                let _ = writeln!(
                    out,
                    "{:<75}        -  ≤ {:<5} {}",
                    g.what, g.bound, g.verdict
                );
            }
            continue;
        };
        let _ = writeln!(
            out,
            "{:<75} {seen:>8.3}  ≤ {:<5} {}",
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

    fn line(row: &str, x: u32, kind: &str, values: &str) -> String {
        format!("bench | {row} | {x} | {kind} | u | {values}\n")
    }

    #[test]
    fn what_is_common_is_taken_off_before_the_ratio() {
        let row = |kind, v: u32| line("tx l2 v4 60", 1, kind, &v.to_string());
        let with = |rs| row("bare-queue", 1000) + &row("ipvlan", 1100) + &row("ipvlan_rs", rs);
        assert_eq!(verdict(&with(1090), "tx l2"), "met");
        assert_eq!(verdict(&with(1091), "tx l2"), "NOT MET");
        let lacking = row("ipvlan", 1100) + &row("ipvlan_rs", 1);
        assert_eq!(verdict(&lacking, "tx l2"), "not measured");
    }

    #[test]
    fn noise_that_leaves_it_open_is_no_verdict() {
        let row = "sibling l2 v4 60";
        let with = |rs| line(row, 1, "veth", "100 110") + &line(row, 1, "ipvlan_rs", rs);
        assert_eq!(verdict(&with("105"), row), "noisy: no verdict");
        assert_eq!(verdict(&with("102"), row), "met");
        assert_eq!(verdict(&with("113"), row), "NOT MET");
        // Their middles alone would be well below the bound.
        assert_eq!(verdict(&with("80 103"), row), "noisy: no verdict");
    }

    #[test]
    fn the_nth_address_is_held_against_the_nth() {
        let add = "adding an address";
        let with = |most: &str| {
            line(add, 100, "ipvlan_rs", "1100 5100 9100")
                + &line(add, 100, "dummy", "1000 5000 9000")
                + &line(add, 10_000, "ipvlan_rs", most)
                + &line(add, 10_000, "dummy", "1000 5000 9000")
        };
        assert_eq!(verdict(&with("1120 5120 9120"), add), "met");
        assert_eq!(verdict(&with("1121 5121 9121"), add), "NOT MET");
        assert_eq!(verdict(&with("1110 5110 9190"), add), "noisy: no verdict");
        assert_eq!(verdict(&with("1110 5110"), add), "not measured");
    }

    #[test]
    fn noise_of_what_is_taken_off_counts_too() {
        let row = "tx l2 v4 60";
        let with = |bare| {
            line(row, 1, "bare-queue", bare)
                + &line(row, 1, "ipvlan", "1100")
                + &line(row, 1, "ipvlan_rs", "1085")
        };
        assert_eq!(verdict(&with("1000"), row), "met");
        assert_eq!(verdict(&with("800 1000"), row), "noisy: no verdict");
    }

    #[test]
    fn two_cache_misses_are_of_the_same_clock() {
        let row = |x, kind, v: u32| line("rx random", x, kind, &v.to_string());
        let with = |v| {
            row(1, "ipvlan_rs", 200)
                + &row(1, "bare", 150)
                + &row(100_000, "ipvlan_rs", v)
                + &row(100_000, "bare", 160)
                + &line("cache miss", 1, "memory", "50")
        };
        let ns = |v| format!("bench-clock | nanoseconds\n{}", with(v));
        let what = "rx random, ns";
        assert_eq!(verdict(&ns(310), what), "met");
        assert_eq!(verdict(&ns(311), what), "NOT MET");
        assert_eq!(verdict(&with(200), what), "not measured");
    }

    #[test]
    fn the_hosts_table_is_held_against_the_hosts_misses() {
        let row = "look-up in the table, host";
        let with = |most: u32| {
            let ns = String::from("bench-clock | nanoseconds\n");
            ns + &line(row, 1, "ipvlan_rs", "20")
                + &line(row, 1_000_000, "ipvlan_rs", &most.to_string())
                + &line("cache miss, host", 1, "memory", "100")
                // Of another machine.
                + &line("cache miss", 1, "memory", "1000")
        };
        assert_eq!(verdict(&with(220), row), "met");
        assert_eq!(verdict(&with(221), row), "NOT MET");
    }

    #[test]
    fn one_lost_copy_is_one_too_many() {
        let text = |n| {
            line(
                "broadcast lost",
                100,
                "ipvlan_rs",
                &format!("0 0 0 {n} 0 0 0"),
            )
        };
        assert_eq!(verdict(&text(0), "broadcast lost to 100"), "met");
        assert_eq!(verdict(&text(1), "broadcast lost to 100"), "NOT MET");
    }
}
