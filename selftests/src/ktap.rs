// SPDX-License-Identifier: GPL-2.0
//! KTAP version 1 on standard output (Documentation/dev-tools/ktap.rst).

use std::io::Write;
use std::time::Duration;

/// What became of a case.
#[derive(Clone, Debug)]
pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// The stream of results and its totals.
#[derive(Default)]
pub struct Ktap {
    number: usize,
    pub failed: Vec<String>,
}

impl Ktap {
    /// Prints the header and the plan.
    pub fn start(cases: usize) -> Ktap {
        println!("KTAP version 1\n1..{cases}");
        Ktap::default()
    }

    /// Prints one result; a failure's text becomes diagnostic lines.
    pub fn result(&mut self, name: &str, outcome: &Outcome, took: Duration) {
        self.number += 1;
        let number = self.number;
        match outcome {
            Outcome::Passed => println!("ok {number} {name} # {} ms", took.as_millis()),
            Outcome::Skipped(why) => println!("ok {number} {name} # SKIP {why}"),
            Outcome::Failed(why) => {
                for line in why.lines() {
                    println!("# {name}: {line}");
                }
                println!("not ok {number} {name} # {} ms", took.as_millis());
                self.failed.push(name.to_string());
            }
        }
        let _ = std::io::stdout().flush();
    }
}
