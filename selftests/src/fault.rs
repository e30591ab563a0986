// SPDX-License-Identifier: GPL-2.0
//! Fault injection, in two ways.
//!
//! The module's own steps: a test build of it has a counter in front of each function of the kernel that it calls and that
//! may fail (selftests/faulty/steps.c), in whatever context.
//!
//! Anybody's: the debug kernel's `fail-nth` fails the nth slab allocation of a task's system call, whoever makes it
//! (Documentation/fault-injection/).

use anyhow::{ensure, Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

const FAILSLAB: &str = "/sys/kernel/debug/failslab";
const OURS: &str = "/sys/module/ipvlan_rs/parameters";

/// Whose steps fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// What the module calls: allocations, registrations, links, hooks.
    Ours,
    /// All slab allocations.
    Anybodys,
}

fn set(directory: &str, key: &str, value: &str) -> Result<()> {
    let path = format!("{directory}/{key}");
    fs::write(&path, value).with_context(|| {
        format!("{path}: this takes a debug kernel and the test build of the module")
    })
}

/// How often each of the module's steps has failed, in all cases until now; the module itself forgets when it goes.
static FAILED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// How often each of the module's steps has failed since it was loaded.
fn failed_in() -> Result<BTreeMap<String, u64>> {
    counts("failed_in")
}

/// What the module says that it has counted since it was loaded.
fn counts(parameter: &str) -> Result<BTreeMap<String, u64>> {
    let text = fs::read_to_string(format!("{OURS}/{parameter}"))
        .context("not the test build of the module (scripts/check-debug faults)")?;
    text.lines()
        .map(|line| {
            let (name, count) = line.split_once(' ').context("no count")?;
            Ok((name.to_string(), count.trim().parse()?))
        })
        .collect()
}

/// Adds what has failed since `before`, and says which steps that were.
fn remember(before: &BTreeMap<String, u64>) -> Result<Vec<String>> {
    let mut all = FAILED.lock().expect("nobody panics with it");
    let mut failed = Vec::new();
    for (name, count) in failed_in()? {
        let more = count - before.get(&name).copied().unwrap_or(0);
        *all.entry(name.clone()).or_default() += more;
        if more > 0 {
            failed.push(name);
        }
    }
    Ok(failed)
}

/// Adds a step of the module's init, of which the log alone tells: its counts went with the module.
pub fn remember_of_init(step: &str) {
    let mut all = FAILED.lock().expect("nobody panics with it");
    *all.entry(step.into()).or_default() += 1;
}

/// How often each of the module's steps has failed in all cases until now: all that it has, failed or not.
pub fn failed_until_now() -> Result<BTreeMap<String, u64>> {
    remember(&failed_in()?)?;
    Ok(FAILED.lock().expect("nobody panics with it").clone())
}

static INJECTING: AtomicBool = AtomicBool::new(false);

/// Whether this run makes anything fail: the kernel then says that its reference tracker lacked memory.
pub fn injecting() -> bool {
    INJECTING.load(Ordering::Relaxed)
}

/// While it lives, one step of this thread's system calls fails, or the module's next `n`th.
pub enum Nth {
    Ours(BTreeMap<String, u64>),
    Anybodys(File),
}

impl Nth {
    /// The `n`th from now on, counted from one.
    pub fn arm(whose: Whose, n: u32) -> Result<Nth> {
        INJECTING.store(true, Ordering::Relaxed);
        let text = n.to_string();
        if whose == Whose::Ours {
            let before = failed_in()?;
            set(OURS, "fail_nth", &text)?;
            return Ok(Nth::Ours(before));
        }
        // Else nothing fails that may sleep, which is nearly everything here.
        set(FAILSLAB, "ignore-gfp-wait", "N")?;
        set(FAILSLAB, "verbose", "0")?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/proc/thread-self/fail-nth")
            .context("the kernel has no fail-nth")?;
        file.write_all(text.as_bytes())?;
        Ok(Nth::Anybodys(file))
    }

