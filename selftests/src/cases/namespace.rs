// SPDX-License-Identifier: GPL-2.0
//! Namespaces: moved and deleted, slaves and masters.

use crate::cases;
use crate::cx::{Cx, Master, Suite, ANY, EACH, V46, VETH};
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::nl::{AddrSpec, Event, Monitor};
use crate::ping::ping;
use crate::wait;
use anyhow::{ensure, Context, Result};

cases! {
    "namespace", Suite::Both;
    slave_moves: EACH, V46;
    slave_of_a_deleted_namespace: EACH, V46;
    master_deleted: EACH, V46;
    master_deleted_under_load: EACH, V46;
    master_moves: VETH, V46;
    masters_namespace_deleted: EACH, V46;
    all_deleted_at_once: EACH, ANY;
    slave_deleted_under_load: EACH, V46;
    deletion_is_announced: EACH, ANY;
}

/// A slave that moves loses its addresses, which are free at once, and works in its new namespace.
async fn slave_moves(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (mut a, b) = (lan.slave()?, lan.slave()?);
    let new = cx.netns()?;
    a.ns.nl().move_link(a.index, new.fd())?;
    let spec = AddrSpec::new(b.index, a.ip(), cx.host_prefix());
    crate::nl::granted(b.ns.nl().try_add_addr(&spec)?).context("the address is still taken")?;
    crate::nl::granted(b.ns.nl().try_del_addr(&spec)?)?;
    a.ns = new;
    a.index = a.ns.nl().link(&a.name)?.index;
    a.ns.nl().up(a.index)?;
    lan.address(&a)?;
    ping(&a.ns, b.ip()).await?;
    ping(&lan.ext, a.ip()).await?;
    ensure!(
        a.link()?.link == Some(lan.master),
        "its link is {:?}",
        a.link()?.link
    );
    Ok(())
}

async fn slave_of_a_deleted_namespace(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let ip = a.ip();
    drop(a);
    // The namespace goes in the background, and the address with it.
    let spec = AddrSpec::new(b.index, ip, cx.host_prefix());
    wait::until("the address is free", || {
        Ok(b.ns.nl().try_add_addr(&spec)?.is_ok())
    })
    .await?;
    wait::until("the address is usable", || b.ns.nl().is_local(ip)).await?;
    let tap = b.tap()?;
    let frame = frames::udp(lan.wire_mac, lan.mac, lan.ext_ip(), ip, (5, 7), b"heir");
    lan.wire_tap()?.send(&frame)?;
    tap.expect("the datagram at its new owner", |f| f.bytes == frame)
        .await
        .map(drop)
}

async fn master_deleted(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        lan.host.nl().add_link(&lan.spec("own"))?;
        ping(&a.ns, b.ip()).await?;
        lan.host.nl().del_link(lan.master)?;
        ensure!(!a.exists()? && !b.exists()?, "a slave outlived its master");
        ensure!(
            lan.host.nl().find_link("own")?.is_none(),
            "a slave outlived its master"
        );
    }
    Ok(())
}

async fn master_deleted_under_load(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        let text = [0; 200];
        let wire = vec![
            frames::udp(
                lan.wire_mac,
                lan.mac,
                lan.ext_ip(),
                a.ip(),
                (5, 4000),
                &text,
            ),
            frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &text),
        ];
        let slave = vec![
            frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 4000), &text),
            frames::udp(a.mac, lan.wire_mac, a.ip(), lan.ext_ip(), (5, 4000), &text),
            frames::ethernet(a.mac, frames::BROADCAST, 0x88b5, &text),
        ];
        let loads = [
            super::unload::Load::start(&lan, wire)?,
            super::unload::Load::on(&a.ns, a.index, slave)?,
        ];
        for load in &loads {
            load.running().await?;
        }
        lan.host.nl().del_link(lan.master)?;
        ensure!(!a.exists()? && !b.exists()?, "a slave outlived its master");
        for load in loads {
            load.stop()?;
        }
    }
    Ok(())
}

