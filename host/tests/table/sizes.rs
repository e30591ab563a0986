// SPDX-License-Identifier: GPL-2.0

//! When the table grows and shrinks, and what a resize does that runs out of memory.

use super::item::{Hash, Item, Population};
use ipvlan_rs_host::sync::{
    platform::{self, barrier, AllocError, RcuRead},
    table::{Advice, Table},
};
use std::{rc::Rc, sync::Arc};

fn table(hash: Hash) -> Rc<Table<Item>> {
    platform::limit_allocations(usize::MAX);
    Rc::new(Table::new(Arc::new(hash)).expect("there is memory"))
}

fn insert(table: &Table<Item>, key: u16) -> Advice {
    let inserted = table.insert(Item::boxed(key, u32::from(key), &Population::default()));
    inserted.unwrap_or_else(|_| panic!("key {key} was refused"))
}

fn remove(table: &Table<Item>, key: u16) -> Advice {
    let (item, advice) = table.remove_if(&key, |_| true);
    assert_eq!(item.map(|item| item.value()), Some(u32::from(key)));
    advice
}

#[test]
fn grows_when_full_and_shrinks_when_nearly_empty() {
    let table = table(Hash::stuck(u32::MAX, 0));
    assert_eq!(table.audit().buckets, 4);

    // Four to a bucket is full; the new array is at most half full.
    assert!((0..16).all(|key| insert(&table, key) == Advice::None));
    assert_eq!(insert(&table, 16), Advice::Resize);
    assert_eq!(table.resize(), Ok(()));
    assert_eq!(table.audit().buckets, 16);

    // From there it takes a while, either way.
    assert!((17..64).all(|key| insert(&table, key) == Advice::None));
    assert!((8..64).rev().all(|key| remove(&table, key) == Advice::None));
    assert_eq!(remove(&table, 7), Advice::Resize);
    assert_eq!(table.resize(), Ok(()));
    assert_eq!(table.audit().buckets, 4);
    assert!((0..7).all(|key| remove(&table, key) == Advice::None));
    barrier();
}

#[test]
fn nothing_changes_without_memory_for_the_new_array() {
    let table = table(Hash::stuck(u32::MAX, 0));

    assert!((0..17).all(|key| insert(&table, key) == Advice::None || key == 16));
    platform::limit_allocations(0);
    assert_eq!(table.resize(), Err(AllocError));
    assert_eq!((table.audit().buckets, table.len()), (4, 17));

    // The next change asks again, and then it works.
    platform::limit_allocations(usize::MAX);
    assert_eq!(remove(&table, 3), Advice::None);
    assert_eq!(insert(&table, 3), Advice::Resize);
    assert_eq!(table.resize(), Ok(()));
    assert_eq!(table.audit().buckets, 16);
    barrier();
}

#[test]
fn an_entry_that_the_copy_has_no_memory_for_spoils_the_copy_only() {
    // All in the first bucket, and a gap in its chain that the copy will not have.
    let table = table(Hash::stuck(0, 0));
    for key in 0..25 {
        let _ = insert(&table, key);
    }
    let _ = remove(&table, 3);
    let bytes = platform::bytes_in_use();

    let mut step = 0;
    let meanwhile = {
        let table = table.clone();
        move || {
            step += 1;
            if step == 1 {
                platform::limit_allocations(0);
                let _ = insert(&table, 100);
                platform::limit_allocations(usize::MAX);
            }
        }
    };
    platform::with_interlude(meanwhile, || assert_eq!(table.resize(), Err(AllocError)));

    assert_eq!(platform::bytes_in_use(), bytes);
    assert_eq!((table.audit().buckets, table.len()), (4, 25));
    assert!(table.lookup(&100, &RcuRead::lock()).is_some());
    assert_eq!(table.resize(), Ok(()));
    assert!(table.lookup(&100, &RcuRead::lock()).is_some());
    assert_eq!((table.audit().buckets, table.len()), (16, 25));
    barrier();
}

#[test]
fn a_prepared_table_takes_one_entry_without_memory() {
    let before = platform::bytes_in_use();
    // All in the first bucket.
    let table = table(Hash::stuck(0, 0));
    for key in 0..6 {
        let _ = insert(&table, key);
    }
    let full = platform::bytes_in_use();
    assert_eq!(table.prepare(), Ok(()));
    // What is ready need not be made again, nor can it fail.
    let ready = platform::bytes_in_use();
    platform::limit_allocations(0);
    assert_eq!(table.prepare(), Ok(()));
    assert!(ready > full && platform::bytes_in_use() == ready);

    let _ = insert(&table, 6);
    assert!(table.lookup(&6, &RcuRead::lock()).is_some());
    assert_eq!(table.prepare(), Err(AllocError));
    assert_eq!(platform::bytes_in_use(), ready);

    // With memory the spare line stays.
    platform::limit_allocations(usize::MAX);
    assert_eq!(table.prepare(), Ok(()));
    for key in 7..13 {
        let _ = insert(&table, key);
    }
    platform::limit_allocations(0);
    assert_eq!(table.prepare(), Ok(()));
    platform::limit_allocations(usize::MAX);
    drop(Rc::into_inner(table).expect("the only one"));
    assert_eq!(platform::bytes_in_use(), before);
    barrier();
}
