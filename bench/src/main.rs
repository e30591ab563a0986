// SPDX-License-Identifier: GPL-2.0
//! `bench LOG JSON DIRECTORY all|some`: reads what the guest printed, writes the results as JSON, as text beside that, and
//! as plots, and prints the table.
//!
//! It fails when a measurement failed, or when there was none. A goal that is not met is shown, and fails nothing: the
//! figures are the result.

#![forbid(unsafe_code)]

mod goals;
mod parse;
mod plot;
mod table;

use anyhow::{bail, ensure, Context, Result};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [log, json, plots, all] = arguments.as_slice() else {
        bail!("usage: bench LOG RESULTS.json DIRECTORY-OF-PLOTS all|some");
    };
    let text = fs::read_to_string(log).with_context(|| format!("reading {log}"))?;
    let results = parse::parse(&text)?;
    let goals = goals::judge(&results);
    let text = table::table(&results) + &goals::table(&goals, all == "all");
    print!("{text}");
    let out = serde_json::json!({
        "kernels": results.kernels,
        "date": results.date,
        "units": "instructions (QEMU -icount, the stock kernel) or ns of the kernel's processor time (User-Mode Linux), as each row's clock says, unless its unit is bytes or copies",
        "rows": results.rows,
        "goals": goals,
    });
    fs::write(json, serde_json::to_string_pretty(&out)? + "\n")
        .with_context(|| format!("writing {json}"))?;
    let txt = Path::new(json).with_extension("txt");
    fs::write(&txt, text).with_context(|| format!("writing {}", txt.display()))?;
    plot::draw(&results, Path::new(plots))?;
    ensure!(
        results.failed.is_empty(),
        "not measured: {}",
        results.failed.join("; ")
    );
    Ok(())
}
