// SPDX-License-Identifier: GPL-2.0
//! L3: the master's namespace routes for its slaves.

use super::counters::quiet;
use crate::cases;
use crate::cx::{Cx, Decision, Family, Suite, ANY, EACH, V4, V46};
use crate::frames;
use crate::lan::{Lan, Mode, VEPA};
use crate::nl::{LinkSpec, Via};
use crate::ping::{ping, try_ping, Pong};
use anyhow::{ensure, Result};
use std::net::IpAddr;
use std::time::Duration;

cases! {
    "l3", Suite::Both;
    ping_sibling: EACH, V46;
    ping_external: EACH, V46;
    siblings_need_no_common_subnet: EACH, V46;
    host_is_out_of_reach: EACH, V46;
    routed_with_the_masters_mac: EACH, V46;
    routed_through_a_gateway: EACH, V46;
    prohibited_destination: EACH, V46;
    no_route: EACH, V46;
    broadcast_destination_is_an_error: EACH, V4;
    other_protocols_are_dropped: EACH, ANY;
    arp_from_a_slave_is_dropped: EACH, V4;
    vepa_sibling_goes_out: EACH, V46;
    mark_does_not_leak: EACH, V46;
    mark_counts_within_the_namespace: EACH, V46;
    mark_and_priority_stay_behind: EACH, V46;
}
async fn ping_sibling(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&a.ns, b.ip()).await?;
    ping(&b.ns, a.ip()).await
}

async fn ping_external(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    ping(&a.ns, lan.ext_ip()).await?;
    let b = lan.slave()?;
    ping(&lan.ext, b.ip()).await
}

async fn siblings_need_no_common_subnet(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let other = cx.pick([172, 16, 5, 5], [0xfd77, 0, 0, 0, 0, 0, 0, 5]);
    b.ns.nl().add_addr(b.index, other, cx.host_prefix())?;
    ping(&a.ns, other).await
}

async fn host_is_out_of_reach(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let pong = try_ping(&a.ns, None, lan.master_ip(), 10, Duration::from_millis(150)).await?;
    ensure!(pong != Pong::Reply, "the host answers a slave");
    ping(&a.ns, lan.ext_ip()).await
}

async fn routed_with_the_masters_mac(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let wire = lan.wire_tap()?;
    ping(&a.ns, lan.ext_ip()).await?;
    let ours = |f: &[u8]| frames::addresses(f) == Some((a.ip(), lan.ext_ip()));
    let frame = wire.expect("the ping", |f| ours(&f.bytes)).await?;
    ensure!(
        frame.bytes[..6] == lan.wire_mac && frame.bytes[6..12] == lan.mac,
        "{}",
        frames::describe(&frame.bytes)
    );
    // Sent by this host on the slave's behalf: it is not forwarded, so the TTL is whole.
    let (at, initial) = if a.ip().is_ipv4() {
        (14 + 8, 64)
    } else {
        (14 + 7, 64)
    };
    ensure!(frame.bytes[at] == initial, "TTL {}", frame.bytes[at]);
    Ok(())
}

const VIA: frames::Mac = [2, 0, 0, 0, 7, 7];

/// A gateway that exists only as a neighbour entry: frames for it are seen on the wire.
fn gateway(lan: &Lan) -> Result<IpAddr> {
    let gateway = lan
        .cx
        .pick([10, 1, 0, 77], [0xfd01, 0, 0, 0, 0, 0, 0, 0x77]);
    lan.host.nl().add_neigh(lan.master, gateway, VIA)?;
    Ok(gateway)
}

fn far(cx: Cx) -> IpAddr {
    cx.pick([192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])
}

async fn routed_through_a_gateway(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    lan.host
        .nl()
        .add_route(cx.any(), 0, Via::Gateway(gateway(&lan)?))?;
    let wire = lan.wire_tap()?;
    a.send_udp(far(cx), 7, b"far away")?;
    let frame = wire
        .expect("the datagram", |f| frames::is_udp(&f.bytes, 7, b"far away"))
        .await?;
    ensure!(
        frame.bytes[..6] == VIA,
        "sent to {:02x?}",
        &frame.bytes[..6]
    );
    Ok(())
}

