// SPDX-License-Identifier: GPL-2.0

//! How well addresses spread: the sets that occur, under many seeds, by the bits that a table uses.

use ipvlan_rs_host::logic::addr::{Seed, V4, V6};
use proptest::prelude::*;

/// Seeds, the same in each run (splitmix64).
struct Seeds(u64);

impl Seeds {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn seed(&mut self) -> Seed {
        Seed::new([self.word(), self.word(), self.word(), self.word()])
    }
}

fn v4(n: u32) -> V4 {
    V4::from_octets(n.to_be_bytes())
}

fn v6(n: u128) -> V6 {
    V6::from_octets(n.to_be_bytes())
}

const KEYS: u32 = 4096;
const BUCKET_BITS: u32 = 10;
const BUCKETS: usize = 1 << BUCKET_BITS;

type Hash = Box<dyn Fn(u32, &Seed) -> u32>;

/// The sets of addresses that hosts give out, as functions of a running number below [`KEYS`].
#[rustfmt::skip]
fn sets() -> Vec<(&'static str, Hash)> {
    const NET: u128 = 0x2001_0db8_0000_0000 << 64;
    vec![
        ("v4, one after the other", Box::new(|n, seed| v4(0x0a08_0000 + n).hash(seed))),
        ("v4, one per /24", Box::new(|n, seed| v4(0x0a00_0001 + (n << 8)).hash(seed))),
        ("v4, one per /20", Box::new(|n, seed| v4(0x0a00_0001u32.wrapping_add(n << 20)).hash(seed))),
        ("v4, every third", Box::new(|n, seed| v4(0xac10_0000 + 3 * n).hash(seed))),
        ("v4, every 251st", Box::new(|n, seed| v4(0x0a00_0000 + 251 * n).hash(seed))),
        ("v4, a /16 and 16 hosts in it", Box::new(|n, seed| v4(0x0a00_0000 + ((n >> 4) << 16) + (n & 15)).hash(seed))),
        ("v6, one after the other", Box::new(|n, seed| v6(NET + u128::from(n)).hash(seed))),
        ("v6, the suffix by 2^16", Box::new(|n, seed| v6(NET + (u128::from(n) << 16)).hash(seed))),
        ("v6, the suffix by 2^32", Box::new(|n, seed| v6(NET + (u128::from(n) << 32)).hash(seed))),
        ("v6, the suffix by 2^52", Box::new(|n, seed| v6(NET + (u128::from(n) << 52)).hash(seed))),
        ("v6, ::1 in each /64", Box::new(|n, seed| v6(NET + (u128::from(n) << 64) + 1).hash(seed))),
        ("v6, ::1 in each /48", Box::new(|n, seed| v6(NET + (u128::from(n) << 80) + 1).hash(seed))),
        ("v6, EUI-64 by dev_id", Box::new(|n, seed| v6((0xfe80 << 112) | 0x0a39_dd00_000a_e125 | (u128::from(n) << 24)).hash(seed))),
        // A tenant that cancels a plain exclusive or or sum of the halves.
        ("v6, the halves equal", Box::new(|n, seed| v6((u128::from(n) << 64) | u128::from(n)).hash(seed))),
        ("v6, the halves of constant sum", Box::new(|n, seed| v6((u128::from(n) << 64) | u128::from(!n)).hash(seed))),
        ("v6, both halves run", Box::new(|n, seed| v6(NET + (u128::from(n >> 6) << 64) + u128::from(n & 63)).hash(seed))),
    ]
}

type Bucket = fn(u32) -> usize;

/// Which bucket of [`BUCKETS`] a hash falls into, by the bits a table may take.
const VIEWS: [(&str, Bucket); 3] = [
    ("low bits", |hash| hash as usize % BUCKETS),
    ("top bits", |hash| (hash >> (32 - BUCKET_BITS)) as usize),
    ("middle bits", |hash| (hash >> 11) as usize % BUCKETS),
];

fn loads(hashes: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut loads = vec![0; BUCKETS];
    for bucket in hashes {
        loads[bucket] += 1;
    }
    loads
}

/// Pearson's statistic: about `BUCKETS` (deviation 45) for throws at random, less if more even.
fn chi_square(loads: &[u32]) -> f64 {
    let expected = f64::from(KEYS) / BUCKETS as f64;
    loads
        .iter()
        .map(|&load| (f64::from(load) - expected).powi(2) / expected)
        .sum()
}

#[test]
fn sets_spread_evenly_under_nearly_every_seed() {
    const SEEDS: usize = 200;
    for (set, hash) in sets() {
        for (view, bucket) in VIEWS {
            let mut seeds = Seeds(1);
            let (mut uneven, mut worst) = (0, 0);
            for _ in 0..SEEDS {
                let seed = seeds.seed();
                let loads = loads((0..KEYS).map(|n| bucket(hash(n, &seed))));
                // Six deviations: never in as many throws at random.
                uneven += usize::from(chi_square(&loads) > BUCKETS as f64 + 6.0 * 45.3);
                worst = worst.max(*loads.iter().max().unwrap());
            }
            assert!(
                uneven <= SEEDS / 100,
                "{set}, {view}: {uneven} of {SEEDS} seeds uneven"
            );
            // Four per bucket on average; 20 is beyond what throws at random reach here.
            assert!(worst <= 20, "{set}, {view}: {worst} in one bucket");
        }
    }
}

