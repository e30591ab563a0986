// SPDX-License-Identifier: GPL-2.0

//! Finds the addresses in a packet, from the network header on.
//!
//! Only as much is checked as is needed to trust what is read: the rest is the business of the stack
//! that gets the packet. IPv6 extension headers are not followed, as in in-tree ipvlan: the addresses
//! come before them, and hosts put none before a neighbour solicitation.

#![forbid(unsafe_code)]

use super::addr::{Addr, V4, V6};

/// Bytes of an Ethernet header.
pub const ETH_HLEN: usize = 14;
/// Ethertype of IPv4, host byte order.
pub const ETH_P_IP: u16 = 0x0800;
/// Ethertype of ARP, host byte order.
pub const ETH_P_ARP: u16 = 0x0806;
/// Ethertype of IPv6, host byte order.
pub const ETH_P_IPV6: u16 = 0x86dd;

/// Bytes of an IPv4 header without options (RFC 791, 3.1).
const IPV4_HLEN: usize = 20;
/// Bytes of an IPv6 header (RFC 8200, 3).
const IPV6_HLEN: usize = 40;
/// Bytes of an ARP packet for IPv4 over Ethernet (RFC 826).
const ARP_LEN: usize = 28;
/// Bytes of an IPv6 header and a neighbour solicitation without options (RFC 4861, 4.3).
const SOLICIT_LEN: usize = 64;
/// `IPPROTO_ICMPV6`.
const NEXTHDR_ICMPV6: u8 = 58;
/// Neighbour solicitation (RFC 4861, 4.3).
const ICMPV6_SOLICIT: u8 = 135;

/// The addresses of a packet that ipvlan can steer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packet {
    /// IPv4.
    Ipv4 {
        /// Source address.
        src: V4,
        /// Destination address.
        dst: V4,
    },
    /// IPv6 other than [`Packet::Solicit`].
    Ipv6 {
        /// Source address.
        src: V6,
        /// Destination address.
        dst: V6,
    },
    /// An ICMPv6 neighbour solicitation (RFC 4861, 4.3).
    Solicit {
        /// Source address; `::` for duplicate address detection (RFC 4862, 5.4).
        src: V6,
        /// Destination address, mostly a solicited-node group.
        dst: V6,
        /// The address asked about.
        target: V6,
    },
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp {
        /// Sender protocol address; 0.0.0.0 in a probe (RFC 5227, 2.1.1).
        sender: V4,
        /// Target protocol address: the address asked about in a request, the asker's in a reply.
        target: V4,
        /// Whether the operation is "request".
        request: bool,
    },
}

/// What [`parse`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// A packet that can be steered.
    Packet(Packet),
    /// The answer needs this many bytes from the network header on in the linear area: more than
    /// there are, no more than the packet has. Make them linear and parse again.
    Pull(usize),
    /// The ethertype is one we know, the contents contradict it.
    Invalid,
    /// Another ethertype.
    Foreign,
}

/// Where a packet goes that has the commonest shape: IPv4 without options, or IPv6 that is not
/// ICMPv6, its header linear. `None` says nothing: that is for [`parse`] to judge, which agrees with
/// any other answer.
///
/// Arguments as those of [`parse`].
#[inline(always)]
pub fn plain(ethertype: u16, linear: &[u8], len: usize) -> Option<Addr> {
    // As in the packet: swapped there and back is not swapped at all.
    let ethertype = ethertype.to_be();
    if ethertype == ETH_P_IP.to_be() {
        let header = linear.first_chunk::<IPV4_HLEN>()?;
        if field::<0, 1, IPV4_HLEN>(header) != [0x45] {
            return None;
        }
        let total = usize::from(u16::from_be_bytes(field::<2, 2, IPV4_HLEN>(header)));
        // Between the header's length and the packet's, in one comparison.
        if total.wrapping_sub(IPV4_HLEN) > len.wrapping_sub(IPV4_HLEN) {
            return None;
        }
        return Some(Addr::V4(V4::from_octets(field::<16, 4, IPV4_HLEN>(header))));
    }
    if ethertype == ETH_P_IPV6.to_be() {
        let header = linear.first_chunk::<IPV6_HLEN>()?;
        let [version_class] = field::<0, 1, IPV6_HLEN>(header);
        if version_class >> 4 != 6 || field::<6, 1, IPV6_HLEN>(header) == [NEXTHDR_ICMPV6] {
            return None;
        }
        return Some(Addr::V6(V6::from_octets(field::<24, 16, IPV6_HLEN>(
            header,
        ))));
    }
    None
}

/// Finds the addresses in a packet of `ethertype` (host byte order).
///
/// `linear` is the linear area from the network header on, `len` the length of the whole packet from
/// there on, paged parts included. Parsing again after each [`Parsed::Pull`] ends after at most two
/// of them.
// Inlined by force, like its parts: out of line, the answer would go through memory for each packet.
#[inline(always)]
pub fn parse(ethertype: u16, linear: &[u8], len: usize) -> Parsed {
    match ethertype {
        ETH_P_IP => ipv4(linear, len),
        ETH_P_IPV6 => ipv6(linear, len),
        ETH_P_ARP => arp(linear, len),
        _ => Parsed::Foreign,
    }
}

