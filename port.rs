// SPDX-License-Identifier: GPL-2.0

//! The port: what a master's slaves share. One per master, made with its first slave and gone with its last.
//!
//! # Locking
//!
//! Ports are made and taken down, and slaves join and leave, under RTNL alone, which 7.3 still takes for every namespace
//! even where RTM_NEWLINK is ready for one per namespace. When that changes, [`Port::join`] and [`Port::leave`] must hold
//! the master's instance lock too, as in-tree ipvlan does already.
//!
//! # Ownership
//!
//! Each slave owns a counted reference to its port, and the master's receive handler owns one. The port's list of
//! slaves and its tables of addresses hold counted references to the slaves' devices, which
//! [`Port::leave`] takes away, so that there is no circle left when the core waits for a device's last user. The last
//! slave that leaves takes the port off the master: the hooks of mode L3S end, then the handler, then the worker, then what waits in its queue is
//! dropped. The memory goes with the last slave's private data, in process context.

#![forbid(unsafe_code)]

use crate::{
    address::Addresses,
    device::{
        Ipvlan,
        Slave, //
    },
    l3s::L3s,
    logic::{
        config::{
            Mode,
            Packed,
            Settings, //
        },
        numbers::Turn, //
    },
    multicast::Flood,
    net::{
        device::NetDevice,
        device_ref::DeviceRef,
        driver::DriverRef,
        extack::ExtAck,
        route::random_words,
        route_cache::Routes,
        rtnl::{
            Rtnl,
            RtnlCell, //
        },
        rx_handler::RxRegistration, //
    },
    sync::{
        ida::Ida,
        marked::Marked,
        rcu::wait_for_readers,
        table::Advice,
        work::Work, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What the slaves of a master share.
pub(crate) struct Port {
    /// The addresses of all slaves. First, with the settings and the master: the packet path needs these.
    pub(crate) addresses: Work<Addresses>,
    settings: Marked<u32>,
    master: DeviceRef,
    /// The routes that packets of slaves take out of the master, where its namespace routes them.
    pub(crate) routes: Routes,
    /// The slaves, and the frames that are for many of them.
    pub(crate) flood: Work<Flood>,
    /// How many slaves hold the port.
    users: RtnlCell<usize>,
    dev_ids: Ida,
    /// The number that is handed out next.
    next_dev_id: RtnlCell<Turn>,
    rx: RtnlCell<Option<RxRegistration<Port>>>,
    /// The hooks of mode L3S, in that mode.
    l3s: RtnlCell<Option<L3s>>,
}

impl Port {
    /// The port on `master`, for one more slave; a new one if there is none.
    ///
    /// # Errors
    ///
    /// `EBUSY` if something else receives for the master, `ENOMEM`.
    pub(crate) fn join(master: &NetDevice, rtnl: &Rtnl) -> Result<Arc<Self>> {
        let port = match master.rx_handler::<Port>(rtnl) {
            Some(port) => port,
            None => Self::create(master, rtnl)?,
        };
        port.users.set(port.users.get(rtnl).saturating_add(1), rtnl);
        Ok(port)
    }

    fn create(master: &NetDevice, rtnl: &Rtnl) -> Result<Arc<Self>> {
        let port = Arc::new(
            Self {
                addresses: Work::new(Addresses::new(random_words())?)?,
                settings: Marked::new(Settings::DEFAULT.to_bits()),
                master: master.hold(),
                routes: Routes::new()?,
                flood: Work::new(Flood::new(master.hold(), random_words())?)?,
                users: RtnlCell::new(0),
                dev_ids: Ida::new()?,
                next_dev_id: RtnlCell::new(Turn::START),
                rx: RtnlCell::new(None),
                l3s: RtnlCell::new(None),
            },
            GFP_KERNEL,
        )?;
        let rx = RxRegistration::new(master, port.clone(), rtnl)?;
        port.rx.set(Some(rx), rtnl);
        Ok(port)
    }

    /// Undoes [`join`](Self::join). The last user takes the port off the master.
    pub(crate) fn leave(&self, rtnl: &Rtnl) {
        let left = self.users.get(rtnl).saturating_sub(1);
        self.users.set(left, rtnl);
        if left > 0 {
            return;
        }
        self.end_l3s(rtnl);
        if let Some(rx) = self.rx.take(rtnl) {
            // From here on nothing is received, and the last slave sends no more: nothing new for the workers.
            rx.end(rtnl);
        }
        self.flood.stop();
        self.addresses.cancel();
        self.routes.purge();
    }

    /// The master.
    #[inline]
    pub(crate) fn master(&self) -> &NetDevice {
        &self.master
    }

    /// Mode and flags.
    #[inline]
    pub(crate) fn settings(&self) -> Settings {
        self.packed().unpack()
    }

    /// The same, as the packet path asks for it.
    #[inline]
    pub(crate) fn packed(&self) -> Packed {
        Packed::from_bits(self.settings.read())
    }

    /// Takes a number for a new slave.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if all are taken, `ENOMEM`.
    pub(crate) fn take_dev_id(&self, rtnl: &Rtnl) -> Result<u16> {
        let turn = self.next_dev_id.get(rtnl);
        let (id, next) = turn.take(ENOSPC, |min, max| self.dev_ids.take(min, max))?;
        self.next_dev_id.set(next, rtnl);
        Ok(id)
    }

    /// Gives a slave's number back.
    pub(crate) fn give_dev_id(&self, id: u16) {
        self.dev_ids.give(id);
    }

    /// Has the tables resized, if they should be.
    pub(crate) fn follow(&self, advice: Advice) {
        if advice == Advice::Resize {
            self.addresses.queue();
        }
    }

    /// Calls `f` with each slave that is not about to go.
    pub(crate) fn for_each_slave(&self, rtnl: &Rtnl, mut f: impl FnMut(&DriverRef<Ipvlan>)) {
        self.flood.slaves.for_each(rtnl, |slave| {
            if !slave.is_leaving() {
                f(slave);
            }
        });
    }

    /// Changes mode and flags, for all slaves: all or nothing.
    ///
    /// # Errors
    ///
    /// What a listener that vetoes a slave's change of flags says, or why the hooks of mode L3S cannot be had.
    pub(crate) fn change(&self, to: Settings, extack: ExtAck<'_>, rtnl: &Rtnl) -> Result {
        let from = self.settings();
        let result = if to.mode != from.mode {
            self.flip_noarp(to.mode, extack, rtnl)
        } else {
            Ok(())
        };
        result
            .and_then(|()| self.begin_l3s(to.mode, extack, rtnl))
            .inspect_err(|_| {
                // Those that were flipped go back; a veto of that cannot be helped.
                let _ = self.flip_noarp(from.mode, ExtAck::NONE, rtnl);
            })?;
        // The hooks route nothing until packets are left to them, and nothing any more once they are not.
        self.settings.write(to.to_bits());
        if to.mode != from.mode {
            self.routes.purge();
        }
        if to.mode != Mode::L3s {
            self.end_l3s(rtnl);
        }
        Ok(())
    }

    /// Puts the hooks of mode L3S in, if this is that mode and they are not there.
    fn begin_l3s(&self, mode: Mode, extack: ExtAck<'_>, rtnl: &Rtnl) -> Result {
        let l3s = match self.l3s.take(rtnl) {
            None if mode == Mode::L3s => Some(L3s::begin(&self.master, extack, rtnl)?),
            there => there,
        };
        self.l3s.set(l3s, rtnl);
        Ok(())
    }

    fn end_l3s(&self, rtnl: &Rtnl) {
        if let Some(l3s) = self.l3s.take(rtnl) {
            l3s.end(&self.master, rtnl);
        }
    }

    /// The master is about to leave its namespace.
    pub(crate) fn leave_namespace(&self, rtnl: &Rtnl) {
        self.end_l3s(rtnl);
        self.routes.purge();
    }

    /// The master has come to another namespace. Slaves stay where they are.
    pub(crate) fn enter_namespace(&self, rtnl: &Rtnl) {
        // What packets that were on their way then have left: a route of IPv6 must not outlive its namespace.
        wait_for_readers();
        self.routes.purge();
        let mode = self.settings().mode;
        if self.begin_l3s(mode, ExtAck::NONE, rtnl).is_err() {
            pr_warn!(
                "{}: slaves receive nothing, for lack of memory for the hooks of mode l3s: set the mode again\n",
                self.master.name()
            );
        }
    }

    /// Gives each slave the `IFF_NOARP` of a mode, so that listeners hear of it.
    fn flip_noarp(&self, mode: Mode, extack: ExtAck<'_>, rtnl: &Rtnl) -> Result {
        let mut result = Ok(());
        self.for_each_slave(rtnl, |slave| {
            let dev = slave.dev();
            if result.is_ok() && dev.is_noarp() != mode.no_arp() {
                result = dev.change_noarp(mode.no_arp(), extack, rtnl);
            }
        });
        result
    }

    /// Takes a slave off everything that leads to it.
    pub(crate) fn detach(&self, slave: &Slave, rtnl: &Rtnl) {
        if let Some(ticket) = slave.ticket.take(rtnl) {
            self.flood.slaves.remove(ticket, rtnl);
        }
        // The core has taken the addresses away before; this is for those it forgot.
        self.follow(self.addresses.forget(slave));
    }
}
