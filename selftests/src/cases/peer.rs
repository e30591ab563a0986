// SPDX-License-Identifier: GPL-2.0
//! One address in several guises: with prefixes, with a peer, promoted.

use super::address::{arrives, extra};
use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V6};
use crate::lan::{Lan, Mode, Slave};
use crate::nl::{granted, AddrSpec};
use anyhow::{ensure, Result};
use std::net::IpAddr;

cases! {
    "peer", Suite::Both;
    two_prefixes_on_one_slave: EACH, V4;
    two_prefixes_of_v6_are_one_address: EACH, V6;
    local_part_counts_with_a_peer: EACH, V4;
    two_slaves_one_peer: EACH, V4;
    duplicate_behind_a_peer: EACH, V4;
    promoted_secondary: EACH, V4;
}

/// 10.1.0.90/24 and 10.1.0.90/32 on one slave: one address (D3); in-tree the second is a duplicate.
async fn two_prefixes_on_one_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (nl, ip) = (a.ns.nl(), extra(cx, 90));
    nl.add_addr(a.index, ip, 24)?;
    let answer = nl.try_add_addr(&AddrSpec::new(a.index, ip, 32))?;
    if !cx.decision(Decision::D3) {
        return cx.refused(answer, libc::EADDRINUSE, "already");
    }
    granted(answer)?;
    let tap = a.tap()?;
    nl.del_addr(a.index, ip, 24)?;
    ensure!(
        arrives(&lan, &tap, ip, a.ip()).await?,
        "lost with the first of two prefixes"
    );
    nl.del_addr(a.index, ip, 32)?;
    ensure!(
        !arrives(&lan, &tap, ip, a.ip()).await?,
        "delivered after both prefixes went"
    );
    let b = lan.slave()?;
    b.ns.nl().add_addr(b.index, ip, 24)
}

/// IPv6 itself refuses the second prefix.
async fn two_prefixes_of_v6_are_one_address(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (nl, ip) = (a.ns.nl(), extra(cx, 90));
    nl.add_addr(a.index, ip, 64)?;
    ensure!(
        nl.try_add_addr(&AddrSpec::new(a.index, ip, 128))?.is_err(),
        "accepted"
    );
    ensure!(arrives(&lan, &a.tap()?, ip, a.ip()).await?, "lost");
    Ok(())
}

fn with_peer(slave: &Slave, local: IpAddr, peer: IpAddr) -> AddrSpec {
    AddrSpec {
        peer: Some(peer),
        ..AddrSpec::new(slave.index, local, 32)
    }
}

/// `addr add X peer Y`: X is this host's address (D3); in-tree Y is taken for it.
async fn local_part_counts_with_a_peer(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (local, peer) = (extra(cx, 90), extra(cx, 91));
    granted(a.ns.nl().try_add_addr(&with_peer(&a, local, peer))?)?;
    let tap = a.tap()?;
    let d3 = cx.decision(Decision::D3);
    ensure!(
        arrives(&lan, &tap, local, a.ip()).await? == d3,
        "the local address: not {d3}"
    );
    ensure!(
        arrives(&lan, &tap, peer, a.ip()).await? != d3,
        "the peer's address: {d3}"
    );
    granted(a.ns.nl().try_del_addr(&with_peer(&a, local, peer))?)?;
    for ip in [local, peer] {
        ensure!(
            !arrives(&lan, &tap, ip, a.ip()).await?,
            "{ip} is delivered after it was deleted"
        );
    }
    Ok(())
}

async fn two_slaves_one_peer(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let peer = extra(cx, 99);
    granted(
        a.ns.nl()
            .try_add_addr(&with_peer(&a, extra(cx, 90), peer))?,
    )?;
    let answer =
        b.ns.nl()
            .try_add_addr(&with_peer(&b, extra(cx, 91), peer))?;
    if !cx.decision(Decision::D3) {
        return cx.refused(answer, libc::EADDRINUSE, "already");
    }
    granted(answer)?;
    ensure!(
        arrives(&lan, &b.tap()?, extra(cx, 91), b.ip()).await?,
        "the second's address is not delivered"
    );
    ensure!(
        arrives(&lan, &a.tap()?, extra(cx, 90), a.ip()).await?,
        "the first's address is not delivered"
    );
    Ok(())
}

/// The kernel's check of new IPv4 addresses does not see a local part behind a peer: the duplicate is accepted, and the
/// traffic stays with the first owner.
async fn duplicate_behind_a_peer(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let other = with_peer(&b, a.ip(), extra(cx, 91));
    granted(b.ns.nl().try_add_addr(&other)?)?;
    ensure!(
        arrives(&lan, &a.tap()?, a.ip(), a.ip()).await?,
        "the first owner lost it"
    );
    // When the duplicate goes, the first owner still has it.
    granted(b.ns.nl().try_del_addr(&other)?)?;
    ensure!(
        arrives(&lan, &a.tap()?, a.ip(), a.ip()).await?,
        "the first owner lost it with the duplicate"
    );
    Ok(())
}

/// A secondary address that is promoted is announced again; it stays one address.
async fn promoted_secondary(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    a.ns.sysctl("ipv4/conf/all/promote_secondaries", "1")?;
    let ips = [a.ip(), extra(cx, 90), extra(cx, 91)];
    for ip in &ips[1..] {
        a.ns.nl().add_addr(a.index, *ip, 24)?;
    }
    let tap = a.tap()?;
    for gone in 0..2 {
        a.ns.nl().del_addr(a.index, ips[gone], 24)?;
        for (n, ip) in ips.iter().enumerate() {
            ensure!(
                arrives(&lan, &tap, *ip, ips[2]).await? == (n > gone),
                "{ip} after {gone}"
            );
        }
    }
    // Deleted for good, both are free.
    b.ns.nl().add_addr(b.index, ips[0], 24)?;
    b.ns.nl().add_addr(b.index, ips[1], 24)
}
