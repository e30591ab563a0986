// SPDX-License-Identifier: GPL-2.0
//! L3: after each change that routes depend on, the very next packet takes the new way. A route that the driver
//! remembered for too long would show as the old one.

use crate::cases;
use crate::cx::{Cx, Suite, EACH, V4, V46, VETH};
use crate::frames::{self, Mac};
use crate::lan::{Lan, Mode};
use crate::netns::Netns;
use crate::nl::{nexthop, LinkSpec, Via};
use crate::packet::{Captured, Tap};
use anyhow::{ensure, Context, Result};
use std::cell::Cell;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

cases! {
    "stale", Suite::Both;
    rule_added: EACH, V46;
    route_in_an_earlier_table: EACH, V46;
    route_gone_from_an_earlier_table: EACH, V46;
    more_specific_route: EACH, V46;
    mark: EACH, V46;
    service: EACH, V46;
    addresses: EACH, V46;
    mtu_learnt_and_expired: EACH, V4;
    device_down: EACH, V46;
    namespace_move: VETH, V46;
    next_hop_replaced: EACH, V46;
}

/// The link-layer addresses of two gateways, which exist only as neighbour entries: what is sent to them is seen on the
/// wire.
const OLD: Mac = [2, 0, 0, 0, 7, 1];
const NEW: Mac = [2, 0, 0, 0, 7, 2];
/// A routing table that is asked before the main one.
const EARLIER: u32 = 100;
const MARK: u32 = 0x42;

fn far(cx: Cx) -> IpAddr {
    cx.pick([192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])
}

fn gateway(cx: Cx, n: u8) -> IpAddr {
    cx.pick(
        [10, 1, 0, 70 + n],
        [0xfd01, 0, 0, 0, 0, 0, 0, 0x70 + u16::from(n)],
    )
}

/// A network whose host sends to far hosts through the old gateway, and who sends.
struct Path {
    lan: Lan,
    /// The sender.
    tap: Tap,
    mac: Mac,
    ip: IpAddr,
    wire: Tap,
    sent: Cell<u32>,
}

impl Path {
    /// With a sender in a namespace of its own.
    fn new(cx: Cx) -> Result<Path> {
        let path = Path::without_route(cx)?;
        path.route(OLD_WAY)?;
        Ok(path)
    }

    fn without_route(cx: Cx) -> Result<Path> {
        let lan = host(cx)?;
        let a = lan.slave()?;
        Ok(Path {
            tap: a.tap()?,
            mac: a.mac,
            ip: a.ip(),
            wire: lan.wire_tap()?,
            sent: Cell::new(0),
            lan,
        })
    }

    /// With a sender in the host's own namespace, where marks count.
    fn of_the_host(cx: Cx) -> Result<Path> {
        let lan = host(cx)?;
        drop(lan.bare()?);
        lan.host.nl().add_link(&LinkSpec {
            up: true,
            ..lan.spec("own")
        })?;
        let own = lan.host.nl().link("own")?;
        let path = Path {
            tap: Tap::new(&lan.host, own.index)?,
            mac: own.mac,
            ip: cx.pick([10, 2, 0, 99], [0xfd02, 0, 0, 0, 0, 0, 0, 0x99]),
            wire: lan.wire_tap()?,
            sent: Cell::new(0),
            lan,
        };
        path.route(OLD_WAY)?;
        Ok(path)
    }

    /// Routes everything far through a gateway.
    fn route(&self, (table, n): (u32, u8)) -> Result<()> {
        let cx = self.lan.cx;
        let any = cx.pick([0; 4], [0u8; 16]);
        self.lan
            .host
            .nl()
            .add_route_in(table, any, 0, Via::Gateway(gateway(cx, n)))
    }

    fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let to = far(self.lan.cx);
        frames::udp(self.mac, self.mac, self.ip, to, (5, 7), payload)
    }

    /// Sends a few datagrams, which `change` may change, and sees each go to this gateway.
    async fn go(&self, to: Mac, when: &str, change: impl Fn(&mut [u8])) -> Result<()> {
        for _ in 0..4 {
            self.sent.set(self.sent.get() + 1);
            let payload = format!("{when} {}", self.sent.get());
            let mut frame = self.frame(payload.as_bytes());
            change(&mut frame);
            self.tap.send(&frame).with_context(|| payload.clone())?;
            let ours = |f: &Captured| frames::is_udp(&f.bytes, 7, payload.as_bytes());
            let seen = self.wire.expect(&payload, ours).await?;
            ensure!(
                seen.bytes[..6] == to,
                "{payload}: sent to {:02x?}, not {to:02x?}",
                &seen.bytes[..6]
            );
        }
        Ok(())
    }

    async fn all(&self, to: Mac, when: &str) -> Result<()> {
        self.go(to, when, |_| ()).await
    }
}

