// SPDX-License-Identifier: GPL-2.0

//! A lookup reads no more cache lines among a million addresses than among a few.

use super::tenant::{address, Address};
use ipvlan_rs_host::{
    logic::addr::Seed,
    sync::{
        platform::{barrier, RcuBox, RcuRead},
        table::{Advice, Shape, Table},
    },
};

fn table_of(n: u32, seed: [u64; 4]) -> Table<Address> {
    let table = Table::new(Seed::new(seed)).expect("there is memory");

    for i in 0..n {
        match table.insert(RcuBox::new(Address::new(i))) {
            Ok(Advice::None) => (),
            Ok(Advice::Resize) => table.resize().expect("there is memory"),
            Err(_) => panic!("address {i} was refused"),
        }
    }
    table
}

fn check(n: u32, seed: [u64; 4]) {
    let table = table_of(n, seed);
    let Shape {
        buckets,
        lines_read,
        wrong_entries_read,
        ..
    } = table.audit();
    let each = |count: usize| count as f64 / f64::from(n);

    println!(
        "{n}: {buckets} buckets, per hit {:.3} lines and {:.3} wrong entries",
        each(lines_read),
        each(wrong_entries_read)
    );
    assert!(
        each(lines_read) < 1.1,
        "{n} entries: {lines_read} lines for all of them"
    );
    assert!(
        each(wrong_entries_read) < 0.03,
        "{n} entries: {wrong_entries_read} wrong ones read"
    );
    // A line for every one to four entries.
    assert!(
        buckets <= n as usize && buckets * 4 >= n as usize,
        "{n} entries in {buckets} buckets"
    );

    let rcu = RcuRead::lock();
    let is_there = |i| {
        let found = table.lookup(&address(i), &rcu);
        found.is_some_and(|found| found.number == i)
    };
    assert!((0..n).all(is_there));
    assert!((n..2 * n).all(|i| table.lookup(&address(i), &rcu).is_none()));
}

#[test]
fn a_lookup_reads_one_line_whatever_the_size() {
    let seeds = [
        [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
            0xf88b_b8a8_724c_81ec,
        ],
        [
            0x1b39_896a_51a8_749b,
            0x53cb_9f0c_747e_a2ea,
            0x2c82_9abe_1f45_32e1,
            0xc584_133a_c916_ab3c,
        ],
    ];

    for n in [100, 5000, 16_384] {
        seeds.iter().for_each(|seed| check(n, *seed));
    }
    check(if cfg!(miri) { 1000 } else { 1_000_000 }, seeds[1]);
    barrier();
}
