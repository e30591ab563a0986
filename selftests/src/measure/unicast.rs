// SPDX-License-Identifier: GPL-2.0
//! Packets for one receiver: to the outside, and from slave to slave.

use super::net::{counted, inside, outside, Net, Pair, Peer, L2, L3, L3S};
use super::pktgen::{Armed, Order, Pktgen, Way};
use super::stream::bulk;
use super::work::Meter;
use super::Bench;
use crate::frames::addresses;
use crate::netns::Netns;
use crate::packet::Tap;
use anyhow::{ensure, Context, Result};
use std::collections::HashSet;

/// To how many destinations: one, what a cache may hold, and more than it could.
const DESTINATIONS: [u32; 4] = [1, 64, 4096, 65536];

/// Packets that make lazily allocated things be there before the first round.
const WARM: u64 = 200;

/// Where packets must show: the share of them that the counters of all links in a namespace rise by.
pub struct Witness {
    ns: Netns,
    sent: bool,
    all: bool,
}

impl Witness {
    /// Every packet is counted as received there.
    pub fn received(ns: &Netns) -> Witness {
        let ns = ns.clone();
        Witness {
            ns,
            sent: false,
            all: true,
        }
    }

    /// Every packet is counted as sent there.
    pub fn sent(ns: &Netns) -> Witness {
        Witness {
            sent: true,
            ..Witness::received(ns)
        }
    }

    /// No packet is received there.
    pub fn nothing(ns: &Netns) -> Witness {
        Witness {
            all: false,
            ..Witness::received(ns)
        }
    }

    pub fn count(&self) -> Result<u64> {
        counted(&self.ns, self.sent)
    }

    /// That `count` packets since `before` did as they should.
    pub fn check(&self, before: u64, count: u64) -> Result<()> {
        let rose = self.count()?.saturating_sub(before);
        let want = if self.all { count } else { 0 };
        ensure!(
            rose == want,
            "of {count} packets {rose} were counted where {want} should have been"
        );
        Ok(())
    }
}

/// A generator, and where its packets must show; no witness where they end before anybody counts.
pub struct Shot {
    pub peer: Peer,
    pub gun: Pktgen,
    pub witness: Option<Witness>,
}

impl Shot {
    fn fire(&self, gun: &Armed<'_>, count: u64, meter: &mut Meter) -> Result<f64> {
        let before = self.witness.as_ref().map(Witness::count).transpose()?;
        let cost = gun.fire(count, meter).context(self.peer.name())?;
        if let (Some(witness), Some(before)) = (&self.witness, before) {
            witness.check(before, count).context(self.peer.name())?;
        }
        Ok(cost)
    }
}

/// Fires all of them in each round, one after the other. Each has a namespace of its own to fire in.
pub fn volley(b: &mut Bench<'_>, row: &str, x: u64, shots: &[Shot]) -> Result<()> {
    let mut guns = Vec::new();
    for shot in shots {
        let gun = shot.gun.arm().context(shot.peer.name())?;
        shot.fire(&gun, WARM, &mut b.meter)?;
        guns.push(gun);
    }
    let mut costs = vec![Vec::new(); shots.len()];
    for _ in 0..b.rounds {
        for ((shot, gun), costs) in shots.iter().zip(&guns).zip(&mut costs) {
            costs.push(shot.fire(gun, b.packets, &mut b.meter)?);
        }
    }
    for (shot, costs) in shots.iter().zip(&costs) {
        b.report(row, x, shot.peer.name(), "per packet", costs);
    }
    Ok(())
}

