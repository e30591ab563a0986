// SPDX-License-Identifier: GPL-2.0

//! The table's concurrency, model-checked: every interleaving of a few operations, and every value that the memory model
//! lets a load return, within a bound on preemptions.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom`. Buckets then hold one entry, so that two need an overflow
//! line, and a resize copies one bucket at a time.
#![cfg(loom)]

use ipvlan_rs_host::sync::{
    platform::{self, barrier, RcuBox, RcuRead},
    table::{Entry, Table},
};
use loom::{cell::UnsafeCell, model::Builder, sync::Arc, thread};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const ALIVE: u32 = 0xa11_f00d;

/// An entry whose bytes loom watches: reading them needs the write at their birth to come before, and their death to
/// come after.
struct Item {
    key: u8,
    body: UnsafeCell<u32>,
}

// SAFETY: `body` is written before the item is shared and when it is dropped; that no reader meets a write is what
// these tests check.
unsafe impl Sync for Item {}

impl Item {
    fn boxed(key: u8) -> RcuBox<Self> {
        let item = Self {
            key,
            body: UnsafeCell::new(0),
        };

        // SAFETY: Nobody else has the item.
        item.body.with_mut(|body| unsafe { *body = ALIVE });
        RcuBox::new(item)
    }

    fn touch(&self) {
        // SAFETY: loom checks that there is no writer.
        self.body.with(|body| assert_eq!(unsafe { *body }, ALIVE));
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        // SAFETY: loom checks that there is no reader.
        self.body.with_mut(|body| unsafe { *body = 0 });
    }
}

impl Entry for Item {
    type Key = u8;
    type Seed = ();

    fn key(&self) -> u8 {
        self.touch();
        self.key
    }

    /// Keys 0 to 3 go to the first of two buckets and 4 to 7 to the other; each has its own tag.
    fn hash(key: &u8, _seed: &()) -> u32 {
        u32::from(*key) << 29 | u32::from(*key)
    }
}

/// Runs `body` in all ways that take no more preemptions than that.
fn in_all_ways(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    let runs = std::sync::Arc::new(AtomicUsize::new(0));

    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    let count = runs.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        platform::bury();
        body();
    });
    // For the evidence of scripts/check-long.
    println!(
        "{} executions within {preemptions} preemptions",
        runs.load(Relaxed)
    );
}

/// Runs `body` on a table with these keys, which is dropped in the end.
fn check(
    preemptions: usize,
    keys: &'static [u8],
    body: impl Fn(&Arc<Table<Item>>) + Send + Sync + 'static,
) {
    in_all_ways(preemptions, move || {
        let table = Arc::new(Table::new(()).expect("there is memory"));
        keys.iter().for_each(|key| insert(&table, *key));

        body(&table);
        drop(table);
        barrier();
    });
}

fn insert(table: &Table<Item>, key: u8) {
    assert!(table.insert(Item::boxed(key)).is_ok());
}

/// Removes a key and waits until it is freed.
fn remove(table: &Table<Item>, key: u8) {
    let (item, _) = table.remove_if(&key, |_| true);
    item.expect("it was there").touch();
    barrier();
}

/// Looks up keys, each in a section of its own, and uses what is found until the end of the section.
fn found<const N: usize>(table: &Table<Item>, keys: [u8; N]) -> [bool; N] {
    keys.map(|key| {
        let rcu = RcuRead::lock();
        let item = table.lookup(&key, &rcu);
        item.inspect(|item| item.touch()).is_some()
    })
}

fn spawn<T: 'static>(
    table: &Arc<Table<Item>>,
    f: impl FnOnce(&Table<Item>) -> T + 'static,
) -> thread::JoinHandle<T> {
    let table = table.clone();
    thread::spawn(move || f(&table))
}

/// The release of a slot and of a link: an entry that is found was completely written.
#[test]
fn lookup_during_insert() {
    check(6, &[0], |table| {
        let reader = spawn(table, |table| found(table, [1, 2, 1]));

        insert(table, 1);
        insert(table, 2);
        let [first, _, again] = reader.join().unwrap();
        assert!(again || !first, "an entry vanished");
        assert_eq!(found(table, [0, 1, 2]), [true; 3]);
    });
}

