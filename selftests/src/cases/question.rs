// SPDX-License-Identifier: GPL-2.0
//! ARP requests and neighbour solicitations in L2: whom they reach. In-tree all slaves get them; by D17 those whom they
//! concern, and those that listen to everything.

use super::counters::quiet;
use super::multicast::group;
use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V46};
use crate::frames::{self, Mac};
use crate::lan::{Lan, Mode, Slave, EXT_V4, EXT_V6, NOBODY_V4, NOBODY_V6, PRIVATE, VEPA};
use crate::nl::{granted, LinkSpec};
use crate::packet::{Class, Tap};
use crate::wait;
use anyhow::{ensure, Context, Result};
use std::net::{Ipv4Addr, Ipv6Addr};

cases! {
    "question", Suite::Both;
    from_the_wire_for_a_slave: EACH, V46;
    from_the_wire_with_a_slaves_address: EACH, V46;
    from_the_wire_for_nobody: EACH, V46;
    announcement: EACH, V4;
    probe: EACH, V46;
    for_a_slave_that_is_down: EACH, V4;
    from_a_slave: EACH, V46;
    from_a_slave_with_anothers_address: EACH, V46;
    from_a_slave_with_flags: EACH, V46;
    wakes_nobody_else: EACH, V4;
    among_many: EACH, V46;
    overtakes_no_broadcast: EACH, V4;
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An address of each family.
pub type Addresses = (Ipv4Addr, Ipv6Addr);

pub const EXT: Addresses = (EXT_V4, EXT_V6);
const NOBODY: Addresses = (NOBODY_V4, NOBODY_V6);
const UNSPECIFIED: Addresses = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);

pub fn of(slave: &Slave) -> Addresses {
    (slave.v4, slave.v6)
}

/// `asker` asks for the owner of `target`, in a frame that all slaves listen to: a solicitation's own group is mostly the
/// owner's alone.
pub fn question(cx: Cx, from: Mac, asker: Addresses, target: Addresses) -> Vec<u8> {
    if !cx.is_v6() {
        let sender = (from, asker.0);
        frames::arp(from, frames::BROADCAST, true, sender, ([0; 6], target.0))
    } else {
        let mac = frames::group_mac(ALL_NODES.into());
        frames::solicit(from, mac, asker.1, ALL_NODES, target.1)
    }
}

/// Five slaves, each with a part in what is asked.
struct Port {
    lan: Lan,
    /// Has the address that is asked for.
    owner: Slave,
    /// Has the address that the asker uses, or asks itself.
    asker: Slave,
    /// Promiscuous.
    nosy: Slave,
    idle: [Slave; 2],
}

/// How many copies they get; the idle ones one number for both.
#[derive(Debug, PartialEq, Eq)]
struct Copies {
    owner: usize,
    asker: usize,
    nosy: usize,
    idle: usize,
}

const ALL: Copies = Copies {
    owner: 1,
    asker: 1,
    nosy: 1,
    idle: 2,
};

impl Port {
    async fn new(cx: Cx, flags: Option<u16>) -> Result<Port> {
        let lan = Lan::new(cx, Mode::L2)?;
        let owner = lan.slave_with(|s| LinkSpec { flags, ..s })?;
        let (asker, nosy) = (lan.slave()?, lan.slave()?);
        let idle = [lan.slave()?, lan.slave()?];
        make_nosy(&lan, &nosy).await?;
        let port = Port {
            lan,
            owner,
            asker,
            nosy,
            idle,
        };
        Ok(port)
    }

    fn slaves(&self) -> [&Slave; 5] {
        let [first, second] = &self.idle;
        [&self.owner, &self.asker, &self.nosy, first, second]
    }

    fn taps(&self) -> Result<Vec<Tap>> {
        self.slaves().into_iter().map(Slave::tap).collect()
    }