#[inline(always)]
fn ipv4(linear: &[u8], len: usize) -> Parsed {
    let Some(header) = linear.first_chunk::<IPV4_HLEN>() else {
        return pull(IPV4_HLEN, len);
    };
    let [version_ihl] = field::<0, 1, IPV4_HLEN>(header);
    let [src, dst] = [
        field::<12, 4, IPV4_HLEN>(header),
        field::<16, 4, IPV4_HLEN>(header),
    ];

    // `ihl` counts words of four bytes.
    let header_len = usize::from(version_ihl & 0x0f).wrapping_mul(4);
    if version_ihl >> 4 != 4 || header_len < IPV4_HLEN {
        return Parsed::Invalid;
    }
    let total = match usize::from(u16::from_be_bytes(field::<2, 2, IPV4_HLEN>(header))) {
        // A GSO packet that the field cannot hold (BIG TCP) has 0 in it: see iph_set_totlen().
        0 if len > usize::from(u16::MAX) => len,
        total => total,
    };
    if total < header_len || total > len {
        return Parsed::Invalid;
    }
    Parsed::Packet(Packet::Ipv4 {
        src: V4::from_octets(src),
        dst: V4::from_octets(dst),
    })
}

#[inline(always)]
fn ipv6(linear: &[u8], len: usize) -> Parsed {
    let Some(header) = linear.first_chunk::<IPV6_HLEN>() else {
        return pull(IPV6_HLEN, len);
    };
    let [version_class] = field::<0, 1, IPV6_HLEN>(header);
    if version_class >> 4 != 6 {
        return Parsed::Invalid;
    }
    let src = V6::from_octets(field::<8, 16, IPV6_HLEN>(header));
    let dst = V6::from_octets(field::<24, 16, IPV6_HLEN>(header));
    let [next_header] = field::<6, 1, IPV6_HLEN>(header);
    if next_header == NEXTHDR_ICMPV6 {
        return icmpv6(src, dst, linear, len);
    }
    Parsed::Packet(Packet::Ipv6 { src, dst })
}

/// Tells a neighbour solicitation from other ICMPv6.
#[inline(always)]
fn icmpv6(src: V6, dst: V6, linear: &[u8], len: usize) -> Parsed {
    let other = Parsed::Packet(Packet::Ipv6 { src, dst });
    match linear.get(IPV6_HLEN) {
        Some(&ICMPV6_SOLICIT) => {}
        Some(_) => return other,
        // Not even a type: that is for the stack behind the address to judge.
        None if len <= IPV6_HLEN => return other,
        None => return Parsed::Pull(len.min(SOLICIT_LEN)),
    }
    match linear.first_chunk::<SOLICIT_LEN>() {
        Some(message) => Parsed::Packet(Packet::Solicit {
            src,
            dst,
            target: V6::from_octets(field::<48, 16, SOLICIT_LEN>(message)),
        }),
        None if len >= SOLICIT_LEN => Parsed::Pull(SOLICIT_LEN),
        // Cut off before the target. The header still tells where it goes, unless it is duplicate
        // address detection, which goes by the target alone.
        None if src.is_unspecified() => Parsed::Invalid,
        None => other,
    }
}

#[inline(always)]
fn arp(linear: &[u8], len: usize) -> Parsed {
    let Some(packet) = linear.first_chunk::<ARP_LEN>() else {
        return pull(ARP_LEN, len);
    };
    let hardware = u16::from_be_bytes(field::<0, 2, ARP_LEN>(packet));
    let protocol = u16::from_be_bytes(field::<2, 2, ARP_LEN>(packet));
    // On Ethernet the kernel's ARP also takes hardware type 6, IEEE 802.
    if !matches!(hardware, 1 | 6)
        || protocol != ETH_P_IP
        || field::<4, 2, ARP_LEN>(packet) != [6, 4]
    {
        return Parsed::Invalid;
    }
    Parsed::Packet(Packet::Arp {
        sender: V4::from_octets(field::<14, 4, ARP_LEN>(packet)),
        target: V4::from_octets(field::<24, 4, ARP_LEN>(packet)),
        request: u16::from_be_bytes(field::<6, 2, ARP_LEN>(packet)) == 1,
    })
}

/// Asks for a header that is not linear yet, if the packet is long enough to have one.
#[inline]
const fn pull(header: usize, len: usize) -> Parsed {
    if len < header {
        Parsed::Invalid
    } else {
        Parsed::Pull(header)
    }
}

/// The `N` bytes at `AT` of a header of `L` bytes.
#[inline(always)]
fn field<const AT: usize, const N: usize, const L: usize>(header: &[u8; L]) -> [u8; N] {
    const { assert!(AT <= L && N <= L.wrapping_sub(AT)) };
    match header.get(AT..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => *bytes,
        // Not reached: the assertion above.
        None => [0; N],
    }
}