/// The first entry of a bucket: no overflow line is in the way.
#[test]
fn lookup_during_first_insert() {
    check(6, &[], |table| {
        let reader = spawn(table, |table| found(table, [0, 0]));

        insert(table, 0);
        let [first, again] = reader.join().unwrap();
        assert!(again || !first, "an entry vanished");
        assert_eq!(found(table, [0]), [true]);
    });
}

/// The grace period of an entry: it is not freed while a reader has it.
#[test]
fn lookup_during_removal() {
    check(6, &[0, 1], |table| {
        let reader = spawn(table, |table| found(table, [1, 0, 1]));

        remove(table, 1);
        let [first, other, again] = reader.join().unwrap();
        assert!(other, "another entry was lost");
        assert!(first || !again, "a removed entry came back");
        assert_eq!(found(table, [0, 1]), [true, false]);
    });
}

/// A slot that is used again: the key of the old entry is not found in the new one.
#[test]
fn lookup_during_replacement() {
    check(6, &[0], |table| {
        let reader = spawn(table, |table| found(table, [0, 1]));

        remove(table, 0);
        insert(table, 1);
        reader.join().unwrap();
        assert_eq!(found(table, [0, 1]), [false, true]);
    });
}

/// The release of a new array and the grace period of the old: nothing that stays is missed, in whichever array.
#[test]
fn lookup_during_resize() {
    check(6, &[0, 1, 4], |table| {
        let reader = spawn(table, |table| found(table, [0, 1, 4]));

        assert!(table.resize().is_ok());
        assert_eq!(reader.join().unwrap(), [true; 3]);
        assert_eq!(found(table, [0, 1, 4]), [true; 3]);
        assert_eq!(table.audit().buckets, 8);
    });
}

/// Insertion before, amid and after the copying: it is in the array that readers see next.
#[test]
fn insert_during_resize() {
    check(6, &[0, 4, 5], |table| {
        let resizer = spawn(table, |table| assert!(table.resize().is_ok()));

        insert(table, 1);
        assert_eq!(found(table, [0, 1]), [true; 2]);
        resizer.join().unwrap();
        assert_eq!(found(table, [0, 1, 4, 5]), [true; 4]);
        assert_eq!(table.audit().entries, 4);
    });
}

/// Removal before, amid and after the copying: neither array keeps what is freed.
#[test]
fn removal_during_resize() {
    check(6, &[0, 1, 4], |table| {
        let resizer = spawn(table, |table| assert!(table.resize().is_ok()));

        remove(table, 1);
        assert_eq!(found(table, [0, 1, 4]), [true, false, true]);
        resizer.join().unwrap();
        assert_eq!(found(table, [0, 1, 4]), [true, false, true]);
        assert_eq!(table.audit().entries, 2);
    });
}

/// A reader, a writer and a resizer at once.
#[test]
fn lookup_and_removal_during_resize() {
    check(3, &[0, 1, 4], |table| {
        let resizer = spawn(table, |table| assert!(table.resize().is_ok()));
        let reader = spawn(table, |table| found(table, [1, 4]));

        remove(table, 1);
        let [_, other] = reader.join().unwrap();
        assert!(other, "an entry that stays was missed");
        resizer.join().unwrap();
        assert_eq!(found(table, [0, 1, 4]), [true, false, true]);
    });
}

/// A reader, an insertion that needs another line, and a resize at once: what was there is found, and what came stays.
#[test]
fn lookup_and_insert_during_resize() {
    check(3, &[0, 1, 4], |table| {
        let resizer = spawn(table, |table| assert!(table.resize().is_ok()));
        let reader = spawn(table, |table| found(table, [5, 0, 5]));

        insert(table, 5);
        let [first, other, again] = reader.join().unwrap();
        assert!(other, "an entry that stays was missed");
        assert!(again || !first, "an entry vanished");
        resizer.join().unwrap();
        assert_eq!(found(table, [0, 1, 4, 5]), [true; 4]);
        assert_eq!(table.audit().entries, 4);
    });
}

