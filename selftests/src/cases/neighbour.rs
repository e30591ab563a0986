// SPDX-License-Identifier: GPL-2.0
//! ARP and neighbour discovery, in L2 and in L3.

use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V6};
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::nl::Via;
use crate::packet::Class;
use crate::ping::{ping, try_ping, Pong};
use anyhow::{ensure, Result};
use std::net::Ipv6Addr;
use std::time::Duration;

cases! {
    "neighbour", Suite::Both;
    arp_reply_goes_to_its_target: EACH, V4;
    arp_of_a_slave_is_answered: EACH, V4;
    arp_for_the_host_is_the_hosts: EACH, V4;
    solicitation_is_answered: EACH, V6;
    solicitation_from_unspecified_goes_to_the_target: EACH, V6;
    advertisement_goes_by_destination: EACH, V6;
    arp_for_a_slave: EACH, V4;
    proxy_arp_answers_for_a_slave: EACH, V4;
    probe_for_a_slave: EACH, V6;
    proxy_ndp_answers_for_a_slave: EACH, V6;
}
async fn arp_reply_goes_to_its_target(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    let reply = |to| {
        frames::arp(
            lan.wire_mac,
            lan.mac,
            false,
            (lan.wire_mac, crate::lan::EXT_V4),
            (lan.mac, to),
        )
    };
    wire.send(&reply(a.v4))?;
    ta.expect("the reply", |f| f.bytes.starts_with(&reply(a.v4)))
        .await?;
    wire.send(&reply(b.v4))?;
    let seen = tb
        .until("its own reply", |f| f.bytes.starts_with(&reply(b.v4)))
        .await?;
    ensure!(
        !seen.iter().any(|f| f.bytes.starts_with(&reply(a.v4))),
        "the sibling got the other's reply"
    );
    Ok(())
}

async fn arp_of_a_slave_is_answered(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, _b) = (lan.slave()?, lan.slave()?);
    let wire = lan.wire_tap()?;
    let ext = (lan.wire_mac, crate::lan::EXT_V4);
    wire.send(&frames::arp(
        lan.wire_mac,
        frames::BROADCAST,
        true,
        ext,
        ([0; 6], a.v4),
    ))?;
    let answer = |f: &[u8]| frames::arp_of(f) == Some((2, a.v4, crate::lan::EXT_V4));
    let reply = wire.expect("the reply", |f| answer(&f.bytes)).await?;
    ensure!(reply.bytes[6..12] == lan.mac, "answered from another MAC");
    // Once: the fence is an address of the sibling, asked for after it.
    ping(&lan.ext, a.ip()).await?;
    let mut more = 0;
    while let Some(f) = wire.poll()? {
        more += usize::from(answer(&f.bytes) && f.class != Class::Outgoing);
    }
    ensure!(more <= 1, "{more} more replies");
    Ok(())
}

async fn arp_for_the_host_is_the_hosts(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let _a = lan.slave()?;
    ping(&lan.ext, lan.master_ip()).await?;
    ping(&lan.host, lan.ext_ip()).await
}

/// A solicitation from an address goes, as a group frame, to the target's owner, who listens to the group.
async fn solicitation_is_answered(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&lan.ext, a.ip()).await?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    let group = frames::solicited_node(a.v6);
    let ns = frames::solicit(
        lan.wire_mac,
        frames::group_mac(group.into()),
        crate::lan::EXT_V6,
        group,
        a.v6,
    );
    wire.send(&ns)?;
    tap.expect("the solicitation", |f| f.bytes == ns).await?;
    let advert = |f: &[u8]| frames::nd_of(f) == Some((136, a.v6));
    wire.expect("the advertisement", |f| advert(&f.bytes))
        .await?;
    ping(&lan.ext, b.ip()).await
}

/// One from the unspecified address (duplicate address detection) that is sent to the shared MAC goes to whoever has
/// the target; any other goes by its IPv6 destination.
async fn solicitation_from_unspecified_goes_to_the_target(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    let group = frames::solicited_node(a.v6);
    let probe = frames::solicit(
        lan.wire_mac,
        lan.mac,
        std::net::Ipv6Addr::UNSPECIFIED,
        group,
        a.v6,
    );
    wire.send(&probe)?;
    ta.expect("the probe for its address", |f| f.bytes == probe)
        .await?;
    let asked = frames::solicit(lan.wire_mac, lan.mac, crate::lan::EXT_V6, b.v6, a.v6);
    wire.send(&asked)?;
    let seen = tb.until("the one sent to it", |f| f.bytes == asked).await?;
    ensure!(
        !seen.iter().any(|f| f.bytes == probe),
        "the sibling got the probe"
    );
    Ok(())
}