/// The slaves stay where they are; after the master came up in its new namespace they work through that.
async fn master_moves(cx: Cx) -> Result<()> {
    ensure!(
        cx.master == Master::Veth,
        "the dummy's wire does not move with it"
    );
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        let mut lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        ping(&a.ns, lan.ext_ip()).await?;
        for _ in 0..2 {
            let new = cx.netns()?;
            lan.host.nl().move_link(lan.master, new.fd())?;
            // The namespace that it leaves goes at once, with all that was registered in it.
            lan.host = new;
            lan.master = lan.host.nl().link("m0")?.index;
            ensure!(
                a.exists()? && b.exists()?,
                "a slave did not survive its master's move"
            );
            wait::until("no carrier", || Ok(!a.link()?.carrier)).await?;
            lan.host.nl().up(lan.master)?;
            let (ip, prefix) = (
                lan.master_ip(),
                if lan.master_ip().is_ipv4() { 24 } else { 64 },
            );
            lan.settled().await?;
            lan.host.nl().add_addr(lan.master, ip, prefix)?;
            wait::until("carrier on the slaves", || {
                Ok(a.link()?.carrier && b.link()?.carrier)
            })
            .await?;
            ping(&a.ns, b.ip()).await?;
            ping(&b.ns, lan.ext_ip()).await?;
            ping(&lan.ext, a.ip()).await?;
        }
        // New siblings come by the new place.
        let c = lan.slave()?;
        ping(&c.ns, a.ip()).await?;
    }
    Ok(())
}

async fn masters_namespace_deleted(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3s] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        ping(&a.ns, b.ip()).await?;
        drop(lan);
        wait::until("the slaves are gone", || Ok(!a.exists()? && !b.exists()?)).await?;
    }
    Ok(())
}

/// Master, slaves and the external host end in one batch, in every order.
async fn all_deleted_at_once(cx: Cx) -> Result<()> {
    for order in 0..3 {
        let lan = Lan::new(cx, Mode::L2)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        lan.host.nl().add_link(&lan.spec("own"))?;
        match order {
            0 => drop((lan, a, b)),
            1 => drop((a, b, lan)),
            _ => drop((a, lan, b)),
        }
    }
    crate::lan::namespaces_gone().await
}

async fn slave_deleted_under_load(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let b = lan.slave()?;
    for _ in 0..5 {
        let a = lan.slave()?;
        let text = [0; 200];
        let wire = vec![
            frames::udp(
                lan.wire_mac,
                lan.mac,
                lan.ext_ip(),
                a.ip(),
                (5, 4000),
                &text,
            ),
            frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &text),
        ];
        let sibling = vec![
            frames::udp(b.mac, a.mac, b.ip(), a.ip(), (5, 4000), &text),
            frames::ethernet(b.mac, frames::BROADCAST, 0x88b5, &text),
        ];
        let loads = [
            super::unload::Load::start(&lan, wire)?,
            super::unload::Load::on(&b.ns, b.index, sibling)?,
        ];
        for load in &loads {
            load.running().await?;
        }
        a.ns.nl().del_link(a.index)?;
        for load in loads {
            load.stop()?;
        }
    }
    ping(&lan.ext, b.ip()).await
}

async fn deletion_is_announced(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let monitors = [Monitor::new(&a.ns)?, Monitor::new(&b.ns)?];
    a.ns.nl().del_link(a.index)?;
    let gone = |index| move |e: &Event| matches!(e, Event::DelLink(l) if l.index == index);
    monitors[0]
        .expect("RTM_DELLINK of the slave", gone(a.index))
        .await?;
    lan.host.nl().del_link(lan.master)?;
    monitors[1]
        .expect("RTM_DELLINK with the master", gone(b.index))
        .await
        .map(drop)
}
