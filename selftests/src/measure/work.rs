// SPDX-License-Identifier: GPL-2.0
//! How much was done, whichever task did it.
//!
//! In a guest the tasks' own times tell. User-Mode Linux is a process of the host's, whose processor time holds all that its
//! kernel does and nothing of other processes': the runner answers each line on a serial line of its own with it.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

pub enum Meter {
    /// Asks the host.
    Host(BufReader<File>, File),
    /// Adds up all tasks.
    Tasks,
}

impl Meter {
    pub fn new(uml: bool) -> Result<Meter> {
        if !uml {
            return Ok(Meter::Tasks);
        }
        const LINE: &str = "/dev/ttyS2";
        let open = || OpenOptions::new().read(true).write(true).open(LINE);
        let file = open().with_context(|| format!("{LINE}, by which the host tells its time"))?;
        Ok(Meter::Host(BufReader::new(file), open()?))
    }

    /// Nanoseconds of work so far; of this process too only if `own`, where the two can be told apart.
    pub fn read(&mut self, own: bool) -> Result<f64> {
        match self {
            Meter::Host(answers, questions) => {
                questions.write_all(b"?\n")?;
                let mut line = String::new();
                answers.read_line(&mut line)?;
                // A process's schedstat begins with its nanoseconds on a processor.
                let word = line.split_whitespace().next();
                let word = word.with_context(|| format!("the host's time: {line:?}"))?;
                Ok(word.parse()?)
            }
            Meter::Tasks => Ok(tasks(own)? as f64),
        }
    }
}

fn tasks(own: bool) -> Result<u64> {
    let me = std::process::id().to_string();
    let mut sum = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name == me && !own) || !name.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // A task may have gone meanwhile.
        let text = std::fs::read_to_string(format!("/proc/{name}/schedstat")).unwrap_or_default();
        sum += text
            .split_whitespace()
            .next()
            .and_then(|w| w.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(sum)
}
