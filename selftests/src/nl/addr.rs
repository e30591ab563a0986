// SPDX-License-Identifier: GPL-2.0
//! Addresses: add, delete, list.

use super::{granted, Answer, Nl};
use anyhow::{Context, Result};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address to add or delete.
#[derive(Clone, Copy, Debug)]
pub struct AddrSpec {
    pub index: u32,
    pub local: IpAddr,
    pub prefix: u8,
    pub peer: Option<IpAddr>,
    /// Let IPv6 duplicate address detection run (otherwise IFA_F_NODAD).
    pub dad: bool,
}

impl AddrSpec {
    pub fn new(index: u32, local: impl Into<IpAddr>, prefix: u8) -> AddrSpec {
        AddrSpec {
            index,
            local: local.into(),
            prefix,
            peer: None,
            dad: false,
        }
    }

    fn build(&self) -> AddressMessage {
        let mut m = AddressMessage::default();
        m.header.index = self.index;
        m.header.prefix_len = self.prefix;
        m.header.family = if self.local.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        m.attributes.push(AddressAttribute::Local(self.local));
        m.attributes
            .push(AddressAttribute::Address(self.peer.unwrap_or(self.local)));
        if let (IpAddr::V4(v4), None, true) = (self.local, self.peer, self.prefix < 31) {
            let host_bits = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
            m.attributes
                .push(AddressAttribute::Broadcast(Ipv4Addr::from(
                    u32::from(v4) | host_bits,
                )));
        }
        if self.local.is_ipv6() && !self.dad {
            m.attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        m
    }
}

/// An address that a link has.
#[derive(Clone, Debug)]
pub struct Addr {
    /// The link's index.
    pub index: u32,
    pub ip: IpAddr,
    pub prefix: u8,
    pub tentative: bool,
    pub dad_failed: bool,
}

impl Nl {
    /// RTM_NEWADDR with NLM_F_CREATE | NLM_F_EXCL; the answer is the caller's to judge.
    pub fn try_add_addr(&self, spec: &AddrSpec) -> Result<Answer> {
        self.request(
            RouteNetlinkMessage::NewAddress(spec.build()),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Adds an address that must be accepted, without IPv6 duplicate address detection.
    pub fn add_addr(&self, index: u32, ip: impl Into<IpAddr>, prefix: u8) -> Result<()> {
        let spec = AddrSpec::new(index, ip, prefix);
        granted(self.try_add_addr(&spec)?)
            .with_context(|| format!("adding {}/{prefix}", spec.local))?;
        self.usable(&spec)
    }

    /// Waits until an IPv6 address that was just added is usable: the kernel adds its local route from a work item. On
    /// a link without carrier that does not happen.
    fn usable(&self, spec: &AddrSpec) -> Result<()> {
        if spec.local.is_ipv4() {
            return Ok(());
        }
        let link = self.link_at(spec.index)?;
        let start = std::time::Instant::now();
        while link.has(super::flags::UP) && link.carrier && !self.is_local(spec.local)? {
            anyhow::ensure!(
                start.elapsed() < crate::wait::patience(),
                "{} does not become local",
                spec.local
            );
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        Ok(())
    }

    pub fn try_del_addr(&self, spec: &AddrSpec) -> Result<Answer> {
        self.request(RouteNetlinkMessage::DelAddress(spec.build()), 0)
    }

    pub fn del_addr(&self, index: u32, ip: impl Into<IpAddr>, prefix: u8) -> Result<()> {
        let spec = AddrSpec::new(index, ip, prefix);
        granted(self.try_del_addr(&spec)?)
            .with_context(|| format!("deleting {}/{prefix}", spec.local))
    }

    /// The addresses of one link, or with index 0 of all.
    pub fn addrs(&self, index: u32) -> Result<Vec<Addr>> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut m = AddressMessage::default();
            m.header.family = family;
            m.header.index = index;
            for object in self.get(RouteNetlinkMessage::GetAddress(m), NLM_F_DUMP)? {
                if let RouteNetlinkMessage::NewAddress(m) = object {
                    all.extend(decode(&m));
                }
            }
        }
        Ok(all)
    }

    /// The link-local IPv6 address of a link.
    pub fn link_local(&self, index: u32) -> Result<Option<Ipv6Addr>> {
        Ok(self.addrs(index)?.into_iter().find_map(|a| match a.ip {
            IpAddr::V6(v6) if v6.segments()[0] == 0xfe80 => Some(v6),
            _ => None,
        }))
    }
}

fn decode(m: &AddressMessage) -> Option<Addr> {
    let find = |f: &dyn Fn(&AddressAttribute) -> Option<IpAddr>| m.attributes.iter().find_map(f);
    let ip = find(&|a| {
        if let AddressAttribute::Local(ip) = a {
            Some(*ip)
        } else {
            None
        }
    })
    .or_else(|| {
        find(&|a| {
            if let AddressAttribute::Address(ip) = a {
                Some(*ip)
            } else {
                None
            }
        })
    })?;
    let flags = m
        .attributes
        .iter()
        .find_map(|a| {
            if let AddressAttribute::Flags(f) = a {
                Some(*f)
            } else {
                None
            }
        })
        .unwrap_or(AddressFlags::empty());
    Some(Addr {
        index: m.header.index,
        ip,
        prefix: m.header.prefix_len,
        tentative: flags.contains(AddressFlags::Tentative),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
    })
}
