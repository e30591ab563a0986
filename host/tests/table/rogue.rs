// SPDX-License-Identifier: GPL-2.0

//! An entry whose hash does not stay the same, against the contract of `Entry`: lookups may miss it, but every item is
//! still dropped once, after the readers that hold it.

use super::item::{Hash, Item, Population};
use ipvlan_rs_host::sync::{
    platform::{self, barrier, RcuRead},
    table::Table,
};
use proptest::{collection::vec, prelude::*};
use std::{
    rc::Rc,
    sync::{atomic::Ordering, Arc},
};

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u16),
    Remove(u16),
    Twist(u32),
    Scan(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..64_u16).prop_map(Op::Insert),
        6 => (0..64_u16).prop_map(Op::Remove),
        2 => (0..4_u32).prop_map(Op::Twist),
        1 => (2..9_u16).prop_map(Op::Scan),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changing_hash_is_memory_safe(rounds in vec(vec(op(), 1..40), 1..12)) {
        platform::limit_allocations(usize::MAX);
        let population = Population::default();
        let hash = Arc::new(Hash::stuck(u32::MAX, 0));
        let table = Rc::new(Table::<Item>::new(hash.clone()).expect("there is memory"));

        let run = {
            let (table, population) = (table.clone(), population.clone());
            move |op| match op {
                Op::Insert(key) => drop(table.insert(Item::boxed(key, 0, &population))),
                Op::Remove(key) => drop(table.remove_if(&key, |item| item.value() == 0)),
                Op::Twist(twist) => hash.twist.store(twist, Ordering::Relaxed),
                Op::Scan(n) => {
                    let mut count = 0;
                    let _ = table.retain(|item| {
                        count += 1;
                        count % n != 0 || item.value() != 0
                    });
                }
            }
        };

        for ops in rounds {
            let mut ops = ops.into_iter();
            let run = run.clone();
            platform::with_interlude(
                move || ops.by_ref().take(5).for_each(&run),
                // A copy that a changed hash has spoilt is given up; the table stays.
                || {
                    let _ = table.resize();
                },
            );
            barrier();

            let rcu = RcuRead::lock();
            for key in 0..64 {
                assert_eq!(table.lookup(&key, &rcu).map_or(0, Item::value), 0);
            }
            prop_assert_eq!(population.load(Ordering::Relaxed), table.len());
        }
        drop(run);
        drop(table);
        barrier();
        prop_assert_eq!(population.load(Ordering::Relaxed), 0);
    }
}
