// SPDX-License-Identifier: GPL-2.0

//! Broadcast and multicast: one frame for many slaves.
//!
//! Copies for a few slaves are made at once; for many, the frame waits in a queue, bounded in bytes, for a worker.
//! What nobody listens to is not copied at all.

#![forbid(unsafe_code)]

use crate::{
    device::{
        received_len,
        Counter,
        Ipvlan,
        Slave,
        SlaveRef, //
    },
    facts::{
        Received,
        Sent, //
    },
    listeners::{
        hears_too,
        Listeners, //
    },
    logic::audience::{
        self,
        Audience, //
    },
    losses::Losses,
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
    port::Port,
    spaces::Spaces,
    sync::{
        rcu::RcuRead,
        work::{
            cond_resched,
            Work,
            Worker, //
        }, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// The most memory that frames may hold in the queue, in bytes.
const QUEUE_BYTES: usize = 8 << 20;

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
    /// What they listen to.
    pub(crate) listeners: Listeners,
    /// Where they run.
    pub(crate) spaces: Spaces,
    master: DeviceRef,
    queue: SkbQueue<Origin>,
    /// Frames from the wire that were lost, until the worker counts them on the slaves that listen.
    losses: Losses,
}

/// A copy's way: what it is made of, and to whom it does not go.
struct Frame<'a> {
    skb: &'a Skb,
    /// The group's bit.
    bit: u8,
    /// The length that it counts for.
    len: usize,
    /// The slave that sends it.
    from: Option<&'a NetDevice>,
}

impl Flood {
    /// No slaves yet. Process context.
    pub(crate) fn new(master: DeviceRef, seed: [u64; 4]) -> Result<Self> {
        Ok(Self {
            slaves: DeviceList::new(),
            listeners: Listeners::new(seed)?,
            spaces: Spaces::new(),
            master,
            queue: SkbQueue::new(QUEUE_BYTES)?,
            losses: Losses::new()?,
        })
    }

    /// The bit that every running slave listens to.
    pub(crate) fn broadcast_bit(&self) -> u8 {
        self.listeners.bit(&self.master.broadcast())
    }

    /// The most memory that waiting frames may hold, in bytes.
    pub(crate) fn limit(&self) -> u32 {
        u32::try_from(self.queue.limit()).unwrap_or(u32::MAX)
    }

    /// Sets that limit. What waits already stays.
    pub(crate) fn set_limit(&self, bytes: u32) {
        self.queue.set_limit(bytes as usize);
    }

    /// Whether a frame is distributed without the queue: few slaves are asked, and no other frame is overtaken.
    fn at_once(&self, audience: &Audience<SlaveRef<'_>>, bit: u8) -> bool {
        self.queue.is_idle() && !self.listeners.any_of_many(audience, bit)
    }

    /// Notes that a frame from the wire was lost.
    fn note_lost(&self, audience: &Audience<SlaveRef<'_>>, bit: u8, cx: &Softirq) {
        self.master.count_rx_dropped();
        match audience {
            Audience::Concerned { owners, .. } => owners
                .iter()
                .flatten()
                .for_each(|slave| slave.counters.add(Counter::RxDropped, 1, &cx.bh)),
            Audience::Nobody | Audience::Listeners { .. } => self.losses.note(bit),
        }
    }

    /// Counts lost frames on the slaves that would have got them.
    fn settle_losses(&self, cx: &Softirq) {
        self.losses.settle(|bit, lost| {
            for slave in self.slaves.iter(&cx.rcu) {
                if slave.filter.contains(bit) {
                    let lost = u64::from(lost);
                    slave.counters.add(Counter::RxDropped, lost, &cx.bh);
                }
            }
        });
    }

    /// How the copies' destination is marked.
    fn packet_type(&self, dest: &Mac) -> PacketType {
        if *dest == self.master.broadcast() {
            PacketType::Broadcast
        } else {
            PacketType::Multicast
        }
    }