async fn advertisement_goes_by_destination(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (ta, tb, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    // The target is a's, the destination b's: b gets it.
    let mut body = vec![0x60, 0, 0, 0];
    body.extend(a.v6.octets());
    let advert = frames::icmp6(
        lan.wire_mac,
        lan.mac,
        crate::lan::EXT_V6,
        b.v6,
        255,
        136,
        0,
        &body,
    );
    wire.send(&advert)?;
    tb.expect("the advertisement", |f| f.bytes == advert)
        .await?;
    let seen = lan.until_fence(&wire, &ta, a.ip()).await?;
    ensure!(
        !seen.iter().any(|f| f.bytes == advert),
        "the target's owner got it"
    );
    Ok(())
}

/// ARP for a slave's address: the master's to answer (D9); in-tree the slave takes it and is silent.
async fn arp_for_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    let ext = (lan.wire_mac, crate::lan::EXT_V4);
    // A request that is sent to the shared MAC, as a neighbour that checks an old entry does.
    let request = frames::arp(lan.wire_mac, lan.mac, true, ext, ([0; 6], a.v4));
    wire.send(&request)?;
    let seen = lan.until_fence(&wire, &tap, a.ip()).await?;
    let stolen = seen.iter().any(|f| f.bytes.starts_with(&request));
    ensure!(
        stolen != cx.decision(Decision::D9),
        "the slave takes ARP for its address: {stolen}"
    );
    Ok(())
}

/// With proxy_arp_pvlan the master answers for its slaves within its own subnet, and the outside reaches them without a
/// route (D9); in-tree nobody answers.
async fn proxy_arp_answers_for_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let ip = [10, 1, 0, 60];
    a.ns.nl().add_addr(a.index, ip, 32)?;
    lan.host.sysctl("ipv4/ip_forward", "1")?;
    lan.host.sysctl("ipv4/conf/m0/proxy_arp_pvlan", "1")?;
    lan.host.sysctl("ipv4/neigh/m0/proxy_delay", "0")?;
    let patience = if cx.decision(Decision::D9) {
        crate::wait::patience()
    } else {
        Duration::from_millis(700)
    };
    let pong = try_ping(&lan.ext, None, ip.into(), 10, patience).await?;
    ensure!(
        (pong == Pong::Reply) == cx.decision(Decision::D9),
        "{pong:?}"
    );
    Ok(())
}

async fn probe_for_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let (tap, wire) = (a.tap()?, lan.wire_tap()?);
    let group = frames::solicited_node(a.v6);
    let probe = frames::solicit(lan.wire_mac, lan.mac, Ipv6Addr::UNSPECIFIED, group, a.v6);
    wire.send(&probe)?;
    let seen = lan.until_fence(&wire, &tap, a.ip()).await?;
    let stolen = seen.iter().any(|f| f.bytes == probe);
    ensure!(
        stolen != cx.decision(Decision::D9),
        "the slave takes probes for its address: {stolen}"
    );
    Ok(())
}

/// The IPv6 way: a proxy entry per slave. A solicitation that is no probe is a group frame, which in L3 is the host's
/// with either kind.
async fn proxy_ndp_answers_for_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    let ip = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0x60);
    a.ns.nl().add_addr(a.index, ip, 128)?;
    lan.host.sysctl("ipv6/conf/all/forwarding", "1")?;
    lan.host.sysctl("ipv6/conf/m0/proxy_ndp", "1")?;
    lan.host.sysctl("ipv6/neigh/m0/proxy_delay", "0")?;
    // The host must not believe that the address is on its own link.
    lan.host.nl().add_route(ip.into(), 128, Via::Link(1))?;
    lan.host.nl().add_neigh_proxy(lan.master, ip.into())?;
    ping(&lan.ext, ip).await
}
