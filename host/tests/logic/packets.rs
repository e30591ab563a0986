// SPDX-License-Identifier: GPL-2.0

//! Frames for the tests, built by etherparse.

use super::world::{A4, A6, WIRE4, WIRE6};
use etherparse::{
    icmpv6, ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, Icmpv4Type, PacketBuilder,
};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) type Mac = [u8; 6];

/// The address that the master and all its slaves share.
pub(crate) const OWN: Mac = [0x02, 0, 0, 0, 0, 1];
/// A host on the wire.
pub(crate) const OTHER: Mac = [0x02, 0, 0, 0, 0, 2];
pub(crate) const BROADCAST: Mac = [0xff; 6];
pub(crate) const GROUP4: Mac = [0x01, 0x00, 0x5e, 0, 0, 0xfb];
pub(crate) const GROUP6: Mac = [0x33, 0x33, 0, 0, 0, 1];

const PAYLOAD: &[u8] = b"sixteen of bytes";

/// A frame, from the Ethernet header on.
#[derive(Clone, Debug)]
pub(crate) struct Frame(pub(crate) Vec<u8>);

impl Frame {
    pub(crate) fn destination(&self) -> Mac {
        self.0[..6].try_into().unwrap()
    }

    pub(crate) fn source(&self) -> Mac {
        self.0[6..12].try_into().unwrap()
    }

    pub(crate) fn ethertype(&self) -> u16 {
        u16::from_be_bytes(self.0[12..14].try_into().unwrap())
    }

    /// From the network header on.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.0[14..]
    }

    /// The same frame with the byte at `offset` of the packet replaced.
    pub(crate) fn with(mut self, offset: usize, byte: u8) -> Self {
        self.0[14 + offset] = byte;
        self
    }

    /// The same frame, cut to `len` bytes of packet.
    pub(crate) fn cut(mut self, len: usize) -> Self {
        self.0.truncate(14 + len);
        self
    }

    /// The same frame between other stations.
    pub(crate) fn between(mut self, source: Mac, destination: Mac) -> Self {
        self.0[..6].copy_from_slice(&destination);
        self.0[6..12].copy_from_slice(&source);
        self
    }
}

fn build(write: impl FnOnce(&mut Vec<u8>)) -> Frame {
    let mut bytes = Vec::new();
    write(&mut bytes);
    Frame(bytes)
}

pub(crate) fn udp4(src: Ipv4Addr, dst: Ipv4Addr) -> Frame {
    build(|bytes| {
        PacketBuilder::ethernet2(OTHER, OWN)
            .ipv4(src.octets(), dst.octets(), 64)
            .udp(4000, 53)
            .write(bytes, PAYLOAD)
            .unwrap();
    })
}

/// With four words of options: the addresses stay where they are, the header grows.
pub(crate) fn udp4_with_options(src: Ipv4Addr, dst: Ipv4Addr) -> Frame {
    let mut header = etherparse::Ipv4Header::new(
        (8 + PAYLOAD.len()) as u16,
        64,
        etherparse::IpNumber::UDP,
        src.octets(),
        dst.octets(),
    )
    .unwrap();
    header.options = [1u8; 16].into();
    build(|bytes| {
        PacketBuilder::ethernet2(OTHER, OWN)
            .ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
            .udp(4000, 53)
            .write(bytes, PAYLOAD)
            .unwrap();
    })
}

/// "Host unreachable" about a packet from `dst` to `about`.
pub(crate) fn icmp_error(src: Ipv4Addr, dst: Ipv4Addr, about: Ipv4Addr) -> Frame {
    let inner = udp4(dst, about);
    build(|bytes| {
        PacketBuilder::ethernet2(OTHER, OWN)
            .ipv4(src.octets(), dst.octets(), 64)
            .icmpv4(Icmpv4Type::DestinationUnreachable(
                etherparse::icmpv4::DestUnreachableHeader::Host,
            ))
            .write(bytes, inner.packet())
            .unwrap();
    })
}

