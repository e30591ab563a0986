// SPDX-License-Identifier: GPL-2.0

//! IPVLAN: network devices that share one Ethernet card and its address, told apart by their IP addresses.
//!
//! `ip link add link eth0 name ipvl0 type ipvlan_rs mode l2` makes a slave on the master `eth0`. The layers, top down:
//!
//! - [`netlink`], [`device`], [`events`]: what user space, the stack and the rest of the kernel ask of slaves;
//! - [`port`], [`address`], [`multicast`], [`listeners`], [`losses`]: what the slaves of one master share;
//! - [`core_path`], [`facts`], [`l3s`]: the packets' way;
//! - [`logic`]: decisions on bytes and numbers, nothing else; also compiled on the host, for tests;
//! - [`net`], [`sync`]: safe abstractions of the kernel's interfaces, without a word of ipvlan;
//! - [`sys`]: raw bindings.
//!
//! `unsafe` occurs in the last three only.

#![deny(missing_docs)]
// Some of what is general in `net/` has no user where the kernel lacks what the user is for.
#![cfg_attr(
    not(all(CONFIG_IPV6, CONFIG_NETFILTER, CONFIG_NET_L3_MASTER_DEV)),
    allow(dead_code)
)]

mod address;
// Not `core`: the root of a crate must not have a module that hides that crate.
#[path = "core.rs"]
mod core_path;
mod device;
mod events;
mod facts;
#[cfg(all(CONFIG_NETFILTER, CONFIG_NET_L3_MASTER_DEV))]
mod l3s;
#[cfg(not(all(CONFIG_NETFILTER, CONFIG_NET_L3_MASTER_DEV)))]
#[path = "l3s_absent.rs"]
mod l3s;
mod listeners;
mod logic;
mod losses;
mod multicast;
mod net;
mod netlink;
mod port;
mod spaces;
mod sync;
mod sys;

use device::Ipvlan;
use events::Events;
use kernel::prelude::*;
use net::{
    compat::is_on,
    link::LinkRegistration,
    notifier::{
        Addresses4,
        Addresses6,
        Devices,
        Membership,
        Validators4,
        Validators6, //
    },
};
use sync::rcu::Barrier;

module! {
    type: IpvlanModule,
    name: "ipvlan_rs",
    authors: ["The ipvlan_rs developers"],
    description: "IPVLAN: many addresses on one network card, steered by IP",
    license: "GPL",
    alias: ["rtnl-link-ipvlan_rs"],
    imports_ns: ["NETDEV_INTERNAL"],
    params: {
        dropin: u8 {
            default: 0,
            description: "1: serve links of the kind ipvlan too, in the place of in-tree ipvlan (default 0)",
        },
        master_addr: u8 {
            default: 0,
            description: "1: slaves may take the master's own addresses and their traffic, as in-tree ipvlan (default 0)",
        },
    },
}

/// Whether what is sent to the master's own addresses goes to the master, whatever slaves say.
fn master_has_priority() -> bool {
    !is_on(module_parameters::master_addr.value())
}

/// The module: what it has registered. Dropped from top to bottom, so the order of the fields is the order of teardown:
/// first no more links, then no more hooks and events, and last what readers of RCU may still hold.
struct IpvlanModule {
    _dropin: Option<LinkRegistration<Ipvlan>>,
    _links: LinkRegistration<Ipvlan>,
    _l3s: l3s::Registration,
    _devices: Membership<Devices, Events>,
    _addresses4: Membership<Addresses4, Events>,
    _validators4: Membership<Validators4, Events>,
    _addresses6: Membership<Addresses6, Events>,
    _validators6: Membership<Validators6, Events>,
    _barrier: Barrier,
}

impl kernel::Module for IpvlanModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // Listen before there is anything to hear of.
        let barrier = Barrier::new();
        let validators6 = Membership::new()?;
        let addresses6 = Membership::new()?;
        let validators4 = Membership::new()?;
        let addresses4 = Membership::new()?;
        let devices = Membership::new()?;
        let l3s = l3s::HOOKS.register()?;
        let links = netlink::LINK_OPS.register()?;
        let dropin = if is_on(module_parameters::dropin.value()) {
            netlink::drop_in()?
        } else {
            None
        };
        Ok(Self {
            _dropin: dropin,
            _links: links,
            _l3s: l3s,
            _devices: devices,
            _addresses4: addresses4,
            _validators4: validators4,
            _addresses6: addresses6,
            _validators6: validators6,
            _barrier: barrier,
        })
    }
}

impl Drop for IpvlanModule {
    fn drop(&mut self) {
        match device::slaves() {
            0 => {}
            slaves => pr_info!("unloading deletes {slaves} links\n"),
        }
    }
}
