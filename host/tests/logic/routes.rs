// SPDX-License-Identifier: GPL-2.0

//! Keys of remembered routes: they differ in whatever a look-up reads, and in nothing else.

use ipvlan_rs_host::route_key::{index, Key4, Key6};
use std::collections::HashSet;

const SOURCE4: u32 = u32::from_be_bytes([10, 2, 0, 11]).to_be();
const SOURCE6: [u8; 16] = [0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
const DEST6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn dest4(n: u32) -> u32 {
    (0xc000_0200 + n).to_be()
}

fn dest6(n: u16) -> [u8; 16] {
    let mut dest = DEST6;
    dest[14..].copy_from_slice(&n.to_be_bytes());
    dest
}

/// Every bit of every part, by itself, makes another key.
#[test]
fn every_bit_counts() {
    let base = Key4::new(SOURCE4, dest4(1), 0, 0);
    for bit in 0..32 {
        let flip = 1 << bit;
        assert_ne!(Key4::new(SOURCE4 ^ flip, dest4(1), 0, 0), base);
        assert_ne!(Key4::new(SOURCE4, dest4(1) ^ flip, 0, 0), base);
        assert_ne!(Key4::new(SOURCE4, dest4(1), 0, flip), base);
    }
    let base = Key6::new(SOURCE6, DEST6, 0, 17, 0);
    for bit in 0..128 {
        let flip = |mut octets: [u8; 16]| {
            octets[bit / 8] ^= 1 << (bit % 8);
            octets
        };
        assert_ne!(Key6::new(flip(SOURCE6), DEST6, 0, 17, 0), base);
        assert_ne!(Key6::new(SOURCE6, flip(DEST6), 0, 17, 0), base);
    }
    for bit in 0..32 {
        assert_ne!(Key6::new(SOURCE6, DEST6, 1 << bit, 17, 0), base);
        assert_ne!(Key6::new(SOURCE6, DEST6, 0, 17, 1 << bit), base);
    }
    for bit in 0..8 {
        assert_ne!(Key6::new(SOURCE6, DEST6, 0, 17 ^ (1 << bit), 0), base);
    }
}

/// Of the type of service byte the six bits of the DSCP count; the two of congestion notification, which change from
/// packet to packet of one stream, do not.
#[test]
fn congestion_notification_does_not_count() {
    let base = Key4::new(SOURCE4, dest4(1), 0, 0);
    for tos in 0..=u8::MAX {
        let same = Key4::new(SOURCE4, dest4(1), tos, 0) == base;
        assert_eq!(same, tos & !3 == 0, "{tos:#x}");
    }
}

/// No part can stand in for another: source for destination, mark for service.
#[test]
fn parts_keep_their_places() {
    assert_ne!(
        Key4::new(SOURCE4, dest4(1), 0, 0),
        Key4::new(dest4(1), SOURCE4, 0, 0)
    );
    assert_ne!(
        Key4::new(SOURCE4, dest4(1), 4, 0),
        Key4::new(SOURCE4, dest4(1), 0, 4)
    );
    assert_ne!(
        Key6::new(SOURCE6, DEST6, 0, 17, 0),
        Key6::new(DEST6, SOURCE6, 0, 17, 0)
    );
    assert_ne!(
        Key6::new(SOURCE6, DEST6, 5, 17, 0),
        Key6::new(SOURCE6, DEST6, 0, 17, 5)
    );
}

/// No packet has the key of nothing, not even one of zeros.
#[test]
fn nothing_has_a_key_of_its_own() {
    for n in 0..=u8::MAX {
        let word = u32::from(n) * 0x0101_0101;
        assert_ne!(Key4::new(0, 0, n, word), Key4::NONE);
        assert_ne!(Key6::new([0; 16], [0; 16], word, n, word), Key6::NONE);
    }
}

/// An index is below the limit, whatever the key, and neighbouring destinations do not share one.
#[test]
fn indices_are_apart() {
    for limit in [102, 256] {
        let four: HashSet<u32> = (0..64)
            .map(|n| index(Key4::new(SOURCE4, dest4(n), 0, 7).hash(), limit))
            .collect();
        let six: HashSet<u32> = (0..64)
            .map(|n| index(Key6::new(SOURCE6, dest6(n), 0, 17, 7).hash(), limit))
            .collect();
        assert!(four.iter().chain(&six).all(|index| *index < limit));
        assert_eq!((four.len(), six.len()), (64, 64), "{limit}");
    }
    for limit in [1, 2, 256] {
        for n in 0..5000 {
            let key = Key4::new(n, n.wrapping_mul(0x0101_0101), 0, n);
            assert!(index(key.hash(), limit) < limit);
        }
    }
}

/// Destinations that are not neighbours either have hashes of their own: a packet to one is not the second to another.
#[test]
fn hashes_tell_destinations_apart() {
    let four: HashSet<u32> = (0..65536)
        .map(|n| Key4::new(SOURCE4, dest4(n), 0, 7).hash())
        .collect();
    let six: HashSet<u32> = (0..=u16::MAX)
        .map(|n| Key6::new(SOURCE6, dest6(n), 0, 17, 7).hash())
        .collect();
    assert_eq!((four.len(), six.len()), (65536, 65536));
}
