// SPDX-License-Identifier: GPL-2.0
//! Counters, to the packet and the byte, on both sides.

use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V46};
use crate::frames;
use crate::lan::{Lan, Mode, Slave};
use crate::packet::Tap;
use crate::wait;
use anyhow::{ensure, Result};
use rtnetlink::packet_route::link::Stats64;
use std::net::IpAddr;

cases! {
    "counters", Suite::Both;
    sibling: EACH, V46;
    to_the_wire: EACH, V46;
    from_the_wire: EACH, V46;
    broadcast_from_the_wire: EACH, V4;
    broadcast_from_a_slave: EACH, V4;
    bulk_sizes: EACH, V46;
    dropped_at_the_sibling_that_is_down: EACH, V46;
    zero_at_creation: EACH, V46;
    every_cpu_counts: EACH, V4;
}

/// What changed between two readings.
#[derive(Debug, PartialEq, Eq, Clone, Copy, Default)]
struct Delta {
    rx_packets: u64,
    rx_bytes: u64,
    tx_packets: u64,
    tx_bytes: u64,
    multicast: u64,
    /// rx_errors, rx_dropped, tx_errors, tx_dropped.
    bad: [u64; 4],
}

fn delta(before: &Stats64, now: &Stats64) -> Delta {
    Delta {
        rx_packets: now.rx_packets - before.rx_packets,
        rx_bytes: now.rx_bytes - before.rx_bytes,
        tx_packets: now.tx_packets - before.tx_packets,
        tx_bytes: now.tx_bytes - before.tx_bytes,
        multicast: now.multicast - before.multicast,
        bad: [
            now.rx_errors - before.rx_errors,
            now.rx_dropped - before.rx_dropped,
            now.tx_errors - before.tx_errors,
            now.tx_dropped - before.tx_dropped,
        ],
    }
}

fn received(packets: u64, bytes: u64) -> Delta {
    Delta {
        rx_packets: packets,
        rx_bytes: bytes,
        ..Delta::default()
    }
}

fn sent(packets: u64, bytes: u64) -> Delta {
    Delta {
        tx_packets: packets,
        tx_bytes: bytes,
        ..Delta::default()
    }
}

fn stats(slave: &Slave) -> Result<Stats64> {
    Ok(slave.link()?.stats)
}

/// Waits until what the kernel sends on its own after a link or an address came (MLD reports) is over.
pub async fn quiet(slaves: &[&Slave]) -> Result<()> {
    let read = || {
        slaves
            .iter()
            .map(|s| Ok(delta(&Stats64::default(), &stats(s)?)))
            .collect::<Result<Vec<_>>>()
    };
    let (mut last, mut same) = (read()?, 0);
    wait::until("silence", || {
        let now = read()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        Ok(same >= 8)
    })
    .await
}

/// Bytes that local delivery counts beside the frame: none (D7), in-tree an Ethernet header.
fn surplus(cx: Cx) -> u64 {
    if cx.decision(Decision::D7) {
        0
    } else {
        14
    }
}

const PACKETS: u64 = 10;

async fn sibling(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        let _sink = sink(&b.ns, b.ip())?;
        quiet(&[&a, &b]).await?;
        let (ta, tb) = (a.tap()?, b.tap()?);
        let (before_a, before_b) = (stats(&a)?, stats(&b)?);
        let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), &[7; 100]);
        for _ in 0..PACKETS {
            ta.send(&frame)?;
        }
        for _ in 0..PACKETS {
            tb.expect("the frame", |f| f.bytes == frame).await?;
        }
        let length = frame.len() as u64;
        let (da, db) = (delta(&before_a, &stats(&a)?), delta(&before_b, &stats(&b)?));
        ensure!(
            da == sent(PACKETS, PACKETS * length),
            "{mode:?} sender: {da:?}, {length} bytes each"
        );
        let expected = received(PACKETS, PACKETS * (length + surplus(cx)));
        ensure!(
            db == expected,
            "{mode:?} receiver: {db:?}, {length} bytes each"
        );
    }
    Ok(())
}

/// A port at which nobody answers, so that the answers do not count: a bound socket that is never read.
fn sink(ns: &crate::netns::Netns, at: IpAddr) -> Result<tokio::net::UdpSocket> {
    crate::stream::udp_socket(ns, (at, 7).into())
}

