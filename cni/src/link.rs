// SPDX-License-Identifier: GPL-2.0-or-later
//! Links, addresses and routes, over netlink.

use crate::config::Config;
use anyhow::{anyhow, bail, Context, Result};
use futures_util::{Stream, StreamExt, TryStreamExt};
use ipnet::IpNet;
use rscni_plugin::types::{CNIResult, Route};
use rtnetlink::packet_core::NlasIterator;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, IpVlanFlags, IpVlanMode, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteScope,
};
use rtnetlink::{Handle, LinkIpVlan, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::time::Duration;

/// The number of the main table.
pub const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// A link as the kernel shows it.
#[derive(Debug)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mac: String,
    pub mtu: u32,
    /// The index of the master.
    pub lower: Option<u32>,
    pub kind: Option<String>,
    pub mode: Option<IpVlanMode>,
    pub flag: Option<IpVlanFlags>,
}

/// An error of netlink in the kernel's own words, where it has some.
fn told(error: rtnetlink::Error) -> anyhow::Error {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let rtnetlink::Error::NetlinkError(message) = &error else {
        return error.into();
    };
    let words = message.header.get(16..).and_then(|attributes| {
        NlasIterator::new(attributes)
            .flatten()
            .find(|a| a.kind() == NLMSGERR_ATTR_MSG)
            .map(|a| {
                String::from_utf8_lossy(a.value())
                    .trim_end_matches('\0')
                    .to_string()
            })
    });
    match words {
        Some(words) => anyhow!("{}: {words}", message.to_io()),
        None => message.to_io().into(),
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Link {
        let mut link = Link {
            index: message.header.index,
            name: String::new(),
            mac: String::new(),
            mtu: 0,
            lower: None,
            kind: None,
            mode: None,
            flag: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => {
                    let hex: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                    link.mac = hex.join(":");
                }
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Link(index) => link.lower = Some(index),
                LinkAttribute::LinkInfo(infos) => {
                    infos.into_iter().for_each(|info| link.info(info))
                }
                _ => {}
            }
        }
        link
    }
}

