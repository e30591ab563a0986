// SPDX-License-Identifier: GPL-2.0
//! A switch that sends back what it gets: what slaves sent must not reach anybody twice, nor themselves, and in vepa it
//! must reach the siblings so.

use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V46, V6};
use crate::frames;
use crate::lan::{Lan, Mode, Slave, PRIVATE, VEPA};
use crate::nl::LinkSpec;
use crate::packet::{Captured, Class, Tap};
use crate::ping::ping;
use crate::wait;
use anyhow::{ensure, Result};
use std::net::IpAddr;

cases! {
    "hairpin", Suite::Both;
    vepa_siblings_meet: EACH, V46;
    vepa_host_and_slaves_meet: EACH, V46;
    vepa_own_probe_is_no_duplicate: EACH, V6;
    group_frames_arrive_once: EACH, V46;
    group_frames_from_nobody_known: EACH, V46;
    private_stays_private: EACH, V46;
}

/// A network behind such a switch, with three slaves.
async fn network(cx: Cx, flags: u16) -> Result<(Lan, [Slave; 3])> {
    let lan = Lan::reflecting(cx, Mode::L2)?;
    // A bridge forwards nothing before it has noticed the carrier of its port.
    let (host, wire) = (lan.master_tap()?, lan.wire_tap()?);
    for (from, to, mac) in [(&wire, &host, lan.wire_mac), (&host, &wire, lan.mac)] {
        let probe = frames::ethernet(mac, frames::BROADCAST, 0x88b7, b"probe probe probe");
        wait::until("the switch forwards", || {
            from.send(&probe)?;
            while let Some(f) = to.poll()? {
                if f.bytes.starts_with(&probe) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await?;
    }
    let flags = Some(flags);
    let a = lan.slave_with(|s| LinkSpec { flags, ..s })?;
    let (b, c) = (lan.slave()?, lan.slave()?);
    Ok((lan, [a, b, c]))
}

/// What each slave's tap has seen until now.
async fn seen(lan: &Lan, taps: &[&Tap]) -> Result<Vec<Vec<Captured>>> {
    let fence = frames::ethernet(
        lan.wire_mac,
        frames::BROADCAST,
        0x88b5,
        b"fence fence fence",
    );
    lan.wire_tap()?.send(&fence)?;
    let mut all = Vec::new();
    for tap in taps {
        all.push(
            tap.until("the fence", |f| f.bytes.starts_with(&fence))
                .await?,
        );
    }
    Ok(all)
}

/// How many of the frames came in as this one.
fn copies(seen: &[Captured], frame: &[u8]) -> usize {
    seen.iter()
        .filter(|f| f.class != Class::Outgoing && f.bytes.starts_with(frame))
        .count()
}

/// Sends a frame from the first slave; how many copies each slave gets.
async fn sent(lan: &Lan, slaves: &[Slave; 3], frame: &[u8]) -> Result<[usize; 3]> {
    let [a, b, c] = slaves;
    let (ta, tb, tc, wire) = (a.tap()?, b.tap()?, c.tap()?, lan.wire_tap()?);
    ta.send(frame)?;
    wire.expect("it on the wire", |f| f.bytes.starts_with(frame))
        .await?;
    let seen = seen(lan, &[&ta, &tb, &tc]).await?;
    Ok([0, 1, 2].map(|n| copies(&seen[n], frame)))
}

/// A frame to all from this IP address, or from none.
fn to_all(cx: Cx, a: &Slave, from: IpAddr) -> Vec<u8> {
    let to = cx.pick([10, 1, 0, 255], [0xff02, 0, 0, 0, 0, 0, 0, 1]);
    let mac = if to.is_ipv4() {
        frames::BROADCAST
    } else {
        frames::group_mac(to)
    };
    frames::udp(a.mac, mac, from, to, (5, 4000), b"to all")
}

/// Whether an ARP or IP packet, or a solicitation, is meant for the slave.
fn is_for(frame: &[u8], slave: &Slave) -> bool {
    frames::arp_of(frame).is_some_and(|(_, _, target)| target == slave.v4)
        || frames::nd_of(frame).is_some_and(|(kind, target)| kind == 135 && target == slave.v6)
        || frames::addresses(frame).is_some_and(|(_, to)| to == slave.ip())
}

/// ARP or neighbour discovery, and ping: each packet reaches the one it is for as often as it was sent, and nobody hears
/// itself. In-tree the question reaches the sibling in memory, here by the switch.
async fn vepa_siblings_meet(cx: Cx) -> Result<()> {
    let (lan, [a, b, c]) = network(cx, VEPA).await?;
    let (ta, tb, tc) = (a.tap()?, b.tap()?, c.tap()?);
    ping(&a.ns, b.ip()).await?;
    ping(&b.ns, a.ip()).await?;
    let seen = seen(&lan, &[&ta, &tb, &tc]).await?;
    let [at_a, at_b, at_c] = &seen[..] else {
        anyhow::bail!("not three slaves");
    };
    for (from, sent, to, received) in [(&a, at_a, &b, at_b), (&b, at_b, &a, at_a)] {
        let outgoing = |f: &&Captured| f.class == Class::Outgoing;
        let mut meant = 0;
        for frame in sent.iter().filter(outgoing) {
            let times = sent
                .iter()
                .filter(outgoing)
                .filter(|f| f.bytes == frame.bytes)
                .count();
            let what = frames::describe(&frame.bytes);
            let back = copies(sent, &frame.bytes);
            ensure!(back == 0, "{} heard itself: {what}", from.name);
            if is_for(&frame.bytes, to) {
                let got = copies(received, &frame.bytes);
                ensure!(
                    got == times,
                    "{} got {got} of {times} copies: {what}",
                    to.name
                );
                meant += 1;
            }
        }
        // A request or a solicitation, an answer to one, two echoes.
        ensure!(meant >= 3, "{} sent {meant} packets", from.name);
    }
    let woken = at_c
        .iter()
        .filter(|f| is_for(&f.bytes, &a) || is_for(&f.bytes, &b))
        .count();
    if cx.decision(Decision::D17) {
        ensure!(woken == 0, "the third got {woken} packets of theirs");
    }
    Ok(())
}

/// The switch carries what goes between them, too.
async fn vepa_host_and_slaves_meet(cx: Cx) -> Result<()> {
    let (lan, [a, b, _]) = network(cx, VEPA).await?;
    ping(&lan.host, a.ip()).await?;
    ping(&b.ns, lan.master_ip()).await?;
    ping(&lan.ext, a.ip()).await?;
    ping(&b.ns, lan.ext_ip()).await
}

/// Duplicate address detection that comes back is one's own. Not even RFC 7527's nonce is needed to tell.
async fn vepa_own_probe_is_no_duplicate(cx: Cx) -> Result<()> {
    let (lan, [a, ..]) = network(cx, VEPA).await?;
    ping(&a.ns, lan.ext_ip()).await?;
    a.ns.sysctl("ipv6/conf/all/enhanced_dad", "0")?;
    a.ns.sysctl(&format!("ipv6/conf/{}/enhanced_dad", a.name), "0")?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    let ip = super::address::extra(cx, 90);
    super::address::want_dad(&a.ns, &a.name)?;
    ensure!(
        !super::address::dad(&a.ns, a.index, ip).await?,
        "a free address is a duplicate"
    );
    let probe =
        |f: &Captured| frames::nd_of(&f.bytes).is_some_and(|(kind, to)| kind == 135 && to == ip);
    wire.expect("the probe", probe).await?;
    let back = seen(&lan, &[&tap]).await?[0]
        .iter()
        .filter(|f| f.class != Class::Outgoing && probe(f))
        .count();
    ensure!(back == 0, "the probe came back");
    Ok(())
}

/// Whether siblings get them in memory or from the switch: once. Nobody hears itself.
async fn group_frames_arrive_once(cx: Cx) -> Result<()> {
    for flags in [0, VEPA] {
        let (lan, slaves) = network(cx, flags).await?;
        for frame in [
            to_all(cx, &slaves[0], slaves[0].ip()),
            frames::arp(
                lan.mac,
                frames::BROADCAST,
                true,
                (lan.mac, slaves[0].v4),
                ([0; 6], crate::lan::NOBODY_V4),
            ),
        ] {
            if cx.is_v6() && frames::arp_of(&frame).is_some() {
                continue;
            }
            let got = sent(&lan, &slaves, &frame).await?;
            ensure!(got == [0, 1, 1], "flags {flags}: {got:?} copies");
        }
    }
    Ok(())
}

/// A frame that tells by no address who sent it may be the master's: all get it, and in-tree, as without a flag, the
/// siblings had one before.
async fn group_frames_from_nobody_known(cx: Cx) -> Result<()> {
    for flags in [0, VEPA] {
        let (lan, slaves) = network(cx, flags).await?;
        let other = frames::ethernet(lan.mac, frames::BROADCAST, 0x88b6, &[1; 60]);
        let local = if flags == VEPA && cx.decision(Decision::D2) {
            0
        } else {
            1
        };
        for frame in [to_all(cx, &slaves[0], lan.nobody()), other] {
            let got = sent(&lan, &slaves, &frame).await?;
            ensure!(
                got == [1, 1 + local, 1 + local],
                "flags {flags}: {got:?} copies"
            );
        }
    }
    Ok(())
}

/// Not even by the switch do private siblings reach each other (D2), whatever they pretend; in-tree they do.
async fn private_stays_private(cx: Cx) -> Result<()> {
    let (lan, slaves) = network(cx, PRIVATE).await?;
    let [a, b, _] = &slaves;
    let other = |mac, to| frames::ethernet(mac, to, 0x88b6, &[1; 60]);
    for (what, frame, in_tree) in [
        ("with its address", to_all(cx, a, a.ip()), 1),
        ("with another's", to_all(cx, a, b.ip()), 1),
        ("with nobody's", to_all(cx, a, lan.nobody()), 2),
        ("of another protocol", other(lan.mac, frames::BROADCAST), 2),
    ] {
        let expected = if cx.decision(Decision::D2) {
            0
        } else {
            in_tree
        };
        let [_, at_b, at_c] = sent(&lan, &slaves, &frame).await?;
        ensure!(
            [at_b, at_c] == [expected; 2],
            "{what}: the siblings got {at_b} and {at_c} copies instead of {expected}"
        );
    }
    // With the destination as its source it looks like a frame to the own station: in-tree the master receives it, as if
    // from the wire. So it does what says that it is no IP, and the master then finds IP in it, or in a priority tag. A
    // made-up station goes out, and the switch sends it back.
    let unicast = |to| frames::udp(to, lan.mac, a.ip(), b.ip(), (5, 4000), b"to one");
    let tagged = {
        let mut frame = unicast(lan.mac);
        frame.splice(12..12, [0x81, 0, 0, 0]);
        frame
    };
    let stranger = [2, 0, 0, 0, 9, 9];
    let (ta, tb) = (a.tap()?, b.tap()?);
    for (what, frame, protocol, in_tree) in [
        (
            "a group as source",
            other(frames::BROADCAST, frames::BROADCAST),
            None,
            1,
        ),
        (
            "another protocol than the header's",
            unicast(lan.mac),
            Some(0x88b5),
            1,
        ),
        ("a priority tag", tagged.clone(), None, 1),
        ("a made-up station", unicast(stranger), None, 1),
        (
            "a made-up station to all",
            other(stranger, frames::BROADCAST),
            None,
            2,
        ),
    ] {
        let result = match protocol {
            Some(protocol) => ta.try_send_as(protocol, &frame),
            None => ta.try_send(&frame),
        };
        // Dropped by the driver is as good as sent and lost: what counts is what the sibling gets.
        ensure!(
            result.is_ok() || cx.decision(Decision::D2),
            "{what}: {result:?}"
        );
        let at_b = seen(&lan, &[&tb]).await?[0]
            .iter()
            .filter(|f| f.class != Class::Outgoing)
            .filter(|f| f.bytes.ends_with(&frame[frame.len() - 6..]))
            .count();
        let expected = if cx.decision(Decision::D2) {
            0
        } else {
            in_tree
        };
        ensure!(
            at_b == expected,
            "{what}: the sibling got {at_b} copies instead of {expected}"
        );
    }
    // The wire's broadcasts reach all the same.
    let frame = other(lan.wire_mac, frames::BROADCAST);
    lan.wire_tap()?.send(&frame)?;
    for tap in [&ta, &tb] {
        tap.expect("the wire's broadcast", |f| f.bytes == frame)
            .await?;
    }
    ping(&a.ns, lan.ext_ip()).await?;
    ping(&lan.ext, b.ip()).await
}
