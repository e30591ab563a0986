// SPDX-License-Identifier: GPL-2.0

//! Who owns which address on a port.
//!
//! An address is in its table from the moment a slave gets it until it loses it, whether the slave is up or not; it
//! steers packets only while the slave is up and the master does not have the same address.

#![forbid(unsafe_code)]

use crate::{
    device::{
        Ipvlan,
        Slave, //
    },
    logic::addr::{
        Addr,
        Seed,
        V4,
        V6, //
    },
    net::{
        device::Name,
        driver::DriverRef, //
    },
    sync::{
        lock::SpinLockBh,
        marked::Marked,
        rcu::{
            RcuBox,
            RcuRead,
            RcuSpace, //
        },
        table::{
            Advice,
            Entry,
            InsertError,
            Table, //
        },
        work::Worker, //
    },
};
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        static_lock_class, //
    },
};

/// An address of either family, as a key of its table.
pub(crate) trait Key: Copy + Eq + Send + Sync + 'static {
    /// The seeded hash.
    fn hash(self, seed: &Seed) -> u32;
}

impl Key for V4 {
    #[inline]
    fn hash(self, seed: &Seed) -> u32 {
        V4::hash(self, seed)
    }
}

impl Key for V6 {
    #[inline]
    fn hash(self, seed: &Seed) -> u32 {
        V6::hash(self, seed)
    }
}

/// That a slave has an address.
pub(crate) struct Owned<K: Key> {
    key: K,
    slave: DriverRef<Ipvlan>,
    /// The master has the address too, and gets its packets.
    shadowed: Marked<bool>,
}

impl<K: Key> Entry for Owned<K> {
    type Key = K;
    type Seed = Seed;

    #[inline]
    fn key(&self) -> K {
        self.key
    }

    #[inline]
    fn hash(key: &K, seed: &Seed) -> u32 {
        key.hash(seed)
    }
}

/// What became of an address that a slave got.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is in the table.
    New,
    /// It was there already, for the same slave.
    Again,
    /// Another slave has it: it is not steered.
    Taken,
    /// There was no memory: it is not steered.
    NoMemory,
    /// The slave has as many as it may: it is not steered.
    TooMany,
}

/// The most addresses that each slave of a port may have: 0 for any number.
#[derive(Clone, Copy)]
pub(crate) struct Limit(u32);

impl Limit {
    /// Whether a slave that has `number` addresses may have no more.
    pub(crate) fn is_reached(self, number: usize) -> bool {
        // CAST: usize has at least 32 bits here.
        self.0 != 0 && number >= self.0 as usize
    }
}

/// The addresses of one family.
pub(crate) struct Family<K: Key> {
    table: Table<Owned<K>>,
    /// For an address that was promised, if there is no memory when it comes.
    reserve: SpinLockBh<Option<RcuSpace<Owned<K>>>>,
}

impl<K: Key> Family<K> {
    fn new(seed: Seed) -> Result<Self> {
        let reserve = SpinLockBh::new(None, c"Family::reserve", static_lock_class!())?;
        let family = Self {
            table: Table::new(seed)?,
            reserve,
        };
        family.prepare()?;
        Ok(family)
    }

    /// Has memory ready for one address: who asks now may be refused, who gets it later may not. Process context; may
    /// sleep.
    ///
    /// An address that another slave makes by itself in between, when there is no memory either, may take it.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    pub(crate) fn prepare(&self) -> Result<(), AllocError> {
        if self.reserve.lock().is_none() {
            let space = RcuSpace::new(GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
            // If somebody else was faster, that one goes, without the lock.
            let other = self.reserve.lock().replace(space);
            drop(other);
        }
        self.table.prepare()
    }

    /// Makes the entry of an address, in the reserve if there is no other memory. `flags` decide whether this may sleep
    /// and whom the memory is charged to.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the reserve is empty too.
    pub(crate) fn entry(
        &self,
        key: K,
        slave: &DriverRef<Ipvlan>,
        flags: Flags,
    ) -> Result<RcuBox<Owned<K>>, AllocError> {
        let space =
            RcuSpace::new(flags).or_else(|error| self.reserve.lock().take().ok_or(error))?;
        Ok(space.fill(Owned {
            key,
            slave: slave.clone(),
            shadowed: Marked::new(false),
        }))
    }