impl Link {
    fn info(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::IpVlan(data)) => {
                for data in data {
                    match data {
                        InfoIpVlan::Mode(mode) => self.mode = Some(mode),
                        InfoIpVlan::Flags(flag) => self.flag = Some(flag),
                        _ => {}
                    }
                }
            }
            // The attributes of a kind that the crate does not know; the first two of ours are ipvlan's.
            LinkInfo::Data(InfoData::Other(bytes)) => {
                const IFLA_IPVLAN_MODE: u16 = 1;
                const IFLA_IPVLAN_FLAGS: u16 = 2;
                for attribute in NlasIterator::new(bytes.as_slice()).flatten() {
                    let Ok(value) = attribute.value().try_into().map(u16::from_ne_bytes) else {
                        continue;
                    };
                    match attribute.kind() {
                        IFLA_IPVLAN_MODE => self.mode = Some(value.into()),
                        IFLA_IPVLAN_FLAGS => self.flag = Some(IpVlanFlags::from_bits_retain(value)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// The link of that name in the handle's namespace.
    pub async fn named(handle: &Handle, name: &str) -> Result<Option<Link>> {
        match handle
            .link()
            .get()
            .match_name(name)
            .execute()
            .try_next()
            .await
        {
            Ok(message) => Ok(message.map(Link::from)),
            Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -nix::libc::ENODEV => {
                Ok(None)
            }
            Err(e) => Err(told(e)),
        }
    }

    /// The card that the default route of the main table leads to, IPv4's first.
    pub async fn of_default_route(handle: &Handle) -> Result<Option<Link>> {
        for v4 in [true, false] {
            let mut routes = routes(handle, v4);
            while let Some(route) = routes.next().await {
                let route = route.map_err(told)?;
                if route.header.destination_prefix_length != 0 || table(&route) != MAIN {
                    continue;
                }
                for attribute in route.attributes {
                    if let RouteAttribute::Oif(index) = attribute {
                        let mut links = handle.link().get().match_index(index).execute();
                        return Ok(links.try_next().await.map_err(told)?.map(Link::from));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Creates the link `name` on the master, right in the namespace `ns` if one is given.
    pub async fn create(
        handle: &Handle,
        config: &Config,
        master: &Link,
        name: &str,
        ns: Option<RawFd>,
    ) -> Result<()> {
        let kind = InfoKind::Other(config.kind.clone());
        let mut builder = LinkMessageBuilder::<LinkIpVlan>::new_with_info_kind(kind)
            .name(name.to_string())
            .link(master.index)
            .mode(config.mode);
        if let Some(flag) = config.flag {
            builder = builder.flag(flag);
        }
        if let Some(mtu) = config.mtu {
            builder = builder.mtu(mtu);
        }
        if let Some(ns) = ns {
            builder = builder.setns_by_fd(ns);
        }
        handle
            .link()
            .add(builder.build())
            .execute()
            .await
            .map_err(told)
            .with_context(|| {
                format!(
                    "cannot create {name} of kind {} on {}",
                    config.kind, master.name
                )
            })
    }

    /// Deletes it.
    pub async fn delete(&self, handle: &Handle) -> Result<()> {
        handle.link().del(self.index).execute().await.map_err(told)
    }

    /// Gives it its addresses, takes it up and adds the routes; returns when the addresses can be used.
    pub async fn configure(&self, handle: &Handle, result: &CNIResult) -> Result<()> {
        let v6 = result.ips.iter().any(|ip| ip.address.addr().is_ipv6());
        if v6 {
            // Container runtimes turn IPv6 off where they know of none.
            let _ = std::fs::write(
                format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name),
                "0",
            );
        }
        // Who knew the address with another link learns of this one.
        for family in ["ipv4/conf", "ipv6/conf"] {
            let notify = if family.starts_with("ipv4") {
                "arp_notify"
            } else {
                "ndisc_notify"
            };
            let _ = std::fs::write(
                format!("/proc/sys/net/{family}/{}/{notify}", self.name),
                "1",
            );
        }
        for ip in &result.ips {
            let add = handle
                .address()
                .add(self.index, ip.address.addr(), ip.address.prefix_len());
            add.execute()
                .await
                .map_err(told)
                .with_context(|| format!("address {}", ip.address))?;
        }
        let up = LinkMessageBuilder::<LinkUnspec>::new()
            .index(self.index)
            .up()
            .build();
        handle
            .link()
            .set(up)
            .execute()
            .await
            .map_err(told)
            .with_context(|| format!("{} up", self.name))?;
        for route in &result.routes {
            self.route(handle, route, result)
                .await
                .with_context(|| format!("route {}", route.dst))?;
        }
        if v6 {
            self.settled(handle).await?;
        }
        Ok(())
    }

    async fn route(&self, handle: &Handle, route: &Route, result: &CNIResult) -> Result<()> {
        let mut builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(route.dst.network(), route.dst.prefix_len())?
            .output_interface(self.index);
        if let Some(table) = route.table {
            builder = builder.table_id(table);
        }
        if let Some(priority) = route.priority {
            builder = builder.priority(priority);
        }
        builder = match gateway(route, result) {
            Some(gateway) => builder.gateway(gateway)?,
            None if route.dst.addr().is_ipv4() => builder.scope(RouteScope::Link),
            None => builder,
        };
        if let Some(scope) = route.scope.and_then(|s| u8::try_from(s).ok()) {
            builder = builder.scope(scope.into());
        }
        let mut message = builder.build();
        let metrics: Vec<_> = route
            .mtu
            .map(RouteMetric::Mtu)
            .into_iter()
            .chain(route.advmss.map(RouteMetric::Advmss))
            .collect();
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        handle.route().add(message).execute().await.map_err(told)
    }

    /// The addresses in use, and whether duplicate detection still runs for one, or has failed.
    pub async fn addresses(&self, handle: &Handle) -> Result<Vec<(IpNet, AddressHeaderFlags)>> {
        let mut all = handle
            .address()
            .get()
            .set_link_index_filter(self.index)
            .execute();
        let mut found = Vec::new();
        while let Some(message) = all.next().await {
            found.extend(address(message.map_err(told)?));
        }
        Ok(found)
    }

    /// Waits for the end of duplicate address detection.
    async fn settled(&self, handle: &Handle) -> Result<()> {
        const LONGEST: Duration = Duration::from_secs(10);
        const STEP: Duration = Duration::from_millis(50);
        for _ in 0..LONGEST.as_millis() / STEP.as_millis() {
            let addresses = self.addresses(handle).await?;
            if let Some((ip, _)) = addresses
                .iter()
                .find(|(_, f)| f.contains(AddressHeaderFlags::Dadfailed))
            {
                bail!("somebody else has the address {ip}");
            }
            if !addresses
                .iter()
                .any(|(_, f)| f.contains(AddressHeaderFlags::Tentative))
            {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
        bail!("duplicate address detection does not end")
    }
}

/// All routes of a family, of all tables. Without a destination in the request: with one, the kernel looks that up instead.
pub fn routes(
    handle: &Handle,
    v4: bool,
) -> impl Stream<Item = Result<RouteMessage, rtnetlink::Error>> + Unpin {
    let all = if v4 {
        RouteMessageBuilder::<Ipv4Addr>::new().build()
    } else {
        RouteMessageBuilder::<Ipv6Addr>::new().build()
    };
    Box::pin(handle.route().get(all).execute())
}

/// A dumped address; of a point-to-point pair the local one.
fn address(message: AddressMessage) -> Option<(IpNet, AddressHeaderFlags)> {
    let pick = |local: bool| {
        message.attributes.iter().find_map(move |a| match a {
            AddressAttribute::Local(ip) if local => Some(*ip),
            AddressAttribute::Address(ip) if !local => Some(*ip),
            _ => None,
        })
    };
    let ip = pick(true).or_else(|| pick(false))?;
    Some((
        IpNet::new(ip, message.header.prefix_len).ok()?,
        message.header.flags,
    ))
}

/// The table of a route that the kernel shows: its attribute holds what its header has no room for.
pub fn table(route: &RouteMessage) -> u32 {
    let wide = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    wide.unwrap_or(route.header.table.into())
}

/// A route's gateway: its own, or that of the first address of its family.
pub fn gateway(route: &Route, result: &CNIResult) -> Option<IpAddr> {
    route.gw.or_else(|| {
        let v4 = route.dst.addr().is_ipv4();
        result
            .ips
            .iter()
            .find(|ip| ip.address.addr().is_ipv4() == v4)
            .and_then(|ip| ip.gateway)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &str) -> CNIResult {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_route_takes_the_gateway_of_its_family() {
        let r = result(
            r#"{"ips":[{"address":"192.0.2.7/24"},{"address":"2001:db8::7/64","gateway":"2001:db8::1"}],
                "routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"198.51.100.0/24","gw":"192.0.2.9"}]}"#,
        );
        let seen: Vec<_> = r.routes.iter().map(|route| gateway(route, &r)).collect();
        assert_eq!(
            seen,
            [None, "2001:db8::1".parse().ok(), "192.0.2.9".parse().ok()]
        );
    }

    #[test]
    fn mode_and_flag_are_read_from_both_kinds() {
        let mut link = Link::from(LinkMessage::default());
        link.info(LinkInfo::Data(InfoData::Other(vec![
            6, 0, 1, 0, 2, 0, 0, 0, 6, 0, 2, 0, 1, 0, 0, 0, 8, 0, 32, 0, 0, 0, 64, 0,
        ])));
        assert_eq!(link.mode, Some(IpVlanMode::L3S));
        assert_eq!(link.flag, Some(IpVlanFlags::Private));
        link.info(LinkInfo::Data(InfoData::IpVlan(vec![
            InfoIpVlan::Mode(IpVlanMode::L3),
            InfoIpVlan::Flags(IpVlanFlags::Vepa),
        ])));
        assert_eq!(link.mode, Some(IpVlanMode::L3));
        assert_eq!(link.flag, Some(IpVlanFlags::Vepa));
    }

    #[test]
    fn a_table_above_255_is_read_from_the_attribute() {
        let mut route = RouteMessage::default();
        route.header.table = 254;
        assert_eq!(table(&route), MAIN);
        route.attributes.push(RouteAttribute::Table(1000));
        assert_eq!(table(&route), 1000);
    }
}
