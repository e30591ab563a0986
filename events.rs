// SPDX-License-Identifier: GPL-2.0

//! What happens to masters and to addresses, and what slaves make of it.

#![forbid(unsafe_code)]

use crate::{
    address::{
        Added,
        Addresses,
        Family,
        Key, //
    },
    device::{
        Ipvlan,
        Slave, //
    },
    logic::{
        addr::{
            V4,
            V6, //
        },
        mtu, //
    },
    master_has_priority,
    net::{
        compat::eaddrinuse,
        device::{
            NetDevice,
            Relay, //
        },
        driver::DriverRef,
        extack::ExtAck,
        inet::{
            Address4Event,
            Address6Event,
            Validate4Event,
            Validate6Event, //
        },
        link::UnregisterBatch,
        log::ratelimit,
        netns::Net,
        notifier::{
            Addresses4,
            Addresses6,
            Answer,
            DeviceEvent,
            DeviceEventKind,
            Devices,
            Listener,
            Validators4,
            Validators6, //
        },
        rtnl::Rtnl, //
    },
    port::Port,
    sync::{
        rcu::RcuRead,
        table::Advice, //
    },
};
use kernel::{
    alloc::Flags,
    fmt,
    prelude::*,
    sync::atomic::Relaxed, //
};

/// The listener on all chains.
pub(crate) struct Events;

impl Listener<Devices> for Events {
    fn notify(event: DeviceEvent<'_>) -> Answer {
        let DeviceEvent {
            kind,
            dev,
            extack,
            rtnl,
        } = event;
        let Some(port) = dev.rx_handler::<Port>(rtnl) else {
            match kind {
                DeviceEventKind::ChangeName if dev.is_loopback() => {
                    forget_routes(dev.net(rtnl), rtnl);
                }
                DeviceEventKind::PreChangeMtu => {
                    if let Some(slave) = DriverRef::<Ipvlan>::new(dev) {
                        let choice = &slave.mtu_choice;
                        choice.set(choice.get(rtnl).announced(), rtnl);
                    }
                }
                _ => {}
            }
            return Answer::Done;
        };
        let master = dev;
        match kind {
            DeviceEventKind::Up | DeviceEventKind::Down | DeviceEventKind::Change => port
                .for_each_slave(rtnl, |slave| {
                    slave.dev().transfer_operstate_from(master, rtnl);
                }),
            DeviceEventKind::Unregister if master.is_unregistering() => delete_slaves(&port, rtnl),
            // It only leaves its namespace, and the slaves stay.
            DeviceEventKind::Unregister => port.leave_namespace(rtnl),
            DeviceEventKind::FeatureChange => port.for_each_slave(rtnl, |slave| {
                slave.dev().inherit_limits(master, rtnl);
                slave.dev().update_features(rtnl);
            }),
            DeviceEventKind::PreChangeMtu => {}
            DeviceEventKind::ChangeMtu => {
                port.for_each_slave(rtnl, |slave| follow_mtu(slave, master.mtu(), rtnl));
            }
            // Rules ask for names, and their change of mind is no change of routes.
            DeviceEventKind::ChangeName => port.routes.purge(),
            DeviceEventKind::PreChangeAddress(address) => {
                let mut veto = None;
                port.for_each_slave(rtnl, |slave| {
                    if veto.is_none() {
                        veto = slave.dev().pre_change_address(&address, extack, rtnl).err();
                    }
                });
                if let Some(error) = veto {
                    return Answer::Error(error);
                }
            }
            DeviceEventKind::Relayed(Relay::ChangeAddress) => {
                let address = master.address();
                port.for_each_slave(rtnl, |slave| {
                    slave.dev().set_address(&address, rtnl);
                    slave.dev().relay(Relay::ChangeAddress, rtnl);
                });
            }
            // Slaves are Ethernet devices and cannot follow.
            DeviceEventKind::PreTypeChange => {
                extack.set(
                    c"The device has ipvlan_rs slaves, which need Ethernet: delete them first",
                );
                return Answer::Bad;
            }
            DeviceEventKind::Relayed(relay) => {
                port.for_each_slave(rtnl, |slave| slave.dev().relay(relay, rtnl));
            }
            DeviceEventKind::Register => port.enter_namespace(rtnl),
        }
        Answer::Done
    }
}

