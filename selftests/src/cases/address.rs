// SPDX-License-Identifier: GPL-2.0
//! Addresses: who has one, who may not, and what reaches its owner.

use crate::cases;
use crate::cx::{Cx, Decision, Family, Suite, ANY, EACH, V46, V6, VETH};
use crate::debug;
use crate::frames;
use crate::lan::{Lan, Mode, Slave};
use crate::nl::{granted, AddrSpec};
use crate::packet::Tap;
use crate::wait;
use anyhow::{ensure, Result};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

cases! {
    "address", Suite::Both;
    duplicate_is_refused: EACH, V46;
    duplicate_of_a_down_slave_is_refused: EACH, V46;
    duplicate_in_the_same_namespace_is_refused: EACH, V46;
    free_after_delete: EACH, V46;
    free_after_the_slave: EACH, V46;
    moves_between_slaves: EACH, V46;
    same_on_two_masters: EACH, V46;
    unrelated_devices: EACH, V46;
    add_and_delete_under_traffic: EACH, V46;
    masters_address_is_refused: EACH, V46;
    master_takes_a_slaves_address: EACH, V46;
    dad_finds_the_external_host: EACH, V6;
    dad_of_the_external_host_finds_a_slave: EACH, V6;
    dad_in_l3_asks_nobody: EACH, V6;
    many_are_all_delivered: VETH, V46, 120;
    many_slaves: EACH, ANY, 120;
}
fn udp(lan: &Lan, to: IpAddr, text: &[u8]) -> Vec<u8> {
    frames::udp(lan.wire_mac, lan.mac, lan.ext_ip(), to, (5, 7), text)
}

/// Sends from the wire to `to` and reports whether it arrives at the slave; `fence` is an address that does.
pub async fn arrives(lan: &Lan, tap: &Tap, to: IpAddr, fence: IpAddr) -> Result<bool> {
    tap.drain()?;
    let wire = lan.wire_tap()?;
    wire.send(&udp(lan, to, b"probe"))?;
    let seen = lan.until_fence(&wire, tap, fence).await?;
    Ok(seen.iter().any(|f| frames::is_udp(&f.bytes, 7, b"probe")))
}

pub fn extra(cx: Cx, last: u8) -> IpAddr {
    cx.pick([10, 1, 0, last], [0xfd01, 0, 0, 0, 0, 0, 1, last.into()])
}

fn spec(slave: &Slave, ip: IpAddr) -> AddrSpec {
    AddrSpec::new(slave.index, ip, if ip.is_ipv4() { 24 } else { 64 })
}

async fn duplicate_is_refused(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        cx.refused(
            b.ns.nl().try_add_addr(&spec(&b, a.ip()))?,
            libc::EADDRINUSE,
            "already",
        )?;
        ensure!(
            b.ns.nl().addrs(b.index)?.iter().all(|x| x.ip != a.ip()),
            "a refused address is there"
        );
        ensure!(
            arrives(&lan, &a.tap()?, a.ip(), a.ip()).await?,
            "its owner lost it"
        );
    }
    Ok(())
}

async fn duplicate_of_a_down_slave_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.bare()?);
    let ip = extra(cx, 90);
    granted(b.ns.nl().try_add_addr(&spec(&b, ip))?)?;
    cx.refused(
        a.ns.nl().try_add_addr(&spec(&a, ip))?,
        libc::EADDRINUSE,
        "already",
    )?;
    // The other way round: the one that is down is refused what the other has.
    cx.refused(
        b.ns.nl().try_add_addr(&spec(&b, a.ip()))?,
        libc::EADDRINUSE,
        "already",
    )
}

async fn duplicate_in_the_same_namespace_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let b = lan.slave_in(a.ns.clone(), |s| s)?;
    cx.refused(
        b.ns.nl().try_add_addr(&spec(&b, a.ip()))?,
        libc::EADDRINUSE,
        "already",
    )
}

