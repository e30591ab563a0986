// SPDX-License-Identifier: GPL-2.0

//! A port with two running slaves, and the facts about a frame that reaches it.

use super::packets::{Frame, OWN};
use ipvlan_rs_host::logic::addr::Addr;
use ipvlan_rs_host::logic::frame::{parse, plain, Packet, Parsed};
use ipvlan_rs_host::logic::verdict::{Facts, Inner};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Slave {
    A,
    B,
}

pub(crate) const A4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
/// On A too.
pub(crate) const OTHER_OF_A4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 11);
pub(crate) const B4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
/// On a slave that is down, so a lookup does not find it.
pub(crate) const DOWN4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 3);
/// On the master.
pub(crate) const MASTER4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 254);
/// On the wire.
pub(crate) const WIRE4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 100);
pub(crate) const MDNS4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

pub(crate) const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
/// On A too.
pub(crate) const OTHER_OF_A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11);
pub(crate) const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const DOWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
pub(crate) const MASTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xfe);
pub(crate) const WIRE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
pub(crate) const ALL_NODES6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn owner(addr: Addr) -> Option<Slave> {
    let addr = match addr {
        Addr::V4(addr) => IpAddr::from(addr.to_be().to_ne_bytes()),
        Addr::V6(addr) => IpAddr::from(addr.octets()),
    };
    if addr == A4 || addr == A6 || addr == OTHER_OF_A4 || addr == OTHER_OF_A6 {
        Some(Slave::A)
    } else if addr == B4 || addr == B6 {
        Some(Slave::B)
    } else {
        None
    }
}

/// The facts about one frame. Counts what was asked.
pub(crate) struct World<'a> {
    frame: &'a Frame,
    pub(crate) loopback: bool,
    pub(crate) parsed: Cell<usize>,
    pub(crate) looked_up: Cell<usize>,
}

impl<'a> World<'a> {
    pub(crate) fn new(frame: &'a Frame) -> Self {
        Self {
            frame,
            loopback: false,
            parsed: Cell::new(0),
            looked_up: Cell::new(0),
        }
    }
}

impl Facts for World<'_> {
    type Slave = Slave;

    fn group_dest(&self) -> bool {
        self.frame.destination()[0] & 1 != 0
    }

    fn loopback(&self) -> bool {
        self.loopback
    }

    fn own_source(&self) -> bool {
        self.frame.source() == OWN
    }

    fn own_dest(&self) -> bool {
        self.frame.destination() == self.frame.source()
    }

    fn packet(&mut self) -> Inner {
        self.parsed.set(self.parsed.get() + 1);
        assert_eq!(self.parsed.get(), 1, "the packet is parsed once");
        resolve(self.frame.ethertype(), self.frame.packet(), 0)
    }

    fn plain(&self) -> Option<Addr> {
        let packet = self.frame.packet();
        plain(self.frame.ethertype(), packet, packet.len())
    }

    fn lookup(&self, addr: Addr) -> Option<Slave> {
        self.looked_up.set(self.looked_up.get() + 1);
        owner(addr)
    }
}

/// Parses a packet of which `linear` bytes are linear at first, pulling as the parser asks. What is
/// seen at once must be the same.
pub(crate) fn resolve(ethertype: u16, packet: &[u8], linear: usize) -> Inner {
    let inner = pulled(ethertype, packet, linear);
    if let Some(dest) = plain(ethertype, &packet[..linear], packet.len()) {
        match (inner, dest) {
            (Inner::Packet(Packet::Ipv4 { dst, .. }), Addr::V4(dest)) => assert_eq!(dst, dest),
            (Inner::Packet(Packet::Ipv6 { dst, .. }), Addr::V6(dest)) => assert_eq!(dst, dest),
            _ => panic!("plainly for {dest:?}, but {inner:?}: {ethertype:#x}, {packet:x?}"),
        }
    }
    inner
}

fn pulled(ethertype: u16, packet: &[u8], mut linear: usize) -> Inner {
    for _round in 0..3 {
        match parse(ethertype, &packet[..linear], packet.len()) {
            Parsed::Packet(inner) => return Inner::Packet(inner),
            Parsed::Invalid => return Inner::Invalid,
            Parsed::Foreign => return Inner::Foreign,
            Parsed::Pull(n) => {
                assert!(n > linear, "pull of {n} with {linear} linear: no progress");
                assert!(n <= packet.len(), "pull of {n} from {}", packet.len());
                linear = n;
            }
        }
    }
    panic!("still asks for more after two pulls");
}
