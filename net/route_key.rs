// SPDX-License-Identifier: GPL-2.0

//! Keys of remembered routes: all that a look-up reads of a packet.
//!
//! Two packets with one key, looked up at one time, get one route. What a look-up reads besides (the
//! tables, the rules, the device it asks from) is not here: who remembers a route sees to that.

// Also a module of the host crate, for its tests, which says `pub`.
#![allow(unreachable_pub)]
#![forbid(unsafe_code)]

/// What an IPv4 look-up reads of a packet: its addresses, the service it asks for (DSCP), and its
/// firewall mark, as it is in the namespace that routes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Key4 {
    addresses: u64,
    rest: u64,
}

/// `INET_DSCP_MASK` of include/net/inet_dscp.h: the two bits beside it are congestion notification,
/// which no route depends on.
pub const DSCP_MASK: u8 = 0xfc;

impl Key4 {
    /// What no packet has.
    pub const NONE: Self = Self {
        addresses: 0,
        rest: NO_PACKET,
    };

    /// Of the addresses (network order), the type of service byte and the mark.
    #[inline]
    pub const fn new(source: u32, dest: u32, tos: u8, mark: u32) -> Self {
        // CAST: widening.
        Self {
            addresses: ((source as u64) << 32) | dest as u64,
            rest: ((mark as u64) << 32) | (tos & DSCP_MASK) as u64,
        }
    }

    /// A number that keys with other destinations, but the same else, do not share; see [`index`].
    #[inline]
    pub const fn hash(self) -> u32 {
        // CAST: keeps the low halves on purpose.
        let (dest, source) = (self.addresses as u32, (self.addresses >> 32) as u32);
        let rest = (self.rest >> 32) as u32 ^ self.rest as u32;
        spread(u32::from_be(dest).wrapping_add(source ^ rest))
    }
}

/// What an IPv6 look-up reads of a packet: its addresses, flow label and traffic class, the first
/// next-header value, and its firewall mark, as it is in the namespace that routes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Key6 {
    source: [u64; 2],
    dest: [u64; 2],
    rest: [u64; 2],
}

impl Key6 {
    /// What no packet has.
    pub const NONE: Self = Self {
        source: [0; 2],
        dest: [0; 2],
        rest: [0, NO_PACKET],
    };

    /// Of the addresses, the traffic class and flow label (`IPV6_FLOWINFO_MASK`), the next header
    /// and the mark.
    #[inline]
    pub const fn new(
        source: [u8; 16],
        dest: [u8; 16],
        flow: u32,
        next_header: u8,
        mark: u32,
    ) -> Self {
        // CAST: widening.
        Self {
            source: words(source),
            dest: words(dest),
            rest: [((mark as u64) << 32) | flow as u64, next_header as u64],
        }
    }

    /// As [`Key4::hash`], for destinations that are neighbours.
    #[inline]
    pub const fn hash(self) -> u32 {
        let [high, low] = self.dest;
        let [a, b] = self.source;
        let [c, d] = self.rest;
        let rest = a ^ b ^ c ^ d ^ u64::from_be(high);
        let sum = u64::from_be(low).wrapping_add(rest);
        // CAST: keeps the low halves on purpose.
        spread((sum as u32).wrapping_add((sum >> 32) as u32))
    }
}

#[inline]
const fn words(octets: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    ]
}

/// A bit of the last word of a key that is nothing's.
const NO_PACKET: u64 = 1 << 8;

/// Fibonacci hashing: consecutive numbers land far from each other, and from their neighbours'
/// neighbours. Not seeded: who makes keys collide makes his own packets, and those of others, cost
/// a look-up, as each did before.
#[inline]
const fn spread(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1)
}

/// The place of a hash, below `limit`.
#[inline]
pub const fn index(hash: u32, limit: u32) -> u32 {
    // CAST: widening, then the high half, which is below `limit`.
    ((hash as u64).wrapping_mul(limit as u64) >> 32) as u32
}
