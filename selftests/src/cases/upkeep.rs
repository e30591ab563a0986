// SPDX-License-Identifier: GPL-2.0
//! What must not pile up or get lost on the way: packets, places in the queue, what a route is chosen by.

use crate::cases;
use crate::cx::{Cx, Kind, Skip, Suite, EACH, V4, V46, VETH};
use crate::debug;
use crate::frames;
use crate::lan::{Lan, Mode, Slave, PRIVATE};
use crate::nl::{LinkSpec, Via};
use crate::packet::Tap;
use crate::wait;
use anyhow::{ensure, Context, Result};
use std::net::IpAddr;

cases! {
    "upkeep", Suite::Both;
    dropped_packets_are_freed: EACH, V46;
    packets_are_all_freed: VETH, V46, 120;
    queued_frames_free_their_place: EACH, V4, 120;
    type_of_service_chooses_the_route: EACH, V46;
}

/// The smallest send buffer there is (SOCK_MIN_SNDBUF): a socket that cannot send any more has packets that nobody
/// freed.
fn small_buffer(slave: &Slave) -> Result<Tap> {
    let tap = slave.tap()?;
    tap.set_option(libc::SO_SNDBUF, 1)?;
    Ok(tap)
}

/// Sends a frame that is dropped, more often than the socket's buffer has room for.
fn dropped(tap: &Tap, what: &str, frame: &[u8]) -> Result<()> {
    for n in 0..60 {
        let sent = tap.try_send(frame);
        ensure!(sent.is_err(), "{what}: sent");
        ensure!(
            sent != Err(nix::Error::EAGAIN),
            "{what}: {n} packets were dropped and not freed"
        );
    }
    Ok(())
}

async fn dropped_packets_are_freed(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let tap = small_buffer(&a)?;
    let group = cx.pick([239, 1, 1, 1], [0xff05, 0, 0, 0, 0, 0, 0, 1]);
    let mac = frames::group_mac(group);
    // A broadcast of the master's subnet, or nowhere at all: no route for either.
    let nowhere = cx.pick([10, 1, 0, 255], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    let udp = |mac, to| frames::udp(a.mac, mac, a.ip(), to, (5, 7), b"dropped");
    dropped(&tap, "to a group", &udp(mac, group))?;
    dropped(&tap, "without a route", &udp(a.mac, nowhere))?;
    let other = frames::ethernet(a.mac, a.mac, 0x88b5, &[1; 60]);
    dropped(&tap, "of another protocol", &other)?;
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let a = lan.slave_with(|s| LinkSpec {
            flags: Some(PRIVATE),
            ..s
        })?;
        let b = lan.slave()?;
        let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), b"private");
        dropped(&small_buffer(&a)?, "to a private sibling", &frame)?;
    }
    Ok(())
}

/// How many socket buffers there are.
fn buffers() -> Result<u64> {
    let slabs = std::fs::read_to_string("/proc/slabinfo")?;
    let line = slabs
        .lines()
        .find(|l| l.starts_with("skbuff_head_cache "))
        .context("no skbuff_head_cache")?;
    let active = line.split_whitespace().nth(1).context("no count")?;
    Ok(active.parse()?)
}

/// Every way that a packet is delivered by frees it in the end.
async fn packets_are_all_freed(cx: Cx) -> Result<()> {
    const PACKETS: u64 = 1500;
    if debug::kernel() {
        let why = "KASAN keeps what is freed for a while; kmemleak is asked at the end";
        return Err(Skip(why.into()).into());
    }
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (ta, wire) = (a.tap()?, lan.wire_tap()?);
    // IP, because in-tree counts a broadcast that no protocol takes as an error; from nobody's address, so that it is
    // no reflection of a slave's.
    let to = cx.pick([10, 1, 0, 255], [0xff02, 0, 0, 0, 0, 0, 0, 1]);
    let mac = if to.is_ipv4() {
        frames::BROADCAST
    } else {
        frames::group_mac(to)
    };
    let all = frames::udp(a.mac, mac, lan.nobody(), to, (5, 4000), b"to all");
    let udp = |from, src| frames::udp(from, lan.mac, src, b.ip(), (5, 4000), b"freed");
    let (sibling, outside) = (udp(a.mac, a.ip()), udp(lan.wire_mac, lan.ext_ip()));
    let ways = [
        ("a broadcast from the wire", &wire, &all),
        ("a broadcast from a slave", &ta, &all),
        ("from a sibling", &ta, &sibling),
        ("from the wire", &wire, &outside),
    ];
    for (what, tap, frame) in ways {
        let (before, count) = (buffers()?, || {
            Ok::<_, anyhow::Error>(b.link()?.stats.rx_packets)
        });
        let mut received = count()?;
        for _ in 0..PACKETS / 50 {
            for _ in 0..50 {
                tap.send(frame)?;
            }
            received += 50;
            wait::until("the packets have arrived", || Ok(count()? >= received)).await?;
            // What the taps of this case have captured is alive too.
            ta.drain()?;
            wire.drain()?;
        }
        // Caches on the way keep some for the next packets.
        wait::until(&format!("packets {what} are freed"), || {
            ta.drain()?;
            wire.drain()?;
            Ok(buffers()?.saturating_sub(before) < PACKETS / 2)
        })
        .await?;
    }
    Ok(())
}

