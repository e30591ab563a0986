// SPDX-License-Identifier: GPL-2.0

//! The slave: a network device that lies on a port's master.

#![forbid(unsafe_code)]

use crate::{
    core_path,
    listeners::SharedFilter,
    logic::{
        filter::MacFilter,
        frame::ETH_HLEN,
        mtu, //
    },
    net::{
        device::{
            Features,
            Mac,
            NetDevice, //
        },
        device_ref::{
            DeviceRef,
            UpperLink, //
        },
        driver::{
            AddressLists,
            Driver,
            DriverRef,
            NewDevice,
            Stats64, //
        },
        features,
        list::Ticket,
        ops::Tables,
        packet::Xmit,
        rtnl::{
            Rtnl,
            RtnlCell, //
        },
        skbuff::Skb,
        softirq::Softirq, //
    },
    port::Port,
    spaces::Place,
    sync::{
        marked::Marked,
        percpu::{
            CounterSet,
            Counters, //
        },
    },
};
use core::cell::Cell;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

/// What a slave counts. Bytes include the Ethernet header, on both sides.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    /// Packets received.
    RxPackets,
    /// Their bytes.
    RxBytes,
    /// Those of them that were distributed to many.
    RxMulticast,
    /// Packets that could not be delivered.
    RxErrors,
    /// Those, and packets that were lost while they waited for distribution.
    RxDropped,
    /// Packets sent.
    TxPackets,
    /// Their bytes.
    TxBytes,
    /// Packets that the master's namespace could not route or send.
    TxErrors,
    /// Packets that were not sent, for whatever reason.
    TxDropped,
}

impl CounterSet for Counter {
    const COUNT: usize = 9;

    #[inline]
    fn index(self) -> usize {
        // CAST: A discriminant.
        self as usize
    }
}

/// The driver of slaves.
pub(crate) struct Ipvlan;

/// A slave, for as long as an RCU section lasts.
pub(crate) type SlaveRef<'a> = &'a DriverRef<Ipvlan>;

/// The operation tables of slaves.
static TABLES: Tables<Ipvlan> = Tables::new();

/// The number of slaves there are, of all ports.
static SLAVES: Atomic<usize> = Atomic::new(0);

/// A slave's private data.
pub(crate) struct Slave {
    port: Arc<Port>,
    /// What the slave has counted.
    pub(crate) counters: Counters<Counter>,
    /// The groups that the slave listens to while it runs; none while it does not.
    pub(crate) filter: SharedFilter,
    /// Where the slave runs.
    pub(crate) place: Place,
    /// How many entries of the port's tables are this slave's.
    pub(crate) addresses: Atomic<usize>,
    /// The bytes that wait in the port's queue to be distributed for this slave.
    pub(crate) queued: Atomic<usize>,
    /// The slave's place in the port's list.
    pub(crate) ticket: RtnlCell<Option<Ticket<Ipvlan>>>,
    /// That the slave lies on the master.
    pub(crate) upper: RtnlCell<Option<UpperLink>>,
    /// Whether somebody chose the MTU: then it does not follow the master's up.
    pub(crate) mtu_choice: RtnlCell<mtu::Choice>,
    /// The slave has the master receive all multicast.
    allmulti: RtnlCell<bool>,
    /// Deletion has begun.
    leaving: Marked<bool>,
    msglevel: Marked<u32>,
    dev_id: u16,
}

impl Slave {
    /// The port.
    #[inline]
    pub(crate) fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// Begins deletion: the slave is left out of what happens to the port, and no longer lies on the master, which
    /// may go in the same batch and must then have no device above it.
    pub(crate) fn begin_leaving(&self, rtnl: &Rtnl) {
        self.leaving.write(true);
        if let Some(upper) = self.upper.take(rtnl) {
            upper.unlink(rtnl);
        }
    }

