// SPDX-License-Identifier: GPL-2.0
//! TCP and UDP in every direction: slave to slave, to the external host and back, with segmentation offload and
//! without, with small and large MTU, in L2 and L3.

use crate::cases;
use crate::cx::{Cx, Master, Suite, ANY, EACH, V46};
use crate::ethtool::Ethtool;
use crate::frames;
use crate::lan::{Lan, Mode, Slave};
use crate::netns::Netns;
use crate::stream::{tcp, udp_echo};
use anyhow::{ensure, Context, Result};
use std::net::IpAddr;

cases! {
    "stream", Suite::Both;
    l2: EACH, V46;
    l2_without_offload: EACH, V46;
    l2_large_mtu: EACH, V46;
    l2_large_mtu_without_offload: EACH, V46;
    l3: EACH, V46;
    l3_without_offload: EACH, V46;
    l3_large_mtu: EACH, V46;
    l3_large_mtu_without_offload: EACH, V46;
    checksums_on_the_wire: EACH, V46;
    segments_of_a_large_send: EACH, V46;
    many_connections: EACH, ANY;
}

async fn l2(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L2, 1500, true).await
}

async fn l2_without_offload(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L2, 1500, false).await
}

async fn l2_large_mtu(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L2, 9000, true).await
}

async fn l2_large_mtu_without_offload(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L2, 9000, false).await
}

async fn l3(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L3, 1500, true).await
}

async fn l3_without_offload(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L3, 1500, false).await
}

async fn l3_large_mtu(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L3, 9000, true).await
}

async fn l3_large_mtu_without_offload(cx: Cx) -> Result<()> {
    everywhere(cx, Mode::L3, 9000, false).await
}

const OFFLOADS: &[&str] = &[
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-generic-segmentation",
    "tx-checksum-ip-generic",
    "tx-scatter-gather",
];

/// Switches off what the wire's two ends can do. The slave's own offloads are always on: the core segments and sums up
/// for the master in software then.
pub fn without_offload(lan: &Lan) -> Result<()> {
    let ends = [(&lan.host, "m0"), (&lan.ext, "e0"), (&lan.host, "w0")];
    let ends = &ends[..if lan.cx.master == Master::Dummy { 3 } else { 2 }];
    for (ns, name) in ends {
        let ethtool = Ethtool::new(ns, name)?;
        ethtool.set(OFFLOADS, false)?;
        for feature in [
            "tx-tcp-segmentation",
            "tx-tcp6-segmentation",
            "tx-checksum-ip-generic",
        ] {
            ensure!(
                !ethtool.feature(feature)?.active,
                "{feature} of {name} stays on"
            );
        }
    }
    Ok(())
}

async fn everywhere(cx: Cx, mode: Mode, mtu: u32, offload: bool) -> Result<()> {
    let lan = Lan::with_mtu(cx, mode, mtu)?;
    if !offload {
        without_offload(&lan)?;
    }
    let (a, b) = (lan.slave()?, lan.slave()?);
    let pairs: [(&str, &Netns, &Netns, IpAddr); 4] = [
        ("slave to slave", &a.ns, &b.ns, b.ip()),
        ("slave to slave, back", &b.ns, &a.ns, a.ip()),
        ("slave to outside", &a.ns, &lan.ext, lan.ext_ip()),
        ("outside to slave", &lan.ext, &b.ns, b.ip()),
    ];
    for (what, client, server, to) in pairs {
        tcp(client, server, to, 1 << 19, 1 << 18)
            .await
            .with_context(|| format!("TCP, {what}"))?;
        for size in [1, 512, mtu as usize - 100, 3 * mtu as usize] {
            udp_echo(client, server, to, 2, size)
                .await
                .with_context(|| format!("UDP of {size}, {what}"))?;
        }
    }
    Ok(())
}

/// With checksum offload off on the master, everything that reaches the wire has complete and correct checksums.
async fn checksums_on_the_wire(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        without_offload(&lan)?;
        let a = lan.slave()?;
        let wire = lan.wire_tap()?;
        tcp(&a.ns, &lan.ext, lan.ext_ip(), 1 << 16, 1 << 16).await?;
        udp_echo(&a.ns, &lan.ext, lan.ext_ip(), 5, 1000).await?;
        let mut checked = 0;
        while let Some(f) = wire.poll()? {
            if frames::addresses(&f.bytes)
                .is_some_and(|(src, dst)| src == a.ip() && dst == lan.ext_ip())
            {
                ensure!(
                    !f.partial_checksum,
                    "{mode:?}: a checksum is left to do: {}",
                    frames::describe(&f.bytes)
                );
                frames::verify_checksums(&f.bytes).with_context(|| frames::describe(&f.bytes))?;
                ensure!(
                    f.bytes.len() <= 1514,
                    "{mode:?}: {} bytes on the wire",
                    f.bytes.len()
                );
                checked += 1;
            }
        }
        ensure!(checked > 40, "{mode:?}: only {checked} frames seen");
    }
    Ok(())
}

/// With offload, a large write leaves the slave as packets larger than the MTU, and arrives so at a sibling.
async fn segments_of_a_large_send(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        let tap = b.tap()?;
        tcp(&a.ns, &b.ns, b.ip(), 1 << 20, 0).await?;
        let mut largest = 0;
        while let Some(f) = tap.poll()? {
            largest = largest.max(f.bytes.len());
        }
        ensure!(
            largest > 3000,
            "{mode:?}: the largest packet has {largest} bytes"
        );
    }
    Ok(())
}

async fn many_connections(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slaves: Vec<Slave> = (0..4).map(|_| lan.slave()).collect::<Result<_>>()?;
    let mut transfers = Vec::new();
    for (i, from) in slaves.iter().enumerate() {
        for to in slaves.iter().skip(i + 1) {
            transfers.push(tcp(&from.ns, &to.ns, to.v4.into(), 50_000, 50_000));
            transfers.push(tcp(&from.ns, &to.ns, to.v6.into(), 50_000, 50_000));
        }
        transfers.push(tcp(
            &from.ns,
            &lan.ext,
            crate::lan::EXT_V4.into(),
            50_000,
            50_000,
        ));
        transfers.push(tcp(&lan.ext, &from.ns, from.v6.into(), 50_000, 50_000));
    }
    futures_util::future::try_join_all(transfers)
        .await
        .map(drop)
}