pub(crate) fn udp6(src: Ipv6Addr, dst: Ipv6Addr) -> Frame {
    build(|bytes| {
        PacketBuilder::ethernet2(OTHER, OWN)
            .ipv6(src.octets(), dst.octets(), 64)
            .udp(4000, 53)
            .write(bytes, PAYLOAD)
            .unwrap();
    })
}

/// Any ICMPv6 message; `body` follows the first eight bytes.
pub(crate) fn icmp6(src: Ipv6Addr, dst: Ipv6Addr, kind: u8, body: &[u8]) -> Frame {
    build(|bytes| {
        PacketBuilder::ethernet2(OTHER, OWN)
            .ipv6(src.octets(), dst.octets(), 255)
            .icmpv6_raw(kind, 0, [0; 4])
            .write(bytes, body)
            .unwrap();
    })
}

pub(crate) fn solicit(src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Frame {
    icmp6(
        src,
        dst,
        icmpv6::TYPE_NEIGHBOR_SOLICITATION,
        &target.octets(),
    )
}

/// A neighbour solicitation for duplicate address detection (RFC 4862, 5.4.2).
pub(crate) fn dad(target: Ipv6Addr) -> Frame {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    solicit(Ipv6Addr::UNSPECIFIED, group, target).between(OTHER, [0x33, 0x33, 0xff, a, b, c])
}

pub(crate) fn advert(src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Frame {
    icmp6(
        src,
        dst,
        icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT,
        &target.octets(),
    )
}

fn arp(operation: ArpOperation, sender: Ipv4Addr, target: Ipv4Addr) -> Frame {
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: OTHER,
        sender_ipv4: sender.octets(),
        target_mac: OWN,
        target_ipv4: target.octets(),
    };
    build(|bytes| {
        PacketBuilder::ethernet2(OTHER, OWN)
            .arp(packet.into())
            .write(bytes)
            .unwrap();
    })
}

pub(crate) fn arp_request(sender: Ipv4Addr, target: Ipv4Addr) -> Frame {
    arp(ArpOperation::REQUEST, sender, target).between(OTHER, BROADCAST)
}

pub(crate) fn arp_reply(sender: Ipv4Addr, target: Ipv4Addr) -> Frame {
    arp(ArpOperation::REPLY, sender, target)
}

/// A protocol that is neither IP nor ARP.
pub(crate) fn foreign() -> Frame {
    build(|bytes| {
        Ethernet2Header {
            source: OTHER,
            destination: OWN,
            ether_type: EtherType(0x88b5),
        }
        .write(bytes)
        .unwrap();
        bytes.extend_from_slice(PAYLOAD);
    })
}

/// Frames that contradict themselves.
#[rustfmt::skip]
pub(crate) fn malformed() -> Vec<(&'static str, Frame)> {
    vec![
        ("v4: version 5", udp4(WIRE4, A4).with(0, 0x55)),
        ("v4: header of 16 bytes", udp4(WIRE4, A4).with(0, 0x44)),
        ("v4: longer than the frame", udp4(WIRE4, A4).with(3, 200)),
        ("v4: shorter than its header", udp4(WIRE4, A4).with(3, 19)),
        ("v4: options beyond the total length", udp4(WIRE4, A4).with(0, 0x4f)),
        ("v4: cut header", udp4(WIRE4, A4).cut(19)),
        ("v4: nothing", udp4(WIRE4, A4).cut(0)),
        ("v6: version 4", udp6(WIRE6, A6).with(0, 0x45)),
        ("v6: cut header", udp6(WIRE6, A6).cut(39)),
        ("DAD: cut target", dad(A6).cut(63).between(OTHER, OWN)),
        ("DAD: cut ICMPv6 header", dad(A6).cut(41).between(OTHER, OWN)),
        ("ARP: cut", arp_reply(WIRE4, A4).cut(27)),
        ("ARP: of InfiniBand", arp_reply(WIRE4, A4).with(1, 32)),
        ("ARP: for another protocol", arp_reply(WIRE4, A4).with(3, 1)),
        ("ARP: hardware addresses of 8 bytes", arp_reply(WIRE4, A4).with(4, 8)),
        ("ARP: protocol addresses of 16 bytes", arp_reply(WIRE4, A4).with(5, 16)),
    ]
}
