// SPDX-License-Identifier: GPL-2.0

//! What there is to know about a frame: what [`logic`](crate::logic) asks before it decides.
//!
//! Any context that reads under RCU; no panics.

#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use crate::{
    device::SlaveRef,
    logic::{
        addr::Addr,
        frame::{
            self,
            Parsed,
            ETH_HLEN, //
        },
        verdict::{
            Facts,
            Inner, //
        },
    },
    net::{
        packet::Ethernet,
        skbuff::Skb,
        view::Headers, //
    },
    port::Port,
    sync::rcu::RcuRead, //
};

/// Parses the packet of this protocol whose network header begins `offset` bytes into the data, pulling what that takes.
#[inline(always)]
pub(crate) fn parse(packet: &mut impl Headers, protocol: u16, offset: usize) -> Inner {
    loop {
        let skb = packet.skb();
        let len = skb.len().saturating_sub(offset);
        let linear = skb.linear().get(offset..).unwrap_or_default();
        match frame::parse(protocol, linear, len) {
            Parsed::Packet(parsed) => return Inner::Packet(parsed),
            Parsed::Invalid => return Inner::Invalid,
            Parsed::Foreign => return Inner::Foreign,
            // Each round asks for more than there was, so there are few.
            Parsed::Pull(len) => {
                if !packet.pull_linear(offset.saturating_add(len)) {
                    return Inner::Invalid;
                }
            }
        }
    }
}

/// The destination of a packet of the commonest shape, as [`parse`] takes its arguments.
#[inline(always)]
fn plain(skb: &Skb, protocol: u16, offset: usize) -> Option<Addr> {
    let len = skb.len().wrapping_sub(offset);
    frame::plain(protocol, skb.linear().get(offset..)?, len)
}

/// A frame that the master received.
pub(crate) struct Received<'a, 'b> {
    /// The frame, its data from the network header on.
    pub(crate) skb: &'b mut Skb,
    /// The master's port.
    pub(crate) port: &'a Port,
    /// What its receiver is found under.
    pub(crate) rcu: &'a RcuRead,
}

impl<'a> Facts for Received<'a, '_> {
    type Slave = SlaveRef<'a>;

    #[inline]
    fn group_dest(&self) -> bool {
        self.skb
            .received_ethernet()
            .is_some_and(|ethernet| ethernet.is_group())
    }

    #[inline]
    fn loopback(&self) -> bool {
        self.skb.is_loopback()
    }

    #[inline]
    fn own_source(&self) -> bool {
        self.skb
            .received_ethernet()
            .is_some_and(|ethernet| ethernet.source == self.port.master().address())
    }

    #[inline]
    fn own_dest(&self) -> bool {
        false
    }

    #[inline(always)]
    fn packet(&mut self) -> Inner {
        let protocol = self.skb.protocol();
        parse(self.skb, protocol, 0)
    }

    #[inline(always)]
    fn plain(&self) -> Option<Addr> {
        plain(self.skb, self.skb.protocol(), 0)
    }

    #[inline(always)]
    fn lookup(&self, addr: Addr) -> Option<Self::Slave> {
        self.port.addresses.receiver(addr, self.rcu)
    }
}

/// A frame that a slave sends.
pub(crate) struct Sent<'a, 'b> {
    /// The frame, its data from the Ethernet header on.
    pub(crate) skb: &'b mut Skb,
    /// That header.
    pub(crate) ethernet: Ethernet,
    /// The slave's port.
    pub(crate) port: &'a Port,
    /// What its receiver is found under.
    pub(crate) rcu: &'a RcuRead,
}

impl<'a> Facts for Sent<'a, '_> {
    type Slave = SlaveRef<'a>;

    #[inline]
    fn group_dest(&self) -> bool {
        self.ethernet.is_group()
    }

    #[inline]
    fn loopback(&self) -> bool {
        false
    }

    #[inline]
    fn own_source(&self) -> bool {
        self.ethernet.source == self.port.master().address()
    }

    #[inline]
    fn own_dest(&self) -> bool {
        self.ethernet.is_to_itself
    }

    // What protocol it is and where the network header is, a raw socket or a redirect may have told the kernel wrongly:
    // whoever receives the frame goes by its Ethernet header.
    #[inline(always)]
    fn packet(&mut self) -> Inner {
        parse(self.skb, self.ethernet.protocol, ETH_HLEN)
    }

    #[inline(always)]
    fn plain(&self) -> Option<Addr> {
        plain(self.skb, self.ethernet.protocol, ETH_HLEN)
    }

    #[inline(always)]
    fn lookup(&self, addr: Addr) -> Option<Self::Slave> {
        self.port.addresses.receiver(addr, self.rcu)
    }
}
