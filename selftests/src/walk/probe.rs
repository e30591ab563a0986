// SPDX-License-Identifier: GPL-2.0
//! Probes: frames with a mark in them, and who received them.

use super::step::{group, From, Ip, Probe, Shape, To};
use super::view::{View, Who};
use super::world::{World, PORT, WIRE_MAC};
use crate::frames::{self, group_mac, solicited_node, Mac, BROADCAST};
use crate::packet::{Captured, Class, Tap};
use anyhow::Result;
use nix::cmsg_space;
use nix::sys::socket::{recvmsg, ControlMessageOwned, MsgFlags, SockaddrStorage};
use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// In every probe, before its number.
const MARK: &[u8] = b"wLk";
/// IEEE 802's first EtherType for local experiments.
const FENCE: u16 = 0x88b5;
const OTHER_MAC: Mac = [2, 0, 0, 0, 0xbb, 1];

/// Where a probe was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Received on a slave.
    Slave(u8),
    /// Received on the master, by whomever it is for.
    MasterIn,
    /// Sent on the master.
    MasterOut,
    /// Received on the master and left to its stack.
    MasterStack,
    /// Received by the external host.
    Wire,
    /// Received by a UDP socket, on a slave.
    Socket(u8),
    /// Received by a UDP socket, on another link.
    SocketElsewhere,
}

/// A frame in a place, with its class (of packet(7)). A socket's has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    pub place: Place,
    pub class: String,
    pub frame: Vec<u8>,
}

/// What became of a probe in one world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// What sending gave; `None` when there was no sender.
    pub sent: Option<i32>,
    pub seen: BTreeMap<Sighting, usize>,
}

impl Traces {
    pub fn describe(&self) -> String {
        let mut text = match self.sent {
            None => "no sender".into(),
            Some(0) => "sent".into(),
            Some(errno) => format!("send: errno {errno}"),
        };
        for (s, count) in &self.seen {
            text += &format!("; {:?}", s.place);
            if !s.frame.is_empty() {
                text += &format!(" ({}: {})", s.class, frames::describe(&s.frame));
            }
            if *count > 1 {
                text += &format!(" x{count}");
            }
        }
        text
    }
}

fn v4(host: u8) -> Ipv4Addr {
    match host {
        0 => Ipv4Addr::UNSPECIFIED,
        host => Ipv4Addr::new(10, 1, 0, host),
    }
}

fn v6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, host.into())
}

/// The Ethernet destination of a probe.
pub fn destination(probe: &Probe, master: Mac) -> Mac {
    match probe.shape {
        Shape::Udp { to, .. } => match to {
            To::Master => master,
            To::Wire => WIRE_MAC,
            To::Nobody => OTHER_MAC,
        },
        Shape::Broadcast { .. } | Shape::ArpRequest { .. } => BROADCAST,
        Shape::ArpReply { .. } => master,
        Shape::Group { src, group: n } => group_mac(group(src.v6, n)),
        Shape::Solicit { target, .. } | Shape::Dad { target } => {
            group_mac(solicited_node(v6(target)).into())
        }
    }
}

/// The frame of a probe.
pub fn frame(probe: &Probe, master: Mac, number: u32) -> Vec<u8> {
    let from = match (probe.from, probe.own) {
        (_, true) => master,
        (From::Wire, false) => WIRE_MAC,
        (From::Slave(_), false) => OTHER_MAC,
    };
    let to = destination(probe, master);
    let mut mark = MARK.to_vec();
    mark.extend_from_slice(&number.to_be_bytes());
    let udp = |src: IpAddr, dst: IpAddr| frames::udp(from, to, src, dst, (PORT, PORT), &mark);
    let arp = |request, sender, target| {
        let mut frame = frames::arp(from, to, request, (from, v4(sender)), ([0; 6], v4(target)));
        // Padding, as short frames have.
        frame.extend_from_slice(&mark);
        frame.resize(60, 0);
        frame
    };
    let solicit = |src: Ipv6Addr, target: u8| {
        let mut body = vec![0; 4];
        body.extend_from_slice(&v6(target).octets());
        // A nonce option (RFC 3971 5.3.2) of 8 bytes carries the mark, all but its last byte being the nonce.
        body.extend_from_slice(&[14, 2, 0]);
        body.extend_from_slice(&mark);
        body.resize(body.len().next_multiple_of(4), 0);
        body.resize(36, 0);
        frames::icmp6(
            from,
            to,
            src,
            solicited_node(v6(target)),
            255,
            135,
            0,
            &body,
        )
    };
    match probe.shape {
        Shape::Udp { src, dst, .. } => udp(src.addr(), dst.addr()),
        Shape::Broadcast { src } => udp(v4(src).into(), Ipv4Addr::BROADCAST.into()),
        Shape::Group { src, group: n } => udp(src.addr(), group(src.v6, n)),
        Shape::ArpRequest { sender, target } => arp(true, sender, target),
        Shape::ArpReply { sender, target } => arp(false, sender, target),
        Shape::Solicit { src, target } => solicit(v6(src), target),
        Shape::Dad { target } => solicit(Ipv6Addr::UNSPECIFIED, target),
    }
}

/// The address that tells who gets a probe, and the one that tells whose it is.
pub fn ends(shape: &Shape) -> (Option<Ip>, Option<Ip>) {
    let ip = |v6, host| Some(Ip { v6, host });
    match *shape {
        Shape::Udp { src, dst, .. } => (Some(dst), Some(src)),
        Shape::Broadcast { src } => (None, ip(false, src)),
        Shape::Group { src, .. } => (None, Some(src)),
        Shape::ArpRequest { sender, target } | Shape::ArpReply { sender, target } => {
            (ip(false, target), ip(false, sender))
        }
        Shape::Solicit { src, target } => (ip(true, target), ip(true, src)),
        Shape::Dad { target } => (ip(true, target), ip(true, target)),
    }
}