async fn free_after_delete(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let ip = extra(cx, 90);
    for _ in 0..3 {
        for slave in [&a, &b] {
            let s = spec(slave, ip);
            slave.ns.nl().add_addr(s.index, ip, s.prefix)?;
            ensure!(
                arrives(&lan, &slave.tap()?, ip, slave.ip()).await?,
                "not delivered"
            );
            slave.ns.nl().del_addr(s.index, ip, s.prefix)?;
            ensure!(
                !arrives(&lan, &slave.tap()?, ip, slave.ip()).await?,
                "delivered after it was deleted"
            );
        }
    }
    Ok(())
}

async fn free_after_the_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    a.ns.nl().del_link(a.index)?;
    b.ns.nl()
        .add_addr(b.index, a.ip(), spec(&b, a.ip()).prefix)?;
    ensure!(
        arrives(&lan, &b.tap()?, a.ip(), b.ip()).await?,
        "not delivered to its new owner"
    );
    Ok(())
}

async fn moves_between_slaves(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let prefix = spec(&a, a.ip()).prefix;
    a.ns.nl().del_addr(a.index, a.ip(), prefix)?;
    b.ns.nl().add_addr(b.index, a.ip(), prefix)?;
    ensure!(
        arrives(&lan, &b.tap()?, a.ip(), b.ip()).await?,
        "not delivered to its new owner"
    );
    Ok(())
}

/// Each master's slaves have addresses of their own.
async fn same_on_two_masters(cx: Cx) -> Result<()> {
    let (one, two) = (Lan::new(cx, Mode::L2)?, Lan::new(cx, Mode::L2)?);
    let (a, b) = (one.slave()?, two.slave()?);
    ensure!(a.ip() == b.ip(), "the addresses differ");
    for (lan, slave) in [(&one, &a), (&two, &b)] {
        ensure!(
            arrives(lan, &slave.tap()?, slave.ip(), slave.ip()).await?,
            "not delivered"
        );
    }
    Ok(())
}

/// Addresses of devices that are no slaves are nobody's business, in the slave's namespace or another.
async fn unrelated_devices(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    for ns in [&a.ns, &lan.ext] {
        ns.nl().add_link(&crate::nl::LinkSpec {
            up: true,
            ..crate::nl::LinkSpec::new("dummy", "other")
        })?;
        let other = ns.nl().link("other")?.index;
        ns.nl().add_addr(other, a.ip(), cx.host_prefix())?;
        ns.nl().del_addr(other, a.ip(), cx.host_prefix())?;
    }
    ensure!(
        arrives(&lan, &a.tap()?, a.ip(), a.ip()).await?,
        "its owner lost it"
    );
    Ok(())
}

/// While packets for it arrive, an address comes and goes a few hundred times.
async fn add_and_delete_under_traffic(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let ip = extra(cx, 90);
    let load = super::unload::Load::start(
        &lan,
        vec![udp(&lan, ip, b"load"), udp(&lan, b.ip(), b"load")],
    )?;
    load.running().await?;
    for _ in 0..100 {
        granted(a.ns.nl().try_add_addr(&spec(&a, ip))?)?;
        granted(a.ns.nl().try_del_addr(&spec(&a, ip))?)?;
    }
    load.stop()?;
    ensure!(
        arrives(&lan, &b.tap()?, b.ip(), b.ip()).await?,
        "the sibling suffered"
    );
    Ok(())
}

/// The master's own addresses are not for slaves (D4); in-tree they are, and the traffic with them.
async fn masters_address_is_refused(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let a = lan.slave()?;
        let answer = a.ns.nl().try_add_addr(&spec(&a, lan.master_ip()))?;
        if cx.decision(Decision::D4) {
            cx.refused(answer, libc::EADDRINUSE, "master")?;
        } else {
            granted(answer)?;
        }
        let stolen = arrives(&lan, &a.tap()?, lan.master_ip(), a.ip()).await?;
        ensure!(
            stolen != cx.decision(Decision::D4),
            "the slave gets the master's traffic: {stolen}"
        );
    }
    Ok(())
}