/// Has all masters of a namespace forget routes: its rules ask for its loopback's name too (`iif`), which for them is where
/// what the host sends comes from.
fn forget_routes(net: &Net, rtnl: &Rtnl) {
    for port in net
        .devices(rtnl)
        .filter_map(|dev| dev.rx_handler::<Port>(rtnl))
    {
        port.routes.purge();
    }
}

/// Deletes all slaves of a master that goes.
fn delete_slaves(port: &Port, rtnl: &Rtnl) {
    UnregisterBatch::run(rtnl, |batch| {
        port.for_each_slave(rtnl, |slave| {
            slave.begin_leaving(rtnl);
            batch.add(slave.dev());
        });
    });
}

/// Has a slave's MTU follow the master's.
fn follow_mtu(slave: &DriverRef<Ipvlan>, master_mtu: u32, rtnl: &Rtnl) {
    let dev = slave.dev();
    dev.set_max_mtu(master_mtu.max(mtu::MIN), rtnl);
    let choice = slave.mtu_choice.get(rtnl);
    if let Some(new) = mtu::on_master_change(dev.mtu(), choice.chosen(), master_mtu) {
        slave.mtu_choice.set(choice.following(), rtnl);
        if dev.set_mtu(new, rtnl).is_err() && ratelimit() {
            pr_warn!(
                "{}: something vetoed MTU {}, which the master has now\n",
                dev.name(),
                new
            );
        }
        slave.mtu_choice.set(choice.followed(), rtnl);
    }
}

/// What the rules for addresses need to know of a family.
trait FamilyOf: Key {
    /// The family's table.
    fn family(addresses: &Addresses) -> &Family<Self>;
    /// Whether a device has an address.
    fn on(self, dev: &NetDevice, rcu: &RcuRead) -> bool;
    /// Writes the address as people do.
    fn write(self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl FamilyOf for V4 {
    fn family(addresses: &Addresses) -> &Family<Self> {
        &addresses.v4
    }

    fn on(self, dev: &NetDevice, _rcu: &RcuRead) -> bool {
        dev.has_address4(self.to_be())
    }

    fn write(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&core::net::Ipv4Addr::from(u32::from_be(self.to_be())), f)
    }
}

impl FamilyOf for V6 {
    fn family(addresses: &Addresses) -> &Family<Self> {
        &addresses.v6
    }

    fn on(self, dev: &NetDevice, rcu: &RcuRead) -> bool {
        dev.has_address6(self.octets(), rcu)
    }

    fn write(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&core::net::Ipv6Addr::from(self.octets()), f)
    }
}

/// Answers whether a slave may get an address.
fn validate<K: FamilyOf>(key: K, slave: &Slave, dev: &NetDevice, extack: ExtAck<'_>) -> Answer {
    let port = slave.port();
    let family = K::family(&port.addresses);
    let rcu = RcuRead::lock();
    match family.owner(key, &rcu) {
        // The same address with another prefix is none more.
        Some(owner) if owner.dev().is(dev) => {}
        Some(_) => {
            extack.set(
                c"Address already assigned to another slave of this master: remove it there first",
            );
            return Answer::Error(eaddrinuse());
        }
        None if port
            .addresses
            .most()
            .is_reached(slave.addresses.load(Relaxed)) =>
        {
            extack.set(
                c"The slave has as many addresses as its port allows: remove one, or raise max_addrs",
            );
            return Answer::Error(ENOSPC);
        }
        None => {}
    }
    if master_has_priority() && key.on(port.master(), &rcu) {
        extack.set(
            c"Address (or peer) belongs to the master: use another, or load with master_addr=1",
        );
        return Answer::Error(eaddrinuse());
    }
    // This may sleep. Once the address is granted nobody asks whether there is memory.
    drop(rcu);
    if family.prepare().is_err() {
        extack.set(c"No memory to steer the address");
        return Answer::Error(ENOMEM);
    }
    Answer::Ok
}

