// SPDX-License-Identifier: GPL-2.0
//! Building frames, and reading enough of them to assert on.

use anyhow::{Context, Result};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, NetSlice, PacketBuilder, SlicedPacket,
    TransportSlice,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];
pub const BROADCAST: Mac = [0xff; 6];

/// A UDP datagram in an Ethernet frame, checksums complete.
pub fn udp(
    from: Mac,
    to: Mac,
    src: IpAddr,
    dst: IpAddr,
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2(from, to);
    let ip = match (src, dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => eth.ipv4(s.octets(), d.octets(), 64),
        (IpAddr::V6(s), IpAddr::V6(d)) => eth.ipv6(s.octets(), d.octets(), 64),
        _ => panic!("{src} and {dst} are of two families"),
    };
    let builder = ip.udp(ports.0, ports.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder
        .write(&mut frame, payload)
        .expect("writing to a Vec");
    frame
}

/// An Ethernet frame with any payload.
pub fn ethernet(from: Mac, to: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// An ARP request or reply.
pub fn arp(
    from: Mac,
    to: Mac,
    request: bool,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        if request {
            ArpOperation::REQUEST
        } else {
            ArpOperation::REPLY
        },
        &sender.0,
        &sender.1.octets(),
        &target.0,
        &target.1.octets(),
    )
    .expect("lengths are those of Ethernet and IPv4");
    ethernet(from, to, 0x0806, &packet.to_bytes())
}

/// A neighbour solicitation (RFC 4861 4.3) with hop limit 255, and a source link-layer address option unless `src` is
/// unspecified.
pub fn solicit(from: Mac, to: Mac, src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend_from_slice(&target.octets());
    if !src.is_unspecified() {
        body.extend_from_slice(&[1, 1]);
        body.extend_from_slice(&from);
    }
    icmp6(from, to, src, dst, 255, 135, 0, &body)
}

/// An ICMPv6 message with a correct checksum; `body` follows the 4-byte ICMPv6 header.
#[allow(clippy::too_many_arguments)]
pub fn icmp6(
    from: Mac,
    to: Mac,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    hops: u8,
    kind: u8,
    code: u8,
    body: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend_from_slice(body);
    let mut pseudo = Vec::new();
    pseudo.extend_from_slice(&src.octets());
    pseudo.extend_from_slice(&dst.octets());
    pseudo.extend_from_slice(&(message.len() as u32).to_be_bytes());
    pseudo.extend_from_slice(&[0, 0, 0, 58]);
    pseudo.extend_from_slice(&message);
    message[2..4].copy_from_slice(&internet_checksum(&pseudo).to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(message.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[58, hops]);
    packet.extend_from_slice(&src.octets());
    packet.extend_from_slice(&dst.octets());
    packet.extend_from_slice(&message);
    ethernet(from, to, 0x86dd, &packet)
}

/// The IPv4 frame with options, padded to whole words, after its header; lengths and header checksum follow.
pub fn with_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let mut out = frame.to_vec();
    out.splice(34..34, options.iter().copied());
    out[14] = 0x40 | (5 + options.len() / 4) as u8;
    let total = (out.len() - 14) as u16;
    out[16..18].copy_from_slice(&total.to_be_bytes());
    header_checksum(&mut out);
    out
}

/// Sets "don't fragment" in an IPv4 frame.
pub fn dont_fragment(frame: &mut [u8]) {
    frame[20] |= 0x40;
    header_checksum(frame);
}

/// Recomputes the header checksum of an IPv4 frame.
pub fn header_checksum(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0xf) * 4;
    frame[24..26].fill(0);
    let sum = internet_checksum(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The one's complement sum of RFC 1071.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Multicast MAC of an IPv4 or IPv6 group (RFC 1112, RFC 2464).
pub fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(g) => [
            0x01,
            0x00,
            0x5e,
            g.octets()[1] & 0x7f,
            g.octets()[2],
            g.octets()[3],
        ],
        IpAddr::V6(g) => {
            let o = g.octets();
            [0x33, 0x33, o[12], o[13], o[14], o[15]]
        }
    }
}

