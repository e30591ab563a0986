// SPDX-License-Identifier: GPL-2.0
//! Who may: a tenant is root of a user namespace that owns its network namespace, not the master's.

use crate::cases;
use crate::cx::{Cx, Kind, Suite, ANY, EACH};
use crate::lan::{Lan, Mode, PRIVATE};
use crate::tenant::Tenant;
use anyhow::{ensure, Context, Result};

cases! {
    "permission", Suite::Both;
    change_by_a_tenant: EACH, ANY;
    nested_slave_of_a_tenant: EACH, ANY;
    create_without_capability: EACH, ANY;
    time_stamps_of_the_hardware: EACH, ANY;
}

/// Mode and flags are the port's, so that it takes the right over the master's namespace to change them.
async fn change_by_a_tenant(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    let (kind, name) = (cx.kind(), slave.name.clone());
    cx.refused(
        tenant.ask(&format!("mode {kind} {name} 1"))?,
        libc::EPERM,
        "CAP_NET_ADMIN",
    )?;
    cx.refused(
        tenant.ask(&format!("flags {kind} {name} {PRIVATE}"))?,
        libc::EPERM,
        "CAP_NET_ADMIN",
    )?;
    let link = slave.link()?;
    ensure!(
        link.mode == Some(Mode::L2 as u16) && link.port_flags == Some(0),
        "{link:?}"
    );
    Ok(())
}

/// A sibling made through a slave is the master's business too.
async fn nested_slave_of_a_tenant(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    cx.refused(
        tenant.ask(&format!("nest {} {}", cx.kind(), slave.name))?,
        libc::EPERM,
        "CAP_NET_ADMIN",
    )?;
    ensure!(
        slave.ns.nl().find_link("nested")?.is_none(),
        "a refused link exists"
    );
    ensure!(
        slave.link()?.mode == Some(Mode::L2 as u16),
        "the mode changed"
    );
    Ok(())
}

/// A link in another namespace as the master: the core asks for the right over that one.
async fn create_without_capability(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    let id = slave.link()?.link_netnsid.context("no IFLA_LINK_NETNSID")?;
    let answer = tenant.ask(&format!("netnsid {} {} {id}", cx.kind(), lan.master))?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EPERM),
        "{answer:?}"
    );
    Ok(())
}

/// How the card takes time stamps concerns all who use it. In-tree slaves have no say in it; neither has a card here that
/// could, so whoever may gets the card's own refusal.
async fn time_stamps_of_the_hardware(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let theirs = lan.slave_in(tenant.ns.clone(), |s| s)?;
    let own = lan.slave()?;
    let errno = |r: std::io::Result<()>| r.err().and_then(|e| e.raw_os_error());
    let ethtool = crate::ethtool::Ethtool::new(&own.ns, &own.name)?;
    for set in [false, true] {
        let refused = errno(ethtool.hardware_stamps(set));
        ensure!(refused == Some(libc::EOPNOTSUPP), "{set}: {refused:?}");
    }
    let answer = tenant.ask(&format!("stamps {} {}", cx.kind(), theirs.name))?;
    let expected = match cx.kind {
        Kind::Ipvlan => libc::EOPNOTSUPP,
        Kind::IpvlanRs => libc::EPERM,
    };
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == expected),
        "{answer:?}"
    );
    // What a tenant tries does not fill the host's log.
    let mut log = crate::kmsg::Kmsg::open()?;
    log.read();
    for _ in 0..20 {
        let _ = tenant.ask(&format!("stamps {} {}", cx.kind(), theirs.name))?;
    }
    let lines = log.read();
    ensure!(
        !lines.iter().any(|l| l.0.contains(&theirs.name)),
        "the log has the refusals: {lines:?}"
    );
    Ok(())
}
