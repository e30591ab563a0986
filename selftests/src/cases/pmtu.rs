// SPDX-License-Identifier: GPL-2.0
//! L3: routes of the master's namespace that take less than the slave's MTU (D10). In-tree the packets vanish, and the
//! sender hears of nothing.

use super::counters::quiet;
use super::stream::without_offload;
use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V46};
use crate::ethtool::Ethtool;
use crate::frames;
use crate::lan::{Lan, Mode, Slave};
use crate::netns::Netns;
use crate::nl::{LinkSpec, VethEnd, Via};
use crate::packet::{self, Captured, Tap};
use crate::stream::{tcp, udp_socket};
use crate::wait;
use anyhow::{ensure, Context, Result};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

cases! {
    "pmtu", Suite::Both;
    sender_learns: EACH, V46;
    icmp_error: EACH, V46;
    behind_a_router: EACH, V46;
    tcp_goes_through: EACH, V46, 90;
    tcp_goes_through_without_offload: EACH, V46, 90;
    fragmented_where_allowed: EACH, V4;
    raw_frame_is_only_dropped: EACH, V46;
}

/// IP_PMTUDISC_* of linux/in.h; IPv6's are the same.
const DONT: i32 = 0;
const WANT: i32 = 1;
const DO: i32 = 2;

/// An L3 network whose route to the external host takes no more than this.
fn narrow(cx: Cx) -> Result<(Lan, Slave, u32)> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let mtu = if !cx.is_v6() { 600 } else { 1300 };
    lan.host
        .nl()
        .add_route_mtu(lan.ext_ip(), cx.host_prefix(), Via::Link(lan.master), mtu)?;
    Ok((lan, a, mtu))
}

/// A UDP socket with its own idea of path MTU discovery.
struct Udp(UdpSocket);

impl Udp {
    fn new(ns: &Netns, to: SocketAddr, discovery: i32) -> Result<Udp> {
        let any: IpAddr = if to.is_ipv4() {
            [0; 4].into()
        } else {
            [0u8; 16].into()
        };
        let socket = ns.enter(|| Ok(UdpSocket::bind((any, 0))?))?;
        let (level, option) = if to.is_ipv4() {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
        };
        packet::set(&socket, level, option, discovery)?;
        socket.connect(to)?;
        Ok(Udp(socket))
    }

    /// What the socket takes for the path's MTU.
    fn mtu(&self) -> Result<u32> {
        let (level, option) = if self.0.local_addr()?.is_ipv4() {
            (libc::IPPROTO_IP, libc::IP_MTU)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU)
        };
        let (mut mtu, mut len) = (0u32, 4);
        // SAFETY: the value and its length are live locals.
        let rc = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                (&raw mut mtu).cast(),
                &raw mut len,
            )
        };
        nix::Error::result(rc).context("IP_MTU")?;
        Ok(mtu)
    }
}

/// A datagram that may not be fragmented is lost once; the sender's socket and route learn why, and what fits passes.
async fn sender_learns(cx: Cx) -> Result<()> {
    let (lan, a, mtu) = narrow(cx)?;
    let to = SocketAddr::new(lan.ext_ip(), 7);
    let there = udp_socket(&lan.ext, to)?;
    let (own, other) = (Udp::new(&a.ns, to, DO)?, Udp::new(&a.ns, to, WANT)?);
    ensure!(
        own.mtu()? == 1500,
        "the MTU is {} to begin with",
        own.mtu()?
    );
    quiet(&[&a]).await?;
    let before = a.link()?.stats;
    let sent = own.0.send(&[1; 1400]);
    ensure!(sent.is_ok(), "the first is refused: {sent:?}");
    let after = a.link()?.stats;
    ensure!(
        after.tx_packets == before.tx_packets && after.tx_dropped == before.tx_dropped + 1,
        "{before:?}, then {after:?}"
    );
    let learnt = cx.decision(Decision::D10);
    if learnt {
        ensure!(
            after.tx_errors == before.tx_errors + 1,
            "{before:?}, then {after:?}"
        );
        wait::until("the socket's error", || {
            Ok(own.0.take_error()?.and_then(|e| e.raw_os_error()) == Some(libc::EMSGSIZE))
        })
        .await?;
        let again = own.0.send(&[2; 1400]).map_err(|e| e.raw_os_error());
        ensure!(again == Err(Some(libc::EMSGSIZE)), "the second: {again:?}");
    }
    // What fits passes in both. A socket that may fragment itself does so once the route is known.
    let header = if a.ip().is_ipv4() { 28 } else { 48 };
    own.0.send(&vec![3; mtu as usize - header])?;
    other.0.send(&[4; 1400])?;
    let expected = if learnt { mtu } else { 1500 };
    for socket in [&own, &other] {
        ensure!(
            socket.mtu()? == expected,
            "the MTU is {} instead of {expected}",
            socket.mtu()?
        );
    }
    let sizes: &[usize] = if learnt {
        &[mtu as usize - header, 1400]
    } else {
        &[mtu as usize - header]
    };
    let mut buffer = [0; 2000];
    for size in sizes {
        let (n, _) = tokio::time::timeout(wait::patience(), there.recv_from(&mut buffer)).await??;
        ensure!(n == *size, "{n} bytes arrived instead of {size}");
    }
    Ok(())
}