/// In-tree asks for a route out of the master: with IPv4 the kernel then answers "on-link" where it has none or a
/// prohibited one; with IPv6 the route's error counts.
async fn prohibited_destination(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    lan.host
        .nl()
        .add_route(far(cx), cx.host_prefix(), Via::Prohibit)?;
    let wire = lan.wire_tap()?;
    quiet(&[&a]).await?;
    let before = a.link()?.stats;
    let frame = frames::udp(a.mac, a.mac, a.ip(), far(cx), (5, 7), b"prohibited");
    let sent = a.tap()?.try_send(&frame);
    let after = a.link()?.stats;
    if cx.family == Family::V4 {
        ensure!(
            sent.is_ok() && after.tx_packets == before.tx_packets + 1,
            "{sent:?}"
        );
        let asked = |f: &[u8]| {
            frames::arp_of(f).is_some_and(|(op, _, to)| op == 1 && IpAddr::V4(to) == far(cx))
        };
        wire.expect("an ARP request for it", |f| asked(&f.bytes))
            .await?;
    } else {
        ensure!(
            sent.is_err() && after.tx_packets == before.tx_packets,
            "{sent:?}"
        );
        ensure!(
            after.tx_dropped == before.tx_dropped + 1,
            "the drop is not counted"
        );
    }
    Ok(())
}

async fn no_route(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    quiet(&[&a]).await?;
    let (own, master) = (a.link()?.stats, lan.master_link()?.stats);
    let frame = frames::udp(a.mac, a.mac, a.ip(), far(cx), (5, 7), b"nowhere");
    let sent = a.tap()?.try_send(&frame);
    if cx.family == Family::V4 {
        ensure!(sent.is_ok(), "{sent:?}");
        return Ok(());
    }
    ensure!(sent.is_err(), "sent without a route");
    failed_transmit(cx, &lan, &a, own, master)
}

/// A packet that cannot be routed: dropped by the slave; the error is the slave's too (D7), in-tree the master's.
fn failed_transmit(
    cx: Cx,
    lan: &Lan,
    a: &crate::lan::Slave,
    own: rtnetlink::packet_route::link::Stats64,
    master: rtnetlink::packet_route::link::Stats64,
) -> Result<()> {
    let (own_now, master_now) = (a.link()?.stats, lan.master_link()?.stats);
    let own_errors = own_now.tx_errors - own.tx_errors;
    let master_errors = master_now.tx_errors - master.tx_errors;
    // In-tree they are charged to the master, and neither veth nor dummy shows them.
    let expected = if cx.decision(Decision::D7) {
        (1, 0)
    } else {
        (0, 0)
    };
    ensure!(
        own_now.tx_dropped - own.tx_dropped == 1,
        "{} drops",
        own_now.tx_dropped - own.tx_dropped
    );
    ensure!(
        (own_errors, master_errors) == expected,
        "errors of the slave and the master: {own_errors} and {master_errors}"
    );
    ensure!(own_now.tx_packets == own.tx_packets, "counted as sent");
    Ok(())
}

async fn broadcast_destination_is_an_error(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    quiet(&[&a]).await?;
    let (own, master) = (a.link()?.stats, lan.master_link()?.stats);
    // A broadcast address of the master's subnet, in a frame that is no broadcast.
    let frame = frames::udp(
        a.mac,
        a.mac,
        a.ip(),
        [10, 1, 0, 255].into(),
        (5, 7),
        b"all of you",
    );
    let sent = a.tap()?.try_send(&frame);
    ensure!(sent == Err(nix::Error::ENOBUFS), "{sent:?}");
    failed_transmit(cx, &lan, &a, own, master)
}

async fn other_protocols_are_dropped(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let wire = lan.wire_tap()?;
    quiet(&[&a]).await?;
    let before = a.link()?.stats;
    let frame = frames::ethernet(a.mac, lan.wire_mac, 0x88b5, &[1; 60]);
    let sent = a.tap()?.try_send(&frame);
    ensure!(sent == Err(nix::Error::ENOBUFS), "{sent:?}");
    ensure!(
        a.link()?.stats.tx_dropped == before.tx_dropped + 1,
        "the drop is not counted"
    );
    ping(&a.ns, lan.ext_ip()).await?;
    while let Some(f) = wire.poll()? {
        ensure!(f.bytes != frame, "it is on the wire");
    }
    Ok(())
}

async fn arp_from_a_slave_is_dropped(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let wire = lan.wire_tap()?;
    quiet(&[&a]).await?;
    let before = a.link()?.stats;
    let target = ([0; 6], crate::lan::EXT_V4);
    for to in [frames::BROADCAST, lan.wire_mac] {
        let frame = frames::arp(a.mac, to, true, (a.mac, a.v4), target);
        let sent = a.tap()?.try_send(&frame);
        ensure!(sent == Err(nix::Error::ENOBUFS), "{sent:?}");
    }
    ensure!(
        a.link()?.stats.tx_dropped == before.tx_dropped + 2,
        "the drops are not counted"
    );
    ping(&a.ns, lan.ext_ip()).await?;
    while let Some(f) = wire.poll()? {
        ensure!(
            frames::arp_of(&f.bytes).is_none_or(|(_, from, _)| from != a.v4),
            "a slave's ARP is on the wire"
        );
    }
    Ok(())
}