/// IFLA_IPVLAN_RS_QUEUE_BYTES, and the least that it may be.
const QUEUE_BYTES: u16 = 32;
const LEAST: u32 = 256 << 10;

/// What makes a port's queue as short as can be, where its length can be chosen.
pub fn small_queue(cx: Cx) -> Vec<(u16, Vec<u8>)> {
    match cx.kind {
        Kind::IpvlanRs => vec![(QUEUE_BYTES, LEAST.to_ne_bytes().to_vec())],
        Kind::Ipvlan => Vec::new(),
    }
}

/// With many slaves group frames wait for a worker. Each leaves for the wire or reaches the slaves in the end, and makes
/// room for others: many more pass one after the other than fit at once.
async fn queued_frames_free_their_place(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    let slaves = (0..12)
        .map(|_| {
            lan.slave_in(ns.clone(), |s| LinkSpec {
                data: small_queue(cx),
                ..s
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let (first, last, wire) = (slaves[0].tap()?, slaves[11].tap()?, lan.wire_tap()?);
    for n in 0..250u16 {
        let mut payload = vec![7; 1400];
        payload[..2].copy_from_slice(&n.to_be_bytes());
        let frame = frames::ethernet(lan.mac, frames::BROADCAST, 0x88b5, &payload);
        first.send(&frame)?;
        wire.expect(&format!("frame {n} of the slave, on the wire"), |f| {
            f.bytes == frame
        })
        .await?;
        last.expect(&format!("frame {n} of the slave"), |f| f.bytes == frame)
            .await?;
        let frame = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b6, &payload);
        wire.send(&frame)?;
        last.expect(&format!("frame {n} from the wire"), |f| f.bytes == frame)
            .await?;
    }
    Ok(())
}

const VIA: frames::Mac = [2, 0, 0, 0, 7, 7];

/// In L3 the master's namespace may route by type of service or traffic class.
async fn type_of_service_chooses_the_route(cx: Cx) -> Result<()> {
    const TOS: u8 = 0x10;
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let any = cx.any();
    let gateway = cx.pick([10, 1, 0, 77], [0xfd01, 0, 0, 0, 0, 0, 0, 0x77]);
    let nl = lan.host.nl();
    nl.add_neigh(lan.master, gateway, VIA)?;
    nl.add_tos_rule(any.is_ipv4(), TOS, 100)?;
    nl.add_route_in(100, any, 0, Via::Gateway(gateway))?;
    crate::ping::ping(&a.ns, lan.ext_ip()).await?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    for tos in [0, TOS] {
        let text = [b't', b'o', b's', tos];
        let mut frame = frames::udp(a.mac, a.mac, a.ip(), lan.ext_ip(), (5, 7), &text);
        match any {
            IpAddr::V4(_) => frame[14 + 1] = tos,
            IpAddr::V6(_) => {
                frame[14] |= tos >> 4;
                frame[14 + 1] |= tos << 4;
            }
        }
        tap.send(&frame)?;
        let seen = wire
            .expect("the datagram", |f| frames::is_udp(&f.bytes, 7, &text))
            .await?;
        ensure!(
            (seen.bytes[..6] == VIA) == (tos == TOS),
            "with type of service {tos:#x} sent to {:02x?}",
            &seen.bytes[..6]
        );
    }
    Ok(())
}