    /// Has `give` give each slave of an audience its copy.
    fn distribute(
        &self,
        frame: &Frame<'_>,
        audience: &Audience<SlaveRef<'_>>,
        rcu: &RcuRead,
        mut give: impl FnMut(SlaveRef<'_>),
    ) {
        let mut give = |slave: SlaveRef<'_>| {
            let dev = slave.dev();
            if dev.is_up() && !frame.from.is_some_and(|from| from.is(dev)) {
                give(slave);
            }
        };
        match *audience {
            Audience::Nobody => {}
            Audience::Listeners { but } => self
                .slaves
                .iter(rcu)
                .filter(|slave| slave.filter.contains(frame.bit) && but != Some(*slave))
                .for_each(give),
            Audience::Concerned { owners, but } => {
                let [first, second] = owners;
                owners.into_iter().flatten().for_each(&mut give);
                if self.listeners.takes_walk(audience, frame.bit) {
                    let known = [first, second, but];
                    self.slaves
                        .iter(rcu)
                        .filter(|slave| hears_too(slave, first, frame.bit))
                        .filter(|slave| !known.contains(&Some(*slave)))
                        .for_each(give);
                }
            }
        }
    }

    /// Distributes a frame that waited. Process context. Bottom halves are off for a copy at a time: through all of a
    /// large port's slaves, nothing else on this CPU would receive for milliseconds.
    fn distribute_queued(&self, port: &Port, queued: Queued<Origin>, rcu: &RcuRead) {
        let Queued {
            mut skb,
            dev,
            tag,
            charge,
        } = queued;
        match tag {
            Origin::Wire => {
                if let Some(Ethernet { dest, .. }) = skb.received_ethernet() {
                    let audience = port.audience_of_received(&mut skb, rcu);
                    skb.set_packet_type(self.packet_type(&dest));
                    let frame = Frame::received(&skb, self.listeners.bit(&dest));
                    self.distribute(&frame, &audience, rcu, |slave| {
                        Softirq::with(|cx| frame.give(slave, cx, Skb::receive_on_now));
                    });
                }
                skb.consume();
            }
            Origin::Slave => {
                if let Some(ethernet) = skb.sent_ethernet() {
                    let audience = port.audience_of_sent(&mut skb, ethernet, rcu);
                    let frame = Frame::sent(&skb, self.listeners.bit(&ethernet.dest), &dev);
                    self.distribute(&frame, &audience, rcu, |slave| {
                        Softirq::with(|cx| frame.give(slave, cx, Skb::forward_to_now));
                    });
                    skb.set_packet_type(self.packet_type(&ethernet.dest));
                }
                if let Some(slave) = dev.driver::<Ipvlan>() {
                    slave.queued.fetch_sub(charge, Relaxed);
                }
                let _ = Softirq::with(|cx| skb.queue_xmit(&self.master, cx));
            }
        }
    }
}

impl<'a> Frame<'a> {
    fn received(skb: &'a Skb, bit: u8) -> Self {
        Self {
            skb,
            bit,
            len: received_len(skb),
            from: None,
        }
    }

    fn sent(skb: &'a Skb, bit: u8, from: &'a NetDevice) -> Self {
        Self {
            skb,
            bit,
            len: skb.len(),
            from: Some(from),
        }
    }

    /// Gives a slave a copy by `deliver`, which says whether it could.
    fn give(
        &self,
        slave: SlaveRef<'_>,
        cx: &Softirq,
        deliver: impl FnOnce(Skb, &NetDevice, &Softirq) -> bool,
    ) {
        let delivered = self
            .skb
            .clone_header()
            .is_some_and(|copy| deliver(copy, slave.dev(), cx));
        slave.count_received(self.len, delivered, true, cx);
    }
}

impl Worker for Flood {
    fn run(&self) {
        // Only what waits now: each frame that comes meanwhile has queued the work again.
        for queued in self.queue.take_all() {
            // One frame at a time: with many slaves each takes long.
            let charge = queued.charge;
            let rcu = RcuRead::lock();
            // Who gets it is decided now, by the settings and the addresses of now. While a port is taken down the
            // master has it no more, and what still waits is dropped.
            self.master
                .with_rx_handler(&rcu, |port| self.distribute_queued(port, queued, &rcu));
            drop(rcu);
            self.queue.settle(charge);
            cond_resched();
        }
        Softirq::with(|cx| self.settle_losses(cx));
    }
}

