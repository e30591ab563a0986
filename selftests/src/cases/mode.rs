// SPDX-License-Identifier: GPL-2.0
//! Mode and flags belong to the port: they change for all of its slaves, while they live.

use crate::cases;
use crate::cx::{Cx, Decision, Suite, ANY, EACH, V46};
use crate::lan::{Lan, Mode, Slave, PRIVATE, VEPA};
use crate::netns::Netns;
use crate::nl::{flags, granted, Event, LinkSpec, Monitor};
use crate::ping::{ping, try_ping, Pong};
use anyhow::{ensure, Result};
use std::time::Duration;

cases! {
    "mode", Suite::Both;
    sibling_without_mode: EACH, ANY;
    sibling_without_flags: EACH, ANY;
    sibling_with_mode_changes_all: EACH, ANY;
    change_announces_noarp: EACH, ANY;
    change_keeps_what_is_not_given: EACH, ANY;
    change_under_traffic: EACH, V46;
    flags_change_for_all: EACH, V46;
    change_of_another_kind_is_refused: EACH, ANY;
    empty_change_is_accepted: EACH, ANY;
    l3s: EACH, ANY;
    slave_as_link_makes_a_sibling: EACH, V46;
}

/// Sets mode and flags of a slave's port, as far as they are given.
pub fn change(slave: &Slave, mode: Option<Mode>, port_flags: Option<u16>) -> Result<()> {
    change_at(slave.cx, &slave.ns, slave.index, mode, port_flags)
}

/// As [`change`], of the slave with this index.
pub fn change_at(
    cx: Cx,
    ns: &Netns,
    index: u32,
    mode: Option<Mode>,
    port_flags: Option<u16>,
) -> Result<()> {
    let spec = LinkSpec {
        mode: mode.map(|m| m as u16),
        flags: port_flags,
        ..LinkSpec::new(cx.kind(), "")
    };
    granted(ns.nl().change_link(index, &spec)?)
}

async fn sibling_without_mode(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let first = lan.slave()?;
    lan.host.nl().add_link(&LinkSpec {
        mode: None,
        ..lan.spec("x")
    })?;
    let expected = if cx.decision(Decision::D1) {
        Mode::L2
    } else {
        Mode::L3
    };
    for link in [first.link()?, lan.host.nl().link("x")?] {
        ensure!(
            link.mode == Some(expected as u16),
            "{} is in mode {:?}",
            link.name,
            link.mode
        );
    }
    ensure!(
        first.link()?.has(flags::NOARP) == (expected == Mode::L3),
        "NOARP does not fit the mode"
    );
    Ok(())
}

async fn sibling_without_flags(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let first = lan.slave_with(|s| LinkSpec {
        flags: Some(PRIVATE),
        ..s
    })?;
    let second = lan.slave()?;
    for slave in [&first, &second] {
        ensure!(
            slave.link()?.port_flags == Some(PRIVATE),
            "{} lost private",
            slave.name
        );
    }
    Ok(())
}

async fn sibling_with_mode_changes_all(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let first = lan.slave()?;
    let spec = LinkSpec {
        mode: Some(Mode::L3 as u16),
        flags: Some(VEPA),
        ..lan.spec("x")
    };
    lan.host.nl().add_link(&spec)?;
    let link = first.link()?;
    ensure!(
        link.mode == Some(Mode::L3 as u16) && link.port_flags == Some(VEPA),
        "{link:?}"
    );
    ensure!(
        link.has(flags::NOARP),
        "the first slave still resolves neighbours"
    );
    Ok(())
}

/// `ip monitor` sees the flags of every slave change.
async fn change_announces_noarp(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    for (mode, noarp) in [(Mode::L3, true), (Mode::L2, false)] {
        let monitors = [Monitor::new(&a.ns)?, Monitor::new(&b.ns)?];
        change(&a, Some(mode), None)?;
        for (slave, monitor) in [&a, &b].into_iter().zip(&monitors) {
            let wanted = |e: &Event| matches!(e, Event::NewLink(l) if l.index == slave.index && l.has(flags::NOARP) == noarp);
            monitor
                .expect(&format!("NOARP {noarp} on {}", slave.name), wanted)
                .await?;
            ensure!(
                slave.link()?.mode == Some(mode as u16),
                "{} is not in {mode:?}",
                slave.name
            );
        }
    }
    Ok(())
}

