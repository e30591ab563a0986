// SPDX-License-Identifier: GPL-2.0
//! Broadcast and multicast: who gets a copy.

use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V46};
use crate::frames;
use crate::lan::{Lan, Mode, Slave, PRIVATE, VEPA};
use crate::nl::{granted, LinkSpec};
use crate::packet::Class;
use crate::wait;
use anyhow::{ensure, Result};
use std::net::{IpAddr, UdpSocket};

cases! {
    "multicast", Suite::Both;
    from_the_wire: EACH, V46;
    from_a_slave: EACH, V46;
    broadcast_from_a_slave: EACH, V4;
    filtered_by_membership: EACH, V46;
    promiscuous_slave_gets_all: EACH, V46;
    allmulti_slave_gets_all: EACH, V46;
    nobody_listens: EACH, V46;
    master_gets_its_own_copy_from_the_wire: EACH, V46;
    masters_stack_gets_none_of_the_slaves: EACH, V46;
    masters_own_copy_is_the_masters: EACH, V46;
    flags_and_groups: EACH, V46;
    l3_never_distributes: EACH, V46;
    l3_slaves_groups_are_dropped: EACH, V46;
}
/// A UDP socket at `port` in the slave's namespace that joined `group` on the slave; it does not block.
pub fn join(slave: &Slave, group: IpAddr, port: u16) -> Result<UdpSocket> {
    join_in(&slave.ns, slave.index, group, port)
}

pub fn join_in(
    ns: &crate::netns::Netns,
    index: u32,
    group: IpAddr,
    port: u16,
) -> Result<UdpSocket> {
    ns.enter(|| {
        let socket = match group {
            IpAddr::V4(g) => {
                let socket = UdpSocket::bind(("0.0.0.0", port))?;
                socket2::SockRef::from(&socket)
                    .join_multicast_v4_n(&g, &socket2::InterfaceIndexOrAddress::Index(index))?;
                socket
            }
            IpAddr::V6(g) => {
                let socket = UdpSocket::bind(("::", port))?;
                socket.join_multicast_v6(&g, index)?;
                socket
            }
        };
        socket.set_nonblocking(true)?;
        crate::packet::set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20)?;
        Ok(socket)
    })
}

pub fn group(cx: Cx, last: u16) -> IpAddr {
    cx.pick(
        [239, 1, 1, last as u8],
        [0xff05, 0, 0, 0, 0, 0, 0x0101, last],
    )
}

/// Waits for a datagram with this content; others before it are counted.
async fn receive(socket: &UdpSocket, content: &[u8]) -> Result<usize> {
    let mut others = 0;
    wait::until(
        &format!("datagram {:?}", String::from_utf8_lossy(content)),
        || {
            let mut buffer = [0; 2048];
            while let Ok(n) = socket.recv(&mut buffer) {
                if &buffer[..n] == content {
                    return Ok(true);
                }
                others += 1;
            }
            Ok(false)
        },
    )
    .await?;
    Ok(others)
}

fn count(socket: &UdpSocket) -> usize {
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count()
}

/// A frame from the wire to a group.
pub fn from_wire(lan: &Lan, to: IpAddr, text: &[u8]) -> Vec<u8> {
    frames::udp(
        lan.wire_mac,
        frames::group_mac(to),
        lan.ext_ip(),
        to,
        (5, 4000),
        text,
    )
}

pub fn from_slave(a: &Slave, to: IpAddr, text: &[u8]) -> Vec<u8> {
    frames::udp(a.mac, frames::group_mac(to), a.ip(), to, (5, 4000), text)
}

/// Waits until memberships are in effect: a slave's filter is updated from a work item.
pub async fn effective(lan: &Lan, sockets: &[&UdpSocket], to: IpAddr) -> Result<()> {
    for socket in sockets {
        effective_at(lan, socket, to, 4000).await?;
    }
    // The probes for one may still be under way to another.
    lan.wire_tap()?.send(&from_wire(lan, to, b"settled"))?;
    for socket in sockets {
        receive(socket, b"settled").await?;
    }
    Ok(())
}

