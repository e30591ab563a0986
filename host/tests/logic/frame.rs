// SPDX-License-Identifier: GPL-2.0

//! The parser against etherparse, on whole packets: well-formed, mutated, cut and random, and with
//! every split between the linear area and pages.

use super::packets::*;
use super::world::{resolve, A4, A6, ALL_NODES6, B4, B6, WIRE4, WIRE6};
use etherparse::{
    ArpHardwareId, ArpPacket, EtherType, Ethernet2Header, Icmpv6Slice, IpNumber, Ipv4HeaderSlice,
    Ipv6HeaderSlice,
};
use ipvlan_rs_host::logic::addr::{V4, V6};
use ipvlan_rs_host::logic::frame::{
    parse, Packet, Parsed, ETH_HLEN, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6,
};
use ipvlan_rs_host::logic::verdict::Inner;
use proptest::prelude::*;

/// What a packet holds, from all of its bytes; `None` if it is malformed.
fn reference(ethertype: u16, packet: &[u8]) -> Inner {
    let found = match ethertype {
        0x0800 => reference_ipv4(packet),
        0x86dd => reference_ipv6(packet),
        0x0806 => reference_arp(packet),
        _ => return Inner::Foreign,
    };
    found.map_or(Inner::Invalid, Inner::Packet)
}

fn reference_ipv4(packet: &[u8]) -> Option<Packet> {
    let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let total = match usize::from(header.total_len()) {
        // BIG TCP.
        0 if packet.len() > 0xffff => packet.len(),
        total => total,
    };
    let room = header.slice().len()..=packet.len();
    room.contains(&total).then(|| Packet::Ipv4 {
        src: V4::from_octets(header.source()),
        dst: V4::from_octets(header.destination()),
    })
}

fn reference_ipv6(packet: &[u8]) -> Option<Packet> {
    let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
    let src = V6::from_octets(header.source());
    let dst = V6::from_octets(header.destination());
    let plain = Some(Packet::Ipv6 { src, dst });
    let message = &packet[40..];
    if header.next_header() != IpNumber::IPV6_ICMP || message.first() != Some(&135) {
        return plain;
    }
    let target = Icmpv6Slice::from_slice(message)
        .ok()
        .and_then(|icmp| icmp.slice()[8..].first_chunk().copied());
    match target {
        Some(target) => Some(Packet::Solicit {
            src,
            dst,
            target: V6::from_octets(target),
        }),
        None if header.source_addr().is_unspecified() => None,
        None => plain,
    }
}

fn reference_arp(packet: &[u8]) -> Option<Packet> {
    let mut arp = ArpPacket::from_slice(packet).ok()?;
    if arp.hw_addr_type == ArpHardwareId(6) {
        arp.hw_addr_type = ArpHardwareId::ETHERNET;
    }
    let arp = arp.try_eth_ipv4().ok()?;
    Some(Packet::Arp {
        sender: V4::from_octets(arp.sender_ipv4),
        target: V4::from_octets(arp.target_ipv4),
        request: arp.operation == etherparse::ArpOperation::REQUEST,
    })
}

fn samples() -> Vec<Frame> {
    vec![
        udp4(A4, B4),
        udp4_with_options(WIRE4, A4),
        icmp_error(WIRE4, A4, B4),
        udp6(A6, B6),
        icmp6(WIRE6, A6, 128, b"echo"),
        solicit(WIRE6, ALL_NODES6, A6),
        dad(B6),
        advert(A6, WIRE6, A6),
        arp_request(A4, B4),
        arp_reply(WIRE4, A4),
        foreign(),
    ]
}

#[test]
fn numbers_are_those_of_etherparse() {
    assert_eq!(ETH_HLEN, Ethernet2Header::LEN);
    assert_eq!(ETH_P_IP, EtherType::IPV4.0);
    assert_eq!(ETH_P_IPV6, EtherType::IPV6.0);
    assert_eq!(ETH_P_ARP, EtherType::ARP.0);
}

#[test]
fn samples_are_what_they_were_built_from() {
    let v4 = |addr: std::net::Ipv4Addr| V4::from_octets(addr.octets());
    let v6 = |addr: std::net::Ipv6Addr| V6::from_octets(addr.octets());
    let expected = [
        (
            udp4_with_options(WIRE4, A4),
            Packet::Ipv4 {
                src: v4(WIRE4),
                dst: v4(A4),
            },
        ),
        (
            udp6(A6, B6),
            Packet::Ipv6 {
                src: v6(A6),
                dst: v6(B6),
            },
        ),
        (
            solicit(WIRE6, ALL_NODES6, A6),
            Packet::Solicit {
                src: v6(WIRE6),
                dst: v6(ALL_NODES6),
                target: v6(A6),
            },
        ),
        (
            arp_request(A4, B4),
            Packet::Arp {
                sender: v4(A4),
                target: v4(B4),
                request: true,
            },
        ),
        (
            arp_reply(WIRE4, A4),
            Packet::Arp {
                sender: v4(WIRE4),
                target: v4(A4),
                request: false,
            },
        ),
    ];
    for (frame, packet) in expected {
        assert_eq!(
            resolve(frame.ethertype(), frame.packet(), 0),
            Inner::Packet(packet)
        );
    }
}

