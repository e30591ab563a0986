// SPDX-License-Identifier: GPL-2.0
//! What slaves and addresses take of the kernel's memory, the core's part included.

use super::net::{Net, Peer, L2};
use super::Bench;
use anyhow::{ensure, Context, Result};
use std::time::Duration;

/// Bytes that the kernel's allocators have given out. Not what is free: pages wait in lists of each processor, which
/// count neither as free nor as used.
fn used() -> Result<f64> {
    // What was freed after a grace period is gone by then.
    std::thread::sleep(Duration::from_millis(500));
    // Processors keep changes of the counters to themselves for a while.
    let _ = std::fs::write("/proc/sys/vm/stat_refresh", "1");
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let mut sum = 0.0;
    for name in ["Slab:", "Percpu:", "VmallocUsed:"] {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        let line = line.with_context(|| format!("{name} of /proc/meminfo"))?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        sum += kib * 1024.0;
    }
    Ok(sum)
}

/// What a slave takes, and an address.
pub fn space(b: &mut Bench<'_>) -> Result<()> {
    if !b.wants("memory per slave") && !b.wants("memory per address") {
        return Ok(());
    }
    let (slaves, addresses, rounds): (u32, u32, usize) = if b.full() {
        (200, 2000, 2)
    } else {
        (100, 2000, 2)
    };
    let peers = [Peer::Dummy, Peer::Macvlan, Peer::Ipvlan, Peer::IpvlanRs];
    let mut seen = vec![(Vec::new(), Vec::new()); peers.len()];
    // The first round leaves the kernel's own caches filled.
    for round in 0..=rounds {
        for (peer, seen) in peers.into_iter().zip(&mut seen) {
            let mut net = Net::new(peer, L2, false)?;
            let empty = used()?;
            for _ in 0..slaves {
                net.grow()?;
            }
            let bare = used()?;
            for n in 0..addresses {
                net.address(n)?;
            }
            let full = used()?;
            if round > 0 {
                seen.0.push((bare - empty) / f64::from(slaves));
                seen.1.push((full - bare) / f64::from(addresses));
            }
        }
    }
    for (peer, (slave, address)) in peers.into_iter().zip(&seen) {
        // Nothing costs nothing: then it was not the memory that was read.
        ensure!(
            slave.iter().chain(address).all(|v| *v > 0.0),
            "{}: slaves or addresses without memory of their own: {slave:?} {address:?}",
            peer.name()
        );
        let name = peer.name();
        b.report("memory per slave", slaves.into(), name, "bytes", slave);
        b.report(
            "memory per address",
            addresses.into(),
            name,
            "bytes",
            address,
        );
    }
    Ok(())
}
