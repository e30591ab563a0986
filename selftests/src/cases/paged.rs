// SPDX-License-Identifier: GPL-2.0
//! Frames of which only the Ethernet header is linear, and checksums that are left to the device at an odd place. With
//! the malformed frames, past the in-tree module: its handling of both is unfinished.

use crate::cases;
use crate::cx::{Cx, Family, Suite, EACH, V4, V46, V6};
use crate::ethtool::Ethtool;
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::ping::ping;
use crate::vnet::{Vnet, PAGED};
use anyhow::{ensure, Result};
use std::net::Ipv6Addr;

cases! {
    "paged", Suite::Own;
    ip_headers_outside_the_linear_part: EACH, V46;
    arp_outside_the_linear_part: EACH, V4;
    solicitation_outside_the_linear_part: EACH, V6;
    checksum_from_before_the_packet: EACH, V46;
}

const ETHERNET: u16 = 14;

/// From a slave to its sibling and to the outside, from the outside to the slave: whatever part of the headers has to be
/// pulled, the packet reaches who it is for, whole.
async fn ip_headers_outside_the_linear_part(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::with_mtu(cx, mode, 9000)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        ping(&a.ns, lan.ext_ip()).await?;
        let (slave, outside) = (Vnet::new(&a.ns, a.index)?, Vnet::new(&lan.ext, lan.wire)?);
        let (tb, wire) = (b.tap()?, lan.wire_tap()?);
        let text = vec![7; PAGED];
        for linear in [ETHERNET, ETHERNET + 1, ETHERNET + 19, ETHERNET + 39] {
            let udp = |from, to, src, dst, port| {
                frames::udp(from, to, src, dst, (5, port + linear), &text)
            };
            slave.send(&udp(a.mac, b.mac, a.ip(), b.ip(), 1000), linear)?;
            tb.expect("the sibling's", |f| {
                frames::is_udp(&f.bytes, 1000 + linear, &text)
            })
            .await?;
            let out = udp(a.mac, lan.wire_mac, a.ip(), lan.ext_ip(), 2000);
            slave.send(&out, linear)?;
            wire.expect("the wire's", |f| {
                frames::is_udp(&f.bytes, 2000 + linear, &text)
            })
            .await?;
            let inward = udp(lan.wire_mac, lan.mac, lan.ext_ip(), b.ip(), 3000);
            outside.send(&inward, linear)?;
            tb.expect("the slave's", |f| {
                frames::is_udp(&f.bytes, 3000 + linear, &text)
            })
            .await?;
        }
    }
    Ok(())
}

/// ARP and neighbour discovery have no length of their own: what follows them is padding, here of more than a page.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(PAGED, 0);
    frame
}

async fn arp_outside_the_linear_part(cx: Cx) -> Result<()> {
    let lan = Lan::with_mtu(cx, Mode::L2, 9000)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (slave, outside) = (Vnet::new(&a.ns, a.index)?, Vnet::new(&lan.ext, lan.wire)?);
    let tb = b.tap()?;
    for linear in [ETHERNET, ETHERNET + 8, ETHERNET + 27] {
        let sibling = padded(frames::arp(
            a.mac,
            b.mac,
            false,
            (a.mac, a.v4),
            (b.mac, b.v4),
        ));
        slave.send(&sibling, linear)?;
        tb.expect("the sibling's ARP", |f| f.bytes == sibling)
            .await?;
        let ext = (lan.wire_mac, crate::lan::EXT_V4);
        let inward = padded(frames::arp(
            lan.wire_mac,
            lan.mac,
            false,
            ext,
            (b.mac, b.v4),
        ));
        outside.send(&inward, linear)?;
        tb.expect("the outside's ARP", |f| f.bytes == inward)
            .await?;
    }
    Ok(())
}

async fn solicitation_outside_the_linear_part(cx: Cx) -> Result<()> {
    let lan = Lan::with_mtu(cx, Mode::L2, 9000)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (slave, outside) = (Vnet::new(&a.ns, a.index)?, Vnet::new(&lan.ext, lan.wire)?);
    let (ta, tb) = (a.tap()?, b.tap()?);
    let group = frames::solicited_node(b.v6);
    for linear in [ETHERNET, ETHERNET + 40, ETHERNET + 63] {
        for (vnet, from, to) in [(&slave, a.mac, b.mac), (&outside, lan.wire_mac, lan.mac)] {
            let probe = padded(frames::solicit(
                from,
                to,
                Ipv6Addr::UNSPECIFIED,
                group,
                b.v6,
            ));
            vnet.send(&probe, linear)?;
            tb.expect("the target's owner's", |f| f.bytes == probe)
                .await?;
        }
    }
    while let Some(f) = ta.poll()? {
        let received = f.class != crate::packet::Class::Outgoing;
        ensure!(
            !received || frames::nd_of(&f.bytes) != Some((135, b.v6)),
            "another slave got the probe"
        );
    }
    Ok(())
}

/// A checksum that starts in front of the network header cannot be finished by whoever strips the Ethernet header. Packet
/// sockets refuse such a frame; what they let pass is dropped or sent, and nothing else happens (the kernel's log is the
/// witness).
async fn checksum_from_before_the_packet(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        // What the master cannot do, the kernel does on the way.
        Ethtool::new(&lan.host, "m0")?.set(&["tx-checksum-ip-generic"], false)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        ping(&a.ns, lan.ext_ip()).await?;
        let vnet = Vnet::new(&a.ns, a.index)?;
        let transport = if cx.family == Family::V6 { 54 } else { 34 };
        for (to, ip) in [(b.mac, b.ip()), (lan.wire_mac, lan.ext_ip())] {
            let frame = frames::udp(a.mac, to, a.ip(), ip, (5, 7), b"whatever");
            for start in [0, 2, 13, 14, 20, transport] {
                for offset in [0, 6] {
                    let sent = vnet.send_unsummed(&frame, start, offset);
                    ensure!(sent.is_err() || start > ETHERNET, "sent from {start}");
                }
            }
        }
        ping(&a.ns, b.ip()).await?;
        ping(&a.ns, lan.ext_ip()).await?;
    }
    Ok(())
}