/// The master may get an address that a slave has: it is the master's from then on, and the slave's again afterwards.
async fn master_takes_a_slaves_address(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (ip, tap) = (extra(cx, 90), a.tap()?);
    a.ns.nl().add_addr(a.index, ip, spec(&a, ip).prefix)?;
    for _ in 0..2 {
        ensure!(
            arrives(&lan, &tap, ip, a.ip()).await?,
            "the slave does not have it"
        );
        lan.host.nl().add_addr(lan.master, ip, cx.host_prefix())?;
        let slaves = arrives(&lan, &tap, ip, a.ip()).await?;
        ensure!(
            slaves != cx.decision(Decision::D4),
            "with the master's, the slave's gets traffic: {slaves}"
        );
        lan.host.nl().del_addr(lan.master, ip, cx.host_prefix())?;
    }
    ensure!(
        arrives(&lan, &tap, ip, a.ip()).await?,
        "the slave did not get it back"
    );
    Ok(())
}

pub fn want_dad(ns: &crate::netns::Netns, name: &str) -> Result<()> {
    ns.sysctl(&format!("ipv6/conf/{name}/accept_dad"), "1")?;
    ns.sysctl(&format!("ipv6/conf/{name}/dad_transmits"), "1")
}

/// Adds `ip` with duplicate address detection and waits for its end; whether a duplicate was found.
pub async fn dad(ns: &crate::netns::Netns, index: u32, ip: IpAddr) -> Result<bool> {
    granted(ns.nl().try_add_addr(&AddrSpec {
        dad: true,
        ..AddrSpec::new(index, ip, 64)
    })?)?;
    let mut failed = false;
    wait::until("the end of duplicate address detection", || {
        let address = ns.nl().addrs(index)?.into_iter().find(|a| a.ip == ip);
        failed = address.as_ref().is_some_and(|a| a.dad_failed);
        Ok(failed || address.is_some_and(|a| !a.tentative))
    })
    .await?;
    Ok(failed)
}

async fn dad_finds_the_external_host(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    crate::ping::ping(&a.ns, lan.ext_ip()).await?;
    want_dad(&a.ns, &a.name)?;
    ensure!(
        dad(&a.ns, a.index, lan.ext_ip()).await?,
        "the external host's address is no duplicate"
    );
    ensure!(
        !dad(&a.ns, a.index, extra(cx, 90)).await?,
        "a free address is a duplicate"
    );
    ensure!(
        arrives(&lan, &a.tap()?, extra(cx, 90), a.ip()).await?,
        "not delivered"
    );
    Ok(())
}

async fn dad_of_the_external_host_finds_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    for slave in [&a, &b] {
        crate::ping::ping(&lan.ext, slave.ip()).await?;
    }
    want_dad(&lan.ext, "e0")?;
    ensure!(
        dad(&lan.ext, lan.wire, b.ip()).await?,
        "a slave's address is no duplicate"
    );
    ensure!(
        !dad(&lan.ext, lan.wire, extra(cx, 90)).await?,
        "a free address is a duplicate"
    );
    Ok(())
}

/// An L3 slave resolves no neighbours, so its addresses are usable at once and nothing is asked on the wire.
async fn dad_in_l3_asks_nobody(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    want_dad(&a.ns, &a.name)?;
    let (wire, ip) = (
        lan.wire_tap()?,
        Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0x90),
    );
    ensure!(!dad(&a.ns, a.index, ip.into()).await?, "a duplicate");
    a.send_udp(lan.ext_ip(), 7, b"mark")?;
    let seen = wire
        .until("the mark", |f| frames::is_udp(&f.bytes, 7, b"mark"))
        .await?;
    ensure!(
        !seen
            .iter()
            .any(|f| frames::nd_of(&f.bytes) == Some((135, ip))),
        "a solicitation on the wire"
    );
    Ok(())
}