impl Port {
    fn audience_of_received<'a>(
        &'a self,
        skb: &mut Skb,
        rcu: &'a RcuRead,
    ) -> Audience<SlaveRef<'a>> {
        let port = self;
        audience::of_received(self.settings().isolation, &mut Received { skb, port, rcu })
    }

    fn audience_of_sent<'a>(
        &'a self,
        skb: &mut Skb,
        ethernet: Ethernet,
        rcu: &'a RcuRead,
    ) -> Audience<SlaveRef<'a>> {
        audience::of_sent(
            self.settings().isolation,
            &mut Sent {
                skb,
                ethernet,
                port: self,
                rcu,
            },
        )
    }

    /// Distributes a group frame that the master received, and that its own stack will get.
    // Out of line, to keep the unicast path short.
    #[inline(never)]
    pub(crate) fn distribute_received(&self, skb: &mut Skb, cx: &Softirq) {
        let flood = &self.flood;
        let Some(Ethernet { dest, .. }) = skb.received_ethernet() else {
            return;
        };
        if skb.protocol() == ETH_P_PAUSE {
            return;
        }
        let audience = self.audience_of_received(skb, &cx.rcu);
        let bit = flood.listeners.bit(&dest);
        if !flood.listeners.any(&audience, bit) {
            return;
        }
        let at_once = flood.at_once(&audience, bit);
        let copy = if at_once || !flood.queue.is_full() {
            skb.clone_header()
        } else {
            None
        };
        let Some(mut copy) = copy else {
            flood.note_lost(&audience, bit, cx);
            return flood.queue();
        };
        copy.scrub(true);
        if at_once {
            copy.set_packet_type(flood.packet_type(&dest));
            let frame = Frame::received(&copy, bit);
            flood.distribute(&frame, &audience, &cx.rcu, |slave| {
                frame.give(slave, cx, Skb::receive_on);
            });
            return copy.consume();
        }
        if let Err(copy) = flood.queue.push(copy, flood.master.clone(), Origin::Wire) {
            flood.note_lost(&audience, bit, cx);
            copy.free(DropReason::MulticastBacklog);
        }
        flood.queue();
    }

    /// Distributes a group frame that a slave sends, and sends it out.
    #[inline(never)]
    pub(crate) fn distribute_sent(
        &self,
        skb: Skb,
        slave: &Slave,
        dev: &NetDevice,
        cx: &Softirq,
    ) -> Xmit {
        let flood = &self.flood;
        if skb.protocol() == ETH_P_PAUSE {
            skb.free(DropReason::UnhandledProtocol);
            return Xmit::SUCCESS;
        }
        let Some(mut skb) = skb.unshare() else {
            return Xmit::DROP;
        };
        let Some(ethernet) = skb.sent_ethernet() else {
            skb.free(DropReason::PacketTooSmall);
            return Xmit::DROP;
        };
        skb.reset_mac_header();
        skb.scrub(true);
        let audience = self.audience_of_sent(&mut skb, ethernet, &cx.rcu);
        let bit = flood.listeners.bit(&ethernet.dest);
        // Without siblings that get it there is nothing to wait for, but what waits must not be overtaken.
        if flood.at_once(&audience, bit) {
            let frame = Frame::sent(&skb, bit, dev);
            flood.distribute(&frame, &audience, &cx.rcu, |slave| {
                frame.give(slave, cx, Skb::forward_to);
            });
            skb.set_packet_type(flood.packet_type(&ethernet.dest));
            return skb.queue_xmit(&flood.master, cx);
        }
        // No slave may fill the queue so far that others find no place.
        let charge = skb.truesize();
        // Charged before the worker can see the packet and take the charge back.
        let share = slave.queued.fetch_add(charge, Relaxed);
        let refused = if share.saturating_add(charge) > flood.queue.limit() / 2 {
            Some(skb)
        } else {
            flood.queue.push(skb, dev.hold(), Origin::Slave).err()
        };
        match refused {
            None => {
                flood.queue();
                Xmit::SUCCESS
            }
            Some(skb) => {
                slave.queued.fetch_sub(charge, Relaxed);
                skb.free(DropReason::MulticastBacklog);
                Xmit::DROP
            }
        }
    }
}

impl Work<Flood> {
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