async fn to_the_wire(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let a = lan.slave()?;
        let _sink = sink(&lan.ext, lan.ext_ip())?;
        crate::ping::ping(&a.ns, lan.ext_ip()).await?;
        quiet(&[&a]).await?;
        let (tap, wire, before) = (a.tap()?, lan.wire_tap()?, stats(&a)?);
        let frame = frames::udp(a.mac, lan.wire_mac, a.ip(), lan.ext_ip(), (5, 7), &[7; 333]);
        for _ in 0..PACKETS {
            tap.send(&frame)?;
        }
        for _ in 0..PACKETS {
            wire.expect("the frame", |f| frames::is_udp(&f.bytes, 7, &[7; 333]))
                .await?;
        }
        let d = delta(&before, &stats(&a)?);
        ensure!(
            d == sent(PACKETS, PACKETS * frame.len() as u64),
            "{mode:?}: {d:?}, {} bytes each",
            frame.len()
        );
    }
    Ok(())
}

async fn from_the_wire(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        let _sink = sink(&a.ns, a.ip())?;
        quiet(&[&a, &b]).await?;
        let (tap, wire) = (a.tap()?, lan.wire_tap()?);
        let (before, other) = (stats(&a)?, stats(&b)?);
        let frame = frames::udp(
            lan.wire_mac,
            lan.mac,
            lan.ext_ip(),
            a.ip(),
            (5, 7),
            &[7; 333],
        );
        for _ in 0..PACKETS {
            wire.send(&frame)?;
        }
        for _ in 0..PACKETS {
            tap.expect("the frame", |f| f.bytes == frame).await?;
        }
        let d = delta(&before, &stats(&a)?);
        ensure!(
            d == received(PACKETS, PACKETS * frame.len() as u64),
            "{mode:?}: {d:?}, {} bytes each",
            frame.len()
        );
        let d = delta(&other, &stats(&b)?);
        ensure!(d == Delta::default(), "{mode:?}: the sibling counts {d:?}");
    }
    Ok(())
}

fn all(lan: &Lan, from: frames::Mac, src: IpAddr, text: &[u8]) -> Vec<u8> {
    let to = [10, 1, 0, 255].into();
    assert!(lan.mode == Mode::L2);
    frames::udp(from, frames::BROADCAST, src, to, (5, 4000), text)
}

async fn broadcast_from_the_wire(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    quiet(&[&a, &b]).await?;
    let taps = [a.tap()?, b.tap()?];
    let before = [stats(&a)?, stats(&b)?];
    let frame = all(&lan, lan.wire_mac, lan.ext_ip(), &[3; 120]);
    let wire = lan.wire_tap()?;
    for _ in 0..PACKETS {
        wire.send(&frame)?;
    }
    let expected = Delta {
        multicast: PACKETS,
        ..received(PACKETS, PACKETS * frame.len() as u64)
    };
    copies(&taps, &[&a, &b], &before, &frame, expected).await
}

async fn broadcast_from_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    quiet(&[&a, &b]).await?;
    let (taps, tap) = ([b.tap()?], a.tap()?);
    let (before, own) = ([stats(&b)?], stats(&a)?);
    let frame = all(&lan, a.mac, a.ip(), &[3; 120]);
    for _ in 0..PACKETS {
        tap.send(&frame)?;
    }
    let length = frame.len() as u64;
    let expected = Delta {
        multicast: PACKETS,
        ..received(PACKETS, PACKETS * (length + surplus(cx)))
    };
    copies(&taps, &[&b], &before, &frame, expected).await?;
    let d = delta(&own, &stats(&a)?);
    ensure!(
        d == sent(PACKETS, PACKETS * length),
        "the sender: {d:?}, {length} bytes each"
    );
    Ok(())
}

/// Waits for the copies of a frame and compares the counters: counting comes right after delivery, in the worker.
async fn copies(
    taps: &[Tap],
    slaves: &[&Slave],
    before: &[Stats64],
    frame: &[u8],
    expected: Delta,
) -> Result<()> {
    for ((tap, slave), before) in taps.iter().zip(slaves).zip(before) {
        for _ in 0..PACKETS {
            tap.expect("the frame", |f| f.bytes == frame).await?;
        }
        wait::until("all are counted", || {
            Ok(stats(slave)?.rx_packets >= before.rx_packets + PACKETS)
        })
        .await?;
        let d = delta(before, &stats(slave)?);
        ensure!(d == expected, "{}: {d:?}, not {expected:?}", slave.name);
    }
    Ok(())
}

