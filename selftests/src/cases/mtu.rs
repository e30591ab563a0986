// SPDX-License-Identifier: GPL-2.0
//! MTU (D5): bounded by the master's, following it, announced.

use crate::cases;
use crate::cx::{Cx, Decision, Suite, ANY, EACH, V46};
use crate::lan::{Lan, Mode};
use crate::nl::{Event, LinkSpec, Monitor};
use crate::ping::{ping_sized, try_ping, Pong};
use crate::wait::{self, patience};
use anyhow::{ensure, Result};

cases! {
    "mtu", Suite::Both;
    inherited_at_creation: EACH, ANY;
    given_at_creation: EACH, ANY;
    too_large_at_creation: EACH, ANY;
    bounds_of_a_change: EACH, ANY;
    follows_the_master: EACH, ANY;
    chosen_one_is_only_lowered: EACH, ANY;
    changes_are_announced: EACH, ANY;
    largest_packet_passes: EACH, V46;
    larger_packet_is_refused: EACH, V46;
}

async fn inherited_at_creation(cx: Cx) -> Result<()> {
    for mtu in [1280, 1500, 9000] {
        let lan = Lan::with_mtu(cx, Mode::L2, mtu)?;
        let link = lan.slave()?.link()?;
        ensure!(link.mtu == mtu, "MTU {} over {mtu}", link.mtu);
    }
    Ok(())
}

async fn given_at_creation(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    for mtu in [68, 1300, 1500] {
        let name = format!("x{mtu}");
        lan.host.nl().add_link(&LinkSpec {
            mtu: Some(mtu),
            ..lan.spec(&name)
        })?;
        let link = lan.host.nl().link(&name)?;
        ensure!(link.mtu == mtu, "MTU {} instead of {mtu}", link.mtu);
    }
    Ok(())
}

async fn too_large_at_creation(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let answer = lan.host.nl().try_add_link(&LinkSpec {
        mtu: Some(1501),
        ..lan.spec("x")
    })?;
    if cx.decision(Decision::D5) {
        cx.refused(answer, libc::EINVAL, "mtu")?;
        ensure!(
            lan.host.nl().find_link("x")?.is_none(),
            "a refused link exists"
        );
    } else {
        ensure!(
            answer.is_ok() && lan.host.nl().link("x")?.mtu == 1501,
            "{answer:?}"
        );
    }
    let answer = lan.host.nl().try_add_link(&LinkSpec {
        mtu: Some(67),
        ..lan.spec("y")
    })?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EINVAL),
        "67 bytes: {answer:?}"
    );
    Ok(())
}

async fn bounds_of_a_change(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let set = |mtu| a.ns.nl().try_set_mtu(a.index, mtu);
    for mtu in [68, 1280, 1499, 1500] {
        crate::nl::granted(set(mtu)?)?;
        ensure!(
            a.link()?.mtu == mtu,
            "MTU {} instead of {mtu}",
            a.link()?.mtu
        );
    }
    for mtu in [1501, 9000, 65535] {
        let answer = set(mtu)?;
        if cx.decision(Decision::D5) {
            cx.refused(answer, libc::EINVAL, "mtu")?;
            ensure!(a.link()?.mtu == 1500, "a refused MTU was taken");
        } else {
            ensure!(answer.is_ok() && a.link()?.mtu == mtu, "{mtu}: {answer:?}");
        }
    }
    for mtu in [0, 67, 65536] {
        let answer = set(mtu)?;
        ensure!(
            answer.as_ref().is_err_and(|r| r.errno == libc::EINVAL),
            "{mtu}: {answer:?}"
        );
    }
    Ok(())
}

async fn follows_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    b.ns.nl().down(b.index)?;
    for mtu in [1400, 1280, 1500, 9000] {
        lan.host.nl().set_mtu(lan.master, mtu)?;
        for slave in [&a, &b] {
            ensure!(
                slave.link()?.mtu == mtu,
                "{} has {}, the master {mtu}",
                slave.name,
                slave.link()?.mtu
            );
        }
    }
    Ok(())
}

/// An MTU that somebody chose follows the master down, not up (D5); in-tree the master's always replaces it.
async fn chosen_one_is_only_lowered(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let at_creation = lan.slave_with(|s| LinkSpec {
        mtu: Some(1400),
        ..s
    })?;
    let later = lan.slave()?;
    later.ns.nl().set_mtu(later.index, 1400)?;
    for (master, chosen) in [(1450, 1400), (1300, 1300), (1500, 1300)] {
        lan.host.nl().set_mtu(lan.master, master)?;
        let expected = if cx.decision(Decision::D5) {
            chosen
        } else {
            master
        };
        for slave in [&at_creation, &later] {
            let mtu = slave.link()?.mtu;
            ensure!(
                mtu == expected,
                "{} has {mtu}, not {expected}, under a master of {master}",
                slave.name
            );
        }
    }
    Ok(())
}

async fn changes_are_announced(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let monitor = Monitor::new(&a.ns)?;
    let fits = |mtu: u32| {
        let index = a.index;
        move |e: &Event| matches!(e, Event::NewLink(l) if l.index == index && l.mtu == mtu)
    };
    a.ns.nl().set_mtu(a.index, 1300)?;
    monitor.expect("MTU 1300", fits(1300)).await?;
    lan.host.nl().set_mtu(lan.master, 1200)?;
    if cx.decision(Decision::D5) {
        monitor.expect("MTU 1200", fits(1200)).await?;
    } else {
        // Silently replaced. Another change marks the place up to which nothing may have come.
        a.ns.nl().set_mtu(a.index, 1100)?;
        let mut before = 0;
        wait::until("the mark", || {
            for event in monitor.drain()? {
                before += usize::from(fits(1200)(&event));
                if fits(1100)(&event) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await?;
        ensure!(
            before == 0,
            "in-tree announces an MTU that follows the master"
        );
    }
    Ok(())
}

fn header(cx: Cx) -> usize {
    // IP and ICMP.
    if cx.family == crate::cx::Family::V6 {
        40 + 8
    } else {
        20 + 8
    }
}

async fn largest_packet_passes(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        for mtu in [1500, 9000] {
            let lan = Lan::with_mtu(cx, mode, mtu)?;
            let (a, b) = (lan.slave()?, lan.slave()?);
            for to in [b.ip(), lan.ext_ip()] {
                ping_sized(&a.ns, to, mtu as usize - header(cx)).await?;
                // In fragments.
                ping_sized(&a.ns, to, 2 * mtu as usize + 1).await?;
            }
        }
    }
    Ok(())
}

/// A raw frame over the slave's MTU does not get through; neither counts as transmitted.
async fn larger_packet_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let before = a.link()?.stats;
    let tap = a.tap()?;
    let frame = crate::frames::udp(a.mac, a.mac, a.ip(), b.ip(), (9, 9), &vec![0; 1600]);
    ensure!(
        tap.try_send(&frame) == Err(nix::Error::EMSGSIZE),
        "a frame of {} bytes was taken",
        frame.len()
    );
    let after = a.link()?.stats;
    // IPv6 sends some small packets of its own meanwhile.
    ensure!(
        after.tx_bytes - before.tx_bytes < frame.len() as u64,
        "counted as transmitted"
    );
    // With a smaller MTU on both slaves their stacks fragment.
    for slave in [&a, &b] {
        slave.ns.nl().set_mtu(slave.index, 1280)?;
    }
    let reply = try_ping(&a.ns, None, b.ip(), 1400, patience()).await?;
    ensure!(reply == Pong::Reply, "in fragments: {reply:?}");
    Ok(())
}