/// The solicited-node group of an address (RFC 4291 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let o = address.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(o[13]),
        u16::from_be_bytes([o[14], o[15]]),
    )
}

/// Source and destination address of an IP frame.
pub fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match SlicedPacket::from_ethernet(frame).ok()?.net? {
        NetSlice::Ipv4(ip) => Some((
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        )),
        NetSlice::Ipv6(ip) => Some((
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        )),
        _ => None,
    }
}

/// The UDP ports and payload of a frame.
pub fn udp_of(frame: &[u8]) -> Option<(u16, u16, &[u8])> {
    match SlicedPacket::from_ethernet(frame).ok()?.transport? {
        TransportSlice::Udp(udp) => {
            Some((udp.source_port(), udp.destination_port(), udp.payload()))
        }
        _ => None,
    }
}

/// Whether the frame is a UDP datagram to `port` with exactly this payload.
pub fn is_udp(frame: &[u8], port: u16, payload: &[u8]) -> bool {
    udp_of(frame).is_some_and(|(_, to, p)| to == port && p == payload)
}

/// Operation, sender and target of an ARP frame.
pub fn arp_of(frame: &[u8]) -> Option<(u16, Ipv4Addr, Ipv4Addr)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Arp(arp)) = packet.net else {
        return None;
    };
    let sender: [u8; 4] = arp.sender_protocol_addr().try_into().ok()?;
    let target: [u8; 4] = arp.target_protocol_addr().try_into().ok()?;
    Some((arp.operation().0, sender.into(), target.into()))
}

/// ICMPv6 type and, for ND messages, the target.
pub fn nd_of(frame: &[u8]) -> Option<(u8, Ipv6Addr)> {
    if frame.get(12..14)? != [0x86, 0xdd] || *frame.get(20)? != 58 {
        return None;
    }
    let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
    Some((frame[54], target.into()))
}

/// Verifies the IPv4 header checksum and the TCP, UDP or ICMP checksum of a frame.
pub fn verify_checksums(frame: &[u8]) -> Result<()> {
    let packet = SlicedPacket::from_ethernet(frame).context("unparseable frame")?;
    let (pseudo, protocol, body): (Vec<u8>, u8, &[u8]) =
        match packet.net.as_ref().context("no network header")? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                anyhow::ensure!(
                    internet_checksum(header.slice()) == 0,
                    "wrong IPv4 header checksum"
                );
                let mut pseudo = header.source().to_vec();
                pseudo.extend_from_slice(&header.destination());
                (pseudo, header.protocol().0, ip.payload().payload)
            }
            NetSlice::Ipv6(ip) => {
                let mut pseudo = ip.header().source().to_vec();
                pseudo.extend_from_slice(&ip.header().destination());
                (pseudo, ip.payload().ip_number.0, ip.payload().payload)
            }
            _ => return Ok(()),
        };
    let mut sum = if protocol == 1 { Vec::new() } else { pseudo };
    if protocol != 1 {
        sum.extend_from_slice(&(body.len() as u32).to_be_bytes());
        sum.extend_from_slice(&[0, 0, 0, protocol]);
    }
    sum.extend_from_slice(body);
    anyhow::ensure!(
        internet_checksum(&sum) == 0,
        "wrong checksum of protocol {protocol}"
    );
    Ok(())
}

/// The bytes as the kernel's files write them.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One line about a frame, for failure texts.
pub fn describe(frame: &[u8]) -> String {
    let mut text = format!("{} bytes", frame.len());
    if frame.len() >= 14 {
        text += &format!(
            " {:02x?}>{:02x?} {:02x}{:02x}",
            &frame[6..12],
            &frame[0..6],
            frame[12],
            frame[13]
        );
    }
    if let Some((s, d)) = addresses(frame) {
        text += &format!(" {s}>{d}");
    }
    if let Some((op, s, t)) = arp_of(frame) {
        text += &format!(" arp {op} {s}>{t}");
    }
    text
}
