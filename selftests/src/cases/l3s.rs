// SPDX-License-Identifier: GPL-2.0
//! L3S: as L3, and what slaves receive goes through the stack and the netfilter hooks of the master's namespace first.

use super::counters::quiet;
use super::mode::{change, change_at};
use crate::cases;
use crate::cx::{Cx, Family, Skip, Suite, ANY, EACH, V4, V46, VETH};
use crate::debug;
use crate::frames;
use crate::lan::{Lan, Mode, Slave, PRIVATE, VEPA};
use crate::nl::nft::{self, Chain, Hook, Policy};
use crate::nl::{flags, LinkSpec, Via};
use crate::ping::{ping, ping_sized, try_ping, Pong};
use crate::stream::udp_echo;
use crate::wait::patience;
use anyhow::{ensure, Context, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

cases! {
    "l3s", Suite::Both;
    ping_all_around: EACH, V46;
    hosts_input_filter_counts: EACH, V46;
    hosts_prerouting_filter_counts: EACH, V46;
    hosts_conntrack_sees_it: EACH, V46;
    taps_on_the_slave_see_no_ingress: EACH, V46;
    received_counts_once: EACH, V46;
    sockets_bound_to_the_slave: EACH, V46;
    hosts_own_traffic: EACH, V46;
    arp_is_the_masters: EACH, V4;
    fragments: EACH, V46;
    isolation: EACH, V46;
    wrong_destination_is_the_hosts: EACH, V46;
    ports_of_one_namespace_count: EACH, V46;
    vrf_is_no_master: VETH, ANY;
    last_slave_goes_under_load: EACH, V46;
}

const IMPATIENT: Duration = Duration::from_millis(300);

fn drop_all(hook: Hook) -> Chain {
    Chain {
        hook,
        policy: Policy::Drop,
        tracks: false,
    }
}

async fn silence(lan: &Lan, slave: &Slave) -> Result<bool> {
    Ok(try_ping(&lan.ext, None, slave.ip(), 10, IMPATIENT).await? == Pong::Silence)
}

async fn ping_all_around(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ensure!(a.link()?.has(flags::NOARP), "the slave resolves neighbours");
    for (from, to) in [
        (&a.ns, b.ip()),
        (&b.ns, a.ip()),
        (&a.ns, lan.ext_ip()),
        (&lan.ext, a.ip()),
        (&lan.ext, b.ip()),
    ] {
        ping(from, to).await?;
    }
    Ok(())
}

/// The host's INPUT chain decides on what slaves get from the wire; in L3 it does not.
async fn hosts_input_filter_counts(cx: Cx) -> Result<()> {
    for (mode, filtered) in [(Mode::L3s, true), (Mode::L3, false)] {
        let lan = Lan::new(cx, mode)?;
        let a = lan.slave()?;
        ping(&lan.ext, a.ip()).await?;
        nft::install(&lan.host, cx.family, &drop_all(Hook::Input))?;
        if cx.family == Family::V6 {
            // Neighbour discovery of the host goes through INPUT too.
            lan.host
                .nl()
                .add_neigh(lan.master, lan.ext_ip(), lan.wire_mac)?;
            lan.ext.nl().add_neigh(lan.wire, lan.master_ip(), lan.mac)?;
        }
        let silent = silence(&lan, &a).await?;
        ensure!(silent == filtered, "{mode:?}: silent: {silent}");
        nft::remove(&lan.host, cx.family)?;
        ping(&lan.ext, a.ip()).await?;
    }
    Ok(())
}

async fn hosts_prerouting_filter_counts(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    ping(&lan.ext, a.ip()).await?;
    nft::install(&lan.host, cx.family, &drop_all(Hook::Forward))?;
    // It is not forwarded traffic.
    ping(&lan.ext, a.ip()).await?;
    nft::install(&lan.host, cx.family, &drop_all(Hook::Prerouting))?;
    ensure!(silence(&lan, &a).await?, "PREROUTING is passed by");
    nft::remove(&lan.host, cx.family)
}

/// The host tracks the connections of its slaves.
async fn hosts_conntrack_sees_it(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    let chain = Chain {
        hook: Hook::Input,
        policy: Policy::Accept,
        tracks: true,
    };
    nft::install(&lan.host, cx.family, &chain)?;
    let text = b"tracked";
    let socket = crate::stream::udp_socket(&a.ns, SocketAddr::new(a.ip(), 4242))?;
    let sender = crate::stream::udp_socket(&lan.ext, SocketAddr::new(lan.ext_ip(), 0))?;
    sender.send_to(text, SocketAddr::new(a.ip(), 4242)).await?;
    let mut buffer = [0; 64];
    let (n, from) = tokio::time::timeout(patience(), socket.recv_from(&mut buffer)).await??;
    ensure!(&buffer[..n] == text, "another datagram");
    socket.send_to(text, from).await?;
    tokio::time::timeout(patience(), sender.recv_from(&mut buffer)).await??;
    const TABLE: &str = "/proc/thread-self/net/nf_conntrack";
    if debug::kernel() && !std::fs::exists(TABLE)? {
        return Err(Skip("the debug kernel does not show its connections".into()).into());
    }
    let table = lan.host.read(TABLE)?;
    ensure!(
        table
            .lines()
            .any(|l| l.contains("udp") && l.contains("dport=4242") && !l.contains("UNREPLIED")),
        "no such connection:\n{table}"
    );
    Ok(())
}

/// tcpdump on a slave sees what it sends; what it receives is seen on the master.
async fn taps_on_the_slave_see_no_ingress(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    let (slave, master) = (a.tap()?, lan.master_tap()?);
    ping(&lan.ext, a.ip()).await?;
    let request = |f: &[u8]| frames::addresses(f) == Some((lan.ext_ip(), a.ip()));
    let reply = |f: &[u8]| frames::addresses(f) == Some((a.ip(), lan.ext_ip()));
    master
        .expect("the request on the master", |f| request(&f.bytes))
        .await?;
    let mut sent = false;
    while let Some(frame) = slave.poll()? {
        ensure!(
            !request(&frame.bytes),
            "the slave's tap sees the request: {}",
            frames::describe(&frame.bytes)
        );
        sent |= reply(&frame.bytes);
    }
    ensure!(sent, "the slave's tap does not see the reply");
    Ok(())
}

/// Once, with the Ethernet header's 14 bytes.
async fn received_counts_once(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&lan.ext, a.ip()).await?;
    quiet(&[&a, &b]).await?;
    let (before, other) = (a.link()?.stats, b.link()?.stats);
    let frame = frames::udp(
        lan.wire_mac,
        lan.mac,
        lan.ext_ip(),
        a.ip(),
        (5, 4000),
        &[7; 100],
    );
    let socket = crate::stream::udp_socket(&a.ns, SocketAddr::new(a.ip(), 4000))?;
    let wire = lan.wire_tap()?;
    for _ in 0..10 {
        wire.send(&frame)?;
    }
    let mut buffer = [0; 200];
    for _ in 0..10 {
        tokio::time::timeout(patience(), socket.recv_from(&mut buffer)).await??;
    }
    let after = a.link()?.stats;
    let (packets, bytes) = (
        after.rx_packets - before.rx_packets,
        after.rx_bytes - before.rx_bytes,
    );
    ensure!(
        (packets, bytes) == (10, 10 * frame.len() as u64),
        "{packets} packets, {bytes} bytes"
    );
    ensure!(
        b.link()?.stats.rx_packets == other.rx_packets,
        "a sibling counts too"
    );
    Ok(())
}

