// SPDX-License-Identifier: GPL-2.0
//! L3: what ICMP errors teach the host about one destination holds for the very next packet, however well the route there
//! was remembered, and no longer than it is to hold.

use crate::cases;
use crate::cases::kept::each_looked_up;
use crate::cx::{Cx, Suite, EACH, V46, VETH};
use crate::far::{far, gateway, Path, NEW, OLD};
use crate::frames::{self, Mac};
use crate::lan::Lan;
use crate::lookups::Lookups;
use crate::nl::Via;
use crate::packet::Captured;
use anyhow::{bail, ensure, Result};
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::Duration;

cases! {
    "exception", Suite::Both;
    mtu_learnt_and_expired: EACH, V46;
    redirect: EACH, V46;
    not_remembered: VETH, V46;
}

/// What makes a large datagram, and what the path takes of it.
const LARGE: [u8; 1400] = [b'x'; 1400];

fn narrow(cx: Cx) -> u16 {
    if cx.is_v6() {
        1300
    } else {
        600
    }
}

/// A socket of the host's, and a frame that it might have sent, for a router to complain about.
fn own(lan: &Lan, payload: &[u8]) -> Result<(UdpSocket, Vec<u8>)> {
    let (cx, master) = (lan.cx, lan.master_ip());
    let socket = lan.host.enter(|| {
        let socket = UdpSocket::bind((master, 4000))?;
        socket.connect((far(cx), 4001))?;
        Ok(socket)
    })?;
    let frame = frames::udp(lan.mac, OLD, master, far(cx), (4000, 4001), payload);
    Ok((socket, frame))
}

/// Tries until it does, for a second.
async fn soon(what: &str, test: impl AsyncFn() -> Result<bool>) -> Result<()> {
    for _ in 0..100 {
        if test().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("{what}")
}

/// The MTU of a path holds for a packet that may not be fragmented from then on, and no more once it has expired.
async fn mtu_learnt_and_expired(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let lan = &path.lan;
    let family = if cx.is_v6() { "ipv6" } else { "ipv4" };
    lan.host
        .sysctl(&format!("{family}/route/mtu_expires"), "2")?;
    let passes = async || passes(&path).await;
    for _ in 0..4 {
        ensure!(passes().await?, "a large packet is lost before all");
    }
    let socket = learn(&path).await?;
    for _ in 0..4 {
        ensure!(!passes().await?, "the path's MTU is forgotten at once");
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    // A guest that is starved counts its ticks late.
    soon("the path's MTU is heeded after it expired", &passes).await?;
    for _ in 0..3 {
        ensure!(passes().await?, "the path's MTU is heeded again");
    }
    drop(socket);
    Ok(())
}

/// Whether a large packet gets through: a small one comes after it.
async fn passes(path: &Path) -> Result<bool> {
    let mut frame = path.frame(&LARGE);
    if !path.lan.cx.is_v6() {
        frames::dont_fragment(&mut frame);
    }
    // In-tree refuses what does not fit.
    let _ = path.tap.try_send(&frame);
    path.tap.send(&path.frame(b"small"))?;
    let small = |f: &Captured| frames::is_udp(&f.bytes, 7, b"small");
    let seen = path.wire.until("the small one", small).await?;
    Ok(seen.iter().any(|f| frames::is_udp(&f.bytes, 7, &LARGE)))
}

/// Has the host learn a path's MTU, for a socket.
async fn learn(path: &Path) -> Result<UdpSocket> {
    let (socket, sent) = own(&path.lan, &LARGE)?;
    path.wire.send(&too_big(&path.lan, &sent))?;
    let learnt = async || Ok(!passes(path).await?);
    soon("the path's MTU is not heeded", learnt).await?;
    Ok(socket)
}

/// What has a time to expire at is looked up for each packet.
async fn not_remembered(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let lookups = Lookups::of(far(cx))?;
    let _socket = learn(&path).await?;
    each_looked_up(&path, &lookups)
}

/// A router that knows a better one says so (RFC 792, RFC 4861).
async fn redirect(cx: Cx) -> Result<()> {
    let path = Path::without_route(cx)?;
    let lan = &path.lan;
    let nl = lan.host.nl();
    let [from, to] = [1, 2].map(|n| router(cx, n));
    nl.add_neigh(lan.master, from, OLD)?;
    nl.add_route(cx.any(), 0, Via::GatewayOn(from, lan.master))?;
    path.all(OLD, "before").await?;
    let (socket, sent) = own(lan, b"own")?;
    path.wire.send(&redirected(lan, &sent, from, to))?;
    let heeded = async || {
        path.tap.send(&path.frame(b"where to"))?;
        let ours = |f: &Captured| frames::is_udp(&f.bytes, 7, b"where to");
        Ok(path.wire.expect("a datagram", ours).await?.bytes[..6] == NEW)
    };
    soon("the redirect is not heeded", heeded).await?;
    drop(socket);
    path.all(NEW, "after").await
}

/// IPv6 redirects from the router's link-local address.
fn router(cx: Cx, n: u8) -> IpAddr {
    if cx.is_v6() {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x70 + u16::from(n)).into()
    } else {
        gateway(cx, n)
    }
}

/// "Fragmentation needed", or "packet too big", about a frame, from where it went.
fn too_big(lan: &Lan, about: &[u8]) -> Vec<u8> {
    let (cx, mtu) = (lan.cx, narrow(lan.cx).to_be_bytes());
    match (gateway(cx, 1), lan.master_ip()) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut body = vec![0, 0, mtu[0], mtu[1]];
            // As much as fits the least MTU.
            body.extend_from_slice(&about[14..14 + 1000]);
            frames::icmp6(OLD, lan.mac, from, to, 64, 2, 0, &body)
        }
        (from, _) => icmp4(about, from, (OLD, lan.mac), (3, 4), [0, 0, mtu[0], mtu[1]]),
    }
}

/// A redirect to another router, about a frame.
fn redirected(lan: &Lan, about: &[u8], from: IpAddr, to: IpAddr) -> Vec<u8> {
    match (from, to, lan.master_ip(), far(lan.cx)) {
        (IpAddr::V6(from), IpAddr::V6(to), IpAddr::V6(host), IpAddr::V6(far)) => {
            let mut body = vec![0; 4];
            body.extend_from_slice(&to.octets());
            body.extend_from_slice(&far.octets());
            // The better one's link-layer address.
            body.extend_from_slice(&[2, 1]);
            body.extend_from_slice(&NEW);
            frames::icmp6(OLD, lan.mac, from, host, 255, 137, 0, &body)
        }
        (_, IpAddr::V4(to), ..) => icmp4(about, from, (OLD, lan.mac), (5, 1), to.octets()),
        _ => unreachable!("one family"),
    }
}

/// An ICMP error about an IPv4 frame, to its sender.
fn icmp4(
    about: &[u8],
    from: IpAddr,
    (mac, to): (Mac, Mac),
    (kind, code): (u8, u8),
    rest: [u8; 4],
) -> Vec<u8> {
    let mut icmp = vec![kind, code, 0, 0];
    icmp.extend_from_slice(&rest);
    icmp.extend_from_slice(&about[14..14 + 28]);
    let sum = frames::internet_checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0];
    ip[2..4].copy_from_slice(&(20 + icmp.len() as u16).to_be_bytes());
    if let IpAddr::V4(from) = from {
        ip.extend_from_slice(&from.octets());
    }
    ip.extend_from_slice(&about[14 + 12..14 + 16]);
    let sum = frames::internet_checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend_from_slice(&icmp);
    frames::ethernet(mac, to, 0x0800, &ip)
}