    /// How many copies of a frame that was sent the slaves have got.
    async fn copies(&self, taps: &[Tap], frame: &[u8]) -> Result<Copies> {
        // All get what comes after it.
        let fence = frames::ethernet(
            self.lan.wire_mac,
            frames::BROADCAST,
            0x88b5,
            b"fence fence fence",
        );
        self.lan.wire_tap()?.send(&fence)?;
        let mut counts = Vec::new();
        for tap in taps {
            let seen = tap
                .until("the fence", |f| f.bytes.starts_with(&fence))
                .await?;
            let copies = seen
                .iter()
                .filter(|f| f.class != Class::Outgoing && f.bytes.starts_with(frame));
            counts.push(copies.count());
        }
        let [owner, asker, nosy, first, second] =
            counts[..].try_into().context("not five slaves")?;
        Ok(Copies {
            owner,
            asker,
            nosy,
            idle: first + second,
        })
    }

    /// Sends a frame from the wire, which the master's stack must get; `expected` applies by D17, in-tree all get one.
    async fn wire_sends(&self, frame: &[u8], expected: Copies) -> Result<()> {
        let (taps, host) = (self.taps()?, self.lan.master_tap()?);
        self.lan.wire_tap()?.send(frame)?;
        host.expect("it at the master", |f| f.bytes.starts_with(frame))
            .await?;
        let copies = self.copies(&taps, frame).await?;
        let expected = if self.lan.cx.decision(Decision::D17) {
            expected
        } else {
            ALL
        };
        ensure!(copies == expected, "{copies:?} instead of {expected:?}");
        Ok(())
    }

    /// Sends a frame from the asker, which the wire must get; returns who else did.
    async fn asker_sends(&self, frame: &[u8]) -> Result<Copies> {
        let (taps, wire) = (self.taps()?, self.lan.wire_tap()?);
        self.asker.tap()?.send(frame)?;
        wire.expect("it on the wire", |f| f.bytes.starts_with(frame))
            .await?;
        self.copies(&taps, frame).await
    }
}

