// SPDX-License-Identifier: GPL-2.0

//! Which slaves of a port listen to which groups, and what all of them together listen to.

#![forbid(unsafe_code)]

use crate::{
    device::{
        Slave,
        SlaveRef, //
    },
    logic::{
        addr::Seed,
        audience::Audience,
        filter::MacFilter, //
    },
    net::device::Mac,
    sync::{
        lock::SpinLockBh,
        marked::Marked, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        static_lock_class, //
    },
};

/// A [`MacFilter`] that readers see change word by word: at worst they see an old bit beside a new one.
pub(crate) struct SharedFilter([Marked<u32>; 8]);

impl SharedFilter {
    /// Nothing passes.
    pub(crate) const fn new() -> Self {
        Self([const { Marked::new(0) }; 8])
    }

    /// Whether a bit passes.
    #[inline]
    pub(crate) fn contains(&self, bit: u8) -> bool {
        self.0
            .get(usize::from(bit >> 5))
            .is_some_and(|word| word.read() >> (bit & 31) & 1 != 0)
    }

    /// Whether everything passes.
    pub(crate) fn is_full(&self) -> bool {
        self.0.iter().all(|word| word.read() == u32::MAX)
    }

    fn set(&self, bit: u8, on: bool) {
        if let Some(word) = self.0.get(usize::from(bit >> 5)) {
            let mask = 1 << (bit & 31);
            word.write(if on {
                word.read() | mask
            } else {
                word.read() & !mask
            });
        }
    }
}

/// One value for each bit of a filter. On the heap: too large for the stack.
pub(crate) type EachBit<T> = KBox<[T; 256]>;

/// Makes one value for each bit. Process context.
pub(crate) fn each_bit<T>(value: impl Fn() -> T) -> Result<EachBit<T>> {
    KBox::init(pin_init::init_array_from_fn(|_| value()), GFP_KERNEL)
}

/// Up to this many running slaves are few: a walk through them is short enough for softirq.
const FEW: usize = 8;

/// What the running slaves of a port listen to.
pub(crate) struct Listeners {
    seed: Seed,
    /// How many running slaves listen to each bit.
    counts: SpinLockBh<EachBit<u16>>,
    /// The bits with listeners.
    wanted: SharedFilter,
    /// The number of slaves that listen to every bit.
    to_all: Atomic<usize>,
    /// The number of running slaves.
    running: Atomic<usize>,
}

impl Listeners {
    /// Nobody listens. Process context.
    pub(crate) fn new(seed: [u64; 4]) -> Result<Self> {
        Ok(Self {
            seed: Seed::new(seed),
            counts: SpinLockBh::new(each_bit(|| 0)?, c"Listeners::counts", static_lock_class!())?,
            wanted: SharedFilter::new(),
            to_all: Atomic::new(0),
            running: Atomic::new(0),
        })
    }

    /// The bit of a group address.
    pub(crate) fn bit(&self, mac: &Mac) -> u8 {
        MacFilter::bit(mac, &self.seed)
    }

    /// Counts a slave that starts or stops running.
    pub(crate) fn count_running(&self, starts: bool) {
        if starts {
            self.running.fetch_add(1, Relaxed);
        } else {
            self.running.fetch_sub(1, Relaxed);
        }
    }

    /// Changes what a slave listens to. Process and softirq context.
    pub(crate) fn listen(&self, slave: &Slave, to: &MacFilter) {
        let mut counts = self.counts.lock();
        let (was, is) = (slave.filter.is_full(), *to == MacFilter::FULL);
        if is && !was {
            self.to_all.fetch_add(1, Relaxed);
        } else if was && !is {
            self.to_all.fetch_sub(1, Relaxed);
        }
        for (bit, count) in (0..=u8::MAX).zip(counts.iter_mut()) {
            let (was, is) = (slave.filter.contains(bit), to.contains(bit));
            if was == is {
                continue;
            }
            *count = if is {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
            slave.filter.set(bit, is);
            self.wanted.set(bit, *count != 0);
        }
    }

    /// Whether there may be somebody in an audience of the group with this bit.
    pub(crate) fn any(&self, audience: &Audience<SlaveRef<'_>>, bit: u8) -> bool {
        let owned = match audience {
            Audience::Concerned { owners, .. } => owners.iter().any(Option::is_some),
            Audience::Nobody | Audience::Listeners { .. } => false,
        };
        owned || self.takes_walk(audience, bit)
    }

    /// Whether finding an audience means asking many slaves.
    pub(crate) fn any_of_many(&self, audience: &Audience<SlaveRef<'_>>, bit: u8) -> bool {
        self.running.load(Relaxed) > FEW && self.takes_walk(audience, bit)
    }

    /// Whether finding an audience means asking each slave.
    pub(crate) fn takes_walk(&self, audience: &Audience<SlaveRef<'_>>, bit: u8) -> bool {
        match audience {
            Audience::Nobody => false,
            Audience::Listeners { .. } => self.wanted.contains(bit),
            Audience::Concerned {
                owners: [owner, _], ..
            } => {
                self.to_all.load(Relaxed) != 0
                    || self.wanted.contains(bit) && owner.is_some_and(|o| o.place.is_shared())
            }
        }
    }
}

/// Whether a slave gets a copy of what concerns an address's owner: one that listens to everything, or that listens to
/// the group in the owner's namespace.
pub(crate) fn hears_too(slave: &Slave, owner: Option<SlaveRef<'_>>, bit: u8) -> bool {
    slave.filter.is_full()
        || slave.filter.contains(bit) && owner.is_some_and(|o| o.place.is_with(&slave.place))
}