fn numbered(cx: Cx, n: u16) -> IpAddr {
    let [hi, lo] = n.to_be_bytes();
    cx.pick(
        Ipv4Addr::new(10, 9, hi, lo),
        Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, n),
    )
}

/// Thousands of addresses on a few slaves: all delivered, each to its owner, duplicates refused; then a part is
/// deleted, and the rest is still there.
async fn many_are_all_delivered(cx: Cx) -> Result<()> {
    // An IPv6 address costs the guest ten times as much, and all of it much more on a debug kernel.
    let many: u16 = match (cx.family, debug::kernel()) {
        (Family::V6, false) => 1000,
        (Family::V6, true) => 200,
        (_, false) => 3000,
        (_, true) => 600,
    };
    let lan = Lan::new(cx, Mode::L2)?;
    let slaves = [lan.slave()?, lan.slave()?, lan.slave()?];
    let owner = |n: u16| &slaves[n as usize % 3];
    let at = |n: u16| AddrSpec::new(owner(n).index, numbered(cx, n), cx.host_prefix());
    for n in 0..many {
        granted(owner(n).ns.nl().try_add_addr(&at(n))?)?;
    }
    for n in (0..many).step_by(97) {
        let thief = &slaves[(n as usize + 1) % 3];
        let spec = AddrSpec::new(thief.index, numbered(cx, n), cx.host_prefix());
        cx.refused(
            thief.ns.nl().try_add_addr(&spec)?,
            libc::EADDRINUSE,
            "already",
        )?;
    }
    let taps = slaves.iter().map(Slave::tap).collect::<Result<Vec<_>>>()?;
    let wire = lan.wire_tap()?;
    for keep in [1, 5] {
        for n in (0..many).filter(|n| keep > 1 && n % keep != 0) {
            granted(owner(n).ns.nl().try_del_addr(&at(n))?)?;
        }
        let mut seen: [BTreeSet<IpAddr>; 3] = Default::default();
        // In portions, so that no receive queue on the way overflows.
        for start in (0..many).step_by(200) {
            for n in start..start + 200 {
                wire.send(&udp(&lan, numbered(cx, n), b"probe"))?;
            }
            for ((slave, tap), seen) in slaves.iter().zip(&taps).zip(&mut seen) {
                for f in lan.until_fence(&wire, tap, slave.ip()).await? {
                    if frames::is_udp(&f.bytes, 7, b"probe") {
                        seen.extend(frames::addresses(&f.bytes).map(|(_, to)| to));
                    }
                }
            }
        }
        for n in 0..many {
            for (i, seen) in seen.iter().enumerate() {
                let expected = i == n as usize % 3 && n % keep == 0;
                let ip = numbered(cx, n);
                ensure!(
                    seen.contains(&ip) == expected,
                    "{ip} at slave {i}: not {expected} (kept 1 in {keep})"
                );
            }
        }
    }
    Ok(())
}

/// A few hundred slaves, each with an address, on one master.
async fn many_slaves(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let ns = cx.netns()?;
    ns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
    let wire = lan.wire_tap()?;
    let mut links = Vec::new();
    for n in 0..250u8 {
        let name = format!("y{n}");
        lan.host.nl().add_link(&crate::nl::LinkSpec {
            ns: Some(ns.fd()),
            up: true,
            ..lan.spec(&name)
        })?;
        let index = ns.nl().link(&name)?.index;
        ns.nl().add_addr(index, [10, 9, 0, n], 32)?;
        links.push(index);
    }
    for n in (0..250u8).step_by(10) {
        let tap = Tap::new(&ns, links[n as usize])?;
        wire.send(&udp(&lan, [10, 9, 0, n].into(), b"probe"))?;
        tap.expect("its packet", |f| frames::is_udp(&f.bytes, 7, b"probe"))
            .await?;
    }
    Ok(())
}
