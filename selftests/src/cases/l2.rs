// SPDX-License-Identifier: GPL-2.0
//! L2: who reaches whom, and which frames go where.

use super::counters::quiet;
use crate::cases;
use crate::cx::{Cx, Family, Suite, ANY, EACH, V4, V46, VETH};
use crate::frames;
use crate::lan::{Lan, Mode, PRIVATE, VEPA};
use crate::nl::LinkSpec;
use crate::packet::Class;
use crate::ping::{ping, try_ping, Pong};
use anyhow::{ensure, Result};
use std::time::Duration;

cases! {
    "l2", Suite::Both;
    ping_sibling: EACH, V46;
    ping_external: EACH, V46;
    ping_within_a_namespace: EACH, V46;
    host_is_out_of_reach: EACH, V46;
    host_through_a_slave_of_its_own: EACH, V46;
    own_mac_unknown_address_goes_to_the_host: EACH, V46;
    own_mac_any_protocol_goes_to_the_host: EACH, ANY;
    other_mac_goes_to_the_wire: EACH, V46;
    any_source_mac_leaves: EACH, V46;
    unknown_address_from_the_wire_is_the_hosts: EACH, V46;
    received_on_the_slave: EACH, V46;
    forwarded_sibling_frame_is_to_this_host: EACH, V46;
    private_siblings_do_not_meet: EACH, V46;
    vepa_siblings_meet_on_the_wire: EACH, V46;
    reflected_frame_of_a_slave_is_not_distributed: EACH, V46;
    own_mac_with_a_foreign_source_is_distributed: EACH, V46;
    tagged_frame_without_a_vlan_is_dropped: EACH, V46;
    source_routed_to_the_owner_by_header_only: EACH, V4;
    icmp_error_reaches_its_slave: VETH, V46;
    fragments_reach_their_slave: EACH, V46;
}
async fn ping_sibling(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&a.ns, b.ip()).await?;
    ping(&b.ns, a.ip()).await
}

async fn ping_external(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&a.ns, lan.ext_ip()).await?;
    ping(&lan.ext, b.ip()).await
}

/// A slave in the master's own namespace.
async fn ping_within_a_namespace(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let b = lan.slave_in(a.ns.clone(), |s| s)?;
    ping(&lan.ext, a.ip()).await?;
    ping(&lan.ext, b.ip()).await?;
    // Both addresses are local there, so the loopback carries it.
    ping(&a.ns, b.ip()).await
}

async fn host_is_out_of_reach(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let brief = Duration::from_millis(150);
    let up = try_ping(&a.ns, None, lan.master_ip(), 10, brief).await?;
    ensure!(up != Pong::Reply, "the host answers a slave");
    let down = try_ping(&lan.host, None, a.ip(), 10, brief).await?;
    ensure!(down != Pong::Reply, "a slave answers the host");
    ping(&a.ns, lan.ext_ip()).await
}

async fn host_through_a_slave_of_its_own(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    // The way to the subnet is the slave's, not the master's.
    let prefix = if cx.family == Family::V6 { 64 } else { 24 };
    lan.host
        .nl()
        .del_addr(lan.master, lan.master_ip(), prefix)?;
    let (a, own) = (lan.slave()?, lan.slave_in(lan.host.clone(), |s| s)?);
    ping(&a.ns, own.ip()).await?;
    // The host sends from the slave's address when it is told to.
    let reply = try_ping(
        &lan.host,
        Some(own.ip()),
        own.ip(),
        10,
        crate::wait::patience(),
    )
    .await?;
    ensure!(reply == Pong::Reply, "{reply:?}");
    Ok(())
}

/// To the shared MAC, but to none of the siblings: the master's stack receives it.
async fn own_mac_unknown_address_goes_to_the_host(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (host, wire) = (lan.master_tap()?, lan.wire_tap()?);
    let frame = frames::udp(
        a.mac,
        lan.mac,
        a.ip(),
        lan.master_ip(),
        (5, 7),
        b"to the host",
    );
    quiet(&[&a]).await?;
    let before = a.link()?.stats;
    a.tap()?.send(&frame)?;
    let got = host
        .expect("the frame", |f| f.bytes == frame && f.class == Class::Host)
        .await?;
    ensure!(got.class == Class::Host, "classified as {:?}", got.class);
    let after = a.link()?.stats;
    ensure!(
        after.tx_packets == before.tx_packets + 1,
        "{} sent",
        after.tx_packets - before.tx_packets
    );
    while let Some(f) = wire.poll()? {
        ensure!(f.bytes != frame, "the frame is on the wire too");
    }
    Ok(())
}

async fn own_mac_any_protocol_goes_to_the_host(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let host = lan.master_tap()?;
    let frame = frames::ethernet(a.mac, lan.mac, 0x88b5, &[1; 60]);
    a.tap()?.send(&frame)?;
    host.expect("the frame", |f| f.bytes == frame && f.class == Class::Host)
        .await
        .map(drop)
}