/// From a slave to the wire.
pub fn transmit(b: &mut Bench<'_>) -> Result<()> {
    for (mode, name) in [(L2, "l2"), (L3, "l3"), (L3S, "l3s")] {
        let mut peers = vec![Peer::Bare, Peer::BareQueue, Peer::Ipvlan, Peer::IpvlanRs];
        if mode == L2 {
            peers.push(Peer::Macvlan);
        }
        let mut nets = Vec::new();
        for peer in peers {
            let mut net = Net::new(peer, mode, true)?;
            if !matches!(peer, Peer::Bare | Peer::BareQueue) {
                net.grow()?;
            }
            nets.push(net);
        }
        for (six, family) in [(false, "v4"), (true, "v6")] {
            for size in [60, 1400] {
                let row = format!("tx {name} {family} {size}");
                // pktgen's own header takes what 60 bytes of IPv6 have not.
                let size = if six && size == 60 { 78 } else { size };
                if b.wants(&row) {
                    volley(b, &row, 1, &outward(&nets, six, size, (1, Order::Random)))?;
                }
            }
        }
        for (six, family) in [(false, "v4"), (true, "v6")] {
            let row = format!("tx {name} {family} destinations");
            if mode == L3 && b.wants(&row) {
                for n in DESTINATIONS {
                    let size = if six { 78 } else { 60 };
                    // More than any cache holds, each as long ago as can be: every packet misses. (pktgen draws those of
                    // IPv6 all the same, of which few come twice.)
                    let order = if n > 4096 {
                        Order::InTurn
                    } else {
                        Order::Random
                    };
                    let shots = outward(&nets, six, size, (n, order));
                    varied(&nets[1], &shots[1], (n, order), &mut b.meter)?;
                    volley(b, &row, n.into(), &shots)?;
                }
            }
        }
        let row = format!("tx {name} v4 pairs");
        if mode == L3 && b.wants(&row) {
            let many = (DESTINATIONS[3], Order::Pairs);
            let shots = outward(&nets, false, 60, many);
            varied(&nets[1], &shots[1], many, &mut b.meter)?;
            volley(b, &row, many.0.into(), &shots)?;
        }
        bulk(b, name, &nets)?;
    }
    Ok(())
}

/// The shots of networks to `n` destinations outside.
fn outward(nets: &[Net], six: bool, size: u32, (n, order): (u32, Order)) -> Vec<Shot> {
    let shot = |net: &Net| {
        let bare = net.slaves.is_empty();
        Shot {
            peer: net.peer,
            gun: Pktgen {
                ns: if bare {
                    net.host.clone()
                } else {
                    net.inside.clone()
                },
                device: if bare { "m0".into() } else { "s0".into() },
                way: if net.peer == Peer::BareQueue {
                    Way::Queue
                } else {
                    Way::Xmit
                },
                mac: [2, 0, 0, 0, 0, 9],
                src: inside(six, 0),
                dst: (outside(six, 0), outside(six, n - 1)),
                order,
                size,
            },
            witness: Some(Witness::sent(&net.host)),
        }
    };
    nets.iter().map(shot).collect()
}

/// That the generator's packets really go to `n` destinations, as far as some of them can tell.
fn varied(net: &Net, shot: &Shot, (n, order): (u32, Order), meter: &mut Meter) -> Result<()> {
    let tap = Tap::new(&net.host, net.master.index)?;
    shot.gun.fire(WARM, meter)?;
    let mut seen = HashSet::new();
    let mut frames = 0;
    while let Some(frame) = tap.poll()? {
        seen.extend(addresses(&frame.bytes).map(|(_, to)| to));
        frames += 1;
    }
    // Of 200 random draws from 64 nearly all 64 come, of 4096 about 195.
    let wanted = match (n, order) {
        (_, Order::Pairs) => 95..=105,
        (1, _) => 1..=1,
        (64, _) => 55..=64,
        _ => 180..=n as usize,
    };
    ensure!(
        frames >= WARM && wanted.contains(&seen.len()),
        "{frames} packets to {} of {n} destinations",
        seen.len()
    );
    Ok(())
}

/// From one namespace to another.
pub fn siblings(b: &mut Bench<'_>) -> Result<()> {
    for (mode, name) in [(L2, "l2"), (L3, "l3")] {
        let row = format!("sibling {name} v4 60");
        let six_row = format!("sibling {name} v6 1400");
        if !b.wants(&row) && !b.wants(&six_row) {
            continue;
        }
        let mut pairs = Vec::new();
        for peer in Peer::paired(mode) {
            let pair = Pair::new(peer, mode, true).context(peer.name())?;
            pairs.push((peer, pair));
        }
        for (row, six, size) in [(row, false, 60), (six_row, true, 1400)] {
            let shot = |(peer, pair): &(Peer, Pair)| Shot {
                peer: *peer,
                gun: Pktgen {
                    ns: pair.a.0.clone(),
                    device: pair.a.1.name.clone(),
                    way: Way::Xmit,
                    mac: pair.to,
                    src: inside(six, 0),
                    dst: (inside(six, 1), inside(six, 1)),
                    order: Order::Random,
                    size,
                },
                witness: Some(Witness::received(&pair.b.0)),
            };
            let shots: Vec<Shot> = pairs.iter().map(shot).collect();
            if b.wants(&row) {
                volley(b, &row, 1, &shots)?;
            }
        }
    }
    Ok(())
}