/// `ping -I` and `ping6 -I`: packets come in by the slave as far as sockets can tell.
async fn sockets_bound_to_the_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    let socket = crate::stream::udp_socket(&a.ns, SocketAddr::new(a.ip(), 0))?;
    socket2::SockRef::from(&socket)
        .bind_device(Some(a.name.as_bytes()))
        .context("SO_BINDTODEVICE")?;
    let peer = crate::stream::udp_socket(&lan.ext, SocketAddr::new(lan.ext_ip(), 0))?;
    socket.send_to(b"ask", peer.local_addr()?).await?;
    let mut buffer = [0; 16];
    let (_, from) = tokio::time::timeout(patience(), peer.recv_from(&mut buffer)).await??;
    peer.send_to(b"answer", from).await?;
    let (n, _) = tokio::time::timeout(patience(), socket.recv_from(&mut buffer))
        .await
        .context("a socket bound to the slave gets no answer")??;
    ensure!(&buffer[..n] == b"answer", "another datagram");
    Ok(())
}

/// The host's own addresses and loopback routes work as before, from the wire and from the host.
async fn hosts_own_traffic(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    let loopback: IpAddr = cx.pick([127, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1]);
    for to in [lan.master_ip(), loopback] {
        ping(&lan.host, to).await?;
    }
    ping(&lan.ext, lan.master_ip()).await?;
    ping(&lan.host, lan.ext_ip()).await?;
    crate::stream::tcp(&lan.ext, &lan.host, lan.master_ip(), 100_000, 100_000).await?;
    ping(&a.ns, lan.ext_ip()).await
}

