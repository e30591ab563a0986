// SPDX-License-Identifier: GPL-2.0

//! Readers, writers, a resizer and grace periods all at once. Finds what loom's small models are too small for; most
//! telling under Miri or a sanitizer.

use super::item::{Hash, Item, Population};
use ipvlan_rs_host::sync::{
    platform::{barrier, RcuRead},
    table::Table,
};
use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread,
};

const ROUNDS: u16 = if cfg!(miri) { 3 } else { 60 };
const CROWD: u16 = if cfg!(miri) { 60 } else { 3000 };
/// Keys that are there all the time.
const STAYING: u16 = 50;

#[test]
fn readers_find_what_stays_while_the_rest_comes_and_goes() {
    let population = Population::default();
    let table = Table::<Item>::new(Arc::new(Hash::stuck(u32::MAX, 0))).expect("there is memory");
    let stop = AtomicBool::new(false);
    let insert = |key: u16| {
        let inserted = table.insert(Item::boxed(key, u32::from(key) * 3, &population));
        assert!(inserted.is_ok());
    };

    (0..STAYING).for_each(insert);
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut transient = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    let rcu = RcuRead::lock();
                    for key in 0..STAYING {
                        let item = table.lookup(&key, &rcu).expect("it never left");
                        assert_eq!(item.value(), u32::from(key) * 3);
                    }
                    for key in (STAYING..STAYING + CROWD).step_by(7) {
                        if let Some(item) = table.lookup(&key, &rcu) {
                            thread::yield_now();
                            assert_eq!(item.value(), u32::from(key) * 3);
                            transient += 1;
                        }
                    }
                }
                transient
            })
        });
        // Grows and shrinks in the background, as the module's work does.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(table.resize().is_ok());
                barrier();
            }
        });

        for round in 0..ROUNDS {
            (STAYING..STAYING + CROWD).for_each(insert);
            if round % 2 == 0 {
                let _ = table.retain(|item| item.value() < u32::from(STAYING) * 3);
            } else {
                for key in STAYING..STAYING + CROWD {
                    let (item, _) = table.remove_if(&key, |_| true);
                    assert_eq!(item.map(|item| item.value()), Some(u32::from(key) * 3));
                }
            }
            assert_eq!(table.len(), usize::from(STAYING));
        }
        stop.store(true, Ordering::Relaxed);
        let transient = readers.map(|reader| reader.join().expect("a reader failed"));
        assert!(
            transient.iter().any(|n| *n > 0),
            "nothing was read while it could vanish"
        );
    });

    assert_eq!(table.audit().entries, usize::from(STAYING));
    drop(table);
    barrier();
    assert_eq!(population.load(Ordering::Relaxed), 0);
}