    /// Whether deletion has begun.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.read()
    }

    /// Counts a packet of `len` bytes, Ethernet header included, that was to be received.
    #[inline]
    pub(crate) fn count_received(
        &self,
        len: usize,
        delivered: bool,
        multicast: bool,
        cx: &Softirq,
    ) {
        if !delivered {
            self.counters.add(Counter::RxErrors, 1, &cx.bh);
            self.counters.add(Counter::RxDropped, 1, &cx.bh);
            return;
        }
        // And RxBytes. CAST: usize has at most 64 bits.
        self.counters.count(Counter::RxPackets, len as u64, &cx.bh);
        if multicast {
            self.counters.add(Counter::RxMulticast, 1, &cx.bh);
        }
    }

    /// Has the master receive all multicast on behalf of this slave, or no more.
    fn set_allmulti(&self, on: bool, rtnl: &Rtnl) -> Result {
        if self.allmulti.get(rtnl) == on {
            return Ok(());
        }
        self.port.master().set_allmulti(on, rtnl)?;
        self.allmulti.set(on, rtnl);
        Ok(())
    }

    /// Listens to the groups of the device's list, to broadcast, and in all-multicast and promiscuous mode to all.
    fn filter_of(&self, dev: &NetDevice, lists: &AddressLists<'_>) -> MacFilter {
        if dev.is_allmulti() || dev.is_promiscuous() {
            return MacFilter::FULL;
        }
        let flood = &self.port.flood;
        let mut filter = MacFilter::EMPTY;
        filter.insert(flood.broadcast_bit());
        lists.for_each_multicast(|mac| filter.insert(flood.listeners.bit(mac)));
        filter
    }
}

/// The number of slaves there are, of all ports.
pub(crate) fn slaves() -> usize {
    SLAVES.load(Relaxed)
}

/// What a slave has whether or not the master has it: the stack finishes in software what the master cannot.
const ALWAYS_ON_OFFLOADS: Features = features::SG
    | features::HW_CSUM
    | features::GSO_ROBUST
    | features::GSO_SOFTWARE
    | features::GSO_ENCAP_ALL;

/// As above, and no VLAN devices: they would not be told apart.
const ALWAYS_ON: Features = ALWAYS_ON_OFFLOADS | features::VLAN_CHALLENGED;

/// What a slave may have from the master.
const INHERITED: Features = features::SG
    | features::HW_CSUM
    | features::HIGHDMA
    | features::FRAGLIST
    | features::GSO
    | features::ALL_TSO
    | features::GSO_ROBUST
    | features::GRO
    | features::RXCSUM
    | features::HW_VLAN_CTAG_FILTER
    | features::HW_VLAN_STAG_FILTER;

/// What `ndo_init` is told of a new slave.
pub(crate) struct Config {
    /// The device to lie on.
    pub(crate) master: DeviceRef,
    /// Somebody chose the MTU.
    pub(crate) mtu_chosen: bool,
    /// Where `init` leaves what to say if it fails.
    pub(crate) refusal: Cell<Option<&'static CStr>>,
}

impl Driver for Ipvlan {
    type Private = Slave;
    type Config = Config;

    const NAME: &'static CStr = c"ipvlan_rs";

