// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions of the kernel's network device interfaces, as far as a virtual link driver needs them.
//!
//! Knows nothing of the driver. What C promises a callback (a lock that is held, a read-side section, a device that lives
//! as long as the call) arrives as a witness or a lifetime; what must be undone is a value whose drop undoes it.

pub(crate) mod attr;
pub(crate) mod compat;
pub(crate) mod device;
pub(crate) mod device_ref;
pub(crate) mod driver;
pub(crate) mod extack;
pub(crate) mod features;
pub(crate) mod inet;
#[cfg(CONFIG_NET_L3_MASTER_DEV)]
pub(crate) mod l3mdev;
pub(crate) mod link;
pub(crate) mod list;
pub(crate) mod log;
#[cfg(CONFIG_NETFILTER)]
pub(crate) mod netfilter;
pub(crate) mod netns;
pub(crate) mod notifier;
pub(crate) mod ops;
pub(crate) mod packet;
pub(crate) mod queue;
pub(crate) mod route;
pub(crate) mod route4;
pub(crate) mod route6;
pub(crate) mod route_cache;
mod route_key;
pub(crate) mod rtnl;
pub(crate) mod rx_handler;
pub(crate) mod skbuff;
pub(crate) mod softirq;
pub(crate) mod view;
