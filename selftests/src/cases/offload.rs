// SPDX-License-Identifier: GPL-2.0
//! What slaves have of their master's hardware: limits of segmentation, tunnels, time stamps.

use super::master::enslave;
use super::stream::without_offload;
use crate::cases;
use crate::cx::{Cx, Kind, Suite, ANY, EACH, V46, VETH};
use crate::ethtool::Ethtool;
use crate::lan::{Lan, Mode, Slave};
use crate::modules;
use crate::netns::Netns;
use crate::nl::{granted, LinkSpec};
use crate::ping::ping;
use crate::stream::tcp;
use anyhow::{ensure, Context, Result};
use std::net::{IpAddr, Ipv4Addr};

cases! {
    "offload", Suite::Both;
    limits_follow_the_master: VETH, ANY;
    large_segments: VETH, V46, 90;
    tunnel: EACH, V46, 90;
    tunnel_without_offload: EACH, V46, 90;
    time_stamping_is_the_masters: EACH, ANY;
}

/// A bond can segment what all its ports can; its slaves follow when a port comes.
async fn limits_follow_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let nl = lan.host.nl();
    modules::load("bonding")?;
    nl.add_link(&LinkSpec::new("bond", "bond0"))?;
    nl.down(lan.master)?;
    granted(enslave(&lan, lan.master, "bond0")?)?;
    let bond = nl.link("bond0")?;
    nl.add_link(&LinkSpec {
        link: Some(bond.index),
        ..lan.spec("x")
    })?;
    let x = nl.link("x")?;
    ensure!(
        x.tso_max_size == bond.tso_max_size && bond.tso_max_size > 200_000,
        "{} and {}",
        x.tso_max_size,
        bond.tso_max_size
    );
    ensure!(x.gso_max_size == 65536, "{} to begin with", x.gso_max_size);
    granted(nl.try_set_gso_max(x.index, 200_000)?)?;
    let answer = nl.try_set_gso_max(x.index, x.tso_max_size + 1)?;
    ensure!(answer.is_err(), "more than the master can: {answer:?}");
    // A dummy's limit is lower.
    nl.add_link(&LinkSpec::new("dummy", "d1"))?;
    let dummy = nl.link("d1")?;
    ensure!(dummy.tso_max_size < 200_000, "{}", dummy.tso_max_size);
    granted(enslave(&lan, dummy.index, "bond0")?)?;
    let (x, bond) = (nl.link("x")?, nl.link("bond0")?);
    for size in [
        bond.tso_max_size,
        x.tso_max_size,
        x.gso_max_size,
        x.gso_ipv4_max_size,
    ] {
        ensure!(size == dummy.tso_max_size, "{bond:?} {x:?}");
    }
    Ok(())
}

/// Segments of more than 64 KiB ("BIG TCP"): the length fields of IP cannot hold them.
async fn large_segments(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        granted(lan.host.nl().try_set_gso_max(lan.master, 180_000)?)?;
        granted(a.ns.nl().try_set_gso_max(a.index, 180_000)?)?;
        for (server, to) in [(&b.ns, b.ip()), (&lan.ext, lan.ext_ip())] {
            let index = if to == b.ip() { b.index } else { lan.wire };
            // How much is sent at once is for TCP to say, and depends on how fast it all went so far.
            a.ns.sysctl("ipv4/tcp_min_tso_segs", "100")?;
            let mut largest = 0;
            for _ in 0..5 {
                let tap = crate::packet::Tap::new(server, index)?;
                tcp(&a.ns, server, to, 2 << 20, 1 << 16).await?;
                while let Some(f) = tap.poll()? {
                    largest = largest.max(f.bytes.len());
                }
                if largest > 65_550 {
                    break;
                }
            }
            ensure!(largest > 65_550, "{mode:?}, {to}: {largest} bytes at most");
        }
    }
    Ok(())
}

/// A VXLAN over a slave, to somebody who has one too.
fn vxlan(ns: &Netns, lower: u32, remote: IpAddr, own: u8) -> Result<()> {
    let remote = match remote {
        // IFLA_VXLAN_GROUP and IFLA_VXLAN_GROUP6.
        IpAddr::V4(ip) => (2, ip.octets().to_vec()),
        IpAddr::V6(ip) => (16, ip.octets().to_vec()),
    };
    ns.nl().add_link(&LinkSpec {
        data: vec![
            // IFLA_VXLAN_ID, IFLA_VXLAN_LINK, IFLA_VXLAN_PORT.
            (1, 7u32.to_ne_bytes().to_vec()),
            (3, lower.to_ne_bytes().to_vec()),
            (15, 4789u16.to_be_bytes().to_vec()),
            remote,
        ],
        ..LinkSpec::new("vxlan", "vx")
    })?;
    let index = ns.nl().link("vx")?.index;
    ns.nl().up(index)?;
    ns.nl().add_addr(index, Ipv4Addr::new(10, 9, 0, own), 24)
}

async fn tunnel(cx: Cx) -> Result<()> {
    encapsulated(cx, true).await
}

async fn tunnel_without_offload(cx: Cx) -> Result<()> {
    encapsulated(cx, false).await
}

/// Streams inside a tunnel over slaves: packets are encapsulated whole, and segmented further down.
async fn encapsulated(cx: Cx, offload: bool) -> Result<()> {
    modules::load("vxlan")?;
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        if !offload {
            without_offload(&lan)?;
        }
        let (a, b): (Slave, Slave) = (lan.slave()?, lan.slave()?);
        for (n, (ns, index, ip)) in [(&b.ns, b.index, b.ip()), (&lan.ext, lan.wire, lan.ext_ip())]
            .into_iter()
            .enumerate()
        {
            vxlan(&a.ns, a.index, ip, 1)?;
            vxlan(ns, index, a.ip(), 2)?;
            let peer: IpAddr = Ipv4Addr::new(10, 9, 0, 2).into();
            ping(&a.ns, peer)
                .await
                .with_context(|| format!("{mode:?}, ping {n}"))?;
            tcp(&a.ns, ns, peer, 1 << 19, 1 << 18)
                .await
                .with_context(|| format!("{mode:?}, TCP {n}"))?;
            a.ns.nl().del_link(a.ns.nl().link("vx")?.index)?;
        }
    }
    Ok(())
}

/// SOF_TIMESTAMPING_RX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE, which every device has.
const SOFTWARE: u32 = (1 << 3) | (1 << 4);

async fn time_stamping_is_the_masters(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let own = Ethtool::new(&a.ns, &a.name)?.time_stamping()?;
    let master = Ethtool::new(&lan.host, "m0")?.time_stamping()?;
    // Both masters also stamp what they send.
    ensure!(master[0] != SOFTWARE, "{master:x?}");
    match cx.kind {
        Kind::Ipvlan => ensure!(own[0] == SOFTWARE, "in-tree: {own:x?}"),
        Kind::IpvlanRs => ensure!(own == master, "{own:x?}, the master has {master:x?}"),
    }
    Ok(())
}