/// ARP for a slave's address comes to the host, which may answer for it.
async fn arp_is_the_masters(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    lan.host.sysctl("ipv4/conf/all/forwarding", "1")?;
    let (IpAddr::V4(from), IpAddr::V4(to)) = (lan.ext_ip(), a.ip()) else {
        anyhow::bail!("an IPv4 case");
    };
    // As the README has it: a route to the address that is not the wire's, and a proxy entry.
    lan.host.nl().add_route(to.into(), 32, Via::Link(1))?;
    lan.host.nl().add_neigh_proxy(lan.master, to.into())?;
    let (wire, slave) = (lan.wire_tap()?, a.tap()?);
    wire.send(&frames::arp(
        lan.wire_mac,
        frames::BROADCAST,
        true,
        (lan.wire_mac, from),
        ([0; 6], to),
    ))?;
    wire.expect("the host's answer", |f| {
        frames::arp_of(&f.bytes) == Some((2, to, from)) && f.bytes[6..12] == lan.mac
    })
    .await?;
    while let Some(frame) = slave.poll()? {
        ensure!(
            frames::arp_of(&frame.bytes).is_none(),
            "the slave saw the request"
        );
    }
    Ok(())
}

/// Larger than the MTU, both ways. The host puts IPv4 together before its INPUT hooks; IPv6 does so behind them.
async fn fragments(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    ping_sized(&a.ns, lan.ext_ip(), 5000).await?;
    quiet(&[&a]).await?;
    let before = a.link()?.stats.rx_packets;
    ping_sized(&lan.ext, a.ip(), 5000).await?;
    let received = a.link()?.stats.rx_packets - before;
    let expected = if cx.family == Family::V4 { 1 } else { 4 };
    ensure!(received == expected, "{received} packets, not {expected}");
    Ok(())
}

async fn isolation(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    // What the host sends to a slave's address goes to the other end of the wire.
    let host = lan.host.nl();
    host.add_route(b.ip(), cx.host_prefix(), Via::Link(lan.master))?;
    host.add_neigh(lan.master, b.ip(), lan.wire_mac)?;
    for (port_flags, goes_out) in [(PRIVATE, false), (VEPA, true)] {
        change(&a, None, Some(port_flags))?;
        let wire = lan.wire_tap()?;
        let apart = try_ping(&a.ns, None, b.ip(), 10, IMPATIENT).await?;
        ensure!(apart != Pong::Reply, "flag {port_flags}: a reply");
        let mut out = false;
        while let Some(frame) = wire.poll()? {
            out |= frames::addresses(&frame.bytes) == Some((a.ip(), b.ip()));
        }
        ensure!(out == goes_out, "flag {port_flags}: on the wire: {out}");
        ping(&lan.ext, a.ip()).await?;
        ping(&lan.ext, b.ip()).await?;
    }
    Ok(())
}

/// What is for no slave, and for one that is down, the host treats as ever: here it knows no way, and says so.
async fn wrong_destination_is_the_hosts(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    lan.host.sysctl("ipv4/conf/all/forwarding", "1")?;
    lan.host.sysctl("ipv6/conf/all/forwarding", "1")?;
    ping(&lan.ext, b.ip()).await?;
    b.ns.nl().down(b.index)?;
    let wire = lan.wire_tap()?;
    let nobody = cx.pick([10, 2, 0, 77], [0xfd02, 0, 0, 0, 0, 0, 0, 0x77]);
    for to in [b.ip(), nobody] {
        wire.drain()?;
        wire.send(&frames::udp(
            lan.wire_mac,
            lan.mac,
            lan.ext_ip(),
            to,
            (5, 4000),
            b"astray",
        ))?;
        // ICMP type 3, ICMPv6 type 1: destination unreachable.
        let (at, kind) = if to.is_ipv4() {
            (14 + 20, 3)
        } else {
            (14 + 40, 1)
        };
        wire.expect("the host's word that there is no way", |f| {
            frames::addresses(&f.bytes) == Some((lan.master_ip(), lan.ext_ip()))
                && f.bytes.get(at) == Some(&kind)
        })
        .await
        .with_context(|| format!("for {to}"))?;
    }
    b.ns.nl().up(b.index)?;
    lan.address_again(&b)?;
    if cx.family == Family::V4 {
        b.ns.nl().add_route(
            std::net::Ipv4Addr::UNSPECIFIED.into(),
            0,
            Via::Link(b.index),
        )?;
    }
    ping(&lan.ext, b.ip()).await?;
    ping(&lan.ext, a.ip()).await
}

