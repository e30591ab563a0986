// SPDX-License-Identifier: GPL-2.0
//! The MAC, shared with the master; link-local addresses made from it; features and offloads of the master.

use super::unload::Load;
use crate::cases;
use crate::cx::{Cx, Suite, ANY, EACH, V46, V6, VETH};
use crate::ethtool::Ethtool;
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::nl::{Event, Monitor};
use crate::ping::ping;
use crate::wait;
use anyhow::{ensure, Context, Result};
use std::collections::BTreeSet;

cases! {
    "mac", Suite::Both;
    follows_the_master: EACH, V46;
    change_is_announced: EACH, ANY;
    change_under_traffic: EACH, V46;
    link_local_from_dev_id: EACH, V6;
    header_has_the_masters_mac: EACH, V46;
    features_always_on: EACH, ANY;
    features_follow_the_master: EACH, ANY;
    tso_limits_are_the_masters: VETH, ANY;
    groups_reach_the_masters_list: EACH, V46;
}

async fn follows_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&a.ns, b.ip()).await?;
    ping(&a.ns, lan.ext_ip()).await?;
    b.ns.nl().down(b.index)?;
    for last in [0x10, 0x11] {
        let mac = [2, 0, 0, 0, 1, last];
        lan.set_master_mac(mac)?;
        for slave in [&a, &b] {
            ensure!(
                slave.link()?.mac == mac,
                "{} has {:02x?}",
                slave.name,
                slave.link()?.mac
            );
        }
        // The external host's neighbour cache still has the old one.
        lan.ext.nl().add_neigh(lan.wire, a.ip(), mac)?;
        let wire = lan.wire_tap()?;
        ping(&a.ns, lan.ext_ip()).await?;
        let ours = |f: &[u8]| frames::addresses(f).is_some_and(|(src, _)| src == a.ip());
        let frame = wire.expect("the slave's ping", |f| ours(&f.bytes)).await?;
        ensure!(
            frame.bytes[6..12] == mac,
            "sent from {:02x?}",
            &frame.bytes[6..12]
        );
    }
    b.ns.nl().up(b.index)?;
    lan.address_again(&b)?;
    ping(&a.ns, b.ip()).await
}

async fn change_is_announced(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let monitor = Monitor::new(&a.ns)?;
    let mac = [2, 0, 0, 0, 1, 0x20];
    lan.set_master_mac(mac)?;
    let wanted = |e: &Event| matches!(e, Event::NewLink(l) if l.index == a.index && l.mac == mac);
    monitor
        .expect("the slave's new MAC", wanted)
        .await
        .map(drop)
}

/// While a slave sends and receives, the master's MAC changes again and again; each time what the slave's stack sends
/// next has the new one.
async fn change_under_traffic(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let udp = |from, to, src, dst| frames::udp(from, to, src, dst, (5, 4000), &[0; 100]);
    let loads = [
        Load::start(&lan, vec![udp(lan.wire_mac, lan.mac, lan.ext_ip(), a.ip())])?,
        Load::on(
            &b.ns,
            b.index,
            vec![udp(b.mac, lan.wire_mac, b.ip(), lan.ext_ip())],
        )?,
    ];
    a.ns.nl().add_neigh(a.index, lan.ext_ip(), lan.wire_mac)?;
    for last in 0..8 {
        for load in &loads {
            load.running().await?;
        }
        let mac = [2, 0, 0, 0, 3, last];
        lan.set_master_mac(mac)?;
        let wire = lan.wire_tap()?;
        a.send_udp(lan.ext_ip(), 4001, &[last])?;
        let frame = wire
            .expect("the slave's next", |f| {
                frames::is_udp(&f.bytes, 4001, &[last])
            })
            .await?;
        ensure!(
            frame.bytes[6..12] == mac,
            "sent from {:02x?}",
            &frame.bytes[6..12]
        );
    }
    loads.into_iter().try_for_each(Load::stop)
}

