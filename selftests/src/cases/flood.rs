// SPDX-License-Identifier: GPL-2.0
//! More broadcast and multicast than anybody can take.

use super::multicast::{effective, from_slave, from_wire, group, join};
use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V46};
use crate::debug;
use crate::frames;
use crate::lan::{Lan, Mode, Slave};
use crate::nl::LinkSpec;
use crate::packet::Class;
use crate::wait;
use anyhow::{ensure, Context, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;

cases! {
    "flood", Suite::Both;
    order_is_kept: EACH, V46;
    many_slaves_get_one_copy_each: EACH, V4;
    flood_keeps_the_rest_alive: EACH, V4, 120;
    queue_overflow_is_counted: EACH, V4, 120;
    pause_frames_are_not_distributed: EACH, V4;
}

async fn order_is_kept(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b, g) = (lan.slave()?, lan.slave()?, group(cx, 1));
    let sb = join(&b, g, 4000)?;
    effective(&lan, &[&sb], g).await?;
    let (ta, wire) = (a.tap()?, lan.wire_tap()?);
    for n in 0..200u32 {
        ta.send(&from_slave(&a, g, &n.to_be_bytes()))?;
        wire.send(&from_wire(&lan, g, &(n | (1 << 31)).to_be_bytes()))?;
    }
    let (mut next, mut buffer) = ([0u32; 2], [0; 2048]);
    wait::until("all 400 datagrams", || {
        while let Ok(n) = sb.recv(&mut buffer) {
            let number = u32::from_be_bytes(buffer[..n].try_into().context("length")?);
            let source = (number >> 31) as usize;
            let number = number & !(1 << 31);
            ensure!(
                number == next[source],
                "source {source}: {number} instead of {}",
                next[source]
            );
            next[source] += 1;
        }
        Ok(next == [200, 200])
    })
    .await
}

async fn many_slaves_get_one_copy_each(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    let slaves = (0..40)
        .map(|_| lan.slave_in(ns.clone(), |s| s))
        .collect::<Result<Vec<_>>>()?;
    let taps = slaves.iter().map(Slave::tap).collect::<Result<Vec<_>>>()?;
    let frame = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[7; 100]);
    let mark = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[8; 100]);
    let wire = lan.wire_tap()?;
    wire.send(&frame)?;
    wire.send(&mark)?;
    for (slave, tap) in slaves.iter().zip(&taps) {
        let seen = tap.until("the mark", |f| f.bytes == mark).await?;
        let copies = seen.iter().filter(|f| f.bytes == frame).count();
        ensure!(copies == 1, "{} got {copies} copies", slave.name);
    }
    // And from a slave: everybody but the sender.
    taps[3].send(&frame)?;
    taps[3].send(&mark)?;
    for (n, (slave, tap)) in slaves
        .iter()
        .zip(&taps)
        .enumerate()
        .filter(|(n, _)| *n != 3)
    {
        let copies = tap
            .until("the mark", |f| f.bytes == mark)
            .await?
            .iter()
            .filter(|f| f.bytes == frame)
            .count();
        ensure!(copies == 1, "{} ({n}) got {copies} copies", slave.name);
    }
    wire.send(&frames::ethernet(
        lan.wire_mac,
        frames::BROADCAST,
        0x88b5,
        &[9; 100],
    ))?;
    let seen = taps[3]
        .until("the end", |f| f.bytes[14..] == [9; 100])
        .await?;
    ensure!(
        seen.iter()
            .all(|f| f.class == Class::Outgoing || f.bytes[14] == 9),
        "the sender got its own"
    );
    Ok(())
}