async fn change_keeps_what_is_not_given(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave_with(|s| LinkSpec {
        flags: Some(VEPA),
        ..s
    })?;
    change(&a, Some(Mode::L3), None)?;
    ensure!(
        a.link()?.port_flags == Some(VEPA),
        "a change of mode took the flags"
    );
    change(&a, None, Some(PRIVATE))?;
    ensure!(
        a.link()?.mode == Some(Mode::L3 as u16),
        "a change of flags took the mode"
    );
    change(&a, Some(Mode::L2), Some(0))?;
    let link = a.link()?;
    ensure!(
        link.mode == Some(0) && link.port_flags == Some(0),
        "{link:?}"
    );
    Ok(())
}

/// Two slaves that share a subnet reach each other in L2, in L3 and in L2 again, without being touched.
async fn change_under_traffic(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    for mode in [Mode::L2, Mode::L3, Mode::L2, Mode::L3] {
        change(&b, Some(mode), None)?;
        ping(&a.ns, b.ip()).await?;
        ping(&b.ns, a.ip()).await?;
    }
    Ok(())
}

async fn flags_change_for_all(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&a.ns, b.ip()).await?;
    change(&a, None, Some(PRIVATE))?;
    ensure!(
        b.link()?.port_flags == Some(PRIVATE),
        "the sibling's flags differ"
    );
    let answer = try_ping(&a.ns, None, b.ip(), 10, Duration::from_millis(200)).await?;
    ensure!(answer != Pong::Reply, "a private sibling answers");
    ping(&a.ns, lan.ext_ip()).await?;
    change(&b, None, Some(0))?;
    ping(&a.ns, b.ip()).await
}

/// `ip link set X type OTHER`: the core refuses to change a link through another kind.
async fn change_of_another_kind_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let spec = LinkSpec {
        mode: Some(1),
        ..LinkSpec::new("dummy", "")
    };
    let answer = a.ns.nl().change_link(a.index, &spec)?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EOPNOTSUPP),
        "{answer:?}"
    );
    ensure!(a.link()?.mode == Some(Mode::L2 as u16), "the mode changed");
    Ok(())
}

async fn empty_change_is_accepted(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave_with(|s| LinkSpec {
        flags: Some(PRIVATE),
        ..s
    })?;
    change(&a, None, None)?;
    let link = a.link()?;
    ensure!(
        link.mode == Some(0) && link.port_flags == Some(PRIVATE),
        "{link:?}"
    );
    Ok(())
}

/// Created so and changed to; a sibling that asks for nothing follows.
async fn l3s(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let a = lan.slave()?;
    let b = lan.slave_with(|s| LinkSpec {
        mode: Some(Mode::L3s as u16),
        ..s
    })?;
    for mode in [Mode::L2, Mode::L3s, Mode::L3, Mode::L3s] {
        change(&a, Some(mode), None)?;
        for slave in [&a, &b] {
            let link = slave.link()?;
            ensure!(
                link.mode == Some(mode as u16) && link.has(flags::NOARP) == (mode != Mode::L2),
                "{link:?}"
            );
        }
    }
    ping(&a.ns, b.ip()).await
}

/// A slave given as IFLA_LINK stands for its master.
async fn slave_as_link_makes_a_sibling(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    lan.host.nl().add_link(&lan.spec("first"))?;
    let first = lan.host.nl().link("first")?;
    let a = lan.slave()?;
    let nested = lan.slave_in(ns, |s| LinkSpec {
        link: Some(first.index),
        ..s
    })?;
    ensure!(
        nested.link()?.link == Some(lan.master),
        "the sibling's link is {:?}",
        nested.link()?.link
    );
    ping(&nested.ns, a.ip()).await?;
    // It does not depend on the slave that it was made through.
    lan.host.nl().del_link(first.index)?;
    ping(&nested.ns, a.ip()).await?;
    ping(&nested.ns, lan.ext_ip()).await
}
