// SPDX-License-Identifier: GPL-2.0
//! A debug kernel's last word: after the cases, lockdep must still be at work, and nothing of the module may be left in
//! memory when it is unloaded.

use crate::ktap::Outcome;
use crate::modules;
use crate::mounts;
use anyhow::{bail, ensure, Context, Result};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const DEBUGFS: &str = "/sys/kernel/debug";
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
const LOCKDEP: &str = "/proc/lockdep_stats";

/// kmemleak takes nothing for a leak that is younger than five seconds, or that it has seen in one scan only.
const AGE: Duration = Duration::from_secs(6);

/// Passes if it returns.
pub type Check = fn() -> Result<()>;

/// What is checked, by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("debug.lockdep_is_on", lockdep_is_on),
    ("debug.unloads", unloads),
    ("debug.no_leak", no_leak),
];

static DEBUG: AtomicBool = AtomicBool::new(false);

/// Whether this is a debug kernel, a tenth as fast, whose times mean nothing.
pub fn kernel() -> bool {
    DEBUG.load(Ordering::Relaxed)
}

/// Which kernel this is, for a row of evidence.
pub fn which() -> &'static str {
    if kernel() {
        "debug kernel"
    } else {
        "stock kernel"
    }
}

/// How many times as long what takes time may take.
pub fn slowness() -> u32 {
    if kernel() {
        6
    } else {
        1
    }
}

/// From here on the kernel counts as a debug kernel. Keeps kmemleak from scanning whenever it likes: it takes seconds from
/// whatever case runs then.
pub fn tune() {
    DEBUG.store(true, Ordering::Relaxed);
    let _ = mounts::put("debugfs", DEBUGFS);
    let _ = fs::write(KMEMLEAK, "scan=off");
}

/// Classes of the module's locks: whoever makes a port and takes it down takes them all. A test of proof.rs holds the list
/// against the sources.
pub const LOCKS: [&str; 4] = [
    "Family::reserve",
    "Listeners::counts",
    "SkbQueue",
    "Table::state",
];
static SEEN: AtomicU32 = AtomicU32::new(0);

/// Remembers which of [`LOCKS`] lockdep has seen: it knows a class once a lock of it was taken, and forgets it when the
/// module goes, before which this is to be called.
pub fn remember_locks() -> Result<()> {
    if kernel() {
        let classes = fs::read_to_string("/proc/lockdep")?;
        for (n, name) in LOCKS.iter().enumerate() {
            if classes.lines().any(|l| class(l) == Some(name)) {
                SEEN.fetch_or(1 << n, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

/// The name in a line of /proc/lockdep that begins a class: "address …: usage: name", where the second of a name has "#2"
/// behind it, or a subclass "/1".
fn class(line: &str) -> Option<&str> {
    let name = line.rsplit(": ").next()?;
    let end = name.find(['#', '/']).unwrap_or(name.len());
    (!line.starts_with(' ')).then(|| name[..end].trim())
}

/// Runs a check.
pub fn check(run: Check) -> Outcome {
    match run() {
        Ok(()) => Outcome::Passed,
        Err(e) => Outcome::Failed(format!("{e:#}")),
    }
}

/// Lockdep ends itself at its first report, at one of KASAN, and when its tables are full; what follows is unproven.
fn lockdep_is_on() -> Result<()> {
    let stats = fs::read_to_string(LOCKDEP).context("the kernel has no lockdep")?;
    let number = |name: &str| -> Result<u64> {
        let line = stats.lines().find(|l| l.trim().starts_with(name));
        let words = line.with_context(|| format!("no {name:?} in {LOCKDEP}"))?;
        let value = words.split(':').nth(1).unwrap_or("").split_whitespace();
        Ok(value.clone().next().unwrap_or("").parse()?)
    };
    ensure!(
        number("debug_locks:")? == 1,
        "lockdep has switched itself off"
    );
    let classes = number("lock-classes:")?;
    let dependencies = number("direct dependencies:")?;
    let chains = number("dependency chains:")?;
    remember_locks()?;
    let seen = SEEN.load(Ordering::Relaxed);
    let ours = seen.count_ones();
    println!("# lockdep: {classes} classes, {ours} of them ours, {dependencies} dependencies, {chains} chains");
    ensure!(dependencies > 0 && chains > 0);
    let unseen: Vec<_> = (0..)
        .zip(LOCKS)
        .filter(|(n, _)| seen & (1 << n) == 0)
        .map(|(_, name)| name)
        .collect();
    ensure!(
        unseen.is_empty(),
        "lockdep has seen none of our locks {unseen:?}"
    );
    Ok(())
}

/// What the module still holds when it goes, kmemleak finds afterwards.
fn unloads() -> Result<()> {
    modules::unload("ipvlan_rs")
}

fn no_leak() -> Result<()> {
    fs::metadata(KMEMLEAK).context("the kernel has no kmemleak")?;
    let mut leaks = String::new();
    for _ in 0..2 {
        std::thread::sleep(AGE);
        fs::write(KMEMLEAK, "scan").context("kmemleak does not scan")?;
        leaks = fs::read_to_string(KMEMLEAK)?;
    }
    let found = leaks.matches("unreferenced object").count();
    println!("# kmemleak: 2 scans, {found} objects");
    if found > 0 {
        let first: Vec<&str> = leaks.lines().take(60).collect();
        bail!("{found} objects leaked:\n{}", first.join("\n"));
    }
    Ok(())
}