/// Broadcasts that nobody can keep up with neither stop unicast nor leave the queue stuck.
async fn flood_keeps_the_rest_alive(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    let slaves = (0..50)
        .map(|_| lan.slave_in(ns.clone(), |s| s))
        .collect::<Result<Vec<_>>>()?;
    let (a, wire) = (lan.slave()?, lan.wire_tap()?);
    let frame = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[7; 100]);
    // The question for the address waits its turn behind them, on a slow kernel for longer than it would be asked again.
    lan.ext.sysctl("ipv4/neigh/e0/mcast_solicit", "60")?;
    let flood = if debug::kernel() { 300 } else { 3000 };
    for _ in 0..flood {
        wire.send(&frame)?;
    }
    crate::ping::ping(&lan.ext, a.ip()).await?;
    let tap = slaves[0].tap()?;
    let mark = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[8; 100]);
    wait::until("broadcasts pass again", || {
        wire.send(&mark)?;
        while let Some(f) = tap.poll()? {
            if f.bytes == mark {
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await
}

/// What the queue cannot take is lost in the counters, not in silence: of all frames sent, those that were delivered
/// and those that were dropped add up.
async fn queue_overflow_is_counted(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    let slaves = (0..60)
        .map(|_| {
            lan.slave_in(ns.clone(), |s| LinkSpec {
                data: super::upkeep::small_queue(cx),
                ..s
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let received = |s: &Slave| Ok::<_, anyhow::Error>(s.link()?.stats.rx_packets);
    let before = received(&slaves[0])?;
    let mut before_each = BTreeMap::new();
    for slave in &slaves[1..] {
        before_each.insert(slave.name.clone(), received(slave)?);
    }
    let host = lan.master_link()?.stats;
    let wire = lan.wire_tap()?;
    let to: IpAddr = [10, 1, 0, 255].into();
    let frame = frames::udp(
        lan.wire_mac,
        frames::BROADCAST,
        lan.ext_ip(),
        to,
        (5, 4000),
        &[7; 1400],
    );
    let sent = 4000;
    for _ in 0..sent {
        wire.send(&frame)?;
    }
    let mut last = 0;
    let mut stable = 0;
    wait::until("the queue is empty", || {
        let now = received(&slaves[0])?;
        stable = if now == last { stable + 1 } else { 0 };
        last = now;
        Ok(stable > 20)
    })
    .await?;
    let delivered = received(&slaves[0])? - before;
    let dropped = lan.master_link()?.stats.rx_dropped - host.rx_dropped;
    ensure!(delivered > 0, "nothing was delivered");
    let others = slaves[1..].iter().map(&received);
    for (slave, got) in slaves[1..].iter().zip(others.collect::<Result<Vec<_>>>()?) {
        let expected = delivered + before_each[&slave.name];
        ensure!(
            got == expected,
            "{} got {got} in all, not {expected}",
            slave.name
        );
    }
    ensure!(
        delivered + dropped == sent,
        "{delivered} delivered and {dropped} dropped of {sent}"
    );
    if cx.decision(Decision::D13) {
        // The backlog before the queue is the kernel's, and counts on the master only.
        let missed = slaves[0].link()?.stats.rx_dropped;
        ensure!(
            missed > 0 && missed <= dropped,
            "{missed} dropped on the slave, {dropped} on the master"
        );
    }
    Ok(())
}

async fn pause_frames_are_not_distributed(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (ta, tb) = (a.tap()?, b.tap()?);
    let wire = lan.wire_tap()?;
    for (from, mac, whose) in [
        (ta, a.mac, "a sibling's"),
        (wire, lan.wire_mac, "the wire's"),
    ] {
        let frame =
            |protocol, data: &[u8]| frames::ethernet(mac, frames::BROADCAST, protocol, data);
        // IEEE 802.3x: a reserved group and EtherType 8808.
        let pause = frame(0x8808, &[0, 1, 0xff, 0xff, 0, 0]);
        let mark = frame(0x88b5, b"mark mark mark mark mark");
        from.send(&pause)?;
        from.send(&mark)?;
        let seen = tb.until("the mark", |f| f.bytes.starts_with(&mark)).await?;
        ensure!(
            !seen.iter().any(|f| f.bytes.starts_with(&pause)),
            "a slave got {whose} pause frame"
        );
    }
    Ok(())
}