async fn effective_at(lan: &Lan, socket: &UdpSocket, to: IpAddr, port: u16) -> Result<()> {
    let wire = lan.wire_tap()?;
    wait::until("the membership is in effect", || {
        wire.send(&at_port(lan, to, port, b"probe"))?;
        Ok(count(socket) > 0)
    })
    .await?;
    // One that comes after all the probes that are still under way.
    wire.send(&at_port(lan, to, port, b"mark"))?;
    receive(socket, b"mark").await.map(drop)
}

async fn from_the_wire(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b, g) = (lan.slave()?, lan.slave()?, group(cx, 1));
    let (sa, sb) = (join(&a, g, 4000)?, join(&b, g, 4000)?);
    effective(&lan, &[&sa, &sb], g).await?;
    let (ta, before) = (a.tap()?, a.link()?.stats);
    let frame = from_wire(&lan, g, b"hello");
    lan.wire_tap()?.send(&frame)?;
    receive(&sa, b"hello").await?;
    receive(&sb, b"hello").await?;
    let copy = ta.expect("the frame", |f| f.bytes == frame).await?;
    ensure!(
        copy.class == Class::Multicast,
        "classified as {:?}",
        copy.class
    );
    let after = a.link()?.stats;
    ensure!(
        after.multicast > before.multicast,
        "the multicast counter stays"
    );
    ensure!(count(&sa) + count(&sb) == 0, "more than one copy each");
    Ok(())
}

async fn from_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b, g) = (lan.slave()?, lan.slave()?, group(cx, 1));
    let (sa, sb) = (join(&a, g, 4000)?, join(&b, g, 4000)?);
    let outside = join_in(&lan.ext, lan.wire, g, 4000)?;
    effective(&lan, &[&sa, &sb], g).await?;
    let wire = lan.wire_tap()?;
    let frame = from_slave(&a, g, b"from a");
    a.tap()?.send(&frame)?;
    receive(&sb, b"from a").await?;
    receive(&outside, b"from a").await?;
    wire.expect("the frame on the wire", |f| f.bytes == frame)
        .await?;
    // The sender gets no copy of its own: the sibling's answer comes first.
    b.tap()?.send(&from_slave(&b, g, b"from b"))?;
    ensure!(
        receive(&sa, b"from b").await? == 0,
        "the sender got its own frame"
    );
    Ok(())
}

async fn broadcast_from_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (tb, wire) = (b.tap()?, lan.wire_tap()?);
    let to: IpAddr = [10, 1, 0, 255].into();
    let frame = frames::udp(a.mac, frames::BROADCAST, a.ip(), to, (5, 4000), b"all");
    a.tap()?.send(&frame)?;
    let copy = tb
        .expect("the sibling's copy", |f| f.bytes == frame)
        .await?;
    ensure!(
        copy.class == Class::Broadcast,
        "classified as {:?}",
        copy.class
    );
    wire.expect("the wire's copy", |f| f.bytes == frame).await?;
    Ok(())
}

/// The filter is a hash of 256 bits with a secret seed, so that one group may share a bit with another by chance: most of
/// several have to be kept from a slave that joined none of them.
async fn filtered_by_membership(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let wire = lan.wire_tap()?;
    let groups: Vec<IpAddr> = (1..=8).map(|n| group(cx, n)).collect();
    let sockets = groups
        .iter()
        .map(|g| join_port(&a, *g))
        .collect::<Result<Vec<_>>>()?;
    for (g, (socket, port)) in groups.iter().zip(&sockets) {
        effective_at(&lan, socket, *g, *port).await?;
    }
    let tb = b.tap()?;
    for (g, (socket, port)) in groups.iter().zip(&sockets) {
        wire.send(&at_port(&lan, *g, *port, b"for a only"))?;
        receive(socket, b"for a only").await?;
    }
    // All slaves get the broadcast that follows.
    let mark = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[9; 60]);
    wire.send(&mark)?;
    let seen = tb.until("the mark", |f| f.bytes == mark).await?;
    let leaked = seen
        .iter()
        .filter(|f| frames::udp_of(&f.bytes).is_some_and(|u| u.2 == b"for a only"))
        .count();
    ensure!(
        leaked <= 4,
        "{leaked} of 8 groups reach a slave that joined none"
    );
    Ok(())
}

