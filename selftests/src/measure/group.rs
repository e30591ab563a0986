// SPDX-License-Identifier: GPL-2.0
//! One packet for many receivers: all the work counts, whichever task does it, and what was lost.

use super::net::{counted, Net, Peer, L2};
use super::pktgen::{Pktgen, Way};
use super::Bench;
use anyhow::{ensure, Result};
use std::time::Duration;

/// Nanoseconds that all tasks but this one have run.
fn worked() -> Result<u64> {
    let own = std::process::id().to_string();
    let mut sum = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == own || !name.bytes().all(|b| b.is_ascii_digit()) {
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

/// Waits until nothing more arrives; how much has.
fn settled(net: &Net) -> Result<u64> {
    let mut last = counted(&net.inside, false)?;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = counted(&net.inside, false)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

/// Broadcasts from the wire to 1, 10 and more slaves.
pub fn broadcast(b: &mut Bench<'_>) -> Result<()> {
    if !b.wants("broadcast") {
        return Ok(());
    }
    let steps: &[u64] = if b.full() {
        &[1, 10, 100, 200]
    } else {
        &[1, 10, 100]
    };
    let frames = if b.full() { 5000 } else { 200 };
    for &slaves in steps {
        let mut nets = Vec::new();
        for peer in [Peer::Ipvlan, Peer::IpvlanRs, Peer::Macvlan] {
            let mut net = Net::new(peer, L2, false)?;
            for n in 0..slaves {
                net.grow()?;
                // ipvlan's slaves listen for broadcasts once they have an IPv4 address.
                net.address(n as u32)?;
            }
            net.cut()?;
            nets.push(net);
        }
        let mut costs = vec![Vec::new(); nets.len()];
        let mut losses = vec![Vec::new(); nets.len()];
        // Some to warm up, then the rounds.
        for round in 0..=3 {
            for (n, net) in nets.iter().enumerate() {
                let count = if round == 0 { 20 } else { frames };
                let gun = Pktgen {
                    ns: net.host.clone(),
                    device: "m0".into(),
                    way: Way::Receive,
                    mac: [0xff; 6],
                    src: [10, 1, 0, 9].into(),
                    dst: ([255; 4].into(), [255; 4].into()),
                    size: 60,
                };
                let (before, work) = (settled(net)?, worked()?);
                gun.fire(count)?;
                let copies = settled(net)? - before;
                let work = worked()? - work;
                ensure!(copies > 0, "{}: no copy arrived", net.peer.name());
                if round > 0 {
                    costs[n].push(work as f64 / copies as f64);
                    losses[n].push((count * slaves).saturating_sub(copies) as f64);
                }
            }
        }
        for (n, net) in nets.iter().enumerate() {
            b.report("broadcast", slaves, net.peer.name(), "per copy", &costs[n]);
            b.report(
                "broadcast lost",
                slaves,
                net.peer.name(),
                "copies",
                &losses[n],
            );
        }
    }
    Ok(())
}
