// SPDX-License-Identifier: GPL-2.0
//! Many addresses and many slaves: what they cost a packet, a request, and the memory.

use super::net::{cut, inside, Net, Peer, L2};
use super::pktgen::{Pktgen, Way};
use super::unicast::{volley, Shot};
use super::Bench;
use crate::nl::{granted, AddrSpec};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// How often one request is repeated for a figure; the first, which finishes what came before, does not count.
const REQUESTS: u32 = 10;

/// Nanoseconds that `f` took.
fn timed(f: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    f()?;
    Ok(begin.elapsed().as_nanos() as f64)
}

/// Bytes of memory in use, once the kernel has freed what it was about to.
fn memory() -> Result<f64> {
    let mut last = -1.0;
    for _ in 0..40 {
        let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
        std::thread::sleep(Duration::from_millis(300));
        let text = std::fs::read_to_string("/proc/meminfo")?;
        let kib: f64 = text
            .lines()
            .find_map(|l| l.strip_prefix("MemFree:"))
            .and_then(|l| l.trim().strip_suffix("kB"))
            .context("MemFree of /proc/meminfo")?
            .trim()
            .parse()?;
        if kib == last {
            break;
        }
        last = kib;
    }
    Ok(-last * 1024.0)
}

/// What a slave takes, and an address, its core's part included.
pub fn space(b: &mut Bench<'_>) -> Result<()> {
    if !b.wants("memory") {
        return Ok(());
    }
    let (slaves, addresses, rounds): (u32, u32, usize) = if b.full() {
        (200, 4000, 3)
    } else {
        (100, 1000, 2)
    };
    let peers = [Peer::Dummy, Peer::Macvlan, Peer::Ipvlan, Peer::IpvlanRs];
    let mut seen = vec![(Vec::new(), Vec::new()); peers.len()];
    // The first round leaves the kernel's own caches warm.
    for round in 0..=rounds {
        for (peer, seen) in peers.into_iter().zip(&mut seen) {
            let mut net = Net::new(peer, L2, false)?;
            let empty = memory()?;
            for _ in 0..slaves {
                net.grow()?;
            }
            let bare = memory()?;
            for n in 0..addresses {
                net.address(n)?;
            }
            let full = memory()?;
            if round > 0 {
                seen.0.push((bare - empty) / f64::from(slaves));
                seen.1.push((full - bare) / f64::from(addresses));
            }
        }
    }
    for (peer, (slave, address)) in peers.into_iter().zip(&seen) {
        // Nothing costs nothing: then it was not the memory that was read.
        anyhow::ensure!(
            slave.iter().chain(address).all(|v| *v > 0.0),
            "{}: slaves or addresses without memory of their own: {slave:?} {address:?}",
            peer.name()
        );
        b.report(
            "memory per slave",
            slaves.into(),
            peer.name(),
            "bytes",
            slave,
        );
        b.report(
            "memory per address",
            addresses.into(),
            peer.name(),
            "bytes",
            address,
        );
    }
    Ok(())
}

/// More and more addresses on one master, spread over many slaves.
pub fn growth(b: &mut Bench<'_>) -> Result<()> {
    if !["rx fixed", "rx random", "adding an address"]
        .iter()
        .any(|r| b.wants(r))
    {
        return Ok(());
    }
    let (many, steps): (u32, &[u32]) = if b.full() {
        (200, &[1, 256, 4096, 10_000, 20_000])
    } else {
        (64, &[1, 256, 4096])
    };
    let mut nets = Vec::new();
    for peer in [Peer::Dummy, Peer::Macvlan, Peer::Ipvlan, Peer::IpvlanRs] {
        let mut net = Net::new(peer, L2, false)?;
        for _ in 0..many {
            net.grow()?;
        }
        net.cut()?;
        if peer == Peer::Dummy {
            // The bare master's packets end at its own ingress.
            cut(&net.host, &net.master)?;
        }
        nets.push(net);
    }
    let mut have = 0;
    for &step in steps {
        for net in &nets {
            if net.peer == Peer::Macvlan {
                continue;
            }
            for n in have..step {
                net.address(n)?;
            }
            let mut costs = Vec::new();
            for n in step..step + REQUESTS {
                costs.push(timed(|| net.address(n))?);
            }
            for n in step..step + REQUESTS {
                let slave = &net.slaves[n as usize % net.slaves.len()];
                let spec = AddrSpec::new(slave.index, inside(false, n), 32);
                granted(net.inside.nl().try_del_addr(&spec)?)?;
            }
            b.report(
                "adding an address",
                step.into(),
                net.peer.name(),
                "per request",
                &costs[1..],
            );
        }
        have = step;
        for (row, first) in [("rx fixed", have - 1), ("rx random", 0)] {
            volley(b, row, step.into(), &inward(&nets, first, have - 1))?;
        }
    }
    Ok(())
}

/// What the masters receive for the addresses `first` to `last`.
fn inward(nets: &[Net], first: u32, last: u32) -> Vec<Shot> {
    let shot = |net: &Net| Shot {
        peer: match net.peer {
            Peer::Dummy => Peer::Bare,
            peer => peer,
        },
        gun: Pktgen {
            ns: net.host.clone(),
            device: "m0".into(),
            way: Way::Receive,
            mac: match net.peer {
                // A macvlan has a MAC of its own, and no address to be found by.
                Peer::Macvlan => net.slaves[0].mac,
                _ => net.master.mac,
            },
            src: super::net::outside(false, 1),
            dst: (inside(false, first), inside(false, last)),
            size: 60,
        },
        witness: (net.peer != Peer::Dummy).then(|| (net.inside.clone(), false)),
    };
    nets.iter().map(shot).collect()
}

/// More and more slaves on one master.
pub fn slaves(b: &mut Bench<'_>) -> Result<()> {
    let row = "adding a slave";
    if !b.wants(row) {
        return Ok(());
    }
    let steps: &[usize] = if b.full() {
        &[10, 100, 1000]
    } else {
        &[10, 100]
    };
    let mut nets = Vec::new();
    for peer in [Peer::Dummy, Peer::Macvlan, Peer::Ipvlan, Peer::IpvlanRs] {
        nets.push((Net::new(peer, L2, false)?, 0));
    }
    for &step in steps {
        for (net, have) in &mut nets {
            let mut costs = Vec::new();
            while *have < step + REQUESTS as usize {
                let name = format!("s{have}");
                let cost = timed(|| net.create(&net.inside, &name))?;
                if *have >= step {
                    costs.push(cost);
                }
                *have += 1;
            }
            b.report(
                row,
                step as u64,
                net.peer.name(),
                "per request",
                &costs[1..],
            );
        }
    }
    Ok(())
}