    /// The slave that is to receive what goes to an address.
    #[inline(always)]
    pub(crate) fn receiver<'a>(
        &'a self,
        key: K,
        rcu: &'a RcuRead,
    ) -> Option<&'a DriverRef<Ipvlan>> {
        let owned = self.table.lookup(&key, rcu)?;
        (owned.slave.dev().is_up() && !owned.shadowed.read()).then_some(&owned.slave)
    }

    /// The slave that has an address, up or not.
    pub(crate) fn owner<'a>(&'a self, key: K, rcu: &'a RcuRead) -> Option<&'a DriverRef<Ipvlan>> {
        Some(&self.table.lookup(&key, rcu)?.slave)
    }

    /// Notes that a slave has an address, unless it has `limit` of them already.
    pub(crate) fn add(
        &self,
        owned: RcuBox<Owned<K>>,
        limit: Limit,
        rcu: &RcuRead,
    ) -> (Added, Advice) {
        let (key, slave) = (owned.key, owned.slave.clone());
        // promote_secondaries announces an address again that was there all along.
        let unless_again = |added| {
            let again = self
                .owner(key, rcu)
                .is_some_and(|owner| owner.dev().is(slave.dev()));
            if again {
                Added::Again
            } else {
                added
            }
        };
        // Counted first: who finds the count at zero need not look for entries.
        let before = slave.addresses.fetch_add(1, Relaxed);
        let result = if limit.is_reached(before) {
            Err(Added::TooMany)
        } else {
            self.table.insert(owned).map_err(|error| match error {
                InsertError::Taken(_) => Added::Taken,
                InsertError::NoMemory(_) => Added::NoMemory,
            })
        };
        match result {
            Ok(advice) => (Added::New, advice),
            Err(added) => {
                slave.addresses.fetch_sub(1, Relaxed);
                (unless_again(added), Advice::None)
            }
        }
    }

    /// Notes that `slave` has lost an address.
    pub(crate) fn remove(&self, key: K, slave: &Slave) -> Advice {
        // An address that was taken when the slave got it belongs to somebody else.
        let (removed, advice) = self
            .table
            .remove_if(&key, |owned| core::ptr::eq(&*owned.slave, slave));
        if removed.is_some() {
            slave.addresses.fetch_sub(1, Relaxed);
        }
        advice
    }

    /// Asks again whether the master has an address too, and steers accordingly. Returns the slave's name if the
    /// master has it now and had not before.
    ///
    /// `master_has` is called with the table locked, so that of two calls at once the later one is right; it must not
    /// sleep.
    pub(crate) fn shadow(&self, key: K, master_has: impl FnOnce() -> bool) -> Option<Name> {
        self.table.with(&key, |owned| {
            let (was, is) = (owned.shadowed.read(), master_has());
            owned.shadowed.write(is);
            (is && !was).then(|| owned.slave.dev().name())
        })?
    }

    /// Forgets all addresses of a slave. Process context; scans the table.
    fn forget(&self, slave: &Slave) -> Advice {
        self.table.retain(|owned| {
            let keep = !core::ptr::eq(&*owned.slave, slave);
            if !keep {
                slave.addresses.fetch_sub(1, Relaxed);
            }
            keep
        })
    }
}

/// The addresses of a port. Its work is to resize the tables.
pub(crate) struct Addresses {
    /// Addresses that slaves got and that are not steered to them, since others have them.
    unsteered: Atomic<u64>,
    /// [`Limit`], which does not concern the addresses that are there when it is set.
    limit: Marked<u32>,
    /// IPv4.
    pub(crate) v4: Family<V4>,
    /// IPv6.
    pub(crate) v6: Family<V6>,
}

impl Addresses {
    /// No addresses yet. Process context.
    pub(crate) fn new(seed: [u64; 4]) -> Result<Self> {
        Ok(Self {
            unsteered: Atomic::new(0),
            limit: Marked::new(0),
            v4: Family::new(Seed::new(seed))?,
            v6: Family::new(Seed::new(seed))?,
        })
    }

    /// The most addresses that each slave may have, 0 for any number.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.read()
    }

    /// Sets it. Addresses beyond it that are there already stay.
    pub(crate) fn set_limit(&self, number: u32) {
        self.limit.write(number);
    }

    /// The same, to be asked.
    pub(crate) fn most(&self) -> Limit {
        Limit(self.limit())
    }

    /// Counts an address that is not steered; returns how many there were.
    pub(crate) fn count_unsteered(&self) -> u64 {
        self.unsteered.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// The slave that is to receive what goes to an address.
    #[inline(always)]
    pub(crate) fn receiver<'a>(
        &'a self,
        addr: Addr,
        rcu: &'a RcuRead,
    ) -> Option<&'a DriverRef<Ipvlan>> {
        match addr {
            Addr::V4(key) => self.v4.receiver(key, rcu),
            Addr::V6(key) => self.v6.receiver(key, rcu),
        }
    }

    /// Forgets all addresses of a slave that goes: normally there is none left. Process context.
    pub(crate) fn forget(&self, slave: &Slave) -> Advice {
        if slave.addresses.load(Relaxed) == 0 {
            return Advice::None;
        }
        match (self.v4.forget(slave), self.v6.forget(slave)) {
            (Advice::None, Advice::None) => Advice::None,
            _ => Advice::Resize,
        }
    }
}

impl Worker for Addresses {
    fn run(&self) {
        // Without memory the tables stay as they are: correct, only slower. The next change asks again.
        let _ = self.v4.table.resize();
        let _ = self.v6.table.resize();
    }
}