async fn vepa_sibling_goes_out(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave_with(|s| LinkSpec {
        flags: Some(VEPA),
        ..s
    })?;
    let b = lan.slave()?;
    lan.host
        .nl()
        .add_route(cx.any(), 0, Via::Gateway(gateway(&lan)?))?;
    let (wire, tap) = (lan.wire_tap()?, b.tap()?);
    a.send_udp(b.ip(), 7, b"vepa")?;
    let frame = wire
        .expect("the datagram", |f| frames::is_udp(&f.bytes, 7, b"vepa"))
        .await?;
    ensure!(
        frame.bytes[..6] == VIA,
        "sent to {:02x?}",
        &frame.bytes[..6]
    );
    let seen = lan.until_fence(&wire, &tap, b.ip()).await?;
    ensure!(
        !seen.iter().any(|f| frames::is_udp(&f.bytes, 7, b"vepa")),
        "delivered locally"
    );
    Ok(())
}

/// In the master's namespace, marked packets have a gateway of their own.
fn mark_routes(lan: &Lan, mark: u32) -> Result<()> {
    let v4 = lan.cx.family == Family::V4;
    let gateway = gateway(lan)?;
    lan.host.nl().add_mark_rule(v4, mark, 100)?;
    lan.host
        .nl()
        .add_route_in(100, lan.cx.any(), 0, Via::Gateway(gateway))
}

const MARK: u32 = 0x55;

/// Whether a slave's marked packet to the external host took the marked packets' route.
async fn marked_route_taken(lan: &Lan, a: &crate::lan::Slave) -> Result<bool> {
    mark_routes(lan, MARK)?;
    let wire = lan.wire_tap()?;
    let tap = a.tap()?;
    tap.set_option(libc::SO_MARK, MARK as i32)?;
    tap.send(&frames::udp(
        a.mac,
        a.mac,
        a.ip(),
        lan.ext_ip(),
        (5, 7),
        b"marked",
    ))?;
    let frame = wire
        .expect("the datagram", |f| frames::is_udp(&f.bytes, 7, b"marked"))
        .await?;
    Ok(frame.bytes[..6] == VIA)
}

async fn mark_does_not_leak(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    ensure!(
        !marked_route_taken(&lan, &a).await?,
        "a mark of the slave's namespace chose a route in the master's"
    );
    Ok(())
}

/// The same within one namespace: there the mark is the administrator's own, and chooses the route.
async fn mark_counts_within_the_namespace(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.bare()?;
    drop(a);
    lan.host.nl().add_link(&LinkSpec {
        up: true,
        ..lan.spec("own")
    })?;
    let own = lan.host.nl().link("own")?;
    let ip = cx.pick([10, 2, 0, 99], [0xfd02, 0, 0, 0, 0, 0, 0, 0x99]);
    lan.host.nl().add_addr(own.index, ip, cx.host_prefix())?;
    mark_routes(&lan, MARK)?;
    let (wire, tap) = (
        lan.wire_tap()?,
        crate::packet::Tap::new(&lan.host, own.index)?,
    );
    tap.set_option(libc::SO_MARK, MARK as i32)?;
    tap.send(&frames::udp(
        own.mac,
        own.mac,
        ip,
        lan.ext_ip(),
        (5, 7),
        b"marked",
    ))?;
    let frame = wire
        .expect("the datagram", |f| frames::is_udp(&f.bytes, 7, b"marked"))
        .await?;
    ensure!(
        frame.bytes[..6] == VIA,
        "the mark does not choose the route"
    );
    Ok(())
}

/// A sibling in another namespace sees neither mark nor priority.
async fn mark_and_priority_stay_behind(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        let receiver = super::scrub::Receiver::new(&b.ns, b.ip(), 7)?;
        let tap = a.tap()?;
        tap.set_option(libc::SO_MARK, MARK as i32)?;
        tap.set_option(libc::SO_PRIORITY, 5)?;
        tap.send(&frames::udp(
            a.mac,
            b.mac,
            a.ip(),
            b.ip(),
            (5, 7),
            b"marked",
        ))?;
        let seen = receiver.next().await?;
        ensure!(
            seen == (0, 0),
            "{mode:?}: mark and priority {seen:?} came along"
        );
    }
    Ok(())
}