/// Interface identifiers made from one shared MAC differ by dev_id (RFC 4291 appendix A, with the id in the middle).
async fn link_local_from_dev_id(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slaves = [lan.slave()?, lan.slave()?, lan.slave()?];
    let mut seen = BTreeSet::new();
    for (n, slave) in slaves.iter().enumerate() {
        let mut address = None;
        wait::until("a link-local address", || {
            address = slave.ns.nl().link_local(slave.index)?;
            Ok(address.is_some())
        })
        .await?;
        let id = &address.context("none")?.octets()[8..];
        let m = lan.mac;
        let expected = [m[0], m[1], m[2], 0, n as u8 + 1, m[3], m[4], m[5]];
        ensure!(
            id == expected,
            "{} has the identifier {id:02x?}, not {expected:02x?}",
            slave.name
        );
        ensure!(seen.insert(id.to_vec()), "two slaves share {id:02x?}");
    }
    Ok(())
}

async fn header_has_the_masters_mac(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let wire = lan.wire_tap()?;
    ping(&a.ns, lan.ext_ip()).await?;
    let ours = |f: &[u8]| frames::addresses(f) == Some((a.ip(), lan.ext_ip()));
    let frame = wire.expect("the slave's ping", |f| ours(&f.bytes)).await?;
    ensure!(
        frame.bytes[6..12] == lan.mac && frame.bytes[..6] == lan.wire_mac,
        "{}",
        frames::describe(&frame.bytes)
    );
    Ok(())
}

/// What the slave offers whatever its master can do, and what nobody can switch off.
const ALWAYS_ON: &[&str] = &[
    "tx-scatter-gather",
    "tx-checksum-ip-generic",
    "tx-gso-robust",
    "vlan-challenged",
];

async fn features_always_on(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let off = [
        "tx-checksum-ip-generic",
        "tx-scatter-gather",
        "tx-tcp-segmentation",
    ];
    Ethtool::new(&lan.host, "m0")?.set_exactly(&off, false)?;
    let a = lan.slave()?;
    let ethtool = Ethtool::new(&a.ns, &a.name)?;
    for name in ALWAYS_ON.iter().chain(&[
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "tx-udp-segmentation",
    ]) {
        ensure!(ethtool.feature(name)?.active, "{name} is off");
    }
    for name in ALWAYS_ON {
        ensure!(!ethtool.feature(name)?.available, "{name} can be switched");
        // Asked for or not, it stays.
        let _ = ethtool.set(&[name], false);
        ensure!(ethtool.feature(name)?.active, "{name} went off");
    }
    Ok(())
}

/// What the master can do counts when a slave is made. What it can do later adds to that; what it cannot do any more is
/// kept, because the core segments in software.
async fn features_follow_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let name = "tx-scatter-gather-fraglist";
    let master = Ethtool::new(&lan.host, "m0")?;
    let first = lan.slave()?;
    master.set_exactly(&[name], false)?;
    let second = lan.slave()?;
    for (on, expected) in [
        (false, [true, false]),
        (true, [true, true]),
        (false, [true, true]),
    ] {
        master.set_exactly(&[name, "tx-tcp-segmentation"], on)?;
        for (slave, expected) in [&first, &second].into_iter().zip(expected) {
            let ethtool = Ethtool::new(&slave.ns, &slave.name)?;
            let active = ethtool.feature(name)?.active;
            ensure!(
                active == expected,
                "{name} of {} is {active}, the master's {on}",
                slave.name
            );
            for always in ALWAYS_ON {
                ensure!(ethtool.feature(always)?.active, "{always} went off");
            }
        }
    }
    ping(&first.ns, second.v4).await
}

async fn tso_limits_are_the_masters(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, master) = (lan.slave()?.link()?, lan.master_link()?);
    ensure!(
        a.tso_max_size == master.tso_max_size,
        "{} and {}",
        a.tso_max_size,
        master.tso_max_size
    );
    Ok(())
}

/// A group that a slave joins is accepted by its master, until the slave leaves it or goes.
async fn groups_reach_the_masters_list(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let group = cx.pick([239, 1, 2, 3], [0xff05, 0, 0, 0, 0, 0, 0x0102, 0x0304]);
    let mac = frames::hex(&frames::group_mac(group));
    let listed = || {
        Ok(lan
            .host
            .read("/proc/thread-self/net/dev_mcast")?
            .lines()
            .any(|l| l.contains("m0") && l.contains(&mac)))
    };
    ensure!(!listed()?, "{group} is there already");
    for leave in [true, false] {
        let socket = super::multicast::join(&a, group, 0)?;
        wait::until("the group on the master", listed).await?;
        if leave {
            drop(socket);
        } else {
            a.ns.nl().down(a.index)?;
        }
        wait::until("the group off the master", || Ok(!listed()?)).await?;
    }
    Ok(())
}