const OLD_WAY: (u32, u8) = (libc::RT_TABLE_MAIN as u32, 1);

/// The host, with its gateways, and all of this case on one processor: what is remembered is remembered there.
fn host(cx: Cx) -> Result<Lan> {
    let mut one = nix::sched::CpuSet::new();
    one.set(0)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one)?;
    let lan = Lan::new(cx, Mode::L3)?;
    neighbours(&lan, &lan.host)?;
    if cx.far_is_v6() {
        // Where the host does not forward, a route depends on whether neighbours answer, and is not remembered for long.
        lan.host.sysctl("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(lan)
}

fn neighbours(lan: &Lan, ns: &Netns) -> Result<()> {
    let cx = lan.cx;
    ns.nl().add_neigh(lan.master, gateway(cx, 1), OLD)?;
    ns.nl().add_neigh(lan.master, gateway(cx, 2), NEW)
}

impl Cx {
    fn far_is_v6(self) -> bool {
        far(self).is_ipv6()
    }
}

async fn rule_added(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    path.route((EARLIER, 2))?;
    path.all(OLD, "before the rule").await?;
    path.lan.host.nl().add_rule(!cx.far_is_v6(), EARLIER)?;
    path.all(NEW, "after the rule").await
}

async fn route_in_an_earlier_table(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    path.lan.host.nl().add_rule(!cx.far_is_v6(), EARLIER)?;
    path.all(OLD, "before the route").await?;
    path.route((EARLIER, 2))?;
    path.all(NEW, "after the route").await
}

/// A route that led on to the next table: in IPv6 no number moves when it goes.
async fn route_gone_from_an_earlier_table(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let nl = path.lan.host.nl();
    nl.add_rule(!cx.far_is_v6(), EARLIER)?;
    path.route((EARLIER, 2))?;
    nl.add_route_in(EARLIER, far(cx), cx.host_prefix(), Via::Throw)?;
    path.all(OLD, "before it goes").await?;
    nl.del_route_in(EARLIER, far(cx), cx.host_prefix())?;
    path.all(NEW, "after it went").await
}

async fn more_specific_route(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    path.all(OLD, "before the route").await?;
    let via = Via::Gateway(gateway(cx, 2));
    let nl = path.lan.host.nl();
    nl.add_route(far(cx), cx.host_prefix(), via)?;
    path.all(NEW, "after the route").await
}

/// The mark of one packet does not choose the way of the next, within the namespace where marks count.
async fn mark(cx: Cx) -> Result<()> {
    let path = Path::of_the_host(cx)?;
    path.route((EARLIER, 2))?;
    let nl = path.lan.host.nl();
    nl.add_mark_rule(!cx.far_is_v6(), MARK, EARLIER)?;
    path.all(OLD, "unmarked").await?;
    path.tap.set_option(libc::SO_MARK, MARK as i32)?;
    path.all(NEW, "marked").await?;
    path.tap.set_option(libc::SO_MARK, 0)?;
    path.all(OLD, "unmarked again").await
}

/// Nor does the service that it asks for (DSCP; IPv6: the traffic class).
async fn service(cx: Cx) -> Result<()> {
    const SERVICE: u8 = 0x10;
    let path = Path::new(cx)?;
    path.route((EARLIER, 2))?;
    let nl = path.lan.host.nl();
    nl.add_tos_rule(!cx.far_is_v6(), SERVICE, EARLIER)?;
    let ask = |frame: &mut [u8]| {
        if cx.far_is_v6() {
            frame[14] |= SERVICE >> 4;
            frame[15] |= SERVICE << 4;
        } else {
            frame[15] = SERVICE;
            frames::header_checksum(frame);
        }
    };
    path.all(OLD, "plain").await?;
    path.go(NEW, "special", ask).await?;
    path.all(OLD, "plain again").await
}

/// Nor do the addresses.
async fn addresses(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let other = cx.pick([192, 0, 2, 2], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
    let via = Via::Gateway(gateway(cx, 2));
    let nl = path.lan.host.nl();
    nl.add_route(other, cx.host_prefix(), via)?;
    for round in 0..3 {
        path.all(OLD, "to the one").await?;
        let frame = frames::udp(path.mac, path.mac, path.ip, other, (5, 7), b"other");
        path.tap.send(&frame)?;
        let ours = |f: &Captured| frames::is_udp(&f.bytes, 7, b"other");
        let seen = path.wire.expect("the other datagram", ours).await?;
        ensure!(seen.bytes[..6] == NEW, "round {round}: sent the one's way");
    }
    Ok(())
}

/// The MTU of a path, which an ICMP error teaches the host, holds for a packet that may not be fragmented from then on,
/// and no more once it has expired.
async fn mtu_learnt_and_expired(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let lan = &path.lan;
    lan.host.sysctl("ipv4/route/mtu_expires", "2")?;
    let large = [b'x'; 1200];
    // Whether a large packet gets through: a small one comes after it.
    let passes = async || -> Result<bool> {
        let mut frame = path.frame(&large);
        frames::dont_fragment(&mut frame);
        // In-tree refuses what does not fit.
        let _ = path.tap.try_send(&frame);
        path.tap.send(&path.frame(b"small"))?;
        let small = |f: &Captured| frames::is_udp(&f.bytes, 7, b"small");
        let seen = path.wire.until("the small one", small).await?;
        Ok(seen.iter().any(|f| frames::is_udp(&f.bytes, 7, &large)))
    };
    for _ in 0..4 {
        ensure!(passes().await?, "a large packet is lost before all");
    }

    // Something that the host has sent itself, for a router to complain about.
    let master = lan.master_ip();
    let socket = lan.host.enter(|| {
        let socket = UdpSocket::bind((master, 4000))?;
        socket.connect((far(cx), 4001))?;
        Ok(socket)
    })?;
    let own = frames::udp(lan.mac, OLD, master, far(cx), (4000, 4001), &large);
    path.wire.send(&frag_needed(&own, OLD, lan.mac, 600))?;
    let mut learnt = false;
    for _ in 0..100 {
        if !passes().await? {
            learnt = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(learnt, "the path's MTU is not heeded");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    ensure!(passes().await?, "the path's MTU is heeded after it expired");
    drop(socket);
    Ok(())
}

/// An ICMP error "fragmentation needed" about an IPv4 frame, from where it went.
fn frag_needed(about: &[u8], from: Mac, to: Mac, mtu: u16) -> Vec<u8> {
    let quoted = &about[14..14 + 28];
    let mut icmp = vec![3, 4, 0, 0, 0, 0];
    icmp.extend_from_slice(&mtu.to_be_bytes());
    icmp.extend_from_slice(quoted);
    let sum = frames::internet_checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0];
    ip[2..4].copy_from_slice(&(20 + icmp.len() as u16).to_be_bytes());
    ip.extend_from_slice(&about[14 + 16..14 + 20]);
    ip.extend_from_slice(&about[14 + 12..14 + 16]);
    let sum = frames::internet_checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend_from_slice(&icmp);
    frames::ethernet(from, to, 0x0800, &ip)
}

/// The routes over a device go when it does; they do not come back with it.
async fn device_down(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let (lan, nl) = (&path.lan, path.lan.host.nl());
    path.all(OLD, "before").await?;
    nl.down(lan.master)?;
    let lost = path.frame(b"while it is down");
    // Refused or lost, but not sent.
    let _ = path.tap.try_send(&lost);
    nl.up(lan.master)?;
    if cx.far_is_v6() {
        // Its addresses went too.
        nl.add_addr(lan.master, lan.master_ip(), 64)?;
    }
    lan.settled().await?;
    neighbours(lan, &lan.host)?;
    path.route((OLD_WAY.0, 2))?;
    path.all(NEW, "after").await
}

/// The master goes to a namespace that has other routes.
async fn namespace_move(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let lan = &path.lan;
    path.all(OLD, "before").await?;
    let there = cx.netns()?;
    lan.host.nl().move_link(lan.master, there.fd())?;
    if cx.far_is_v6() {
        there.sysctl("ipv6/conf/all/forwarding", "1")?;
    }
    let nl = there.nl();
    let master = nl.link("m0")?.index;
    nl.up(master)?;
    nl.add_addr(master, lan.master_ip(), cx.pick_prefix())?;
    nl.add_neigh(master, gateway(cx, 1), NEW)?;
    let any = cx.pick([0; 4], [0u8; 16]);
    nl.add_route(any, 0, Via::Gateway(gateway(cx, 1)))?;
    path.all(NEW, "after").await
}

impl Cx {
    fn pick_prefix(self) -> u8 {
        if self.far_is_v6() {
            64
        } else {
            24
        }
    }
}

async fn next_hop_replaced(cx: Cx) -> Result<()> {
    let path = Path::without_route(cx)?;
    let lan = &path.lan;
    nexthop::set(&lan.host, 1, lan.master, gateway(cx, 1))?;
    let any = cx.pick([0; 4], [0u8; 16]);
    lan.host.nl().add_route_by(any, 0, 1)?;
    path.all(OLD, "before").await?;
    nexthop::set(&lan.host, 1, lan.master, gateway(cx, 2))?;
    path.all(NEW, "after").await
}
