// SPDX-License-Identifier: GPL-2.0
//! Kernels that lack something, or were told not to use it: IPv6, netfilter, l3mdev.

use super::counters::quiet;
use crate::cases;
use crate::cx::{Cx, Suite, EACH, V4, VETH};
use crate::frames;
use crate::lan::{Lan, Mode, EXT_V6};
use crate::modules;
use crate::nl::{flags, LinkSpec};
use crate::ping::ping;
use anyhow::{ensure, Result};
use std::net::{IpAddr, Ipv6Addr};

cases! {
    "bare", Suite::Bare;
    l3s_where_there_is_netfilter: EACH, V4;
    raw_ipv6_frames: EACH, V4;
    unload_and_load: VETH, V4;
}

/// Mode l3s works, or is refused with what it lacks, at creation and later, and nothing has changed then.
async fn l3s_where_there_is_netfilter(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let l3s = LinkSpec {
        mode: Some(Mode::L3s as u16),
        ..LinkSpec::new(cx.kind(), "")
    };
    let change = a.ns.nl().change_link(a.index, &l3s)?;
    if std::fs::exists("/proc/self/net/netfilter")? {
        ensure!(change.is_ok(), "{change:?}");
        let lan = Lan::new(cx, Mode::L3s)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        ping(&a.ns, b.ip()).await?;
        ping(&a.ns, lan.ext_ip()).await?;
        return ping(&lan.ext, b.ip()).await;
    }
    cx.refused(change, libc::EOPNOTSUPP, "NETFILTER")?;
    let link = a.link()?;
    ensure!(
        link.mode == Some(Mode::L2 as u16) && !link.has(flags::NOARP),
        "{link:?}"
    );
    let create = lan.host.nl().try_add_link(&LinkSpec {
        mode: Some(Mode::L3s as u16),
        ..lan.spec("x")
    })?;
    cx.refused(create, libc::EOPNOTSUPP, "NETFILTER")?;
    ensure!(
        lan.host.nl().find_link("x")?.is_none(),
        "a refused link exists"
    );
    ping(&a.ns, lan.ext_ip()).await
}

/// There are no routes of IPv6 to look up: in-tree looks all the same, which brings the kernel down with
/// `ipv6.disable=1`. In L2 they are frames like others.
async fn raw_ipv6_frames(cx: Cx) -> Result<()> {
    let own: IpAddr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 9).into();
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let a = lan.slave()?;
        let (tap, wire) = (a.tap()?, lan.wire_tap()?);
        quiet(&[&a]).await?;
        let before = a.link()?.stats;
        let to = if mode == Mode::L2 {
            lan.wire_mac
        } else {
            a.mac
        };
        let out = frames::udp(a.mac, to, own, EXT_V6.into(), (5, 7), b"six");
        let sent = tap.try_send(&out);
        if mode == Mode::L2 {
            ensure!(sent.is_ok(), "{sent:?}");
            wire.expect("the frame", |f| f.bytes == out).await?;
        } else {
            ensure!(sent == Err(nix::Error::EAFNOSUPPORT), "{sent:?}");
            let after = a.link()?.stats;
            ensure!(
                after.tx_dropped == before.tx_dropped + 1,
                "the drop is not counted"
            );
        }
        // And from outside, to nobody and to all.
        for mac in [lan.mac, frames::group_mac(own)] {
            wire.send(&frames::udp(
                lan.wire_mac,
                mac,
                EXT_V6.into(),
                own,
                (5, 7),
                b"six",
            ))?;
        }
        ping(&a.ns, lan.ext_ip()).await?;
        ping(&lan.ext, a.ip()).await?;
    }
    Ok(())
}

async fn unload_and_load(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    let a = lan.slave()?;
    ping(&a.ns, lan.ext_ip()).await?;
    modules::unload(cx.kind())?;
    ensure!(!a.exists()?, "the slave is left");
    modules::load(cx.kind())?;
    let b = lan.slave()?;
    ping(&b.ns, lan.ext_ip()).await
}