async fn other_mac_goes_to_the_wire(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (wire, sibling) = (lan.wire_tap()?, b.tap()?);
    // Even with a sibling's IP address: the MAC decides.
    for to in [lan.wire_mac, [2, 0, 0, 0, 9, 9]] {
        let frame = frames::udp(a.mac, to, a.ip(), b.ip(), (5, 7), b"to the wire");
        a.tap()?.send(&frame)?;
        wire.expect("the frame", |f| f.bytes == frame).await?;
    }
    a.tap()?
        .send(&frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), b"fence"))?;
    let seen = sibling
        .until("the fence", |f| frames::is_udp(&f.bytes, 7, b"fence"))
        .await?;
    ensure!(
        !seen
            .iter()
            .any(|f| frames::is_udp(&f.bytes, 7, b"to the wire")),
        "the sibling got it"
    );
    Ok(())
}

async fn any_source_mac_leaves(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let wire = lan.wire_tap()?;
    let frame = frames::udp(
        [2, 0, 0, 0, 0, 5],
        lan.wire_mac,
        lan.nobody(),
        lan.ext_ip(),
        (5, 7),
        b"spoofed",
    );
    a.tap()?.send(&frame)?;
    wire.expect("the frame", |f| f.bytes == frame)
        .await
        .map(drop)
}

async fn unknown_address_from_the_wire_is_the_hosts(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (host, tap, wire) = (lan.master_tap()?, a.tap()?, lan.wire_tap()?);
    let udp = |to, text: &[u8]| frames::udp(lan.wire_mac, lan.mac, lan.ext_ip(), to, (5, 7), text);
    for to in [lan.nobody(), lan.master_ip()] {
        wire.send(&udp(to, b"not for a slave"))?;
        host.expect("it at the host", |f| {
            frames::is_udp(&f.bytes, 7, b"not for a slave")
        })
        .await?;
    }
    wire.send(&udp(a.ip(), b"fence"))?;
    let seen = tap
        .until("the fence", |f| frames::is_udp(&f.bytes, 7, b"fence"))
        .await?;
    ensure!(
        !seen
            .iter()
            .any(|f| frames::is_udp(&f.bytes, 7, b"not for a slave")),
        "the slave got it"
    );
    Ok(())
}

/// What arrives for a slave arrives on its device: its packet sockets see it, as "to this host".
async fn received_on_the_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let tap = a.tap()?;
    let frame = frames::udp(
        lan.wire_mac,
        lan.mac,
        lan.ext_ip(),
        a.ip(),
        (5, 7),
        b"hello",
    );
    lan.wire_tap()?.send(&frame)?;
    let got = tap.expect("the frame", |f| f.bytes == frame).await?;
    ensure!(got.class == Class::Host, "classified as {:?}", got.class);
    Ok(())
}

async fn forwarded_sibling_frame_is_to_this_host(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let tap = b.tap()?;
    let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), b"hello");
    a.tap()?.send(&frame)?;
    let got = tap.expect("the frame", |f| f.bytes == frame).await?;
    ensure!(got.class == Class::Host, "classified as {:?}", got.class);
    Ok(())
}

async fn private_siblings_do_not_meet(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let a = lan.slave_with(|s| LinkSpec {
            flags: Some(PRIVATE),
            ..s
        })?;
        let b = lan.slave()?;
        let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
        let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), b"private");
        quiet(&[&a]).await?;
        let before = a.link()?.stats;
        let sent = ta.try_send(&frame);
        ensure!(sent == Err(nix::Error::ENOBUFS), "{mode:?}: {sent:?}");
        let after = a.link()?.stats;
        ensure!(
            after.tx_dropped == before.tx_dropped + 1,
            "{mode:?}: the drop is not counted"
        );
        ensure!(
            after.tx_packets == before.tx_packets,
            "{mode:?}: counted as sent"
        );
        // What comes from outside still arrives at both.
        let seen = lan.until_fence(&wire, &tb, b.ip()).await?;
        ensure!(
            !seen.iter().any(|f| f.bytes == frame),
            "{mode:?}: the sibling got it"
        );
        ping(&a.ns, lan.ext_ip()).await?;
        ping(&lan.ext, b.ip()).await?;
    }
    Ok(())
}

/// vepa: frames to siblings leave for the switch, which may send them back.
async fn vepa_siblings_meet_on_the_wire(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave_with(|s| LinkSpec {
        flags: Some(VEPA),
        ..s
    })?;
    let b = lan.slave()?;
    let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    let frame = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), b"vepa");
    ta.send(&frame)?;
    wire.expect("the frame", |f| f.bytes == frame).await?;
    // The switch reflects it: a unicast frame goes by its destination address.
    wire.send(&frame)?;
    let seen = tb.until("the reflection", |f| f.bytes == frame).await?;
    let copies = seen.iter().filter(|f| f.bytes == frame).count();
    ensure!(copies == 1, "{copies} copies");
    Ok(())
}