/// The hooks of a namespace stay while one port in it needs them.
async fn ports_of_one_namespace_count(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    // A socket: the kernel's answer to a ping comes from the slave's namespace without the hooks too.
    let reaches = async || udp_echo(&lan.ext, &a.ns, a.ip(), 1, 100).await;
    reaches().await?;
    // Another master in the same namespace.
    lan.host.nl().add_link(&LinkSpec::new("dummy", "m9"))?;
    let m9 = lan.host.nl().link("m9")?.index;
    for round in 0..3 {
        lan.host.nl().add_link(&LinkSpec {
            link: Some(m9),
            ..lan.spec("other")
        })?;
        let other = lan.host.nl().link("other")?.index;
        match round {
            0 => lan.host.nl().del_link(other)?,
            1 => {
                change_at(cx, &lan.host, other, Some(Mode::L2), None)?;
                reaches().await?;
                lan.host.nl().del_link(other)?;
            }
            _ => lan.host.nl().del_link(m9)?,
        }
        reaches().await?;
    }
    for mode in [Mode::L2, Mode::L3s, Mode::L3, Mode::L3s] {
        change(&a, Some(mode), None)?;
    }
    reaches().await
}

/// A VRF has the hook that l3s needs for itself, and takes no slaves in any mode.
async fn vrf_is_no_master(cx: Cx) -> Result<()> {
    crate::modules::load("vrf")?;
    let lan = Lan::new(cx, Mode::L3s)?;
    let host = lan.host.nl();
    host.add_link(&LinkSpec {
        // IFLA_VRF_TABLE
        data: vec![(1, 10u32.to_ne_bytes().to_vec())],
        ..LinkSpec::new("vrf", "v0")
    })?;
    let vrf = host.link("v0")?.index;
    for mode in [Mode::L2, Mode::L3s] {
        let on_vrf = LinkSpec {
            link: Some(vrf),
            mode: Some(mode as u16),
            ..LinkSpec::new(cx.kind(), "x")
        };
        cx.refused(host.try_add_link(&on_vrf)?, libc::EINVAL, "on top")?;
    }
    ensure!(host.find_link("x")?.is_none(), "it is there all the same");
    Ok(())
}

/// The hooks come and go with the first and the last slave, and with the mode, while the wire floods the master.
async fn last_slave_goes_under_load(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let ns = cx.netns()?;
    let first = lan.slave_in(ns.clone(), |s| s)?;
    let flood = vec![
        frames::udp(
            lan.wire_mac,
            lan.mac,
            lan.ext_ip(),
            first.ip(),
            (5, 4000),
            &[0; 200],
        ),
        frames::udp(
            lan.wire_mac,
            lan.mac,
            lan.ext_ip(),
            lan.master_ip(),
            (5, 4000),
            &[0; 200],
        ),
    ];
    let load = super::unload::Load::start(&lan, flood)?;
    load.running().await?;
    ns.nl().del_link(first.index)?;
    for round in 0..10 {
        // With the address that the flood is for.
        let spec = LinkSpec {
            ns: Some(ns.fd()),
            ..lan.spec("again")
        };
        lan.host.nl().add_link(&spec)?;
        let index = ns.nl().link("again")?.index;
        ns.nl().up(index)?;
        ns.nl().add_addr(index, first.ip(), cx.host_prefix())?;
        if round % 2 == 0 {
            for mode in [Mode::L2, Mode::L3s, Mode::L3, Mode::L3s] {
                change_at(cx, &ns, index, Some(mode), None)?;
            }
        }
        let before = ns.nl().link_at(index)?.stats.rx_packets;
        crate::wait::until("the slave gets its share of the flood", || {
            Ok(ns.nl().link_at(index)?.stats.rx_packets > before)
        })
        .await?;
        ns.nl().del_link(index)?;
    }
    load.stop()?;
    ping(&lan.ext, lan.master_ip()).await
}
