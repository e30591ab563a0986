// SPDX-License-Identifier: GPL-2.0
//! Notifications: what `ip monitor` would show.

use super::{decode, messages, Link};
use crate::netns::Netns;
use crate::wait::patience;
use anyhow::{bail, Result};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{protocols::NETLINK_ROUTE, Socket};
use std::time::Instant;

/// RTNLGRP_LINK of linux/rtnetlink.h.
const RTNLGRP_LINK: u32 = 1;

/// One notification about a link.
#[derive(Clone, Debug)]
pub enum Event {
    NewLink(Box<Link>),
    DelLink(Box<Link>),
}

/// A subscription to the link notifications of one namespace.
pub struct Monitor(Socket);

impl Monitor {
    pub fn new(ns: &Netns) -> Result<Monitor> {
        let socket = ns.enter(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.add_membership(RTNLGRP_LINK)?;
            socket.set_rx_buf_sz(1 << 20)?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        })?;
        Ok(Monitor(socket))
    }

    /// What arrived since the last call.
    pub fn drain(&self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            match self.0.recv_from_full() {
                Ok((bytes, _)) => {
                    for part in messages(&bytes) {
                        match decode(part.into_inner())? {
                            RouteNetlinkMessage::NewLink(m) => {
                                events.push(Event::NewLink(Box::new(Link::decode(&m))))
                            }
                            RouteNetlinkMessage::DelLink(m) => {
                                events.push(Event::DelLink(Box::new(Link::decode(&m))))
                            }
                            _ => {}
                        }
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(events),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Waits for a notification that `wanted` accepts; `what` names it in the failure.
    pub async fn expect(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let start = Instant::now();
        let mut seen = 0;
        loop {
            for event in self.drain()? {
                if wanted(&event) {
                    return Ok(event);
                }
                seen += 1;
            }
            if start.elapsed() > patience() {
                bail!("no notification: {what} ({seen} others came)");
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}