/// A slave got an address.
fn came<K: FamilyOf>(key: K, dev: &NetDevice, flags: Flags) {
    let Some(slave) = DriverRef::<Ipvlan>::new(dev) else {
        return;
    };
    let port = slave.port();
    let family = K::family(&port.addresses);
    // Before the read-side section: this may sleep.
    let owned = family.entry(key, &slave, flags);
    let rcu = RcuRead::lock();
    let (added, advice) = match owned {
        Ok(owned) => family.add(owned, port.addresses.most(), &rcu),
        Err(_) => (Added::NoMemory, Advice::None),
    };
    port.follow(advice);
    match added {
        Added::New | Added::Again => {}
        Added::Taken => {
            let count = port.addresses.count_unsteered();
            if ratelimit() {
                pr_warn!(
                    "{}: {} belongs to another slave, which keeps its packets (unsteered so far: {count})\n",
                    dev.name(),
                    Text(key)
                );
            }
        }
        Added::TooMany => {
            let count = port.addresses.count_unsteered();
            if ratelimit() {
                pr_warn!(
                    "{}: {} is one address more than max_addrs, and not steered (unsteered so far: {count})\n",
                    dev.name(),
                    Text(key)
                );
            }
        }
        Added::NoMemory => {
            let count = port.addresses.count_unsteered();
            if ratelimit() {
                pr_warn!(
                    "{}: no memory to steer {} (unsteered so far: {count})\n",
                    dev.name(),
                    Text(key)
                );
            }
        }
    }
    check_master(key, port, &rcu);
}

/// Has the master's own address come before a slave's, where no validator could refuse it. Called after either came
/// or went: whichever is second sees both.
fn check_master<K: FamilyOf>(key: K, port: &Port, rcu: &RcuRead) {
    let master = port.master();
    let master_has = || master_has_priority() && key.on(master, rcu);
    if let Some(name) = K::family(&port.addresses).shadow(key, master_has) {
        if ratelimit() {
            pr_warn!(
                "{name}: {} belongs to the master too, which gets its packets\n",
                Text(key)
            );
        }
    }
}

/// A slave lost an address.
fn went<K: FamilyOf>(key: K, slave: &Slave) {
    let port = slave.port();
    port.follow(K::family(&port.addresses).remove(key, slave));
}

/// For memory that is allocated in softirq and still charged to a tenant's cgroup, where there is one.
fn atomic_accounted() -> Flags {
    GFP_ATOMIC | __GFP_NOWARN | (GFP_KERNEL_ACCOUNT & !GFP_KERNEL)
}

/// An address, for messages.
struct Text<K>(K);

impl<K: FamilyOf> fmt::Display for Text<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }
}

impl Listener<Validators4> for Events {
    fn notify(event: Validate4Event<'_>) -> Answer {
        match event.dev.driver::<Ipvlan>() {
            // With a peer the core shows that, not the address that counts: whether it is taken shows only later.
            Some(slave) if event.up => {
                validate(V4::from_be(event.address), slave, event.dev, event.extack)
            }
            _ => Answer::Done,
        }
    }
}

impl Listener<Validators6> for Events {
    fn notify(event: Validate6Event<'_>) -> Answer {
        match event.dev.driver::<Ipvlan>() {
            Some(slave) if event.up => validate(
                V6::from_octets(event.address),
                slave,
                event.dev,
                event.extack,
            ),
            _ => Answer::Done,
        }
    }
}

impl Listener<Addresses4> for Events {
    fn notify(event: Address4Event<'_>) -> Answer {
        let key = V4::from_be(event.local);
        if let Some(slave) = event.dev.driver::<Ipvlan>() {
            if event.up {
                came(key, event.dev, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
            } else if !event.dev.keeps_address4(event.local) {
                // One address may be there several times, with different prefixes.
                went(key, slave);
            }
        } else if let Some(port) = event.dev.rx_handler::<Port>(event.rtnl) {
            check_master(key, &port, &RcuRead::lock());
        }
        Answer::Ok
    }
}

impl Listener<Addresses6> for Events {
    fn notify(event: Address6Event<'_>) -> Answer {
        let key = V6::from_octets(event.address);
        if let Some(slave) = event.dev.driver::<Ipvlan>() {
            if event.up {
                came(key, event.dev, atomic_accounted());
                // The address may be taken away at the same time, and that may have been told first.
                if !event.dev.has_address6(event.address, event.rcu) {
                    went(key, slave);
                }
            } else {
                went(key, slave);
            }
        } else {
            event
                .dev
                .with_rx_handler(event.rcu, |port: &Port| check_master(key, port, event.rcu));
        }
        Answer::Ok
    }
}
