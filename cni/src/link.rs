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
    InfoData, InfoIpVlan, InfoKind, IpVlanMode, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteScope};
use rtnetlink::{Handle, LinkIpVlan, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::time::Duration;

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
                self.mode = data.into_iter().find_map(|d| match d {
                    InfoIpVlan::Mode(mode) => Some(mode),
                    _ => None,
                });
            }
            // The attributes of a kind that the crate does not know; the mode is the first of ours.
            LinkInfo::Data(InfoData::Other(bytes)) => {
                const IFLA_IPVLAN_MODE: u16 = 1;
                self.mode = NlasIterator::new(bytes.as_slice())
                    .flatten()
                    .find(|a| a.kind() == IFLA_IPVLAN_MODE)
                    .and_then(|a| Some(u16::from_ne_bytes(a.value().try_into().ok()?).into()));
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

    /// The card that the default route leads to, IPv4's first.
    pub async fn of_default_route(handle: &Handle) -> Result<Option<Link>> {
        for v4 in [true, false] {
            let mut routes = routes(handle, v4);
            while let Some(route) = routes.next().await {
                let route = route.map_err(told)?;
                if route.header.destination_prefix_length != 0 {
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
    async fn addresses(&self, handle: &Handle) -> Result<Vec<(IpNet, AddressHeaderFlags)>> {
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

    /// Compares with what `ADD` returned.
    pub async fn check(
        &self,
        handle: &Handle,
        config: &Config,
        master: Option<&Link>,
        result: &CNIResult,
    ) -> Result<()> {
        if self.kind.as_deref() != Some(config.kind.as_str()) {
            bail!(
                "{} is of kind {:?}, not {}",
                self.name,
                self.kind.as_deref().unwrap_or("none"),
                config.kind
            );
        }
        if self.mode != Some(config.mode) {
            bail!(
                "{} has mode {:?}, not {:?}",
                self.name,
                self.mode,
                config.mode
            );
        }
        if let Some(master) = master {
            if self.lower != Some(master.index) {
                bail!("{} does not lie on {}", self.name, master.name);
            }
        }
        let addresses = self.addresses(handle).await?;
        for ip in &result.ips {
            if !addresses.iter().any(|(has, _)| *has == ip.address) {
                bail!("{} has lost its address {}", self.name, ip.address);
            }
        }
        for route in &result.routes {
            if !self.has_route(handle, route).await? {
                bail!("the route to {} is gone", route.dst);
            }
        }
        Ok(())
    }

    async fn has_route(&self, handle: &Handle, wanted: &Route) -> Result<bool> {
        let mut routes = routes(handle, wanted.dst.addr().is_ipv4());
        while let Some(route) = routes.next().await {
            let route = route.map_err(told)?;
            let to = route.attributes.iter().find_map(|a| match a {
                RouteAttribute::Destination(to) => Some(to.clone()),
                _ => None,
            });
            let same = match to {
                None => wanted.dst.prefix_len() == 0,
                Some(to) => to == wanted.dst.network().into(),
            };
            let here = route.attributes.contains(&RouteAttribute::Oif(self.index));
            if same && here && route.header.destination_prefix_length == wanted.dst.prefix_len() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// All routes of a family. Without a destination in the request: with one, the kernel looks that up instead.
fn routes(
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

/// A route's gateway: its own, or that of the first address of its family.
fn gateway(route: &Route, result: &CNIResult) -> Option<IpAddr> {
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
    fn the_mode_is_read_from_both_kinds() {
        let mut link = Link::from(LinkMessage::default());
        link.info(LinkInfo::Data(InfoData::Other(vec![
            6, 0, 1, 0, 2, 0, 0, 0, 6, 0, 2, 0, 1, 0, 0, 0,
        ])));
        assert_eq!(link.mode, Some(IpVlanMode::L3S));
        link.info(LinkInfo::Data(InfoData::IpVlan(vec![InfoIpVlan::Mode(
            IpVlanMode::L3,
        )])));
        assert_eq!(link.mode, Some(IpVlanMode::L3));
    }
}