    fn tables() -> &'static Tables<Self> {
        &TABLES
    }

    fn init(dev: &NewDevice<'_>, config: &Config, rtnl: &Rtnl) -> Result<Slave> {
        let master = &*config.master;
        let counters = Counters::new()?;
        let port = Port::join(master, rtnl).inspect_err(|error| {
            config.refusal.set(Some(match *error {
                EBUSY => c"The master is in use by another driver: release it first",
                _ => c"Out of memory for the master's port",
            }));
        })?;
        let dev_id = port.take_dev_id(rtnl).inspect_err(|error| {
            config.refusal.set(Some(match *error {
                ENOSPC => c"The master has 65533 slaves, which is all there can be",
                _ => c"Out of memory for the slave's number",
            }));
            port.leave(rtnl);
        })?;

        // Nothing fails from here on.
        dev.stack_on(master, rtnl);
        dev.set_features(
            (master.features() & INHERITED) | ALWAYS_ON,
            (master.vlan_features() & INHERITED) | ALWAYS_ON_OFFLOADS,
        );
        dev.set_dev_id(dev_id);
        SLAVES.fetch_add(1, Relaxed);
        Ok(Slave {
            port,
            counters,
            filter: SharedFilter::new(),
            place: Place::new(),
            addresses: Atomic::new(0),
            queued: Atomic::new(0),
            ticket: RtnlCell::new(None),
            upper: RtnlCell::new(None),
            mtu_choice: RtnlCell::new(mtu::Choice::new(config.mtu_chosen)),
            allmulti: RtnlCell::new(false),
            leaving: Marked::new(false),
            msglevel: Marked::new(0),
            dev_id,
        })
    }

    fn uninit(_dev: &NetDevice, slave: &Slave, rtnl: &Rtnl) {
        let port = &slave.port;
        port.flood.listeners.listen(slave, &MacFilter::EMPTY);
        port.detach(slave, rtnl);
        // A creation that failed halfway gets here without dellink.
        slave.begin_leaving(rtnl);
        port.give_dev_id(slave.dev_id);
        SLAVES.fetch_sub(1, Relaxed);
        port.leave(rtnl);
    }

    fn open(dev: &NetDevice, slave: &Slave, rtnl: &Rtnl) -> Result {
        let flood = &slave.port.flood;
        flood
            .spaces
            .enter(slave, dev.net(rtnl), &flood.slaves, rtnl)?;
        slave
            .set_allmulti(dev.is_allmulti(), rtnl)
            .inspect_err(|_| flood.spaces.leave(slave, &flood.slaves, rtnl))?;
        dev.set_noarp(slave.port.settings().mode.no_arp(), rtnl);
        // The core hands the device's list over later, from a worker; broadcast must not wait for that.
        let mut filter = MacFilter::EMPTY;
        filter.insert(flood.broadcast_bit());
        flood.listeners.listen(slave, &filter);
        flood.listeners.count_running(true);
        Ok(())
    }

    fn stop(dev: &NetDevice, slave: &Slave, rtnl: &Rtnl) {
        let port = &slave.port;
        port.flood.listeners.count_running(false);
        port.flood.listeners.listen(slave, &MacFilter::EMPTY);
        port.flood.spaces.leave(slave, &port.flood.slaves, rtnl);
        port.master().unsync_filters(dev, rtnl);
        port.routes.purge();
        // Taking back does not fail: it cannot overflow the master's count.
        let _ = slave.set_allmulti(false, rtnl);
    }

    #[inline]
    fn start_xmit(slave: &Slave, skb: Skb, dev: &NetDevice, cx: &Softirq) -> Xmit {
        core_path::transmit(slave, skb, dev, cx)
    }

    fn fix_features(_dev: &NetDevice, slave: &Slave, wanted: Features) -> Features {
        let mut fixed = wanted | features::ALL_FOR_ALL;
        fixed = features::increment(slave.port.master().features(), fixed, fixed);
        (fixed | ALWAYS_ON) & (INHERITED | ALWAYS_ON)
    }

    fn change_mtu(dev: &NetDevice, slave: &Slave, mtu: u32, rtnl: &Rtnl) -> Result {
        // The core has refused what is above `max_mtu`, which is the master's MTU.
        slave
            .mtu_choice
            .set(slave.mtu_choice.get(rtnl).changed(), rtnl);
        dev.store_mtu(mtu, rtnl);
        Ok(())
    }

    fn change_rx_flags(dev: &NetDevice, slave: &Slave, _changed: u32, rtnl: &Rtnl) {
        // On a slave that is down this waits for `open`. An overflow of the master's count is logged by the core.
        let _ = slave.set_allmulti(dev.is_allmulti() && dev.is_running(), rtnl);
    }

    fn set_rx_mode(dev: &NetDevice, slave: &Slave, lists: &AddressLists<'_>) {
        let filter = slave.filter_of(dev, lists);
        slave.port.flood.listeners.listen(slave, &filter);
        lists.sync_to(slave.port.master());
    }

    fn get_stats64(slave: &Slave, stats: &mut Stats64) {
        let sum = |which| slave.counters.sum(which);
        stats.rx_packets(sum(Counter::RxPackets));
        stats.rx_bytes(sum(Counter::RxBytes));
        stats.multicast(sum(Counter::RxMulticast));
        stats.rx_errors(sum(Counter::RxErrors));
        stats.rx_dropped(sum(Counter::RxDropped));
        stats.tx_packets(sum(Counter::TxPackets));
        stats.tx_bytes(sum(Counter::TxBytes));
        stats.tx_errors(sum(Counter::TxErrors));
        stats.tx_dropped(sum(Counter::TxDropped));
    }

    fn vlan_rx_add_vid(slave: &Slave, proto: u16, vid: u16, rtnl: &Rtnl) -> Result {
        slave.port.master().vlan_add(proto, vid, rtnl)
    }

    fn vlan_rx_kill_vid(slave: &Slave, proto: u16, vid: u16, rtnl: &Rtnl) {
        slave.port.master().vlan_del(proto, vid, rtnl);
    }

    fn iflink(slave: &Slave) -> i32 {
        slave.port.master().ifindex()
    }

    fn header_device(slave: &Slave) -> (&NetDevice, Mac) {
        let master = slave.port.master();
        (master, master.address())
    }

    fn may_set_hwtstamp(slave: &Slave, rtnl: &Rtnl) -> Result {
        if slave.port.master().net(rtnl).net_admin() {
            return Ok(());
        }
        Err(EPERM)
    }

    fn msglevel(slave: &Slave) -> &Marked<u32> {
        &slave.msglevel
    }
}

/// The length that a received packet counts for: its Ethernet header has been taken off.
#[inline]
pub(crate) fn received_len(skb: &Skb) -> usize {
    skb.len().wrapping_add(ETH_HLEN)
}