/// The number in a marked frame.
fn number(frame: &[u8]) -> Option<u32> {
    let at = frame.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?))
}

/// Whether the frame is an ICMP error, which may quote a probe.
fn quotes(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&1),
        Some([0x86, 0xdd]) => frame.get(20) == Some(&58) && frame.get(54).is_some_and(|t| *t < 128),
        _ => false,
    }
}

impl World {
    /// Sends a probe; the errno of that, or `None` when the sender is not there.
    pub fn send(&self, probe: &Probe, view: &View, number: u32) -> Option<i32> {
        let bytes = frame(probe, view.master.mac, number);
        let sent = match probe.from {
            From::Wire => self.wire.try_send(&bytes),
            From::Slave(slot) => {
                let (space, index) = self.slaves.get(&slot)?;
                self.space(*space).tap.try_send_on(*index, &bytes)
            }
        };
        Some(sent.err().map_or(0, |e| e as i32))
    }

    /// Hands over every sighting of a marked frame since the last call; the slaves that saw a fence are returned.
    pub fn sightings(&self, mut take: impl FnMut(u32, Sighting)) -> Result<Vec<u8>> {
        let mut fenced = Vec::new();
        let mut each = |tap: &Tap, place: &dyn Fn(&Captured) -> Option<Place>| -> Result<()> {
            while let Some(seen) = tap.poll()? {
                let Some(place) = place(&seen) else { continue };
                if seen.bytes.get(12..14) == Some(&FENCE.to_be_bytes()) {
                    if let Place::Slave(slot) = place {
                        fenced.push(slot);
                    }
                } else if let Some(n) = number(&seen.bytes).filter(|_| !quotes(&seen.bytes)) {
                    let class = format!("{:?}", seen.class);
                    let frame = seen.bytes;
                    take(
                        n,
                        Sighting {
                            place,
                            class,
                            frame,
                        },
                    );
                }
            }
            Ok(())
        };
        let received = |seen: &Captured| seen.class != Class::Outgoing;
        each(&self.wire, &|seen| received(seen).then_some(Place::Wire))?;
        for (n, space) in (0..).zip(&self.spaces) {
            each(
                &space.tap,
                &|seen| match (self.who(n, seen.index), received(seen)) {
                    (Who::Slave(slot), true) => Some(Place::Slave(slot)),
                    (Who::Master, true) => Some(Place::MasterIn),
                    (Who::Master, false) => Some(Place::MasterOut),
                    _ => None,
                },
            )?;
            for tap in &space.stack {
                each(tap, &|seen| {
                    (self.who(n, seen.index) == Who::Master).then_some(Place::MasterStack)
                })?;
            }
        }
        for (n, space) in (0..).zip(&self.spaces) {
            while let Some((bytes, index)) = datagram(&space.udp)? {
                let place = match self.who(n, index) {
                    Who::Slave(slot) => Place::Socket(slot),
                    _ => Place::SocketElsewhere,
                };
                if let Some(n) = number(&bytes) {
                    let (class, frame) = (String::new(), Vec::new());
                    take(
                        n,
                        Sighting {
                            place,
                            class,
                            frame,
                        },
                    );
                }
            }
        }
        Ok(fenced)
    }

    /// Waits until frames for many that were sent so far are distributed: a broadcast behind them has arrived.
    pub async fn fence(&self, view: &View, mut take: impl FnMut(u32, Sighting)) -> Result<()> {
        let up: Vec<u8> = view
            .slaves
            .iter()
            .filter(|(_, s)| s.is_up())
            .map(|(slot, _)| *slot)
            .collect();
        // Only in L2 is anything distributed.
        if up.is_empty() || view.mode() != Some(0) {
            return Ok(());
        }
        let bytes = frames::ethernet(WIRE_MAC, BROADCAST, FENCE, b"fence");
        let mut missing = up;
        if view.master.is_up() && view.master.carrier {
            let _ = self.wire.try_send(&bytes);
        } else {
            // Nothing passes the wire: from the first slave to the others, as far as its port lets it.
            let (space, index) = self.slaves[&missing.remove(0)];
            let _ = self.space(space).tap.try_send_on(index, &bytes);
            if view.port_flags() != 0 {
                missing.clear();
            }
        }
        for pause in 0..60 {
            for slot in self.sightings(&mut take)? {
                missing.retain(|s| *s != slot);
            }
            if missing.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(200 * (pause + 1))).await;
        }
        Ok(())
    }
}

/// The next datagram of a socket, and the index of the link on which it came.
fn datagram(socket: &std::net::UdpSocket) -> Result<Option<(Vec<u8>, u32)>> {
    let mut buffer = [0; 256];
    let mut iov = [IoSliceMut::new(&mut buffer)];
    let mut space = cmsg_space!(libc::in6_pktinfo);
    let message = match recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut iov,
        Some(&mut space),
        MsgFlags::empty(),
    ) {
        Ok(message) => message,
        Err(nix::Error::EAGAIN) => return Ok(None),
        // An ICMP error that came back to the port.
        Err(_) => return Ok(Some((Vec::new(), 0))),
    };
    let index = message
        .cmsgs()?
        .find_map(|c| match c {
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(info.ipi6_ifindex),
            _ => None,
        })
        .unwrap_or(0);
    let length = message.bytes;
    Ok(Some((buffer[..length].to_vec(), index)))
}