fn at_port(lan: &Lan, to: IpAddr, port: u16, text: &[u8]) -> Vec<u8> {
    frames::udp(
        lan.wire_mac,
        frames::group_mac(to),
        lan.ext_ip(),
        to,
        (5, port),
        text,
    )
}

fn join_port(slave: &Slave, to: IpAddr) -> Result<(UdpSocket, u16)> {
    let socket = join(slave, to, 0)?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

async fn gets_all(cx: Cx, set: impl Fn(&Slave) -> Result<()>) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let g = group(cx, 77);
    let tap = a.tap()?;
    set(&a)?;
    let (wire, frame) = (lan.wire_tap()?, from_wire(&lan, g, b"anything"));
    wait::until("a frame to a group that nobody joined", || {
        wire.send(&frame)?;
        while let Some(f) = tap.poll()? {
            if f.bytes == frame {
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await
}

async fn promiscuous_slave_gets_all(cx: Cx) -> Result<()> {
    gets_all(cx, |a| {
        granted(a.ns.nl().set_link(a.index, |l| l.promiscuous(true))?)
    })
    .await
}

async fn allmulti_slave_gets_all(cx: Cx) -> Result<()> {
    gets_all(cx, |a| {
        granted(a.ns.nl().set_link(a.index, |l| l.allmulticast(true))?)
    })
    .await
}

async fn nobody_listens(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    for n in 100..108 {
        wire.send(&from_wire(&lan, group(cx, n), b"nobody"))?;
    }
    let mark = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[9; 60]);
    wire.send(&mark)?;
    let seen = tap.until("the mark", |f| f.bytes == mark).await?;
    let leaked = seen
        .iter()
        .filter(|f| frames::is_udp(&f.bytes, 4000, b"nobody"))
        .count();
    ensure!(
        leaked <= 4,
        "{leaked} of 8 groups that nobody joined reach a slave"
    );
    Ok(())
}

async fn master_gets_its_own_copy_from_the_wire(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, g) = (lan.slave()?, group(cx, 1));
    let own = join_in(&lan.host, lan.master, g, 4000)?;
    let sa = join(&a, g, 4000)?;
    effective(&lan, &[&sa], g).await?;
    count(&own);
    lan.wire_tap()?.send(&from_wire(&lan, g, b"both"))?;
    receive(&own, b"both").await?;
    receive(&sa, b"both").await?;
    ensure!(count(&own) == 0, "the master's stack got it twice");
    Ok(())
}

/// The frames that slaves send to a group go to the siblings and the wire, not to the master's stack.
async fn masters_stack_gets_none_of_the_slaves(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, g) = (lan.slave()?, group(cx, 1));
    let own = join_in(&lan.host, lan.master, g, 4000)?;
    let outside = join_in(&lan.ext, lan.wire, g, 4000)?;
    a.tap()?.send(&from_slave(&a, g, b"from a"))?;
    receive(&outside, b"from a").await?;
    lan.wire_tap()?.send(&from_wire(&lan, g, b"mark"))?;
    ensure!(
        receive(&own, b"mark").await? == 0,
        "the master's stack got a slave's frame"
    );
    Ok(())
}

/// What the master's stack sends to a group that it is itself in comes back to it as PACKET_LOOPBACK, without an Ethernet
/// header: not even a slave that listens to everything gets that, and the master gets it once.
async fn masters_own_copy_is_the_masters(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, g) = (lan.slave()?, group(cx, 1));
    let own = join_in(&lan.host, lan.master, g, 4000)?;
    let outside = join_in(&lan.ext, lan.wire, g, 4000)?;
    granted(a.ns.nl().set_link(a.index, |l| l.promiscuous(true))?)?;
    let sa = join(&a, g, 4000)?;
    effective(&lan, &[&sa], g).await?;
    count(&own);
    count(&outside);
    let tap = a.tap()?;
    let socket = socket2::SockRef::from(&own);
    match g {
        IpAddr::V4(_) => socket.set_multicast_if_v4(&crate::lan::MASTER_V4)?,
        IpAddr::V6(_) => socket.set_multicast_if_v6(lan.master)?,
    }
    own.send_to(b"from the master", (g, 4000))?;
    receive(&outside, b"from the master").await?;
    lan.wire_tap()?.send(&from_wire(&lan, g, b"mark"))?;
    ensure!(
        receive(&own, b"mark").await? == 1,
        "the master did not get its own once"
    );
    let seen = tap
        .until("the mark", |f| frames::is_udp(&f.bytes, 4000, b"mark"))
        .await?;
    let text = b"from the master";
    ensure!(
        !seen
            .iter()
            .any(|f| f.bytes.windows(text.len()).any(|w| w == text)),
        "the slave got it"
    );
    Ok(())
}

