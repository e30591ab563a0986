// SPDX-License-Identifier: GPL-2.0
//! Evidence: what the proofs of the suite `debug` print of how much there was of what, for scripts/check-long to collect.

use crate::options::Options;
use std::sync::OnceLock;

static CHOSEN: OnceLock<(Option<u64>, u64)> = OnceLock::new();

/// Takes over what the run was told.
pub fn choose(options: &Options) {
    let _ = CHOSEN.set((options.amount, options.seed));
}

/// How much a case does: `st.amount`, or its own default.
pub fn amount(default: u64) -> u64 {
    CHOSEN.get().and_then(|c| c.0).unwrap_or(default)
}

/// `st.seed`.
pub fn seed() -> u64 {
    CHOSEN.get().map_or(1, |c| c.1)
}

/// Prints a row of the table.
pub fn row(kind: &str, amount: &str, result: &str) {
    println!("# evidence: {kind} | {amount} | {result}");
}

/// Says how far a long case is: `what [#####.....] 500/1000`.
pub fn progress(what: &str, done: u64, all: u64) {
    let tenths = (done * 10 / all.max(1)) as usize;
    println!(
        "# {what} [{:.<10}] {done}/{all}",
        "#".repeat(tenths.min(10))
    );
}
