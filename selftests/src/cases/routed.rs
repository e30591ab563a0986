// SPDX-License-Identifier: GPL-2.0
//! L3 packets that the master's namespace had better be careful with.

use crate::cases;
use crate::cx::{Cx, Suite, EACH, V46, V6};
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::nl::{LinkSpec, Via};
use crate::packet::Tap;
use crate::ping::ping;
use anyhow::{ensure, Result};
use std::net::IpAddr;

cases! {
    "routed", Suite::Own;
    group_in_a_unicast_frame: EACH, V46;
    routes_back_into_the_slave: EACH, V6;
}

/// A slave in a namespace of its own, and one in the master's: what changes namespaces is scrubbed, what does not is not.
async fn slaves(lan: &Lan) -> Result<Vec<(crate::netns::Netns, u32, frames::Mac)>> {
    let a = lan.slave()?;
    ping(&a.ns, lan.ext_ip()).await?;
    lan.host.nl().add_link(&LinkSpec {
        up: true,
        ..lan.spec("own")
    })?;
    let own = lan.host.nl().link("own")?;
    Ok(vec![
        (a.ns, a.index, a.mac),
        (lan.host.clone(), own.index, own.mac),
    ])
}

/// The IP destination is a group, the Ethernet destination is not: routed or dropped, without the sending packet socket
/// being asked what only sockets of IP can answer (sk_mc_loop() of net/core/sock.c warns).
async fn group_in_a_unicast_frame(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let slaves = slaves(&lan).await?;
    let from = cx.pick([10, 2, 0, 90], [0xfd02, 0, 0, 0, 0, 0, 0, 0x90]);
    let groups: [IpAddr; 2] = [
        cx.pick([224, 0, 0, 1], [0xff02, 0, 0, 0, 0, 0, 0, 1]),
        super::multicast::group(cx, 1),
    ];
    for (ns, index, mac) in &slaves {
        // Through a queue, a packet does not count as sent from within another's transmission, which would spare it.
        ns.nl().add_root_qdisc(*index, "pfifo")?;
        let tap = Tap::new(ns, *index)?;
        for group in groups {
            for _ in 0..10 {
                let _ = tap.try_send(&frames::udp(*mac, *mac, from, group, (5, 7), b"to a group"));
            }
        }
    }
    ping(&slaves[0].0, lan.ext_ip()).await
}

/// With IPv6 the host may route a slave's packets back into a slave of its own, and so on: that ends after a few rounds,
/// with the packet dropped and counted, not with the kernel's stack.
async fn routes_back_into_the_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let slaves = slaves(&lan).await?;
    let (host, own, mac) = &slaves[1];
    let far: IpAddr = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into();
    host.nl().add_route(far, 128, Via::Link(*own))?;
    let before = host.nl().link_at(*own)?.stats;
    let from: IpAddr = [0xfd02, 0, 0, 0, 0, 0, 0, 0x90].into();
    let tap = Tap::new(host, *own)?;
    for _ in 0..20 {
        let _ = tap.try_send(&frames::udp(*mac, *mac, from, far, (5, 7), b"round"));
    }
    let after = host.nl().link_at(*own)?.stats;
    ensure!(
        after.tx_dropped > before.tx_dropped,
        "nothing was dropped: {} sent",
        after.tx_packets - before.tx_packets
    );
    ping(&slaves[0].0, lan.ext_ip()).await
}
