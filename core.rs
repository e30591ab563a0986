// SPDX-License-Identifier: GPL-2.0

//! The packet path: what the master receives and what slaves send.
//!
//! A frame gives facts, [`verdict`] decides on them, and the decision is carried out here. Softirq context; no panics.

#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use crate::{
    device::{
        received_len,
        Counter,
        Ipvlan,
        Slave, //
    },
    logic::{
        addr::Addr,
        frame::{
            self,
            Parsed,
            ETH_HLEN, //
        },
        verdict::{
            self,
            Facts,
            Family,
            Inner,
            Verdict,
            Why, //
        },
    },
    net::{
        device::NetDevice,
        driver::DriverRef,
        packet::{
            DropReason,
            Ethernet,
            Xmit, //
        },
        route::{
            report_too_big,
            IpHeader,
            Route,
            XmitDepth, //
        },
        rx_handler::{
            RxHandler,
            RxResult,
            RxSkb, //
        },
        skbuff::Skb,
        softirq::Softirq,
        view::Headers, //
    },
    port::Port, //
};

/// Parses the packet whose network header begins `offset` bytes into the data, pulling what that takes.
#[inline(always)]
pub(crate) fn parse(packet: &mut impl Headers, offset: usize) -> Inner {
    loop {
        let skb = packet.skb();
        let len = skb.len().saturating_sub(offset);
        let linear = skb.linear().get(offset..).unwrap_or_default();
        match frame::parse(skb.protocol(), linear, len) {
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

/// A frame that the master received.
struct Received<'a, 'b> {
    skb: &'b mut Skb,
    port: &'a Port,
    cx: &'a Softirq,
}

impl<'a> Facts for Received<'a, '_> {
    type Slave = &'a DriverRef<Ipvlan>;

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
        parse(self.skb, 0)
    }

    #[inline]
    fn lookup(&self, addr: Addr) -> Option<Self::Slave> {
        self.port.addresses.receiver(addr, &self.cx.rcu)
    }
}

impl RxHandler for Port {
    #[inline]
    fn receive<'a>(&'a self, mut rx: RxSkb<'a>, cx: &'a Softirq) -> RxResult<'a> {
        let mut facts = Received {
            skb: &mut rx.skb,
            port: self,
            cx,
        };
        match verdict::receive(self.settings(), &mut facts) {
            Verdict::Deliver(slave) => {
                slave.count_received(received_len(&rx.skb), true, false, cx);
                rx.another(slave.dev(), cx)
            }
            Verdict::FloodAndPass => {
                self.flood.received(&rx.skb, cx);
                rx.pass()
            }
            // The others are verdicts on what is sent.
            Verdict::Pass
            | Verdict::Flood
            | Verdict::ToMaster
            | Verdict::Transmit
            | Verdict::Route(_)
            | Verdict::Drop(_) => rx.pass(),
        }
    }
}

/// A frame that a slave sends.
struct Sent<'a, 'b> {
    skb: &'b mut Skb,
    ethernet: Ethernet,
    port: &'a Port,
    cx: &'a Softirq,
}

impl<'a> Facts for Sent<'a, '_> {
    type Slave = &'a DriverRef<Ipvlan>;

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
        true
    }

    #[inline]
    fn own_dest(&self) -> bool {
        self.ethernet.dest == self.ethernet.source
    }

    // Where the network header is, a raw socket or a redirect may have told the kernel wrongly: it follows the
    // Ethernet header.
    #[inline(always)]
    fn packet(&mut self) -> Inner {
        parse(self.skb, ETH_HLEN)
    }

    #[inline]
    fn lookup(&self, addr: Addr) -> Option<Self::Slave> {
        self.port.addresses.receiver(addr, &self.cx.rcu)
    }
}

/// `ndo_start_xmit` of a slave.
#[inline]
pub(crate) fn transmit(slave: &Slave, skb: Skb, dev: &NetDevice, cx: &Softirq) -> Xmit {
    let len = skb.len();
    let result = send(slave, skb, dev, cx);
    if result.is_sent() {
        slave.counters.add(Counter::TxPackets, 1, &cx.bh);
        // CAST: usize has at most 64 bits.
        slave.counters.add(Counter::TxBytes, len as u64, &cx.bh);
    } else {
        slave.counters.add(Counter::TxDropped, 1, &cx.bh);
    }
    result
}

