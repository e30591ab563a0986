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
        Slave, //
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
        softirq::Softirq, //
    },
    port::Port, //
};

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
                self.distribute_received(&mut rx.skb, cx);
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
        Verdict::Flood => port.distribute_sent(skb, slave, dev, cx),
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
                Why::Source => skb.free(DropReason::InvalidSource),
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
