// SPDX-License-Identifier: GPL-2.0

//! Random sequences of operations, some of them in the middle of a resize or a scan, against a `BTreeMap`.

use super::item::{Hash, Item, Population};
use ipvlan_rs_host::sync::{
    platform::{self, barrier, RcuRead},
    table::{Advice, InsertError, Table},
};
use proptest::{collection::vec, prelude::*};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{atomic::Ordering, Arc},
};

/// Keys are below this: few, so that they meet again.
const KEYS: u16 = 400;

#[derive(Clone, Debug)]
enum Op {
    Insert(u16),
    /// This many keys from the first on.
    InsertRun(u16, u16),
    Remove(u16),
    RemoveRun(u16, u16),
    /// A removal that is called off.
    Refuse(u16),
    /// Keep the keys of which this is no divisor, and do the rest meanwhile.
    Retain(u16, Vec<Op>),
    /// Resize, and do the rest meanwhile.
    Resize(Vec<Op>),
    /// Let allocations fail after so many.
    Limit(usize),
    Unlimit,
    Barrier,
}

fn simple() -> BoxedStrategy<Op> {
    prop_oneof![
        8 => (0..KEYS).prop_map(Op::Insert),
        3 => (0..KEYS, 1..100_u16).prop_map(|(key, n)| Op::InsertRun(key, n)),
        6 => (0..KEYS).prop_map(Op::Remove),
        2 => (0..KEYS, 1..100_u16).prop_map(|(key, n)| Op::RemoveRun(key, n)),
        1 => (0..KEYS).prop_map(Op::Refuse),
        1 => (0..4_usize).prop_map(Op::Limit),
        2 => Just(Op::Unlimit),
        1 => Just(Op::Barrier),
    ]
    .boxed()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let scan = (1..9_u16).prop_map(|n| Op::Retain(n, Vec::new()));
    let op = prop_oneof![
        10 => simple(),
        3 => vec(prop_oneof![9 => simple(), 1 => scan], 0..40).prop_map(Op::Resize),
        1 => (1..9_u16, vec(simple(), 0..20)).prop_map(|(n, ops)| Op::Retain(n, ops)),
    ];
    vec(op, 1..60)
}

/// Hashes from good to hopeless: all bits, few buckets, few tags, one bucket, one of everything.
fn hash() -> impl Strategy<Value = Hash> {
    prop_oneof![
        4 => Just((u32::MAX, 0)),
        1 => Just((0xc000_00ff, 0)),
        1 => Just((0xffff_ff00, 0x5a)),
        1 => Just((0x0000_00ff, 0xffff_0000)),
        1 => Just((0, u32::MAX)),
    ]
    .prop_map(|(and, or)| Hash::stuck(and, or))
}

struct World {
    table: Table<Item>,
    model: RefCell<BTreeMap<u16, u32>>,
    values: Cell<u32>,
    limited: Cell<bool>,
    population: Population,
}

impl World {
    fn new(hash: Hash) -> Rc<Self> {
        platform::limit_allocations(usize::MAX);
        Rc::new(Self {
            table: Table::new(Arc::new(hash)).expect("there is memory"),
            model: RefCell::default(),
            values: Cell::new(0),
            limited: Cell::new(false),
            population: Population::default(),
        })
    }

    fn limit(&self, n: usize) {
        platform::limit_allocations(n);
        self.limited.set(n != usize::MAX);
    }

    fn insert(&self, key: u16) {
        let value = self.values.get() + 1;
        self.values.set(value);

        let inserted = self.table.insert(Item::boxed(key, value, &self.population));
        let known = self.model.borrow().contains_key(&key);
        match inserted {
            Ok(_) => {
                assert!(!known, "a key was inserted twice");
                self.model.borrow_mut().insert(key, value);
            }
            Err(InsertError::Taken(item)) => {
                assert!(known, "a free key is said to be taken");
                assert_eq!(item.value(), value);
            }
            Err(InsertError::NoMemory(item)) => {
                assert!(!known && self.limited.get());
                assert_eq!(item.value(), value);
            }
        }
    }

    fn remove(&self, key: u16) {
        let (item, _) = self.table.remove_if(&key, |_| true);
        assert_eq!(
            item.map(|item| item.value()),
            self.model.borrow_mut().remove(&key)
        );
    }

