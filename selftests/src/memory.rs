// SPDX-License-Identifier: GPL-2.0
//! How much memory the kernel holds, when all that can be given back has been.

use crate::debug;
use anyhow::{ensure, Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// In KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub slab: i64,
    pub percpu: i64,
    pub available: i64,
}

impl Memory {
    /// Now. Caches are given back first, and what KASAN keeps of freed memory.
    pub fn now() -> Result<Memory> {
        // What waits for a grace period, twice: one callback may begin another.
        for _ in 0..2 {
            std::thread::sleep(Duration::from_secs(1));
            let _ = fs::write("/proc/sys/vm/drop_caches", "3");
            for cache in fs::read_dir("/sys/kernel/slab").into_iter().flatten() {
                let _ = fs::write(cache?.path().join("shrink"), "1");
            }
        }
        let text = fs::read_to_string("/proc/meminfo")?;
        let field = |name: &str| -> Result<i64> {
            let line = text.lines().find(|l| l.starts_with(name));
            let word = line.and_then(|l| l.split_whitespace().nth(1));
            Ok(word.with_context(|| format!("no {name}"))?.parse()?)
        };
        Ok(Memory {
            slab: field("Slab:")?,
            percpu: field("Percpu:")?,
            available: field("MemAvailable:")?,
        })
    }

    /// What has become more since `before`.
    pub fn since(self, before: Memory) -> Memory {
        Memory {
            slab: self.slab - before.slab,
            percpu: self.percpu - before.percpu,
            available: before.available - self.available,
        }
    }
}

/// How many objects of each of kmalloc's caches are in use. All memory of the module's own is from these, apart from
/// per-CPU memory, which nothing holds but what is in one of them.
pub struct Objects(BTreeMap<String, i64>);

impl Objects {
    /// Now; to be asked after [`Memory::now`], which has the caches take back what waits on the processors.
    pub fn now() -> Result<Objects> {
        let mut objects = BTreeMap::new();
        for cache in fs::read_dir("/sys/kernel/slab").context("the kernel counts no objects")? {
            let cache = cache?;
            let name = cache.file_name().to_string_lossy().into_owned();
            if name.starts_with("kmalloc-") {
                // `123 N0=123`
                let text = fs::read_to_string(cache.path().join("objects"))?;
                let all = text.split_whitespace().next();
                objects.insert(name, all.context("no objects")?.parse()?);
            }
        }
        ensure!(!objects.is_empty(), "kmalloc has no caches");
        Ok(Objects(objects))
    }

    /// The cache that has grown the most since `before`, and by how many objects.
    pub fn since(&self, before: &Objects) -> (String, i64) {
        let grown = self.0.iter().map(|(name, now)| {
            let then = before.0.get(name).copied().unwrap_or(0);
            (name.clone(), now - then)
        });
        grown.max_by_key(|(_, more)| *more).expect("caches")
    }
}

/// Fails if one of kmalloc's caches has grown by more than [`OWN`] objects, however many operations there were: what
/// leaks one in a hundred operations leaks a thousand in a long run. On a debug kernel kmemleak counts better, and KASAN
/// keeps what was freed. Returns what is to be said of it in a row of evidence.
pub fn bounded((cache, more): (String, i64)) -> Result<String> {
    if debug::kernel() {
        return Ok("objects are for kmemleak to count".into());
    }
    ensure!(
        more <= OWN,
        "{more} objects more of {cache} than before, and more than {OWN}"
    );
    Ok(format!(
        "at most {more:+} objects of a size ({cache}, bound {OWN})"
    ))
}

/// Objects of one cache that the kernel itself may have more of: up to 100 were seen.
const OWN: i64 = 200;
