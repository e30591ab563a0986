// SPDX-License-Identifier: GPL-2.0
//! Packets for one receiver: to the outside, and from slave to slave.

use super::net::{counted, inside, outside, Net, Pair, Peer, L2, L3, L3S};
use super::pktgen::{Pktgen, Way};
use super::Bench;
use crate::netns::Netns;
use anyhow::{ensure, Context, Result};

/// Packets that make lazily allocated things be there before the first round.
const WARM: u64 = 200;

/// A generator, and where its packets must show.
pub struct Shot {
    pub peer: Peer,
    pub gun: Pktgen,
    /// Whose counters must rise, those of sent or those of received packets; no witness where the packets end before
    /// anybody counts.
    pub witness: Option<(Netns, bool)>,
}

impl Shot {
    pub fn fire(&self, count: u64) -> Result<f64> {
        let seen = || match &self.witness {
            Some((ns, sent)) => counted(ns, *sent),
            None => Ok(0),
        };
        let before = seen()?;
        let cost = self.gun.fire(count).context(self.peer.name())?;
        let rose = seen()?.saturating_sub(before);
        ensure!(
            self.witness.is_none() || rose == count,
            "{}: {count} packets were sent, and {rose} were counted where they should have gone",
            self.peer.name()
        );
        Ok(cost)
    }
}

/// Fires all of them in each round, one after the other.
pub fn volley(b: &mut Bench<'_>, row: &str, x: u64, shots: &[Shot]) -> Result<()> {
    for shot in shots {
        shot.fire(WARM)?;
    }
    let mut costs = vec![Vec::new(); shots.len()];
    for _ in 0..b.rounds {
        for (shot, costs) in shots.iter().zip(&mut costs) {
            costs.push(shot.fire(b.packets)?);
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
                    volley(b, &row, 1, &outward(&nets, six, size, 1))?;
                }
            }
        }
        let row = format!("tx {name} v4 destinations");
        if mode == L3 && b.wants(&row) {
            for n in [1, 64, 4096] {
                volley(b, &row, n.into(), &outward(&nets, false, 60, n))?;
            }
        }
    }
    Ok(())
}

/// The shots of networks to `n` destinations outside.
fn outward(nets: &[Net], six: bool, size: u32, n: u32) -> Vec<Shot> {
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
                dst: (outside(six, 1), outside(six, n)),
                size,
            },
            witness: Some((net.host.clone(), true)),
        }
    };
    nets.iter().map(shot).collect()
}

/// From one namespace to another.
pub fn siblings(b: &mut Bench<'_>) -> Result<()> {
    for (mode, name) in [(L2, "l2"), (L3, "l3")] {
        let row = format!("sibling {name} v4 60");
        let six_row = format!("sibling {name} v6 1400");
        if !b.wants(&row) && !b.wants(&six_row) {
            continue;
        }
        let mut peers = vec![Peer::Veth, Peer::Netkit, Peer::Ipvlan, Peer::IpvlanRs];
        if mode == L2 {
            peers.push(Peer::Macvlan);
        }
        let mut pairs = Vec::new();
        for peer in peers {
            match Pair::new(peer, mode) {
                Ok(pair) => pairs.push((peer, pair)),
                // A kernel may be built without it.
                Err(e) if peer == Peer::Netkit => println!("# no netkit pair: {e:#}"),
                Err(e) => return Err(e.context(peer.name())),
            }
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
                    size,
                },
                witness: Some((pair.b.0.clone(), false)),
            };
            let shots: Vec<Shot> = pairs.iter().map(shot).collect();
            if b.wants(&row) {
                volley(b, &row, 1, &shots)?;
            }
        }
    }
    Ok(())
}