/// Every length from the shortest to the longest, summed up.
async fn bulk_sizes(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let _sink = sink(&b.ns, b.ip())?;
    quiet(&[&a, &b]).await?;
    let (ta, tb) = (a.tap()?, b.tap()?);
    let (before_a, before_b) = (stats(&a)?, stats(&b)?);
    let (mut packets, mut bytes) = (0, 0);
    for size in (0..=1400).step_by(13) {
        let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), &vec![1; size]);
        ta.send(&frame)?;
        tb.expect("the frame", |f| f.bytes == frame).await?;
        packets += 1;
        bytes += frame.len() as u64;
    }
    let (da, db) = (delta(&before_a, &stats(&a)?), delta(&before_b, &stats(&b)?));
    ensure!(
        da == sent(packets, bytes),
        "sender: {da:?}, not {packets} and {bytes}"
    );
    let bytes = bytes + packets * surplus(cx);
    ensure!(
        db == received(packets, bytes),
        "receiver: {db:?}, not {packets} and {bytes}"
    );
    Ok(())
}

/// To a sibling that is down nothing is delivered: the frame, whose MAC is the shared one, ends at the host.
async fn dropped_at_the_sibling_that_is_down(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    b.ns.nl().down(b.index)?;
    quiet(&[&a]).await?;
    let (host, tap) = (lan.master_tap()?, a.tap()?);
    let (before_a, before_b) = (stats(&a)?, stats(&b)?);
    let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), &[7; 100]);
    tap.send(&frame)?;
    host.expect("the frame at the host", |f| f.bytes == frame)
        .await?;
    let (da, db) = (delta(&before_a, &stats(&a)?), delta(&before_b, &stats(&b)?));
    ensure!(da == sent(1, frame.len() as u64), "sender: {da:?}");
    ensure!(db == Delta::default(), "the one that is down: {db:?}");
    Ok(())
}

async fn zero_at_creation(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.bare()?;
    let d = delta(&Stats64::default(), &stats(&a)?);
    ensure!(d == Delta::default(), "{d:?}");
    Ok(())
}

/// Threads on every CPU send at once; none of their packets is missing in the sum.
async fn every_cpu_counts(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let _sink = sink(&b.ns, b.ip())?;
    quiet(&[&a, &b]).await?;
    let (before_a, before_b) = (stats(&a)?, stats(&b)?);
    let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), &[7; 100]);
    let cpus = std::thread::available_parallelism()?.get();
    let sockets = (0..cpus)
        .map(|_| a.ns.enter(|| crate::packet::raw_socket(a.index)))
        .collect::<Result<Vec<_>>>()?;
    // Fewer than a CPU's backlog holds (netdev_max_backlog), so that none is lost there.
    let each = 300;
    std::thread::scope(|s| {
        for (cpu, socket) in sockets.iter().enumerate() {
            let frame = &frame;
            s.spawn(move || {
                let mut set = nix::sched::CpuSet::new();
                set.set(cpu)?;
                nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?;
                for _ in 0..each {
                    nix::unistd::write(socket, frame)?;
                }
                Ok::<_, nix::Error>(())
            });
        }
    });
    let (packets, bytes) = (each * cpus as u64, each * cpus as u64 * frame.len() as u64);
    let received = packets * (frame.len() as u64 + surplus(cx));
    wait::until("all are received", || {
        Ok(stats(&b)?.rx_packets - before_b.rx_packets >= packets)
    })
    .await?;
    let (da, db) = (delta(&before_a, &stats(&a)?), delta(&before_b, &stats(&b)?));
    ensure!(
        da == sent(packets, bytes),
        "sender: {da:?}, not {packets} and {bytes}"
    );
    ensure!(
        db.rx_packets == packets && db.rx_bytes == received,
        "receiver: {db:?}, not {packets} and {received}"
    );
    Ok(())
}
