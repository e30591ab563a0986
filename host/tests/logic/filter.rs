// SPDX-License-Identifier: GPL-2.0

//! The multicast filter.

use ipvlan_rs_host::logic::addr::Seed;
use ipvlan_rs_host::logic::filter::MacFilter;
use proptest::prelude::*;

fn with(bits: &[u8]) -> MacFilter {
    let mut filter = MacFilter::EMPTY;
    for &bit in bits {
        filter.insert(bit);
    }
    filter
}

#[test]
fn each_bit_is_its_own() {
    for bit in 0..=u8::MAX {
        let filter = with(&[bit]);
        for other in 0..=u8::MAX {
            assert_eq!(filter.contains(other), other == bit);
        }
        assert!(!MacFilter::EMPTY.contains(bit));
        assert!(MacFilter::FULL.contains(bit));
    }
    assert_eq!(with(&(0..=u8::MAX).collect::<Vec<_>>()), MacFilter::FULL);
}

proptest! {
    #[test]
    fn like_a_set(inserted in prop::collection::vec(any::<u8>(), 0..64)) {
        let filter = with(&inserted);
        for bit in 0..=u8::MAX {
            prop_assert_eq!(filter.contains(bit), inserted.contains(&bit));
        }
    }

    /// What was inserted is found: an address has one bit under one seed.
    #[test]
    fn no_false_negative(seed in any::<[u64; 4]>(), macs in prop::collection::vec(any::<[u8; 6]>(), 1..32)) {
        let seed = Seed::new(seed);
        let filter = with(&macs.iter().map(|mac| MacFilter::bit(mac, &seed)).collect::<Vec<_>>());
        for mac in &macs {
            prop_assert!(filter.contains(MacFilter::bit(mac, &seed)));
        }
    }

    /// Groups differ in few bits; a slave in 20 of them is still spared most of the other traffic.
    #[test]
    fn groups_spread(words in any::<[u64; 4]>(), start in 0..0xff_ff00u32) {
        let seed = Seed::new(words);
        let bit = |n: u32| {
            let [_, a, b, c] = n.to_be_bytes();
            MacFilter::bit(&[0x33, 0x33, 0xff, a, b, c], &seed)
        };
        let filter = with(&(start..start + 20).map(bit).collect::<Vec<_>>());
        let passed = (0..4096u32).filter(|n| filter.contains(bit((start + 1000 + n) & 0xff_ffff))).count();
        // 20 of 256 bits: 320 expected.
        prop_assert!(passed < 640, "{passed} of 4096");
    }
}
