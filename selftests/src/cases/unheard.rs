// SPDX-License-Identifier: GPL-2.0
//! Steps that fail where no answer of the module's is heard: events that have happened already, callbacks without a result,
//! the ends of namespaces. What can be done is done all the same, and the rest by the next request.

use super::faults::{fail_all, Request, FILTERS};
use crate::cases;
use crate::cx::{Cx, Suite, ANY, EACH, V4, VETH};
use crate::evidence;
use crate::fault::{self, Every, Whose, Workers};
use crate::kmsg::Kmsg;
use crate::lan::{namespaces_gone, Lan, Mode};
use crate::modules;
use crate::nl::{flags, granted, AddrSpec, LinkSpec};
use crate::ping::{ping, try_ping, Pong};
use crate::wait;
use anyhow::{ensure, Context, Result};
use std::time::Duration;

cases! {
    "failures", Suite::Debug;
    ending_namespaces: EACH, ANY, 120;
    moving_master: VETH, V4;
    mtu_of_the_master: EACH, ANY;
    listening: VETH, ANY;
    each_step: VETH, ANY;
}

const MODES: [Mode; 3] = [Mode::L2, Mode::L3, Mode::L3s];

/// Namespaces end with slaves in them, and a master's with all that lies on it, while slab allocations of the kernel's
/// workers fail, one of which does that: no slave is left, nor anything of one. Of the module's own steps ending a slave
/// asks for none, and they would fail too; what fails is the core's, around the module's callbacks. Not each one: there are
/// workers that try again until they succeed.
async fn ending_namespaces(cx: Cx) -> Result<()> {
    let (mut ended, mut failures) = (0, 0);
    for (every, mode) in [2, 3, 10]
        .into_iter()
        .flat_map(|n| MODES.map(|mode| (n, mode)))
    {
        let lan = Lan::new(cx, mode)?;
        let rest = [lan.slave()?, lan.slave()?];
        let doomed = (0..4).map(|_| lan.slave()).collect::<Result<Vec<_>>>()?;
        for one in &doomed {
            ensure!(one.exists()?, "{} is gone before its namespace", one.name);
        }
        let addrs: Vec<_> = doomed.iter().map(|s| s.ip()).collect();
        let faults = (Every::begin(1)?, Workers::begin(every)?);
        drop(doomed);
        namespaces_gone().await?;
        let slaves = faults.1.failures()?;
        drop(faults);
        for ip in addrs {
            let spec = AddrSpec::new(rest[0].index, ip, cx.host_prefix());
            granted(rest[0].ns.nl().try_add_addr(&spec)?).context("a dead slave's address")?;
        }
        ping(&rest[0].ns, rest[1].ip()).await?;
        let faults = (Every::begin(1)?, Workers::begin(every)?);
        drop(lan);
        wait::until("the slaves go with their master's namespace", || {
            Ok(!rest[0].exists()? && !rest[1].exists()?)
        })
        .await?;
        let master = faults.1.failures()?;
        drop(faults);
        println!("# one in {every}, {mode:?}: {slaves} failed, with the master {master}");
        ensure!(
            slaves > 0 && master > 0,
            "one in {every}, {mode:?}: {slaves} failed, with the master {master}"
        );
        (ended, failures) = (ended + 5, failures + slaves + master);
    }
    evidence::row(
        &format!("fault injection: namespaces that end with slaves or their master in them ({cx})"),
        &format!("{failures} allocations of workers"),
        &format!("{ended} namespaces: all slaves gone, their addresses free"),
    );
    Ok(())
}

/// A master in mode L3S moves, and its hooks are not to be had where it comes to. The move cannot be refused any more: the
/// slaves stay, the log says that they receive nothing and what helps, and that does help.
async fn moving_master(cx: Cx) -> Result<()> {
    let mut lan = Lan::new(cx, Mode::L3s)?;
    let slaves = [lan.slave()?, lan.slave()?];
    let again = LinkSpec {
        mode: Some(Mode::L3s as u16),
        ..LinkSpec::new(cx.kind(), "")
    };
    let mut log = Kmsg::open()?;
    let mut faults = 0;
    loop {
        ping(&lan.ext, slaves[0].ip()).await?;
        let new = cx.netns()?;
        log.read();
        lan.host.nl().inject(Whose::Ours, faults + 1);
        lan.host.nl().move_link(lan.master, new.fd())?;
        let step = lan.host.nl().injected();
        lan.host = new;
        lan.master = lan.host.nl().link("m0")?.index;
        lan.host.nl().up(lan.master)?;
        lan.settled().await?;
        let prefix = cx.link_prefix();
        lan.host
            .nl()
            .add_addr(lan.master, lan.master_ip(), prefix)?;
        for slave in &slaves {
            wait::until("carrier on the slaves", || Ok(slave.link()?.carrier)).await?;
        }
        let Some(step) = step else { break };
        ensure!(step == "nf_register_net_hooks", "{step} failed");
        faults += 1;
        let warning = "set the mode again";
        ensure!(
            log.read().iter().any(|l| l.0.contains(warning)),
            "the log does not say {warning:?}"
        );
        for slave in &slaves {
            ensure!(
                slave.link()?.mode == again.mode,
                "{} has another mode",
                slave.name
            );
            let pong = try_ping(&lan.ext, None, slave.ip(), 8, Duration::from_secs(1)).await?;
            ensure!(pong == Pong::Silence, "without hooks: {pong:?}");
        }
        granted(slaves[0].ns.nl().change_link(slaves[0].index, &again)?)?;
        ping(&lan.ext, slaves[1].ip()).await?;
    }
    ping(&lan.ext, slaves[1].ip()).await?;
    ensure!(faults > 0, "nothing to fail");
    evidence::row(
        &format!("fault injection: a master in mode L3S moves ({cx})"),
        &format!("{faults} faults"),
        "logged, and made good by setting the mode again",
    );
    Ok(())
}

