// SPDX-License-Identifier: GPL-2.0
//! One question on the wire for one of many slaves: what answering it takes, and how many see it.

use super::group::{arrived, patience, rest, settled};
use super::net::{inside, Net, Peer, L2};
use super::Bench;
use crate::frames::{arp, group_mac, solicit, solicited_node, Mac};
use crate::packet::Tap;
use anyhow::{Context, Result};
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

/// An ARP request, and a neighbour solicitation, for one of many slaves.
pub fn neighbours(b: &mut Bench<'_>) -> Result<()> {
    let slaves: u32 = if b.full() { 1000 } else { 100 };
    for (row, six) in [("arp request", false), ("neighbour solicitation", true)] {
        if !b.wants(row) {
            continue;
        }
        let mut nets = Vec::new();
        for peer in [Peer::Ipvlan, Peer::IpvlanRs, Peer::Macvlan] {
            // The master is one end of a cable; what is sent into the other arrives there.
            let mut net = Net::wired(peer, L2, six)?;
            for n in 0..slaves {
                net.grow()?;
                net.address_of(six, n)?;
            }
            let (ns, index) = net.cable.clone().expect("a wired network has one");
            nets.push((Tap::new(&ns, index)?, net));
        }
        rest();
        let asked: u32 = 100;
        let mut costs = vec![Vec::new(); nets.len()];
        let mut seen = vec![Vec::new(); nets.len()];
        for round in 0..=b.rounds as u32 {
            for (n, (tap, net)) in nets.iter().enumerate() {
                tap.drain()?;
                let before = settled(net)?;
                let work = b.meter.of(true, patience((asked * slaves).into()), || {
                    for k in 0..asked {
                        tap.send(&question(six, (round * asked + k) % slaves))?;
                    }
                    Ok(())
                })?;
                let copies = arrived(net, before).context(row)?;
                if round > 0 {
                    costs[n].push(work / f64::from(asked));
                    seen[n].push(copies as f64 / f64::from(asked));
                }
            }
        }
        for (n, (_, net)) in nets.iter().enumerate() {
            let name = net.peer.name();
            b.report(row, slaves.into(), name, "per request", &costs[n]);
            b.report(
                &format!("{row}: slaves that see it"),
                slaves.into(),
                name,
                "copies",
                &seen[n],
            );
        }
    }
    Ok(())
}