    fn run(self: &Rc<Self>, op: Op) {
        match op {
            Op::Insert(key) => self.insert(key),
            Op::InsertRun(key, n) => (key..KEYS.min(key + n)).for_each(|key| self.insert(key)),
            Op::Remove(key) => self.remove(key),
            Op::RemoveRun(key, n) => (key..KEYS.min(key + n)).for_each(|key| self.remove(key)),
            Op::Refuse(key) => {
                let mut asked = None;
                let (item, advice) = self.table.remove_if(&key, |item| {
                    asked = Some(item.value());
                    false
                });
                assert!(item.is_none() && advice == Advice::None);
                assert_eq!(asked, self.model.borrow().get(&key).copied());
            }
            Op::Retain(divisor, meanwhile) => self.retain(divisor, meanwhile),
            Op::Resize(meanwhile) => self.resize(meanwhile),
            Op::Limit(n) => self.limit(n),
            Op::Unlimit => self.limit(usize::MAX),
            Op::Barrier => barrier(),
        }
    }

    fn meanwhile(self: &Rc<Self>, ops: Vec<Op>, body: impl FnOnce()) {
        let world = self.clone();
        let mut ops = VecDeque::from(ops);

        platform::with_interlude(
            move || {
                // The world may be checked in mid-resize as well.
                world.check_lookups();
                for op in ops.drain(..ops.len().min(3)) {
                    world.run(op);
                }
            },
            body,
        );
    }

    fn resize(self: &Rc<Self>, meanwhile: Vec<Op>) {
        let limits = meanwhile.iter().any(|op| matches!(op, Op::Limit(_)));
        let may_fail = self.limited.get() || limits;

        self.meanwhile(meanwhile, || {
            assert!(self.table.resize().is_ok() || may_fail);
        });
        if !self.limited.get() {
            assert_eq!(self.table.resize(), Ok(()));
            assert_eq!(
                self.table.retain(|_| true),
                Advice::None,
                "still does not fit"
            );
        }
    }

    fn retain(self: &Rc<Self>, divisor: u16, meanwhile: Vec<Op>) {
        let before = self.model.borrow().clone();
        let mut asked = BTreeMap::new();

        self.meanwhile(meanwhile, || {
            let _ = self.table.retain(|item| {
                let key = item_key(item);
                let keep = key % divisor != 0;

                asked.insert(key, item.value());
                if !keep {
                    assert_eq!(self.model.borrow_mut().remove(&key), Some(item.value()));
                }
                keep
            });
        });
        for (key, value) in &*self.model.borrow() {
            // Who was there throughout was asked, and has left if it had to.
            if before.get(key) == Some(value) {
                assert_eq!(asked.get(key), Some(value));
                assert_ne!(key % divisor, 0);
            }
        }
    }

    fn check_lookups(&self) {
        let rcu = RcuRead::lock();
        for key in 0..KEYS {
            let found = self.table.lookup(&key, &rcu).map(Item::value);
            assert_eq!(found, self.model.borrow().get(&key).copied(), "key {key}");
        }
    }
}

fn item_key(item: &Item) -> u16 {
    ipvlan_rs_host::sync::table::Entry::key(item)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map(hash in hash(), ops in ops()) {
        let idle = platform::bytes_in_use();
        let world = World::new(hash);
        let empty = platform::bytes_in_use();

        for op in ops {
            world.run(op);
            world.check_lookups();
            let shape = world.table.audit();
            prop_assert_eq!(shape.entries, world.model.borrow().len());
            prop_assert_eq!(world.table.len(), shape.entries);
        }

        // Nothing is left of what is gone, and an emptied table shrinks to what it was.
        barrier();
        prop_assert_eq!(world.population.load(Ordering::Relaxed), world.table.len());
        world.limit(usize::MAX);
        let population = world.population.clone();
        if world.table.len() % 2 == 0 {
            while let Some(key) = { let first = world.model.borrow().keys().next().copied(); first } {
                world.remove(key);
            }
            prop_assert_eq!(world.table.resize(), Ok(()));
            if world.table.audit().overflow_lines == 0 {
                prop_assert_eq!(platform::bytes_in_use(), empty);
            }
        }
        drop(world);
        barrier();
        prop_assert_eq!(population.load(Ordering::Relaxed), 0);
        prop_assert_eq!(platform::bytes_in_use(), idle);
    }
}