/// The master has its MTU already when a slave cannot have it: that one stays as it is, the others follow, and so does it
/// with the next change.
async fn mtu_of_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slaves = [lan.slave()?, lan.slave()?, lan.slave()?];
    let nl = lan.host.nl();
    let mtus = || -> Result<Vec<u32>> { slaves.iter().map(|s| Ok(s.link()?.mtu)).collect() };
    let mut faults = 0;
    loop {
        nl.inject(Whose::Ours, faults + 1);
        nl.set_mtu(lan.master, 1400)?;
        let mut due = vec![1400; slaves.len()];
        let Some(step) = nl.injected() else {
            ensure!(mtus()? == due, "without a fault: {:?}", mtus()?);
            break;
        };
        ensure!(step == "dev_set_mtu", "{step} failed");
        due[faults as usize] = 1500;
        ensure!(mtus()? == due, "{:?} instead of {due:?}", mtus()?);
        for mtu in [1300, 1500] {
            nl.set_mtu(lan.master, mtu)?;
            ensure!(
                mtus()? == vec![mtu; slaves.len()],
                "then {mtu}: {:?}",
                mtus()?
            );
        }
        faults += 1;
    }
    ensure!(
        faults as usize == slaves.len(),
        "{faults} slaves did not follow"
    );
    evidence::row(
        &format!("fault injection: slaves that follow their master's MTU ({cx})"),
        &format!("{faults} faults"),
        "the other slaves follow; the one does with the next change",
    );
    Ok(())
}

/// A slave that listens to everything, on a bond, which filters VLANs: of what its coming up takes the memory and the
/// master's flag are refused.
async fn listening(cx: Cx) -> Result<()> {
    modules::load("bonding")?;
    modules::load("8021q")?;
    let lan = Lan::new(cx, Mode::L2)?;
    let host = lan.host.nl();
    host.add_link(&LinkSpec::new("bond", "bond0"))?;
    let bond = host.link("bond0")?.index;
    host.up(bond)?;
    let ns = cx.netns()?;
    let nl = ns.nl();
    host.add_link(&LinkSpec {
        link: Some(bond),
        ns: Some(ns.fd()),
        ..lan.spec("f0")
    })?;
    let slave = nl.link("f0")?.index;
    let listens = |on| granted(nl.set_link(slave, |l| l.allmulticast(on))?);
    let up = Request {
        nl,
        send: &|| nl.set_link(slave, |l| l.up()),
        there: &|| {
            let up = nl.link_at(slave)?.has(flags::UP);
            let wish = host.link_at(bond)?.allmulti;
            ensure!(wish == u32::from(up), "up: {up}, and allmulti {wish}");
            Ok(up)
        },
        undo: &|| nl.down(slave),
        // The VLAN driver hears of a device that is up already, and does not take back what was not added. The VLAN is 0,
        // whose frames count as untagged.
        survives: &[&["vlan_vid_add"], FILTERS].concat(),
    };
    listens(true)?;
    fail_all(
        cx,
        "setting up a slave that listens to all",
        &[Whose::Ours],
        &up,
    )?;
    nl.down(slave)?;
    listens(false)?;
    nl.up(slave)?;
    let listen = Request {
        nl,
        send: &|| nl.set_link(slave, |l| l.allmulticast(true)),
        there: &|| Ok(nl.link_at(slave)?.has(flags::ALLMULTI)),
        undo: &|| {
            listens(false)?;
            let wish = host.link_at(bond)?.allmulti;
            ensure!(wish == 0, "allmulti {wish} is left on the master");
            Ok(())
        },
        // ndo_change_rx_flags() has no result, and the flag is the slave's when it is called.
        survives: &[&["dev_set_allmulti"], FILTERS].concat(),
    };
    fail_all(cx, "having a slave listen to all", &[Whose::Ours], &listen)
}

/// The last of the cases that make steps fail: of all that steps.c knows, each has failed in one of them.
async fn each_step(_cx: Cx) -> Result<()> {
    let failed = fault::failed_until_now()?;
    let list: Vec<_> = failed.iter().map(|(s, n)| format!("{s} {n}")).collect();
    println!("# of the module's steps failed: {}", list.join(", "));
    let never: Vec<_> = failed.iter().filter(|(_, n)| **n == 0).collect();
    ensure!(
        never.is_empty(),
        "never failed, in what should be all cases of faults. and failures.: {never:?}"
    );
    evidence::row(
        "fault injection: functions of the kernel that were made to fail",
        &format!("{}", failed.len()),
        "all that the module calls and that can fail, once or more",
    );
    Ok(())
}