/// Addresses whose whole hashes agree share a bucket in a table of any size.
#[test]
fn whole_hashes_rarely_agree() {
    let mut seeds = Seeds(2);
    for (set, hash) in sets() {
        for _ in 0..20 {
            let seed = seeds.seed();
            let mut hashes: Vec<u32> = (0..KEYS).map(|n| hash(n, &seed)).collect();
            hashes.sort_unstable();
            hashes.dedup();
            // 0.002 expected.
            assert!(hashes.len() + 2 >= KEYS as usize, "{set}: {}", hashes.len());
        }
    }
}

/// No word of a seed switches the hash off, should it happen to be zero.
#[test]
fn zero_words_do_not_collapse_the_hash() {
    for zero in 0..4 {
        let mut seeds = Seeds(5);
        let mut words = [0; 4].map(|_: u64| seeds.word());
        words[zero] = 0;
        let seed = Seed::new(words);
        for (set, hash) in sets() {
            let mut hashes: Vec<u32> = (0..KEYS).map(|n| hash(n, &seed)).collect();
            hashes.sort_unstable();
            hashes.dedup();
            let distinct = hashes.len();
            assert!(
                distinct + 2 >= KEYS as usize,
                "{set}, word {zero}: {distinct}"
            );
        }
    }
}

/// What collides under one seed does not under another, so an attacker must learn the seed.
#[test]
fn collisions_do_not_survive_another_seed() {
    let mut seeds = Seeds(3);
    for _ in 0..10 {
        let (known, other) = (seeds.seed(), seeds.seed());
        let one_bucket = |hash: u32| hash as usize % BUCKETS == 0;
        let net = 0x2001_0db8_u128 << 96;
        let piled6: Vec<V6> = (0..4_000_000u128)
            .map(|n| v6(net + n))
            .filter(|addr| one_bucket(addr.hash(&known)))
            .take(KEYS as usize / 2)
            .collect();
        let piled4: Vec<V4> = (0..4_000_000u32)
            .map(|n| v4(0x0a00_0000 + n))
            .filter(|addr| one_bucket(addr.hash(&known)))
            .take(KEYS as usize / 2)
            .collect();
        assert!(piled6.len() == 2048 && piled4.len() == 2048);
        for (_, bucket) in VIEWS {
            let of6 = loads(piled6.iter().map(|addr| bucket(addr.hash(&other))));
            let of4 = loads(piled4.iter().map(|addr| bucket(addr.hash(&other))));
            assert!(of6.into_iter().max() <= Some(16));
            assert!(of4.into_iter().max() <= Some(16));
        }
    }
}

/// Each bit of an address moves each bit of the hash about half of the time.
#[test]
fn every_bit_counts() {
    const ROUNDS: u32 = 400;
    let mut seeds = Seeds(4);
    let mut flips = vec![[0u32; 32]; 128 + 32];
    for _ in 0..ROUNDS {
        let seed = seeds.seed();
        let addr = (u128::from(seeds.word()) << 64) | u128::from(seeds.word());
        let short = addr as u32;
        for (bit, row) in flips.iter_mut().enumerate() {
            let moved = match bit.checked_sub(128) {
                None => v6(addr).hash(&seed) ^ v6(addr ^ (1 << bit)).hash(&seed),
                Some(bit) => v4(short).hash(&seed) ^ v4(short ^ (1 << bit)).hash(&seed),
            };
            for (n, count) in row.iter_mut().enumerate() {
                *count += (moved >> n) & 1;
            }
        }
    }
    for (bit, row) in flips.iter().enumerate() {
        for (n, &count) in row.iter().enumerate() {
            // Six deviations of a fair coin.
            let off = count.abs_diff(ROUNDS / 2);
            assert!(
                off < 60,
                "bit {bit} moves bit {n} {count} times of {ROUNDS}"
            );
        }
    }
}

proptest! {
    #[test]
    fn octets_round_trip(short in any::<[u8; 4]>(), long in any::<[u8; 16]>()) {
        prop_assert_eq!(V4::from_octets(short).to_be().to_ne_bytes(), short);
        prop_assert_eq!(V4::from_be(u32::from_ne_bytes(short)), V4::from_octets(short));
        prop_assert_eq!(V6::from_octets(long).octets(), long);
    }

    #[test]
    fn only_zero_is_unspecified(long in any::<[u8; 16]>(), at in 0..16usize) {
        let mut single = [0; 16];
        prop_assert!(V6::from_octets(single).is_unspecified());
        single[at] = long[at] | 1;
        prop_assert!(!V6::from_octets(single).is_unspecified());
    }

    /// Equal words, equal hash: the hash is a function of address and seed alone.
    #[test]
    fn same_seed_same_hash(words in any::<[u64; 4]>(), addr in any::<[u8; 16]>()) {
        let (a, b) = (Seed::new(words), Seed::new(words));
        prop_assert_eq!(V6::from_octets(addr).hash(&a), V6::from_octets(addr).hash(&b));
    }
}
