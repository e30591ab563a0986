// SPDX-License-Identifier: GPL-2.0

//! IP addresses as keys of the address table, and their hash.

#![forbid(unsafe_code)]

/// An IPv4 address, kept as loaded from the packet (network byte order), so that comparing and
/// hashing need no byte swap.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(transparent)]
pub struct V4(u32);

impl V4 {
    /// From a `__be32`, the form the kernel keeps IPv4 addresses in.
    #[inline]
    pub const fn from_be(be: u32) -> Self {
        Self(be)
    }

    /// As a `__be32`.
    #[inline]
    pub const fn to_be(self) -> u32 {
        self.0
    }

    /// From the four bytes as they stand in a packet.
    #[inline]
    pub const fn from_octets(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }

    /// The hash under `seed`; see [`Seed`].
    #[inline]
    pub fn hash(self, seed: &Seed) -> u32 {
        seed.hash_word(u64::from(self.0))
    }
}

/// An IPv6 address, kept as loaded from the packet: two words of network byte order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(transparent)]
pub struct V6([u64; 2]);

impl V6 {
    /// From the sixteen bytes as they stand in a packet or an `in6_addr`.
    #[inline]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        ])
    }

    /// The sixteen bytes as they stand in a packet.
    #[inline]
    pub const fn octets(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.0[0].to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.0[1].to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// `::`, the source of a node that has no address yet (RFC 4291, 2.5.2).
    #[inline]
    pub const fn is_unspecified(self) -> bool {
        let [high, low] = self.0;
        high | low == 0
    }

    /// The hash under `seed`; see [`Seed`].
    #[inline]
    pub fn hash(self, seed: &Seed) -> u32 {
        let [high, low] = self.0;
        seed.hash_pair(high, low)
    }
}

/// An address of either family.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Addr {
    /// IPv4.
    V4(V4),
    /// IPv6.
    V6(V6),
}

impl From<V4> for Addr {
    #[inline]
    fn from(addr: V4) -> Self {
        Self::V4(addr)
    }
}

impl From<V6> for Addr {
    #[inline]
    fn from(addr: V6) -> Self {
        Self::V6(addr)
    }
}

/// The secret of a port's hashes: four random words.
///
/// Tenants choose their own IPv6 addresses, so a hash they can compute would let one of them pile
/// all of a port's traffic into one bucket. The first step is NH of UMAC (RFC 4418) on two
/// 64-bit words: whatever two different addresses are chosen, over random seeds their 128-bit
/// products agree with probability 2^-64. Folding loses that proof, so a second keyed multiplication
/// follows it; that one also spreads the counters and strides that addresses come in over all 32
/// bits. Two multiplications in all, and no branch.
#[derive(Clone, Copy)]
pub struct Seed {
    add: [u64; 2],
    mix: u64,
    multiplier: u64,
}

impl Seed {
    /// Makes a seed of random words. They must come from a good source (`get_random_bytes()`) and
    /// stay secret.
    #[inline]
    pub const fn new([a, b, c, d]: [u64; 4]) -> Self {
        // An odd multiplier is a bijection of the low word, and never zero.
        Self {
            add: [a, b | 1],
            mix: c,
            multiplier: d | 1,
        }
    }

    #[inline]
    fn hash_pair(&self, high: u64, low: u64) -> u32 {
        let [a, b] = self.add;
        self.finish(fold(high.wrapping_add(a), low.wrapping_add(b)))
    }

    /// As [`Self::hash_pair`] for what fits one word.
    #[inline]
    pub(super) fn hash_word(&self, word: u64) -> u32 {
        self.hash_pair(word, 0)
    }

    #[inline]
    fn finish(&self, folded: u64) -> u32 {
        let mixed = fold(folded ^ self.mix, self.multiplier);
        // CAST: keeps the low half on purpose; the high half is in it by the exclusive or.
        (mixed ^ mixed.wrapping_shr(32)) as u32
    }
}

/// Multiplies to 128 bits and folds the halves: one instruction and one exclusive or on 64-bit
/// machines.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    // CAST: the two halves of the product.
    (product as u64) ^ (product.wrapping_shr(64) as u64)
}
