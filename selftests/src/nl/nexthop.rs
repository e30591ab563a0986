// SPDX-License-Identifier: GPL-2.0
//! Next hop objects (`ip nexthop`), which the netlink crate does not know.

use super::link::emit;
use super::{answer, granted, Nl};
use crate::netns::Netns;
use anyhow::{bail, Context, Result};
use rtnetlink::packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{protocols::NETLINK_ROUTE, Socket, SocketAddr};
use rtnetlink::RouteMessageBuilder;
use std::net::IpAddr;

/// linux/rtnetlink.h, linux/nexthop.h
const RTM_NEWNEXTHOP: u16 = 104;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const RTA_NH_ID: u16 = 30;

/// Makes next hop `id`, or gives it this gateway behind the link `index` instead of what it had.
pub fn set(ns: &Netns, id: u32, index: u32, gateway: IpAddr) -> Result<()> {
    let address = match gateway {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let family = if gateway.is_ipv4() { 2 } else { 10 };
    let attributes = [
        DefaultNla::new(NHA_ID, id.to_ne_bytes().to_vec()),
        DefaultNla::new(NHA_OIF, index.to_ne_bytes().to_vec()),
        DefaultNla::new(NHA_GATEWAY, address),
    ];
    send(ns, family, &attributes).with_context(|| format!("nexthop {id} via {gateway}"))
}

/// Makes the group `id` of one next hop.
pub fn group(ns: &Netns, id: u32, member: u32) -> Result<()> {
    // struct nexthop_grp: id, weight less one, two more fields
    let mut entry = member.to_ne_bytes().to_vec();
    entry.extend_from_slice(&[0; 4]);
    let attributes = [
        DefaultNla::new(NHA_ID, id.to_ne_bytes().to_vec()),
        DefaultNla::new(NHA_GROUP, entry),
    ];
    send(ns, 0, &attributes).with_context(|| format!("nexthop group {id} of {member}"))
}

fn send(ns: &Netns, family: u8, attributes: &[DefaultNla]) -> Result<()> {
    let attributes = emit(attributes);
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&((16 + 8 + attributes.len()) as u32).to_ne_bytes());
    bytes.extend_from_slice(&RTM_NEWNEXTHOP.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    // struct nhmsg: family, scope, protocol (static), reserved, flags
    bytes.extend_from_slice(&[family, 0, 4, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&attributes);
    let answered = ns.enter(|| {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let (bytes, _) = socket.recv_from_full()?;
        match super::messages(&bytes).into_iter().next() {
            Some(part) => answer(part.into_inner()),
            None => bail!("no answer"),
        }
    })?;
    granted(answered)
}

impl Nl {
    /// A route by a next hop object.
    pub fn add_route_by(&self, to: IpAddr, prefix: u8, id: u32) -> Result<()> {
        let mut message: RouteMessage = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to, prefix)?
            .build();
        message
            .attributes
            .push(RouteAttribute::Other(DefaultNla::new(
                RTA_NH_ID,
                id.to_ne_bytes().to_vec(),
            )));
        granted(self.create(RouteNetlinkMessage::NewRoute(message))?)
            .with_context(|| format!("route {to}/{prefix} by nexthop {id}"))
    }
}