/// private and vepa cover groups too (D2); in-tree they are about unicast only.
async fn flags_and_groups(cx: Cx) -> Result<()> {
    for port_flags in [PRIVATE, VEPA] {
        let lan = Lan::new(cx, Mode::L2)?;
        let a = lan.slave_with(|s| LinkSpec {
            flags: Some(port_flags),
            ..s
        })?;
        let (b, g) = (lan.slave()?, group(cx, 1));
        let sb = join(&b, g, 4000)?;
        let outside = join_in(&lan.ext, lan.wire, g, 4000)?;
        effective(&lan, &[&sb], g).await?;
        count(&outside);
        a.tap()?.send(&from_slave(&a, g, b"from a"))?;
        receive(&outside, b"from a").await?;
        lan.wire_tap()?.send(&from_wire(&lan, g, b"mark"))?;
        let copies = receive(&sb, b"mark").await?;
        let expected = if cx.decision(Decision::D2) { 0 } else { 1 };
        ensure!(
            copies == expected,
            "with flags {port_flags}, the sibling got {copies} copies"
        );
    }
    Ok(())
}

async fn l3_never_distributes(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let (a, g) = (lan.slave()?, group(cx, 1));
    let own = join_in(&lan.host, lan.master, g, 4000)?;
    let _sa = join(&a, g, 4000)?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    let frame = from_wire(&lan, g, b"group");
    wire.send(&frame)?;
    receive(&own, b"group").await?;
    let seen = lan.until_fence(&wire, &tap, a.ip()).await?;
    ensure!(
        !seen.iter().any(|f| f.bytes == frame),
        "an L3 slave got a frame to a group"
    );
    Ok(())
}

async fn l3_slaves_groups_are_dropped(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let (a, b, g) = (lan.slave()?, lan.slave()?, group(cx, 1));
    let _sb = join(&b, g, 4000)?;
    let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    let before = a.link()?.stats;
    let frame = from_slave(&a, g, b"group");
    // The device drops it, which the socket is told.
    let sent = ta.try_send(&frame);
    ensure!(sent == Err(nix::Error::ENOBUFS), "{sent:?}");
    let after = a.link()?.stats;
    ensure!(
        after.tx_dropped > before.tx_dropped,
        "the drop is not counted"
    );
    ta.send(&frames::udp(a.mac, a.mac, a.ip(), b.ip(), (5, 7), b"mark"))?;
    let seen = tb
        .until("the mark", |f| frames::is_udp(&f.bytes, 7, b"mark"))
        .await?;
    ensure!(!seen.iter().any(|f| f.bytes == frame), "a sibling got it");
    while let Some(f) = wire.poll()? {
        ensure!(f.bytes != frame, "the wire got it");
    }
    Ok(())
}
