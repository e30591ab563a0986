// SPDX-License-Identifier: GPL-2.0
//! Routes, rules and neighbours.

use super::{granted, Nl};
use anyhow::{Context, Result};
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteMessage, RouteMetric, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::RouteMessageBuilder;
use std::net::IpAddr;

/// Where a route leads.
#[derive(Clone, Copy, Debug)]
pub enum Via {
    /// On the link with this index.
    Link(u32),
    Gateway(IpAddr),
    /// Of the link with this index.
    GatewayOn(IpAddr, u32),
    /// `prohibit`.
    Prohibit,
    /// A table that is asked later decides.
    Throw,
}

impl Nl {
    /// Adds a route to the main table, or to `table`.
    pub fn add_route_in(&self, table: u32, to: IpAddr, prefix: u8, via: Via) -> Result<()> {
        self.add_route_with(table, to, prefix, via, &[])
    }

    /// As [`Nl::add_route`], with an MTU of its own.
    pub fn add_route_mtu(&self, to: IpAddr, prefix: u8, via: Via, mtu: u32) -> Result<()> {
        let metrics = RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]);
        self.add_route_with(libc::RT_TABLE_MAIN.into(), to, prefix, via, &[metrics])
    }

    /// As [`Nl::add_route`], with a metric: of two to the same network, the lower is taken.
    pub fn add_route_metric(&self, to: IpAddr, prefix: u8, via: Via, metric: u32) -> Result<()> {
        let metric = RouteAttribute::Priority(metric);
        self.add_route_with(libc::RT_TABLE_MAIN.into(), to, prefix, via, &[metric])
    }

    fn add_route_with(
        &self,
        table: u32,
        to: IpAddr,
        prefix: u8,
        via: Via,
        more: &[RouteAttribute],
    ) -> Result<()> {
        let mut b = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to, prefix)?
            .table_id(table);
        b = match via {
            Via::Link(index) => {
                b = b.output_interface(index);
                if to.is_ipv4() {
                    b.scope(RouteScope::Link)
                } else {
                    b
                }
            }
            Via::Gateway(gateway) => b.gateway(gateway)?,
            Via::GatewayOn(gateway, index) => b.gateway(gateway)?.output_interface(index),
            Via::Prohibit => b.kind(RouteType::Prohibit),
            Via::Throw => b.kind(RouteType::Throw),
        };
        let mut message: RouteMessage = b.build();
        message.attributes.extend_from_slice(more);
        granted(self.request(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )?)
        .with_context(|| format!("route {to}/{prefix} {via:?}"))
    }

    /// Gives the route that there is to this network one more path.
    pub fn append_route(&self, to: IpAddr, prefix: u8, gateway: IpAddr) -> Result<()> {
        let message: RouteMessage = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to, prefix)?
            .gateway(gateway)?
            .build();
        granted(self.request(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_APPEND,
        )?)
        .with_context(|| format!("one more route {to}/{prefix} by {gateway}"))
    }

    /// Deletes a route of a table.
    pub fn del_route_in(&self, table: u32, to: IpAddr, prefix: u8) -> Result<()> {
        let message: RouteMessage = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to, prefix)?
            .table_id(table)
            .kind(RouteType::Unspec)
            .scope(RouteScope::NoWhere)
            .build();
        granted(self.request(RouteNetlinkMessage::DelRoute(message), 0)?)
            .with_context(|| format!("deleting route {to}/{prefix}"))
    }

    pub fn add_route(&self, to: IpAddr, prefix: u8, via: Via) -> Result<()> {
        self.add_route_in(libc::RT_TABLE_MAIN.into(), to, prefix, via)
    }

    /// Whether packets to `ip` stay in this namespace.
    pub fn is_local(&self, ip: IpAddr) -> Result<bool> {
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        let mut m = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(ip, prefix)?
            .build();
        // A strict kernel takes none of these in a look-up.
        m.header.protocol = Default::default();
        m.header.scope = Default::default();
        m.header.kind = Default::default();
        m.header.table = 0;
        match self.get(RouteNetlinkMessage::GetRoute(m), 0) {
            Ok(objects) => Ok(objects.iter().any(
                |o| matches!(o, RouteNetlinkMessage::NewRoute(m) if m.header.kind == RouteType::Local),
            )),
            Err(e) if e.is::<super::Refusal>() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// All packets use `table`, if it has a route for them, before they use the main table.
    pub fn add_rule(&self, v4: bool, table: u32) -> Result<()> {
        self.add_rule_with(v4, table, 0, &[])
    }

    /// Packets with `mark` use `table`.
    pub fn add_mark_rule(&self, v4: bool, mark: u32, table: u32) -> Result<()> {
        self.add_rule_with(v4, table, 0, &[RuleAttribute::FwMark(mark)])
    }

    /// Packets with this type of service (IPv6: traffic class) use `table`.
    pub fn add_tos_rule(&self, v4: bool, tos: u8, table: u32) -> Result<()> {
        self.add_rule_with(v4, table, tos, &[])
    }

    /// Packets that leave by the link of this name use `table`.
    pub fn add_oif_rule(&self, v4: bool, name: &str, table: u32) -> Result<()> {
        self.add_rule_with(v4, table, 0, &[RuleAttribute::Oifname(name.into())])
    }

    /// Packets that came in by the link of this name, or for the loopback's that the host made, use `table`.
    pub fn add_iif_rule(&self, v4: bool, name: &str, table: u32) -> Result<()> {
        self.add_rule_with(v4, table, 0, &[RuleAttribute::Iifname(name.into())])
    }

    /// All packets use `table`, but for its routes over links of this group.
    pub fn add_group_rule(&self, v4: bool, group: u32, table: u32) -> Result<()> {
        self.add_rule_with(v4, table, 0, &[RuleAttribute::SuppressIfGroup(group)])
    }

    fn add_rule_with(&self, v4: bool, table: u32, tos: u8, more: &[RuleAttribute]) -> Result<()> {
        let mut m = RuleMessage::default();
        m.header.family = if v4 {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        m.header.action = RuleAction::ToTable;
        m.header.tos = tos;
        m.attributes.extend_from_slice(more);
        m.attributes.push(RuleAttribute::Table(table));
        granted(self.create(RouteNetlinkMessage::NewRule(m))?).context("rule")
    }

    /// A permanent neighbour entry.
    pub fn add_neigh(&self, index: u32, ip: IpAddr, mac: [u8; 6]) -> Result<()> {
        let mut m = neigh(index, ip);
        m.header.state = NeighbourState::Permanent;
        m.attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        granted(self.request(
            RouteNetlinkMessage::NewNeighbour(m),
            NLM_F_CREATE | NLM_F_REPLACE,
        )?)
        .with_context(|| format!("neighbour {ip}"))
    }

    /// A neighbour that does not answer.
    pub fn fail_neigh(&self, index: u32, ip: IpAddr) -> Result<()> {
        let mut m = neigh(index, ip);
        m.header.state = NeighbourState::Failed;
        granted(self.request(RouteNetlinkMessage::NewNeighbour(m), NLM_F_REPLACE)?)
            .with_context(|| format!("failed neighbour {ip}"))
    }

    /// A proxy neighbour entry: the link answers for `ip`.
    pub fn add_neigh_proxy(&self, index: u32, ip: IpAddr) -> Result<()> {
        let mut m = neigh(index, ip);
        m.header.state = NeighbourState::Permanent;
        m.header.flags = NeighbourFlags::Proxy;
        granted(self.request(
            RouteNetlinkMessage::NewNeighbour(m),
            NLM_F_CREATE | NLM_F_REPLACE,
        )?)
        .with_context(|| format!("neighbour proxy {ip}"))
    }
}

fn neigh(index: u32, ip: IpAddr) -> NeighbourMessage {
    let mut m = NeighbourMessage::default();
    m.header.ifindex = index;
    m.header.family = if ip.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    m.attributes.push(NeighbourAttribute::Destination(match ip {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }));
    m
}
