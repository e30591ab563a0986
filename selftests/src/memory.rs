// SPDX-License-Identifier: GPL-2.0
//! How much memory the kernel holds, when all that can be given back has been.

use anyhow::{Context, Result};
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
