// SPDX-License-Identifier: GPL-2.0
//! One question on the wire for one of many slaves: what answering it takes, and how many see it.

use super::group::{patience, rest};
use super::net::{counted, inside, Net, Peer, L2};
use super::Bench;
use crate::frames::{arp, group_mac, solicit, solicited_node, Mac};
use crate::netns::Netns;
use crate::nl::{granted, AddrSpec};
use crate::packet::Tap;
use anyhow::{ensure, Context, Result};
use nix::sys::resource::{setrlimit, Resource};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ASKER: Mac = [2, 0, 0, 0, 0, 9];

/// The frame that asks for the slave's address with that number.
fn question(six: bool, n: u32) -> Vec<u8> {
    match inside(six, n) {
        IpAddr::V4(target) => {
            let sender = (ASKER, Ipv4Addr::new(10, 1, 0, 9));
            arp(ASKER, [0xff; 6], true, sender, ([0; 6], target))
        }
        IpAddr::V6(target) => {
            let from = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 9);
            let group = solicited_node(target);
            solicit(ASKER, group_mac(group.into()), from, group, target)
        }
    }
}

/// Slaves as containers have them, each in a namespace of its own: where several share one, all of them may answer for each
/// other, and so must see the question.
struct Tenants<'a> {
    net: Net,
    spaces: &'a [Netns],
    wire: Tap,
}

/// Namespaces for them. They take most of the time, so the kinds share them: each has a slave of each kind, and at any time
/// one kind is asked.
fn spaces(six: bool, slaves: u32) -> Result<Vec<Netns>> {
    let space = |_| {
        let ns = Netns::new()?;
        if !six {
            ns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        }
        Ok(ns)
    };
    (0..slaves).map(space).collect()
}

impl<'a> Tenants<'a> {
    fn new(peer: Peer, six: bool, spaces: &'a [Netns]) -> Result<Tenants<'a>> {
        // The master is one end of a cable; what is sent into the other arrives there.
        let net = Net::wired(peer, L2, six)?;
        for (n, ns) in (0..).zip(spaces) {
            net.create(ns, peer.name())?;
            let index = ns.nl().link(peer.name())?.index;
            ns.nl().up(index)?;
            let spec = AddrSpec::new(index, inside(six, n), if six { 128 } else { 32 });
            granted(ns.nl().try_add_addr(&spec)?)?;
        }
        let (ns, index) = net.cable.clone().context("a wired network has a cable")?;
        let wire = Tap::new(&ns, index)?;
        Ok(Tenants { net, spaces, wire })
    }

    /// Frames that all slaves together have received.
    fn seen(&self) -> Result<u64> {
        self.spaces.iter().map(|ns| counted(ns, false)).sum()
    }
}

/// An ARP request, and a neighbour solicitation, for one of many slaves.
pub fn neighbours(b: &mut Bench<'_>) -> Result<()> {
    let slaves: u32 = if b.full() { 1000 } else { 100 };
    // Two open files for each namespace.
    setrlimit(Resource::RLIMIT_NOFILE, 16384, 16384).context("more open files")?;
    for (row, six) in [("arp request", false), ("neighbour solicitation", true)] {
        if !b.wants(row) {
            continue;
        }
        let spaces = spaces(six, slaves)?;
        let mut nets = Vec::new();
        for peer in [Peer::Ipvlan, Peer::IpvlanRs, Peer::Macvlan] {
            nets.push(Tenants::new(peer, six, &spaces).context(peer.name())?);
        }
        rest();
        let asked: u32 = 40;
        let mut costs = vec![Vec::new(); nets.len()];
        let mut seen = vec![Vec::new(); nets.len()];
        for round in 0..=b.rounds as u32 {
            for (n, tenants) in nets.iter().enumerate() {
                tenants.wire.drain()?;
                let before = tenants.seen()?;
                let wait = patience(b, (asked * slaves).into());
                let idle = b.meter.idle(wait)?;
                let work = b.meter.of(true, wait, || {
                    for k in 0..asked {
                        let frame = question(six, (round * asked + k) % slaves);
                        tenants.wire.send(&frame)?;
                    }
                    Ok(())
                })?;
                let copies = tenants.seen()? - before;
                let name = tenants.net.peer.name();
                ensure!(
                    copies >= asked.into(),
                    "{name}: {asked} questions, {copies} seen"
                );
                if round > 0 {
                    costs[n].push((work - idle) / f64::from(asked));
                    seen[n].push(copies as f64 / f64::from(asked));
                }
            }
        }
        for (n, tenants) in nets.iter().enumerate() {
            let name = tenants.net.peer.name();
            b.report(row, slaves.into(), name, "per request", &costs[n]);
            let witnesses = format!("{row}: slaves that see it");
            b.report(&witnesses, slaves.into(), name, "copies", &seen[n]);
        }
    }
    Ok(())
}
