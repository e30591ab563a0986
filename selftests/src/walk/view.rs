// SPDX-License-Identifier: GPL-2.0
//! What a world looks like from user space: its slaves and its master, as dumps tell. Views of two worlds can be
//! compared, since they hold no index.

use super::step::Ip;
use crate::frames::{group_mac, solicited_node};
use crate::nl::flags;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A link. Slaves and the master have the same attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkView {
    pub space: u8,
    pub flags: u32,
    pub mtu: u32,
    pub min_mtu: u32,
    pub max_mtu: u32,
    pub mac: [u8; 6],
    pub mode: Option<u16>,
    pub port_flags: Option<u16>,
    pub operstate: String,
    pub carrier: bool,
    pub promiscuity: u32,
    pub allmulti: u32,
    /// Limits, queues and whatever else dumps say.
    pub others: Vec<String>,
    /// Whether IFLA_LINK names the master.
    pub on_master: bool,
    /// Whether there is an IFLA_LINK_NETNSID.
    pub elsewhere: bool,
    pub addrs: BTreeSet<(IpAddr, u8)>,
    /// The link's multicast addresses.
    pub groups: BTreeSet<[u8; 6]>,
}

impl LinkView {
    pub fn is_up(&self) -> bool {
        self.flags & flags::UP != 0
    }

    fn is_noarp(&self) -> bool {
        self.flags & libc::IFF_NOARP as u32 != 0
    }

    pub fn has_addr(&self, ip: IpAddr) -> bool {
        self.addrs.iter().any(|(addr, _)| *addr == ip)
    }

    /// Whether frames to this group address pass the link's filter for certain.
    pub fn listens(&self, mac: &[u8; 6]) -> bool {
        *mac == [0xff; 6]
            || self.flags & (libc::IFF_PROMISC | libc::IFF_ALLMULTI) as u32 != 0
            || self.groups.contains(mac)
    }
}

/// Which link an index means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Slave(u8),
    Master,
    Other,
}

/// A world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub slaves: BTreeMap<u8, LinkView>,
    pub master: LinkView,
}

impl View {
    pub fn link_mut(&mut self, who: Option<&Who>) -> Option<&mut LinkView> {
        match who? {
            Who::Slave(slot) => self.slaves.get_mut(slot),
            Who::Master => Some(&mut self.master),
            Who::Other => None,
        }
    }

    /// The slave that has an address, up or not.
    pub fn owner(&self, ip: IpAddr) -> Option<u8> {
        self.slaves
            .iter()
            .find(|(_, s)| s.has_addr(ip))
            .map(|(slot, _)| *slot)
    }

    /// The slave that receives for an address as long as the master does not have it.
    pub fn receiver(&self, ip: Ip) -> Option<u8> {
        self.owner(ip.addr())
            .filter(|slot| self.slaves[slot].is_up())
    }

    /// Whether every slave that is up has followed the master's carrier, and IPv6 with it. Both take a work item.
    pub fn is_settled(&self) -> bool {
        let on = self.master.is_up() && self.master.carrier;
        let link_local =
            |addr: &IpAddr| matches!(addr, IpAddr::V6(v6) if v6.segments()[0] == 0xfe80);
        self.slaves
            .values()
            .filter(|s| s.is_up())
            .all(|s| s.carrier == on && (!on || s.addrs.iter().any(|(addr, _)| link_local(addr))))
    }

    /// Whether an address that is new since `before`, or whose link was NOARP then, has yet to join its solicited-node
    /// group. A work item of the kernel's does that (addrconf_dad_work).
    pub fn is_joining(&self, before: &View) -> bool {
        let slaves = self
            .slaves
            .iter()
            .map(|(slot, new)| (new, before.slaves.get(slot)));
        slaves
            .chain([(&self.master, Some(&before.master))])
            .filter(|(new, _)| new.is_up() && new.carrier && !new.is_noarp())
            .any(|(new, old)| {
                let old = old.filter(|old| !old.is_noarp());
                new.addrs.iter().any(|(addr, _)| {
                    let IpAddr::V6(ip) = addr else { return false };
                    let group = group_mac(solicited_node(*ip).into());
                    !new.groups.contains(&group) && !old.is_some_and(|old| old.has_addr(*addr))
                })
            })
    }

    /// The port's mode; `None` without slaves.
    pub fn mode(&self) -> Option<u16> {
        self.slaves.values().next().and_then(|s| s.mode)
    }

    pub fn port_flags(&self) -> u16 {
        self.slaves
            .values()
            .next()
            .and_then(|s| s.port_flags)
            .unwrap_or(0)
    }
}

/// One line for each attribute in which two links differ.
pub fn differences(theirs: &LinkView, ours: &LinkView) -> Vec<String> {
    let mut lines = Vec::new();
    macro_rules! compare {
        ($($field:ident),*) => {
            $(if theirs.$field != ours.$field {
                lines.push(format!(
                    "{}: ipvlan {:x?}, ipvlan_rs {:x?}",
                    stringify!($field), theirs.$field, ours.$field
                ));
            })*
        };
    }
    compare!(
        space,
        flags,
        mtu,
        min_mtu,
        mac,
        mode,
        port_flags,
        operstate,
        carrier,
        promiscuity,
        others,
        on_master,
        elsewhere,
        addrs,
        groups
    );
    lines
}