/// Two who are told to resize: one does it, the other leaves, and the size fits in the end.
#[test]
fn resize_during_resize() {
    check(6, &[0, 1, 4], |table| {
        let resizer = spawn(table, |table| assert!(table.resize().is_ok()));

        assert!(table.resize().is_ok());
        resizer.join().unwrap();
        assert_eq!(table.audit().buckets, 8);
        assert_eq!(found(table, [0, 1, 4]), [true; 3]);
    });
}

/// What entries point to, as addresses to the slave that has them: counted, and gone with the last reference.
struct Owner(UnsafeCell<u32>);

// SAFETY: Written before it is shared and when it is dropped; that no reader meets a write is what is tested.
unsafe impl Sync for Owner {}
// SAFETY: As above.
unsafe impl Send for Owner {}

impl Owner {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(ALIVE)))
    }

    fn touch(&self) {
        // SAFETY: loom checks that there is no writer.
        self.0.with(|body| assert_eq!(unsafe { *body }, ALIVE));
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: loom checks that there is no reader.
        self.0.with_mut(|body| unsafe { *body = 0 });
    }
}

struct Owned {
    key: u8,
    owner: Arc<Owner>,
}

impl Entry for Owned {
    type Key = u8;
    type Seed = ();

    fn key(&self) -> u8 {
        self.key
    }

    fn hash(key: &u8, _seed: &()) -> u32 {
        Item::hash(key, &())
    }
}

/// Keys 0 and 1 are the leaving owner's, 4 another's.
fn with_two_owners(
    preemptions: usize,
    body: impl Fn(&Arc<Table<Owned>>, Arc<Owner>) + Send + Sync + 'static,
) {
    in_all_ways(preemptions, move || {
        let table = Arc::new(Table::new(()).expect("there is memory"));
        let (leaving, other) = (Owner::new(), Owner::new());
        for (key, owner) in [(0, &leaving), (1, &leaving), (4, &other)] {
            let owner = owner.clone();
            assert!(table.insert(RcuBox::new(Owned { key, owner })).is_ok());
        }
        drop(other);
        body(&table, leaving);
        drop(table);
        barrier();
    });
}

/// Looks a key up and uses its owner until the end of the section, as the packet path does.
fn used(table: &Table<Owned>, key: u8) -> bool {
    let rcu = RcuRead::lock();
    let owned = table.lookup(&key, &rcu);
    owned.inspect(|owned| owned.owner.touch()).is_some()
}

/// All of an owner's entries go, then its last reference, as when a slave is deleted; the owner is dropped after its
/// readers, and while another's are found.
fn leave(table: &Table<Owned>, leaving: Arc<Owner>) {
    let _ = table.retain(|owned| !Arc::ptr_eq(&owned.owner, &leaving));
    drop(leaving);
    barrier();
    assert_eq!([0, 1, 4].map(|key| used(table, key)), [false, false, true]);
}

/// A slave is removed while a packet for it, and one for another, are on their way.
#[test]
fn lookup_during_an_owners_removal() {
    with_two_owners(4, |table, leaving| {
        let reader = {
            let table = table.clone();
            thread::spawn(move || [1, 4, 1].map(|key| used(&table, key)))
        };

        leave(table, leaving);
        let [first, other, again] = reader.join().unwrap();
        assert!(other, "another's entry was lost");
        assert!(first || !again, "a removed entry came back");
    });
}

/// A slave is removed while the table is resized and a packet for it is on its way.
#[test]
fn owners_removal_during_resize() {
    with_two_owners(2, |table, leaving| {
        let resizer = {
            let table = table.clone();
            thread::spawn(move || assert!(table.resize().is_ok()))
        };
        let reader = {
            let table = table.clone();
            thread::spawn(move || used(&table, 1))
        };

        leave(table, leaving);
        resizer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(table.audit().entries, 1);
    });
}
