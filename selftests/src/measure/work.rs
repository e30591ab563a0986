// SPDX-License-Identifier: GPL-2.0
//! How much was done, whichever task did it.
//!
//! In a guest the tasks' own times tell. User-Mode Linux is a process of the host's, whose processor time holds all that its
//! kernel does and nothing of other processes': the runner answers each line on a serial line of its own with it.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

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

    /// Nanoseconds of work so far, without this process's where they can be told apart.
    fn read(&mut self) -> Result<f64> {
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
            Meter::Tasks => Ok(others()? as f64),
        }
    }

    /// All work but this process's own while `f` runs, which is handed the meter.
    pub fn during(&mut self, f: impl FnOnce(&mut Self) -> Result<()>) -> Result<f64> {
        let before = self.read()?;
        f(self)?;
        Ok(self.read()? - before)
    }

    /// The work of a machine with nothing to do, for as long: ticks of its clock, mostly.
    pub fn idle(&mut self, time: Duration) -> Result<f64> {
        self.during(|_| {
            std::thread::sleep(time);
            Ok(())
        })
    }

    /// The work that `f` sets off while it runs and in the time after it, in which this process sleeps. `f`'s own is part
    /// of it if `whole`, as where it sends frames itself.
    pub fn of(
        &mut self,
        whole: bool,
        after: Duration,
        f: impl FnOnce() -> Result<()>,
    ) -> Result<f64> {
        let before = self.read()?;
        let mut own = own()?;
        f()?;
        own = if whole { self::own()? - own } else { 0 };
        std::thread::sleep(after);
        let all = self.read()? - before;
        Ok(match self {
            Meter::Host(..) => all,
            Meter::Tasks => all + own as f64,
        })
    }
}

/// The first word of a schedstat: nanoseconds on a processor.
fn ran(text: &str) -> u64 {
    let word = text.split_whitespace().next();
    word.and_then(|w| w.parse().ok()).unwrap_or(0)
}

/// What this thread has done.
fn own() -> Result<u64> {
    // A kernel without the file has a host that tells.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Ok(ran(&text))
}

/// What all other processes have done.
fn others() -> Result<u64> {
    let me = std::process::id().to_string();
    let mut sum = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == me || !name.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // A task may have gone meanwhile.
        sum += ran(&std::fs::read_to_string(format!("/proc/{name}/schedstat")).unwrap_or_default());
    }
    Ok(sum)
}
