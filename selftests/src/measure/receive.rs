// SPDX-License-Identifier: GPL-2.0
//! Packets from the wire for one of many addresses, and one more address among many.

use super::control::{timed, REQUESTS};
use super::net::{cut, inside, outside, Net, Peer, L2};
use super::pktgen::{Order, Pktgen, Way};
use super::unicast::{volley, Shot, Witness};
use super::Bench;
use crate::nl::{granted, AddrSpec};
use anyhow::Result;
use std::thread::sleep;
use std::time::Duration;

const ADD: &str = "adding an address";
const FIXED: &str = "rx fixed";
const RANDOM: &str = "rx random";
const MISS: &str = "rx miss";
const FEW: &str = "rx random, 10 slaves";

/// With so many addresses one more is added and timed.
const ADDED: &[u32] = &[100, 4096, 10_000];
/// And with so many, packets arrive. With 1000, each of as many slaves has one: what more of them cost is the table's.
const RECEIVED: &[u32] = &[1, 256, 1000, 4096, 20_000, 100_000];

/// Several ticks of the clock, and grace periods.
const SETTLED: Duration = Duration::from_millis(20);

/// In-tree ipvlan looks through all addresses before it adds one: the way to 100 000 of them would take longer than all
/// other rows together, by either clock.
const PATIENCE: u32 = 20_000;

/// More and more addresses on one master, spread over many slaves.
pub fn growth(b: &mut Bench<'_>) -> Result<()> {
    let wanted = [ADD, FIXED, RANDOM, MISS].map(|r| b.wants(r));
    if wanted == [false; 4] {
        return Ok(());
    }
    let packets = wanted[1..] != [false; 3];
    // 1000 slaves are the port of the 100 000 addresses. The time goes into making those, and instructions, which know no
    // cache, have nothing to add to what they say of 20 000.
    let (many, most) = match (b.full(), b.emulated()) {
        (true, true) => (1000, 20_000),
        (true, false) => (1000, 100_000),
        (false, _) => (64, 4096),
    };
    let mut steps: Vec<u32> = Vec::new();
    steps.extend(ADDED.iter().filter(|_| wanted[0]));
    steps.extend(RECEIVED.iter().filter(|_| packets));
    steps.retain(|s| *s <= most);
    steps.sort_unstable();
    steps.dedup();

    let mut nets = Vec::new();
    for peer in [Peer::Dummy, Peer::Macvlan, Peer::Ipvlan, Peer::IpvlanRs] {
        // A macvlan is found by its MAC: one of them shows all.
        let slaves = match peer {
            Peer::Macvlan => 1,
            _ => many,
        };
        nets.push(receiving(peer, slaves)?);
    }
    // What misses goes on to the master's stack, which has no use for another's frame: so does it on this one.
    let other = Net::new(Peer::Bare, L2, false)?;
    let mut have = 0;
    for step in steps {
        nets.retain(|n| n.peer != Peer::Ipvlan || step <= PATIENCE);
        for net in &nets {
            let bare = net.peer == Peer::Dummy && (!wanted[0] || step > ADDED[2]);
            if net.peer == Peer::Macvlan || bare {
                continue;
            }
            for n in have..step {
                net.address(n)?;
            }
        }
        have = step;
        if wanted[0] && ADDED.contains(&step) {
            add(b, &nets, step)?;
        }
        if !RECEIVED.contains(&step) {
            continue;
        }
        for (row, first) in [(FIXED, have - 1), (RANDOM, 0)] {
            if b.wants(row) {
                volley(b, row, step.into(), &inward(&nets, first, have - 1))?;
            }
        }
        if b.wants(MISS) {
            let ipvlans = nets.iter().filter(|n| n.peer.is_ipvlan());
            let shots: Vec<Shot> = [&other].into_iter().chain(ipvlans).map(missing).collect();
            volley(b, MISS, step.into(), &shots)?;
        }
    }
    Ok(())
}

/// A network of so many slaves, in which what is received ends before the stack.
fn receiving(peer: Peer, slaves: usize) -> Result<Net> {
    let mut net = Net::new(peer, L2, false)?;
    for _ in 0..slaves {
        net.grow()?;
    }
    net.cut()?;
    if peer == Peer::Dummy {
        // The bare master's packets end at its own ingress.
        cut(&net.host, &net.master)?;
    }
    Ok(net)
}

/// The same addresses on so few slaves that what there is of each stays in the cache: what is left is the table's.
pub fn few_slaves(b: &mut Bench<'_>) -> Result<()> {
    if b.emulated() || !b.wants(FEW) {
        return Ok(());
    }
    let nets = [receiving(Peer::Dummy, 0)?, receiving(Peer::IpvlanRs, 10)?];
    let mut have = 0;
    for step in [1, if b.full() { 100_000 } else { 4096 }] {
        for n in have..step {
            nets[1].address(n)?;
        }
        have = step;
        volley(b, FEW, step.into(), &inward(&nets, 0, have - 1))?;
    }
    Ok(())
}

/// One more address, several times over: they are taken away again.
fn add(b: &mut Bench<'_>, nets: &[Net], step: u32) -> Result<()> {
    let nets: Vec<&Net> = nets.iter().filter(|n| n.peer != Peer::Macvlan).collect();
    let mut costs = vec![Vec::new(); nets.len()];
    for n in step..step + REQUESTS {
        for (net, costs) in nets.iter().zip(&mut costs) {
            // What a request leaves to softirqs and workers is not the next one's cost.
            sleep(SETTLED);
            costs.push(timed(|| net.address(n))?);
        }
    }
    for (net, costs) in nets.iter().zip(&costs) {
        for n in step..step + REQUESTS {
            let slave = &net.slaves[n as usize % net.slaves.len()];
            let spec = AddrSpec::new(slave.index, inside(false, n), 32);
            granted(net.inside.nl().try_del_addr(&spec)?)?;
        }
        b.report(
            ADD,
            step.into(),
            net.peer.name(),
            "per request",
            &costs[1..],
        );
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
            src: outside(false, 1),
            dst: (inside(false, first), inside(false, last)),
            order: Order::Random,
            size: 60,
        },
        witness: (net.peer != Peer::Dummy).then(|| Witness::received(&net.inside)),
    };
    nets.iter().map(shot).collect()
}

/// What is for nobody here: another's MAC, and random addresses that no slave has.
fn missing(net: &Net) -> Shot {
    Shot {
        peer: net.peer,
        gun: Pktgen {
            ns: net.host.clone(),
            device: "m0".into(),
            way: Way::Receive,
            mac: [2, 0, 0, 0, 0, 0x77],
            src: outside(false, 1),
            dst: ([10, 128, 0, 0].into(), [10, 128, 255, 255].into()),
            order: Order::Random,
            size: 60,
        },
        witness: (net.peer != Peer::Bare).then(|| Witness::nothing(&net.inside)),
    }
}