    /// Ends it; which step failed, if there were so many. Of anybody's allocations the kernel does not say which.
    pub fn end(self) -> Result<Option<String>> {
        match self {
            Nth::Ours(before) => {
                set(OURS, "fail_nth", "0")?;
                let mut failed = remember(&before)?;
                ensure!(failed.len() <= 1, "{failed:?} failed, which is not one");
                Ok(failed.pop())
            }
            Nth::Anybodys(mut file) => {
                let mut text = [0; 16];
                let length = file.read_at(&mut text, 0)?;
                file.write_all(b"0")?;
                let left: u32 = std::str::from_utf8(&text[..length])?.trim().parse()?;
                Ok((left == 0).then(|| "an allocation".into()))
            }
        }
    }
}

/// In which context steps have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contexts {
    /// Requests and other system calls.
    pub task: u64,
    pub softirq: u64,
    /// Work that a thread of the kernel's does.
    pub worker: u64,
}

impl Contexts {
    fn now() -> Result<Contexts> {
        let counts = counts("failed_on")?;
        let of = |name| counts.get(name).copied().context("a context is missing");
        Ok(Contexts {
            task: of("task")?,
            softirq: of("softirq")?,
            worker: of("worker")?,
        })
    }

    pub fn add(&mut self, more: Contexts) {
        self.task += more.task;
        self.softirq += more.softirq;
        self.worker += more.worker;
    }

    pub fn sum(&self) -> u64 {
        self.task + self.softirq + self.worker
    }
}

/// While it lives, every nth of the module's steps fails, in whatever context.
pub struct Every(BTreeMap<String, u64>, Contexts);

impl Every {
    pub fn begin(n: u64) -> Result<Every> {
        INJECTING.store(true, Ordering::Relaxed);
        let before = Every(failed_in()?, Contexts::now()?);
        set(OURS, "fail_every", &n.to_string())?;
        Ok(before)
    }

    /// How many have failed until now.
    pub fn failures(&self) -> Result<u64> {
        Ok(self.by_context()?.sum())
    }

    /// The same, in which context.
    pub fn by_context(&self) -> Result<Contexts> {
        let now = Contexts::now()?;
        Ok(Contexts {
            task: now.task - self.1.task,
            softirq: now.softirq - self.1.softirq,
            worker: now.worker - self.1.worker,
        })
    }
}

impl Drop for Every {
    fn drop(&mut self) {
        let _ = set(OURS, "fail_every", "0");
        let _ = remember(&self.0);
    }
}

/// While it lives, every nth slab allocation fails that the kernel's workers make, and none of anybody else's: `fail-nth`
/// knows system calls only, and an interval for all tasks would hit this program as well.
pub struct Workers(());

/// More than fail while one lives: the kernel counts down.
const MANY: u64 = 1 << 30;

impl Workers {
    pub fn begin(n: u64) -> Result<Workers> {
        INJECTING.store(true, Ordering::Relaxed);
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            // One that has ended meanwhile is no worker any more.
            if fs::read_to_string(path.join("comm")).is_ok_and(|c| c.starts_with("kworker/")) {
                let _ = fs::write(path.join("make-it-fail"), "1");
            }
        }
        let workers = Workers(());
        // The last of them begins it.
        for (key, value) in [
            ("task-filter", "Y"),
            ("ignore-gfp-wait", "N"),
            ("verbose", "0"),
            ("interval", &n.to_string()),
            ("times", &MANY.to_string()),
            ("probability", "100"),
        ] {
            set(FAILSLAB, key, value)?;
        }
        Ok(workers)
    }

    /// How many have failed until now.
    pub fn failures(&self) -> Result<u64> {
        let left: u64 = fs::read_to_string(format!("{FAILSLAB}/times"))?
            .trim()
            .parse()?;
        Ok(MANY - left)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (key, value) in [
            ("probability", "0"),
            ("task-filter", "N"),
            ("interval", "1"),
        ] {
            let _ = set(FAILSLAB, key, value);
        }
    }
}