/// A container that routes for another: it is the other that has to learn.
async fn behind_a_router(cx: Cx) -> Result<()> {
    let (lan, a, mtu) = narrow(cx)?;
    for key in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
        a.ns.sysctl(key, "1")?;
    }
    let inner = cx.netns()?;
    let end = VethEnd {
        name: "i1".into(),
        ns: inner.fd(),
        mtu: 1500,
    };
    a.ns.nl().add_link(&LinkSpec {
        peer: Some(end),
        up: true,
        ..LinkSpec::new("veth", "i0")
    })?;
    let near = cx.pick(
        [10, 9, 0, 1],
        [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    );
    let far = cx.pick(
        [10, 9, 0, 2],
        [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    );
    let prefix = cx.host_prefix() / 2;
    a.ns.nl()
        .add_addr(a.ns.nl().link("i0")?.index, near, prefix)?;
    let index = inner.nl().link("i1")?.index;
    inner.nl().up(index)?;
    inner.nl().add_addr(index, far, prefix)?;
    inner
        .nl()
        .add_route(lan.ext_ip(), cx.host_prefix(), Via::Gateway(near))?;
    let own = Udp::new(&inner, SocketAddr::new(lan.ext_ip(), 7), DO)?;
    let wire = lan.wire_tap()?;
    own.0.send(&[1; 1400])?;
    let learnt = cx.decision(Decision::D10);
    if learnt {
        wait::until("the inner container's error", || {
            Ok(own.0.take_error()?.and_then(|e| e.raw_os_error()) == Some(libc::EMSGSIZE))
        })
        .await?;
    }
    // What fits passes; once it is there, what went before has been dealt with.
    own.0.send(b"fits")?;
    wire.expect("the small one on the wire", |f| {
        frames::addresses(&f.bytes) == Some((far, lan.ext_ip())) && f.bytes.ends_with(b"fits")
    })
    .await?;
    let expected = if learnt { mtu } else { 1500 };
    ensure!(own.mtu()? == expected, "the MTU is {}", own.mtu()?);
    Ok(())
}

/// ICMP "fragmentation needed" and ICMPv6 "packet too big" with this MTU.
fn is_report(f: &Captured, mtu: u32) -> bool {
    let b = &f.bytes[14..];
    match b.first().map(|v| v >> 4) {
        // No options: those of the packet are not echoed.
        Some(4) => {
            b[0] == 0x45
                && b[9] == 1
                && b[20..22] == [3, 4]
                && b[26..28] == (mtu as u16).to_be_bytes()
        }
        Some(6) => b[6] == 58 && b[40..42] == [2, 0] && b[44..48] == mtu.to_be_bytes(),
        _ => false,
    }
}

/// The error comes from inside the sender's namespace, and quotes the packet. The packet's options, which the kernel
/// looks for in a control buffer that somebody else has used (CVE-2023-3090), stay out of it.
async fn icmp_error(cx: Cx) -> Result<()> {
    let (lan, a, mtu) = narrow(cx)?;
    let own = Udp::new(&a.ns, SocketAddr::new(lan.ext_ip(), 7), DO)?;
    if a.ip().is_ipv4() {
        // Record route, seven places; no operation.
        let mut options = [0u8; 32];
        options[..4].copy_from_slice(&[7, 31, 4, 0]);
        options[31] = 1;
        // SAFETY: the options are a live local of this length.
        let rc = unsafe {
            libc::setsockopt(
                own.0.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_OPTIONS,
                options.as_ptr().cast(),
                options.len() as u32,
            )
        };
        nix::Error::result(rc).context("IP_OPTIONS")?;
    }
    let lo = Tap::new(&a.ns, 1)?;
    let wire = lan.wire_tap()?;
    let sent = [0xa5; 1400];
    own.0.send(&sent)?;
    if cx.decision(Decision::D10) {
        let report = lo.expect("an ICMP error", |f| is_report(f, mtu)).await?;
        let addresses = frames::addresses(&report.bytes);
        ensure!(
            addresses == Some((a.ip(), a.ip())),
            "from and to {addresses:?}"
        );
        ensure!(
            report.bytes.windows(32).any(|w| w == &sent[..32]),
            "the packet is not quoted"
        );
    }
    crate::ping::ping(&a.ns, lan.ext_ip()).await?;
    if !cx.decision(Decision::D10) {
        while let Some(f) = lo.poll()? {
            ensure!(!is_report(&f, mtu), "in-tree reports it");
        }
    }
    while let Some(f) = wire.poll()? {
        ensure!(
            !f.bytes.windows(32).any(|w| w == &sent[..32]),
            "the packet, or a part of it, is on the wire"
        );
    }
    Ok(())
}

/// A counter of `/proc/net/snmp` or `netstat`: a line of names, then one of values.
fn counter(ns: &Netns, file: &str, group: &str, name: &str) -> Result<u64> {
    let text = ns.read(&format!("/proc/thread-self/net/{file}"))?;
    let mut lines = text
        .lines()
        .filter_map(|l| l.strip_prefix(group)?.strip_prefix(": "))
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    let (names, values) = (lines.next(), lines.next());
    let (names, values) = names.zip(values).with_context(|| format!("no {group}"))?;
    let at = names.iter().position(|n| *n == name);
    let value = at.and_then(|at| values.get(at));
    Ok(value.with_context(|| format!("no {name}"))?.parse()?)
}

async fn tcp_goes_through(cx: Cx) -> Result<()> {
    stream(cx, true).await
}

async fn tcp_goes_through_without_offload(cx: Cx) -> Result<()> {
    stream(cx, false).await
}

/// A stream of segments that are too large at first.
async fn stream(cx: Cx, offload: bool) -> Result<()> {
    let (lan, a, mtu) = narrow(cx)?;
    if !offload {
        without_offload(&lan)?;
        Ethtool::new(&a.ns, &a.name)?.set_exactly(&["tx-generic-segmentation"], false)?;
    }
    let tap = a.tap()?;
    let through = tcp(&a.ns, &lan.ext, lan.ext_ip(), 1 << 18, 1 << 16);
    if !cx.decision(Decision::D10) {
        // The first large segment vanishes, and so does each repetition.
        let patience = Duration::from_millis(700);
        let stuck = tokio::time::timeout(patience, through).await.is_err();
        ensure!(stuck, "in-tree gets through");
        return Ok(());
    }
    through.await?;
    // Told at the first packet, segmented or not: none failed on its way, and no timer was needed to send again.
    for (ns, file, group, name) in [
        (&lan.host, "snmp", "Ip", "FragFails"),
        (&a.ns, "netstat", "TcpExt", "TCPWinProbe"),
        (&a.ns, "netstat", "TcpExt", "TCPTimeouts"),
    ] {
        let count = counter(ns, file, group, name)?;
        ensure!(count == 0, "{name} is {count}");
    }
    let discards = lan.host.read("/proc/thread-self/net/snmp6")?;
    ensure!(
        discards
            .lines()
            .any(|l| l.split_whitespace().eq(["Ip6FragFails", "0"])),
        "{discards}"
    );
    let mut largest = 0;
    while let Some(f) = tap.poll()? {
        largest = largest.max(f.bytes.len());
    }
    let at_first = if offload { 1514 } else { mtu as usize + 14 };
    ensure!(largest > at_first, "the largest packet had {largest} bytes");
    Ok(())
}

/// Without "don't fragment" the master's namespace fragments.
async fn fragmented_where_allowed(cx: Cx) -> Result<()> {
    let (lan, a, mtu) = narrow(cx)?;
    let to = SocketAddr::new(lan.ext_ip(), 7);
    let there = udp_socket(&lan.ext, to)?;
    let wire = lan.wire_tap()?;
    let own = Udp::new(&a.ns, to, DONT)?;
    own.0.send(&[5; 1400])?;
    let mut buffer = [0; 2000];
    let (n, _) = tokio::time::timeout(wait::patience(), there.recv_from(&mut buffer)).await??;
    ensure!(buffer[..n] == [5; 1400], "{n} bytes arrived");
    let mut fragments = 0;
    while let Some(f) = wire.poll()? {
        if frames::addresses(&f.bytes) == Some((a.ip(), lan.ext_ip())) {
            ensure!(f.bytes.len() <= mtu as usize + 14, "{}", f.bytes.len());
            fragments += 1;
        }
    }
    ensure!(fragments == 3, "{fragments} fragments");
    ensure!(own.mtu()? == 1500, "the MTU became {}", own.mtu()?);
    Ok(())
}

/// A raw frame has no route, and its source may be made up: its sender gets an error number, nobody an ICMP error.
async fn raw_frame_is_only_dropped(cx: Cx) -> Result<()> {
    let (lan, a, mtu) = narrow(cx)?;
    quiet(&[&a]).await?;
    let (lo, tap) = (Tap::new(&a.ns, 1)?, a.tap()?);
    let before = a.link()?.stats;
    let mut frame = frames::udp(a.mac, a.mac, a.ip(), lan.ext_ip(), (5, 7), &[6; 1400]);
    if a.ip().is_ipv4() {
        frames::dont_fragment(&mut frame);
    }
    let sent = tap.try_send(&frame);
    ensure!(sent == Err(nix::Error::ENOBUFS), "{sent:?}");
    let after = a.link()?.stats;
    ensure!(
        after.tx_dropped == before.tx_dropped + 1 && after.tx_packets == before.tx_packets,
        "{before:?}, then {after:?}"
    );
    crate::ping::ping(&a.ns, lan.ext_ip()).await?;
    while let Some(f) = lo.poll()? {
        ensure!(!is_report(&f, mtu), "an ICMP error for a raw frame");
    }
    Ok(())
}