#[test]
fn every_truncation_with_every_linear_part() {
    for frame in samples() {
        for len in 0..=frame.packet().len() {
            let cut = &frame.packet()[..len];
            // Whatever the card claims to have received.
            for ethertype in [ETH_P_IP, ETH_P_IPV6, ETH_P_ARP, frame.ethertype()] {
                let expected = reference(ethertype, cut);
                for linear in 0..=len {
                    let found = resolve(ethertype, cut, linear);
                    assert_eq!(found, expected, "{ethertype:#x}, {linear} of {cut:x?}");
                }
            }
        }
    }
}

/// One byte at a time, all of its values: lengths, versions, types.
#[test]
fn every_value_of_every_header_byte() {
    for frame in samples() {
        let mut packet = frame.packet().to_vec();
        for offset in 0..packet.len().min(64) {
            let original = packet[offset];
            for value in 0..=u8::MAX {
                packet[offset] = value;
                assert_eq!(
                    resolve(frame.ethertype(), &packet, packet.len()),
                    reference(frame.ethertype(), &packet),
                    "{value:#x} at {offset} of {:x?}",
                    frame.packet()
                );
            }
            packet[offset] = original;
        }
    }
}

/// The total length of a GSO packet beyond 64 KiB is 0 (see `iph_set_totlen()`).
#[test]
fn big_tcp() {
    let mut packet = udp4(A4, B4).packet().to_vec();
    for len in [65_534, 65_535, 65_536, 70_000, 524_280] {
        packet.resize(len, 0);
        for total in [0, 19, 20, 65_535u16] {
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            assert_eq!(
                resolve(ETH_P_IP, &packet, 0),
                reference(ETH_P_IP, &packet),
                "{total} of {len}"
            );
        }
    }
    packet[2..4].fill(0);
    assert!(matches!(resolve(ETH_P_IP, &packet, 0), Inner::Packet(_)));
    assert_eq!(resolve(ETH_P_IP, &packet[..0xffff], 0), Inner::Invalid);
}

/// A header that is all there is parsed without a pull, whatever of the rest is in pages.
#[test]
fn linear_headers_need_no_pull() {
    for (frame, header) in [
        (udp4(A4, B4), 20),
        (udp4_with_options(A4, B4), 20),
        (udp6(A6, B6), 40),
        (icmp6(WIRE6, A6, 128, b"echo"), 41),
        (solicit(WIRE6, ALL_NODES6, A6), 64),
        (arp_reply(WIRE4, A4), 28),
    ] {
        let packet = frame.packet();
        for linear in header..=packet.len() {
            let parsed = parse(frame.ethertype(), &packet[..linear], packet.len());
            assert!(matches!(parsed, Parsed::Packet(_)), "{linear}: {parsed:?}");
        }
        let parsed = parse(frame.ethertype(), &packet[..header - 1], packet.len());
        assert!(matches!(parsed, Parsed::Pull(_)), "{parsed:?}");
    }
}

#[derive(Clone, Debug)]
struct Mutated {
    ethertype: u16,
    packet: Vec<u8>,
    linear: usize,
}

fn mutated() -> impl Strategy<Value = Mutated> {
    let bytes = prop::collection::vec((0usize..80, any::<u8>()), 0..6);
    (
        prop::sample::select(samples()),
        bytes,
        0usize..120,
        prop::collection::vec(any::<u8>(), 0..40),
        0usize..120,
    )
        .prop_map(|(frame, bytes, cut, tail, linear)| {
            let mut packet = frame.packet().to_vec();
            packet.extend(tail);
            for (offset, byte) in bytes {
                if let Some(place) = packet.get_mut(offset) {
                    *place = byte;
                }
            }
            // Most stay whole.
            if cut < packet.len() / 2 {
                packet.truncate(cut * 2);
            }
            let linear = linear.min(packet.len());
            Mutated {
                ethertype: frame.ethertype(),
                packet,
                linear,
            }
        })
}

fn random() -> impl Strategy<Value = Mutated> {
    let ethertype = prop_oneof![
        Just(ETH_P_IP),
        Just(ETH_P_IPV6),
        Just(ETH_P_ARP),
        any::<u16>()
    ];
    // Random bytes fail the first check nearly always: help some of them over it.
    let start = prop_oneof![Just(None), (0x40u8..0x70).prop_map(Some)];
    let packet = prop::collection::vec(any::<u8>(), 0..128);
    (ethertype, start, packet, 0usize..128).prop_map(|(ethertype, start, mut packet, linear)| {
        if let (Some(start), Some(first)) = (start, packet.first_mut()) {
            *first = start;
        }
        let linear = linear.min(packet.len());
        Mutated {
            ethertype,
            packet,
            linear,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_packets(case in mutated()) {
        let found = resolve(case.ethertype, &case.packet, case.linear);
        prop_assert_eq!(found, reference(case.ethertype, &case.packet));
    }

    #[test]
    fn random_packets(case in random()) {
        let found = resolve(case.ethertype, &case.packet, case.linear);
        prop_assert_eq!(found, reference(case.ethertype, &case.packet));
    }

    /// No linear area and no length, however wrong they are together, make the parser panic or
    /// pull what is not there.
    #[test]
    fn any_length(ethertype in any::<u16>(), packet in prop::collection::vec(any::<u8>(), 0..80), len in any::<usize>()) {
        for ethertype in [ethertype, ETH_P_IP, ETH_P_IPV6, ETH_P_ARP] {
            if let Parsed::Pull(n) = parse(ethertype, &packet, len) {
                prop_assert!(n <= len);
                prop_assert!(n > packet.len());
            }
        }
    }
}
