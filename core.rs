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
        Slave,
        SlaveRef, //
    },
    facts::{
        Received,
        Sent, //
    },
    logic::{
        frame::ETH_HLEN,
        verdict::{
            self,
            Family,
            Verdict,
            Why, //
        },
    },
    net::{
        device::NetDevice,
        packet::{
            DropReason,
            Xmit, //
        },
        route::{
            report_too_big,
            IpHeader, //
        },
        route_cache::RouteCache,
        rx_handler::{
            RxHandler,
            RxResult,
            RxSkb, //
        },
        skbuff::Skb,
        softirq::Softirq, //
    },
    port::Port, //
};

impl RxHandler for Port {
    #[inline]
    fn receive<'a>(&'a self, mut rx: RxSkb<'a>, cx: &'a Softirq) -> RxResult<'a> {
        let facts = Received {
            skb: &mut rx.skb,
            port: self,
            rcu: &cx.rcu,
        };
        match verdict::receive_at_once(self.packed(), &facts) {
            Some(Verdict::Deliver(slave)) => deliver(slave, rx, cx),
            Some(_) => rx.pass(),
            None => receive_any(self, rx, cx),
        }
    }
}

/// Passes a frame on as received by a slave.
#[inline]
fn deliver<'a>(slave: SlaveRef<'a>, rx: RxSkb<'a>, cx: &'a Softirq) -> RxResult<'a> {
    slave.count_received(received_len(&rx.skb), true, false, cx);
    rx.another(slave.dev(), cx)
}