/// A group frame with the master's MAC and a slave's address as its source is one of ours coming back: nobody gets it
/// a second time.
async fn reflected_frame_of_a_slave_is_not_distributed(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    let reflected = if !cx.is_v6() {
        vec![
            frames::udp(
                lan.mac,
                frames::BROADCAST,
                a.ip(),
                [10, 1, 0, 255].into(),
                (5, 4000),
                b"reflected",
            ),
            frames::arp(
                lan.mac,
                frames::BROADCAST,
                true,
                (a.mac, a.v4),
                ([0; 6], b.v4),
            ),
        ]
    } else {
        let all = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let mac = frames::group_mac(all.into());
        vec![
            frames::udp(lan.mac, mac, a.ip(), all.into(), (5, 4000), b"reflected"),
            frames::solicit(lan.mac, mac, std::net::Ipv6Addr::UNSPECIFIED, all, a.v6),
        ]
    };
    for frame in &reflected {
        wire.send(frame)?;
    }
    let fence = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[3; 60]);
    wire.send(&fence)?;
    for tap in [&ta, &tb] {
        let seen = tap.until("the fence", |f| f.bytes == fence).await?;
        ensure!(
            !seen.iter().any(|f| reflected.contains(&f.bytes)),
            "a slave got a reflection"
        );
    }
    Ok(())
}

/// The master's own broadcasts, seen from a switch that reflects, have its MAC but nobody's address.
async fn own_mac_with_a_foreign_source_is_distributed(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    let all = cx.pick([10, 1, 0, 255], [0xff02, 0, 0, 0, 0, 0, 0, 1]);
    let mac = if all.is_ipv4() {
        frames::BROADCAST
    } else {
        frames::group_mac(all)
    };
    let frame = frames::udp(lan.mac, mac, lan.nobody(), all, (5, 4000), b"foreign");
    wire.send(&frame)?;
    tap.expect("the frame", |f| f.bytes == frame)
        .await
        .map(drop)
}

/// A frame with a VLAN tag that no VLAN device takes is delivered to nobody's stack.
async fn tagged_frame_without_a_vlan_is_dropped(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let socket = crate::stream::udp_socket(&a.ns, (a.ip(), 7).into())?;
    let plain =
        |text: &[u8]| frames::udp(lan.wire_mac, lan.mac, lan.ext_ip(), a.ip(), (5, 7), text);
    let mut tagged = plain(b"tagged");
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    let wire = lan.wire_tap()?;
    wire.send(&tagged)?;
    wire.send(&plain(b"plain"))?;
    let mut buffer = [0; 100];
    let (n, _) =
        tokio::time::timeout(crate::wait::patience(), socket.recv_from(&mut buffer)).await??;
    ensure!(
        &buffer[..n] == b"plain",
        "the stack got {:?}",
        String::from_utf8_lossy(&buffer[..n])
    );
    Ok(())
}

/// IPv4 options do not matter for who gets it: a source route names other hops, the header's destination counts.
async fn source_routed_to_the_owner_by_header_only(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    let frame = frames::with_options(
        &frames::udp(
            lan.wire_mac,
            lan.mac,
            lan.ext_ip(),
            b.ip(),
            (5, 7),
            b"routed",
        ),
        &{
            // Loose source route (RFC 791) through a.
            let mut option = vec![131, 7, 4];
            option.extend(a.v4.octets());
            option.push(0);
            option
        },
    );
    wire.send(&frame)?;
    tb.expect("the frame", |f| f.bytes == frame).await?;
    let seen = lan.until_fence(&wire, &ta, a.ip()).await?;
    ensure!(!seen.iter().any(|f| f.bytes == frame), "the hop got it");
    Ok(())
}

/// The error's outer destination decides: a closed port outside is reported to the slave's socket.
async fn icmp_error_reaches_its_slave(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let a = lan.slave()?;
        let any = cx.any();
        let socket = crate::stream::udp_socket(&a.ns, (any, 0).into())?;
        socket.connect((lan.ext_ip(), 9)).await?;
        socket.send(b"anybody?").await?;
        let mut buffer = [0; 10];
        let refused =
            tokio::time::timeout(crate::wait::patience(), socket.recv(&mut buffer)).await?;
        let error = refused.err().and_then(|e| e.raw_os_error());
        ensure!(error == Some(libc::ECONNREFUSED), "{mode:?}: {error:?}");
    }
    Ok(())
}

async fn fragments_reach_their_slave(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        for (from, to) in [(&lan.ext, a.ip()), (&a.ns, b.ip()), (&b.ns, lan.ext_ip())] {
            crate::ping::ping_sized(from, to, 5000).await?;
        }
    }
    Ok(())
}
