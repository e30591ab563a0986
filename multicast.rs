// SPDX-License-Identifier: GPL-2.0

//! Broadcast and multicast: one frame for many slaves.
//!
//! Copies for a few slaves are made at once; for many, the frame waits in a queue, bounded in bytes, for a worker.
//! What nobody listens to is not copied at all.

#![forbid(unsafe_code)]

use crate::{
    device::{
        Counter,
        Ipvlan,
        Slave, //
    },
    logic::{
        addr::Seed,
        filter::MacFilter,
        frame::ETH_HLEN, //
    },
    net::{
        device::{
            Mac,
            NetDevice, //
        },
        device_ref::DeviceRef,
        list::DeviceList,
        packet::{
            DropReason,
            Ethernet,
            PacketType,
            Xmit, //
        },
        queue::{
            Queued,
            SkbQueue, //
        },
        skbuff::Skb,
        softirq::Softirq, //
    },
    sync::{
        lock::SpinLockBh,
        marked::Marked,
        work::{
            cond_resched,
            Work,
            Worker, //
        },
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed,
            Release, //
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

/// The most memory that frames may hold in the queue, in bytes.
pub(crate) const QUEUE_BYTES: u32 = 8 << 20;

/// With up to this many running slaves a frame is distributed at once, without the queue.
const INLINE_SLAVES: usize = 8;

/// IEEE 802.3x flow control, which concerns the master's link only.
const ETH_P_PAUSE: u16 = 0x8808;

/// Where a queued frame came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The wire: the master's stack has had its copy.
    Wire,
    /// A slave: the original still goes out.
    Slave,
}

/// A port's slaves, and the frames that are for many of them. Its work is to distribute those.
pub(crate) struct Flood {
    /// All slaves of the port, in order of creation.
    pub(crate) slaves: DeviceList<Ipvlan>,
    master: DeviceRef,
    seed: Seed,
    queue: SkbQueue<Origin>,
    /// How many running slaves listen to each bit.
    listeners: SpinLockBh<EachBit<u16>>,
    /// The bits with listeners.
    wanted: SharedFilter,
    /// The number of running slaves.
    running: Atomic<usize>,
    /// Frames from the wire that were lost, by bit, until the worker counts them on the slaves that listen.
    lost: EachBit<Atomic<u32>>,
    /// Whether there is anything in `lost`.
    any_lost: Atomic<bool>,
}

/// One value for each bit of a filter. On the heap: too large for the stack.
type EachBit<T> = KBox<[T; 256]>;

fn each_bit<T>(value: impl Fn() -> T) -> Result<EachBit<T>> {
    KBox::init(pin_init::init_array_from_fn(|_| value()), GFP_KERNEL)
}

impl Flood {
    /// No slaves yet. Process context.
    pub(crate) fn new(master: DeviceRef, seed: [u64; 4]) -> Result<Self> {
        Ok(Self {
            slaves: DeviceList::new(),
            master,
            seed: Seed::new(seed),
            queue: SkbQueue::new(QUEUE_BYTES as usize)?,
            listeners: SpinLockBh::new(each_bit(|| 0)?, c"Flood::listeners", static_lock_class!())?,
            wanted: SharedFilter::new(),
            running: Atomic::new(0),
            lost: each_bit(|| Atomic::new(0))?,
            any_lost: Atomic::new(false),
        })
    }

    /// The bit of a group address.
    pub(crate) fn bit(&self, mac: &Mac) -> u8 {
        MacFilter::bit(mac, &self.seed)
    }

    /// The bit that every running slave listens to.
    pub(crate) fn broadcast_bit(&self) -> u8 {
        self.bit(&self.master.broadcast())
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
        let mut listeners = self.listeners.lock();
        for (bit, count) in (0..=u8::MAX).zip(listeners.iter_mut()) {
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

    /// The most memory that waiting frames may hold, in bytes.
    pub(crate) fn limit(&self) -> u32 {
        u32::try_from(self.queue.limit()).unwrap_or(u32::MAX)
    }

    /// Sets that limit. What waits already stays.
    pub(crate) fn set_limit(&self, bytes: u32) {
        self.queue.set_limit(bytes as usize);
    }

    fn is_full(&self) -> bool {
        self.queue.bytes() >= self.queue.limit()
    }

    /// Whether frames are distributed without the queue: few have to be copied for, and none is overtaken.
    fn at_once(&self) -> bool {
        self.queue.is_idle() && self.running.load(Relaxed) <= INLINE_SLAVES
    }

    fn note_lost(&self, bit: u8) {
        self.master.count_rx_dropped();
        if let Some(lost) = self.lost.get(usize::from(bit)) {
            lost.fetch_add(1, Relaxed);
        }
        // Ordering: who sees the flag sees the count. Pairs with the exchange in `settle_lost`.
        self.any_lost.store(true, Release);
    }

    /// Counts lost frames on the slaves that would have got them.
    fn settle_lost(&self, cx: &Softirq) {
        // Ordering: taken down before the counts are read, so that a loss in between puts it up again.
        if !self.any_lost.xchg(false, Full) {
            return;
        }
        for (bit, lost) in (0..=u8::MAX).zip(self.lost.iter()) {
            let count = lost.xchg(0, Relaxed);
            if count == 0 {
                continue;
            }
            for slave in self.slaves.iter(&cx.rcu) {
                if slave.filter.contains(bit) {
                    slave
                        .counters
                        .add(Counter::RxDropped, u64::from(count), &cx.bh);
                }
            }
        }
    }

    /// How the copies' destination is marked.
    fn packet_type(&self, dest: &Mac) -> PacketType {
        if *dest == self.master.broadcast() {
            PacketType::Broadcast
        } else {
            PacketType::Multicast
        }
    }

    /// Gives a copy to each slave that listens to `bit`, save the one it came from.
    fn distribute(
        &self,
        skb: &Skb,
        bit: u8,
        from: Option<&NetDevice>,
        cx: &Softirq,
        mut deliver: impl FnMut(Skb, &NetDevice) -> bool,
    ) {
        // Received frames have their Ethernet header taken off; both sides count it.
        let len = if from.is_none() {
            skb.len().saturating_add(ETH_HLEN)
        } else {
            skb.len()
        };
        for slave in self.slaves.iter(&cx.rcu) {
            let dev = slave.dev();
            if from.is_some_and(|from| from.is(dev)) || !slave.filter.contains(bit) || !dev.is_up()
            {
                continue;
            }
            let delivered = skb.clone_header().is_some_and(|copy| deliver(copy, dev));
            slave.count_received(len, delivered, true, cx);
        }
    }

    /// Distributes a frame that waited. Process context, bottom halves off.
    fn distribute_queued(&self, queued: Queued<Origin>, cx: &Softirq) {
        let Queued {
            mut skb,
            dev,
            tag,
            charge,
        } = queued;
        match tag {
            Origin::Wire => {
                if let Some(Ethernet { dest, .. }) = skb.received_ethernet() {
                    skb.set_packet_type(self.packet_type(&dest));
                    self.distribute(&skb, self.bit(&dest), None, cx, |copy, dev| {
                        copy.receive_on_now(dev, cx)
                    });
                }
                skb.consume();
            }
            Origin::Slave => {
                if let Some(Ethernet { dest, .. }) = skb.sent_ethernet() {
                    self.distribute(&skb, self.bit(&dest), Some(&dev), cx, |copy, dev| {
                        copy.forward_to_now(dev, cx)
                    });
                    skb.set_packet_type(self.packet_type(&dest));
                }
                if let Some(slave) = dev.driver::<Ipvlan>() {
                    slave.queued.fetch_sub(charge, Relaxed);
                }
                let _ = skb.queue_xmit(&self.master, cx);
            }
        }
        self.queue.settle(charge);
    }
}

impl Worker for Flood {
    fn run(&self) {
        // Only what waits now: each frame that comes meanwhile has queued the work again.
        for queued in self.queue.take_all() {
            // One frame at a time: with many slaves each takes long.
            Softirq::with(|cx| self.distribute_queued(queued, cx));
            cond_resched();
        }
        Softirq::with(|cx| self.settle_lost(cx));
    }
}

impl Work<Flood> {
    /// Distributes a frame that the master received, and that its own stack will get.
    pub(crate) fn received(&self, skb: &Skb, cx: &Softirq) {
        let Some(Ethernet { dest, .. }) = skb.received_ethernet() else {
            return;
        };
        let bit = self.bit(&dest);
        if !self.wanted.contains(bit) || skb.protocol() == ETH_P_PAUSE {
            return;
        }
        if !self.at_once() && self.is_full() {
            self.note_lost(bit);
            return self.queue();
        }
        let Some(mut copy) = skb.clone_header() else {
            self.note_lost(bit);
            return self.queue();
        };
        copy.scrub(true);
        if self.at_once() {
            copy.set_packet_type(self.packet_type(&dest));
            self.distribute(&copy, bit, None, cx, |copy, dev| copy.receive_on(dev, cx));
            return copy.consume();
        }
        if let Err(copy) = self.queue.push(copy, self.master.clone(), Origin::Wire) {
            self.note_lost(bit);
            copy.free(DropReason::FullRing);
        }
        self.queue();
    }

    /// Distributes a frame that a slave sends, and sends it out.
    pub(crate) fn sent(&self, skb: Skb, slave: &Slave, dev: &NetDevice, cx: &Softirq) -> Xmit {
        if skb.protocol() == ETH_P_PAUSE {
            skb.free(DropReason::UnhandledProtocol);
            return Xmit::SUCCESS;
        }
        let Some(mut skb) = skb.unshare() else {
            return Xmit::DROP;
        };
        let Some(Ethernet { dest, .. }) = skb.sent_ethernet() else {
            skb.free(DropReason::PacketTooSmall);
            return Xmit::DROP;
        };
        skb.reset_mac_header();
        skb.scrub(true);
        let bit = self.bit(&dest);
        // Without siblings that listen there is nothing to wait for, but what waits must not be overtaken.
        if self.at_once() || (self.queue.is_idle() && !self.wanted.contains(bit)) {
            self.distribute(&skb, bit, Some(dev), cx, |copy, dev| {
                copy.forward_to(dev, cx)
            });
            skb.set_packet_type(self.packet_type(&dest));
            return skb.queue_xmit(&self.master, cx);
        }
        // No slave may fill the queue so far that others find no place.
        let charge = skb.truesize();
        // Charged before the worker can see the packet and take the charge back.
        let share = slave.queued.fetch_add(charge, Relaxed);
        let refused = if share.saturating_add(charge) > self.queue.limit() / 2 {
            Some(skb)
        } else {
            self.queue.push(skb, dev.hold(), Origin::Slave).err()
        };
        match refused {
            None => {
                self.queue();
                Xmit::SUCCESS
            }
            Some(skb) => {
                slave.queued.fetch_sub(charge, Relaxed);
                skb.free(DropReason::FullRing);
                Xmit::DROP
            }
        }
    }

    /// Stops the distribution and drops what waits, with the references to its devices. Process context.
    pub(crate) fn stop(&self) {
        self.cancel();
        for Queued {
            skb, dev, charge, ..
        } in self.queue.take_all()
        {
            skb.free(DropReason::DeviceReady);
            drop(dev);
            self.queue.settle(charge);
        }
    }
}