/// Decides on what is not decided at once. Out of line: the common case then saves no register.
#[inline(never)]
fn receive_any<'a>(port: &'a Port, mut rx: RxSkb<'a>, cx: &'a Softirq) -> RxResult<'a> {
    let mut facts = Received {
        skb: &mut rx.skb,
        port,
        rcu: &cx.rcu,
    };
    match verdict::receive(port.settings(), &mut facts) {
        Verdict::Deliver(slave) => deliver(slave, rx, cx),
        Verdict::FloodAndPass => {
            port.distribute_received(&mut rx.skb, cx);
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

/// `ndo_start_xmit` of a slave.
#[inline]
pub(crate) fn transmit(slave: &Slave, mut skb: Skb, dev: &NetDevice, cx: &Softirq) -> Xmit {
    let len = skb.len();
    let port: &Port = slave.port();
    let at_once = skb.sent_ethernet().is_some_and(|ethernet| {
        let facts = Sent {
            skb: &mut skb,
            ethernet,
            port,
            rcu: &cx.rcu,
        };
        verdict::is_for_the_wire(port.packed(), &facts)
    });
    if at_once {
        let result = skb.queue_xmit(port.master(), cx);
        return count_sent(slave, len, result, cx);
    }
    let result = send(slave, skb, dev, cx);
    count_sent(slave, len, result, cx)
}

/// Counts a packet that was to be sent.
#[inline(always)]
fn count_sent(slave: &Slave, len: usize, result: Xmit, cx: &Softirq) -> Xmit {
    if result.is_sent() {
        // And TxBytes. CAST: usize has at most 64 bits.
        slave.counters.count(Counter::TxPackets, len as u64, &cx.bh);
    } else {
        slave.counters.add(Counter::TxDropped, 1, &cx.bh);
    }
    result
}

/// Sends what does not leave at once as it is. Out of line, as [`receive_any`].
#[inline(never)]
fn send(slave: &Slave, mut skb: Skb, dev: &NetDevice, cx: &Softirq) -> Xmit {
    let port: &Port = slave.port();
    let Some(ethernet) = skb.sent_ethernet() else {
        return send_any(slave, skb, dev, cx);
    };
    let facts = Sent {
        skb: &mut skb,
        ethernet,
        port,
        rcu: &cx.rcu,
    };
    match verdict::transmit_at_once(port.packed(), &facts) {
        Some(Verdict::Deliver(sibling)) => hand_over(sibling, skb, cx),
        // In this frame: the common case of the modes that route.
        Some(Verdict::Route(Family::Ipv4)) => send_routed(slave, &port.routes.v4, skb, dev, cx),
        Some(Verdict::Route(family)) => route(slave, skb, dev, family, cx),
        _ => send_any(slave, skb, dev, cx),
    }
}

/// Has a sibling receive a frame.
#[inline]
fn hand_over(sibling: SlaveRef<'_>, skb: Skb, cx: &Softirq) -> Xmit {
    let len = skb.len();
    let delivered = skb
        .unshare()
        .is_some_and(|skb| skb.forward_to(sibling.dev(), cx));
    sibling.count_received(len, delivered, false, cx);
    Xmit::SUCCESS
}

/// Has the master's namespace send a packet.
#[inline(never)]
fn route(slave: &Slave, skb: Skb, dev: &NetDevice, family: Family, cx: &Softirq) -> Xmit {
    let port: &Port = slave.port();
    match family {
        Family::Ipv4 => send_routed(slave, &port.routes.v4, skb, dev, cx),
        Family::Ipv6 => send_routed(slave, &port.routes.v6, skb, dev, cx),
    }
}

/// The same for the protocol of `H`, counting what fails.
#[inline(always)]
fn send_routed<H: IpHeader>(
    slave: &Slave,
    routes: &RouteCache<H>,
    skb: Skb,
    dev: &NetDevice,
    cx: &Softirq,
) -> Xmit {
    let result = try_routed(slave.port(), routes, skb, dev, cx);
    if !result.is_sent() {
        slave.counters.add(Counter::TxErrors, 1, &cx.bh);
    }
    result
}

/// Decides on what is not decided at once.
#[inline(never)]
fn send_any(slave: &Slave, mut skb: Skb, dev: &NetDevice, cx: &Softirq) -> Xmit {
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
        rcu: &cx.rcu,
    };
    match verdict::transmit(port.settings(), &mut facts) {
        Verdict::Transmit => skb.queue_xmit(port.master(), cx),
        Verdict::Deliver(sibling) => hand_over(sibling, skb, cx),
        Verdict::ToMaster => {
            if let Some(skb) = skb.unshare() {
                skb.forward_to(port.master(), cx);
                return Xmit::SUCCESS;
            }
            Xmit::DROP
        }
        Verdict::Flood => port.distribute_sent(skb, slave, dev, cx),
        Verdict::Route(family) => route(slave, skb, dev, family, cx),
        Verdict::Drop(why) => {
            match why {
                // Policy, not a loss.
                Why::Private => skb.consume(),
                Why::Multicast | Why::Protocol => skb.free(DropReason::UnhandledProtocol),
                Why::Malformed => skb.free(DropReason::BadHeader),
                Why::Source => skb.free(DropReason::InvalidSource),
            }
            Xmit::DROP
        }
        // Verdicts on what is received.
        Verdict::Pass | Verdict::FloodAndPass => Xmit::DROP,
    }
}

/// Sends a packet through the master's namespace, as if that had made it.
#[inline(always)]
fn try_routed<H: IpHeader>(
    port: &Port,
    routes: &RouteCache<H>,
    skb: Skb,
    dev: &NetDevice,
    cx: &Softirq,
) -> Xmit {
    let Some(mut skb) = skb.unshare() else {
        return Xmit::DROP;
    };
    if !skb.strip_ethernet() {
        skb.free(DropReason::PacketTooSmall);
        return Xmit::DROP;
    }
    let Some(header) = H::of(&skb) else {
        return malformed(skb);
    };
    let master = port.master();
    let net = master.net_rcu(&cx.rcu);
    let crosses = !dev.net_rcu(&cx.rcu).is(net);
    // A mark means nothing in another namespace.
    let mark = if crosses { 0 } else { skb.mark() };
    let route = match routes.route(master, net, &header, mark, cx) {
        Ok(route) => route,
        Err(result) => {
            skb.free(DropReason::NoRoute);
            return result;
        }
    };
    // Told now, while the packet has the sender's own route: the master's namespace knows no way back to a slave.
    if let Some(mtu) = route.mtu_exceeded(&skb, &header) {
        let reported = report_too_big::<H>(&mut skb, mtu, dev, cx);
        skb.free(DropReason::PacketTooBig);
        return if reported { Xmit::REPORTED } else { Xmit::DROP };
    }
    skb.scrub(crosses);
    match route.output(skb, master, net, cx) {
        Ok(()) => Xmit::SUCCESS,
        Err(result) => result,
    }
}

/// Drops a packet that turned out shorter than its header.
fn malformed(skb: Skb) -> Xmit {
    skb.free(DropReason::BadHeader);
    Xmit::DROP
}