#[inline]
fn send(slave: &Slave, mut skb: Skb, dev: &NetDevice, cx: &Softirq) -> Xmit {
    let port: &Port = slave.port();
    if !skb.pull_linear(ETH_HLEN) {
        skb.free(DropReason::PacketTooSmall);
        return Xmit::DROP;
    }
    let Some(ethernet) = skb.sent_ethernet() else {
        return Xmit::DROP;
    };
    let mut facts = Sent {
        skb: &mut skb,
        ethernet,
        port,
        cx,
    };
    match verdict::transmit(port.settings(), &mut facts) {
        Verdict::Transmit => skb.queue_xmit(port.master(), cx),
        Verdict::Deliver(sibling) => {
            let len = skb.len();
            let delivered = skb
                .unshare()
                .is_some_and(|skb| skb.forward_to(sibling.dev(), cx));
            sibling.count_received(len, delivered, false, cx);
            Xmit::SUCCESS
        }
        Verdict::ToMaster => {
            if let Some(skb) = skb.unshare() {
                skb.forward_to(port.master(), cx);
                return Xmit::SUCCESS;
            }
            Xmit::DROP
        }
        Verdict::Flood => port.flood.sent(skb, slave, dev, cx),
        Verdict::Route(family) => {
            let result = send_routed(port, skb, dev, family, cx);
            if !result.is_sent() {
                slave.counters.add(Counter::TxErrors, 1, &cx.bh);
            }
            result
        }
        Verdict::Drop(why) => {
            match why {
                // Policy, not a loss.
                Why::Private => skb.consume(),
                Why::Multicast | Why::Protocol => skb.free(DropReason::UnhandledProtocol),
                Why::Malformed => skb.free(DropReason::BadHeader),
            }
            Xmit::DROP
        }
        // Verdicts on what is received.
        Verdict::Pass | Verdict::FloodAndPass => Xmit::DROP,
    }
}

/// Sends a packet through the master's namespace, as if that had made it.
#[inline(never)]
fn send_routed(port: &Port, skb: Skb, dev: &NetDevice, family: Family, cx: &Softirq) -> Xmit {
    let depth = XmitDepth::enter(cx);
    if depth.is_too_deep() {
        skb.free(DropReason::Recursion);
        return Xmit::DROP;
    }
    let Some(mut skb) = skb.unshare() else {
        return Xmit::DROP;
    };
    if !skb.strip_ethernet() {
        skb.free(DropReason::PacketTooSmall);
        return Xmit::DROP;
    }
    let header = match family {
        Family::Ipv4 => IpHeader::v4(&skb),
        Family::Ipv6 => IpHeader::v6(&skb),
    };
    let Some(header) = header else {
        return malformed(skb);
    };
    let master = port.master();
    let crosses = !dev.net_rcu(&cx.rcu).is(master.net_rcu(&cx.rcu));
    // A mark means nothing in another namespace.
    let mark = if crosses { 0 } else { skb.mark() };
    let route = match Route::lookup(master, &header, mark, cx) {
        Ok(route) => route,
        Err(result) => {
            skb.free(DropReason::NoRoute);
            return result;
        }
    };
    // Told now, while the packet has the sender's own route: the master's namespace knows no way back to a slave.
    if let Some(mtu) = route.mtu_exceeded(&skb, &header) {
        let reported = report_too_big(&mut skb, &header, mtu, dev, cx);
        skb.free(DropReason::PacketTooBig);
        return if reported { Xmit::REPORTED } else { Xmit::DROP };
    }
    skb.scrub(crosses);
    match route.output(skb, master, cx) {
        Ok(()) => Xmit::SUCCESS,
        Err(result) => result,
    }
}

/// Drops a packet that turned out shorter than its header.
fn malformed(skb: Skb) -> Xmit {
    skb.free(DropReason::BadHeader);
    Xmit::DROP
}