/// Makes a slave promiscuous, and waits until that is in effect.
async fn make_nosy(lan: &Lan, slave: &Slave) -> Result<()> {
    granted(
        slave
            .ns
            .nl()
            .set_link(slave.index, |l| l.promiscuous(true))?,
    )?;
    let (tap, wire) = (slave.tap()?, lan.wire_tap()?);
    // One that nobody has joined may share its bit with one that the slave has: all of several must pass.
    for n in 50..54 {
        let frame = super::multicast::from_wire(lan, group(lan.cx, n), b"anything");
        wait::until("promiscuous mode is in effect", || {
            wire.send(&frame)?;
            while let Some(f) = tap.poll()? {
                if f.bytes == frame {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await?;
    }
    Ok(())
}

async fn from_the_wire_for_a_slave(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let frame = question(cx, port.lan.wire_mac, EXT, of(&port.owner));
    let expected = Copies {
        owner: 1,
        asker: 0,
        nosy: 1,
        idle: 0,
    };
    port.wire_sends(&frame, expected).await?;
    // The private and vepa flags are about siblings.
    for flags in [PRIVATE, VEPA] {
        let port = Port::new(cx, Some(flags)).await?;
        let expected = Copies {
            owner: 1,
            asker: 0,
            nosy: 1,
            idle: 0,
        };
        let frame = question(cx, port.lan.wire_mac, EXT, of(&port.owner));
        port.wire_sends(&frame, expected).await?;
    }
    Ok(())
}

/// Somebody outside uses a slave's address: that slave is to learn of it.
async fn from_the_wire_with_a_slaves_address(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let frame = question(cx, port.lan.wire_mac, of(&port.asker), of(&port.owner));
    let expected = Copies {
        owner: 1,
        asker: 1,
        nosy: 1,
        idle: 0,
    };
    port.wire_sends(&frame, expected).await
}

async fn from_the_wire_for_nobody(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let frame = question(cx, port.lan.wire_mac, EXT, NOBODY);
    port.wire_sends(&frame, ALL).await
}

/// A request for its own sender tells all of an address (RFC 5227, 2.3), as does a reply to all.
async fn announcement(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let owner = of(&port.owner);
    let mac = port.lan.wire_mac;
    port.wire_sends(&question(cx, mac, owner, owner), ALL)
        .await?;
    let of_owner = (mac, owner.0);
    let reply = frames::arp(mac, frames::BROADCAST, false, of_owner, of_owner);
    port.wire_sends(&reply, ALL).await?;
    let asker = of(&port.asker);
    let copies = port
        .asker_sends(&question(cx, port.lan.mac, asker, asker))
        .await?;
    ensure!(copies == Copies { asker: 0, ..ALL }, "{copies:?}");
    Ok(())
}

/// From nobody yet (RFC 5227, 2.1.1; RFC 4862, 5.4.2): whoever has the address is asked.
async fn probe(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let frame = question(cx, port.lan.wire_mac, UNSPECIFIED, of(&port.owner));
    let expected = Copies {
        owner: 1,
        asker: 0,
        nosy: 1,
        idle: 0,
    };
    port.wire_sends(&frame, expected).await
}

/// Nobody can answer for it, so that it is like an address of nobody's.
async fn for_a_slave_that_is_down(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let down = port.lan.slave()?;
    let target = of(&down);
    down.ns.nl().down(down.index)?;
    let frame = question(cx, port.lan.wire_mac, EXT, target);
    port.wire_sends(&frame, ALL).await
}

async fn from_a_slave(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let (asker, owner) = (of(&port.asker), of(&port.owner));
    let frame = question(cx, port.lan.mac, asker, owner);
    let copies = port.asker_sends(&frame).await?;
    let d17 = cx.decision(Decision::D17);
    let expected = Copies {
        owner: 1,
        asker: 0,
        nosy: 1,
        idle: if d17 { 0 } else { 2 },
    };
    ensure!(copies == expected, "{copies:?} instead of {expected:?}");
    let frame = question(cx, port.lan.mac, asker, NOBODY);
    let copies = port.asker_sends(&frame).await?;
    ensure!(copies == Copies { asker: 0, ..ALL }, "{copies:?}");
    Ok(())
}

/// A sibling uses a slave's address.
async fn from_a_slave_with_anothers_address(cx: Cx) -> Result<()> {
    let port = Port::new(cx, None).await?;
    let frame = question(cx, port.lan.mac, of(&port.idle[0]), of(&port.owner));
    let copies = port.asker_sends(&frame).await?;
    let expected = Copies {
        owner: 1,
        asker: 0,
        nosy: 1,
        idle: if cx.decision(Decision::D17) { 1 } else { 2 },
    };
    ensure!(copies == expected, "{copies:?} instead of {expected:?}");
    Ok(())
}

/// private and vepa: to the wire, and to no sibling (D2); in-tree to all siblings.
async fn from_a_slave_with_flags(cx: Cx) -> Result<()> {
    for flags in [PRIVATE, VEPA] {
        let port = Port::new(cx, Some(flags)).await?;
        let (asker, owner) = (of(&port.asker), of(&port.owner));
        let expected = if cx.decision(Decision::D2) {
            Copies {
                owner: 0,
                asker: 0,
                nosy: 0,
                idle: 0,
            }
        } else {
            Copies { asker: 0, ..ALL }
        };
        for (who, target) in [(asker, owner), (UNSPECIFIED, owner), (asker, NOBODY)] {
            let copies = port
                .asker_sends(&question(cx, port.lan.mac, who, target))
                .await?;
            ensure!(
                copies == expected,
                "flags {flags}: {copies:?} instead of {expected:?}"
            );
        }
    }
    Ok(())
}

/// The counters of those whom a question does not concern stay.
async fn wakes_nobody_else(cx: Cx) -> Result<()> {
    const QUESTIONS: u64 = 20;
    let port = Port::new(cx, None).await?;
    quiet(&port.slaves()).await?;
    let received = || {
        port.slaves()
            .into_iter()
            .map(|s| Ok(s.link()?.stats.rx_packets))
            .collect::<Result<Vec<_>>>()
    };
    let (before, wire) = (received()?, port.lan.wire_tap()?);
    for _ in 0..QUESTIONS {
        wire.send(&question(cx, port.lan.wire_mac, EXT, of(&port.owner)))?;
    }
    wait::until("the questions have arrived", || {
        Ok(received()?[0] >= before[0] + QUESTIONS)
    })
    .await?;
    quiet(&port.slaves()).await?;
    let got: Vec<u64> = std::iter::zip(received()?, before)
        .map(|(now, then)| now - then)
        .collect();
    let other = if cx.decision(Decision::D17) {
        0
    } else {
        QUESTIONS
    };
    ensure!(
        got == [QUESTIONS, other, QUESTIONS, other, other],
        "owner, asker, promiscuous and two others received {got:?}"
    );
    Ok(())
}

/// With many slaves, some of which have to be looked for if one of them is promiscuous.
async fn among_many(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slaves = (0..14).map(|_| lan.slave()).collect::<Result<Vec<_>>>()?;
    let taps = slaves.iter().map(Slave::tap).collect::<Result<Vec<_>>>()?;
    let (wire, d17) = (lan.wire_tap()?, cx.decision(Decision::D17));
    for (nosy, fence) in [
        (None, b"fence fence fence 1"),
        (Some(9), b"fence fence fence 2"),
    ] {
        if let Some(n) = nosy {
            make_nosy(&lan, &slaves[n]).await?;
        }
        let from_wire = question(cx, lan.wire_mac, of(&slaves[1]), of(&slaves[4]));
        let from_slave = question(cx, lan.mac, of(&slaves[2]), of(&slaves[4]));
        wire.send(&from_wire)?;
        taps[2].send(&from_slave)?;
        wire.expect("the slave's question on the wire", |f| {
            f.bytes.starts_with(&from_slave)
        })
        .await?;
        let fence = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, fence);
        wire.send(&fence)?;
        for (n, tap) in taps.iter().enumerate() {
            let seen = tap
                .until("the fence", |f| f.bytes.starts_with(&fence))
                .await?;
            let copies = |frame: &[u8]| {
                seen.iter()
                    .filter(|f| f.class != Class::Outgoing && f.bytes.starts_with(frame))
                    .count()
            };
            let all = !d17 || n == 4 || nosy == Some(n);
            let got = [copies(&from_wire), copies(&from_slave)];
            let expected = [usize::from(all || n == 1), usize::from(all && n != 2)];
            ensure!(
                got == expected,
                "with {nosy:?} promiscuous, {n} got {got:?} instead of {expected:?} copies"
            );
        }
    }
    Ok(())
}

/// With many slaves broadcasts wait for a worker, which a question does not need: it must not be there before those that
/// came first.
async fn overtakes_no_broadcast(cx: Cx) -> Result<()> {
    const ROUNDS: u16 = 150;
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    let _many = (0..39)
        .map(|_| lan.slave_in(ns.clone(), |s| s))
        .collect::<Result<Vec<_>>>()?;
    // Alone in its namespace, else its questions would wait for the worker too.
    let asked = lan.slave()?;
    let (tap, wire) = (asked.tap()?, lan.wire_tap()?);
    // Numbered by their Ethernet source.
    let numbered = |kind: u8, n: u16| {
        let [high, low] = n.to_be_bytes();
        [2, 0, 0, kind, high, low]
    };
    for n in 0..ROUNDS {
        wire.send(&frames::ethernet(
            numbered(1, n),
            frames::BROADCAST,
            0x88b5,
            &[7; 60],
        ))?;
        wire.send(&question(cx, numbered(2, n), EXT, of(&asked)))?;
    }
    let (mut broadcasts, mut questions) = (0, 0);
    while questions < ROUNDS {
        let frame = tap
            .expect("all of them", |f| {
                f.class != Class::Outgoing && f.bytes[6..9] == [2, 0, 0]
            })
            .await?;
        let number = u16::from_be_bytes([frame.bytes[10], frame.bytes[11]]);
        if frame.bytes[9] == 1 {
            broadcasts = number + 1;
        } else {
            ensure!(
                number < broadcasts,
                "question {number} comes after {broadcasts} broadcasts"
            );
            questions += 1;
        }
    }
    Ok(())
}
