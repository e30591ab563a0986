// SPDX-License-Identifier: GPL-2.0
//! Requests that are refused, and what they leave behind: nothing.

use crate::cases;
use crate::cx::{Cx, Decision, Suite, ANY, EACH, VETH};
use crate::lan::{Lan, Mode, PRIVATE, VEPA};
use crate::nl::LinkSpec;
use anyhow::{ensure, Context, Result};

cases! {
    "refusal", Suite::Both;
    bad_modes_are_refused: EACH, ANY;
    bad_flags_are_refused: EACH, ANY;
    malformed_attributes_are_refused: VETH, ANY;
    unknown_attributes_are_ignored: VETH, ANY;
    missing_master_is_refused: VETH, ANY;
    name_clash_is_refused: VETH, ANY;
    failed_creation_leaves_nothing: EACH, ANY;
    late_failure_undoes_everything: EACH, ANY;
}

async fn bad_modes_are_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slave = lan.slave()?;
    for mode in [3, 4, 0x100, 0xffff] {
        let spec = LinkSpec {
            mode: Some(mode),
            ..lan.spec("x")
        };
        cx.refused(lan.host.nl().try_add_link(&spec)?, libc::EINVAL, "mode")?;
        let change = LinkSpec {
            mode: Some(mode),
            ..LinkSpec::new(cx.kind(), "")
        };
        cx.refused(
            slave.ns.nl().change_link(slave.index, &change)?,
            libc::EINVAL,
            "mode",
        )?;
    }
    ensure!(
        lan.host.nl().find_link("x")?.is_none(),
        "a refused link exists"
    );
    ensure!(
        slave.link()?.mode == Some(Mode::L2 as u16),
        "a refused mode was taken"
    );
    Ok(())
}

async fn bad_flags_are_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slave = lan.slave()?;
    for bits in [PRIVATE | VEPA, 4, 0x8000, 0xffff] {
        let word = if bits == PRIVATE | VEPA {
            "private"
        } else {
            "flag"
        };
        let spec = LinkSpec {
            flags: Some(bits),
            ..lan.spec("x")
        };
        cx.refused(lan.host.nl().try_add_link(&spec)?, libc::EINVAL, word)?;
        let change = LinkSpec {
            flags: Some(bits),
            ..LinkSpec::new(cx.kind(), "")
        };
        cx.refused(
            slave.ns.nl().change_link(slave.index, &change)?,
            libc::EINVAL,
            word,
        )?;
    }
    ensure!(
        slave.link()?.port_flags == Some(0),
        "refused flags were taken"
    );
    Ok(())
}

/// An attribute of the wrong length fails the policy, before the driver sees it. In-tree has none from number 32 on.
async fn malformed_attributes_are_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let own = [crate::nl::QUEUE_BYTES, crate::nl::MAX_ADDRS];
    let lengths = [(1, 2), (2, 2), (own[0], 4), (own[1], 4)];
    let known = if cx.decision(Decision::D13) { 4 } else { 2 };
    for (attribute, right) in &lengths[..known] {
        let attribute = *attribute;
        for length in 0..*right {
            let data = vec![(attribute, vec![0; length])];
            let spec = LinkSpec {
                data,
                mode: None,
                ..lan.spec("x")
            };
            let answer = lan.host.nl().try_add_link(&spec)?;
            ensure!(
                answer
                    .as_ref()
                    .is_err_and(|r| r.errno == libc::ERANGE && !r.text.is_empty()),
                "attribute {attribute} of {length} bytes: {answer:?}"
            );
        }
    }
    Ok(())
}

/// Attributes that this driver does not know are no error, so that newer tools work with it.
async fn unknown_attributes_are_ignored(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let spec = LinkSpec {
        data: vec![(3, vec![1, 2, 3, 4]), (200, Vec::new())],
        ..lan.spec("x")
    };
    lan.host.nl().add_link(&spec)?;
    ensure!(
        lan.host.nl().link("x")?.mode == Some(Mode::L2 as u16),
        "the known attribute is lost"
    );
    Ok(())
}

async fn missing_master_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let nl = lan.host.nl();
    cx.refused(
        nl.try_add_link(&LinkSpec {
            link: None,
            ..lan.spec("x")
        })?,
        libc::EINVAL,
        "link",
    )?;
    cx.refused(
        nl.try_add_link(&LinkSpec {
            link: Some(4711),
            ..lan.spec("x")
        })?,
        libc::ENODEV,
        "master",
    )
}

async fn name_clash_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    lan.host.nl().add_link(&lan.spec("x"))?;
    let answer = lan.host.nl().try_add_link(&lan.spec("x"))?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EEXIST),
        "{answer:?}"
    );
    Ok(())
}

/// A creation that the core refuses, since the name is taken in the target namespace, does not touch the master.
async fn failed_creation_leaves_nothing(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    for _ in 0..3 {
        let spec = LinkSpec {
            ns: Some(ns.fd()),
            ..lan.spec("lo")
        };
        ensure!(
            lan.host.nl().try_add_link(&spec)?.is_err(),
            "a second lo was accepted"
        );
    }
    crate::modules::load("macvlan")?;
    let macvlan = LinkSpec {
        link: Some(lan.master),
        ..LinkSpec::new("macvlan", "mv")
    };
    lan.host
        .nl()
        .add_link(&macvlan)
        .context("the master is still taken")?;
    lan.host.nl().del_link(lan.host.nl().link("mv")?.index)?;
    lan.slave()?;
    Ok(())
}

/// A creation that fails when the link is registered already and its port made, because the master lies on as many devices
/// as the core allows (MAX_NEST_DEV, 8), undoes all of that: it fails in the same way again, and the devices can go (the
/// harness waits for them after the last case).
async fn late_failure_undoes_everything(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    crate::modules::load("8021q")?;
    let mut top = lan.master;
    for level in 2..=8u16 {
        let name = format!("v{level}");
        // IFLA_VLAN_ID of linux/if_link.h.
        lan.host.nl().add_link(&LinkSpec {
            link: Some(top),
            data: vec![(1, level.to_ne_bytes().to_vec())],
            ..LinkSpec::new("vlan", &name)
        })?;
        top = lan.host.nl().link(&name)?.index;
    }
    for _ in 0..3 {
        let spec = LinkSpec {
            link: Some(top),
            ..lan.spec("deep")
        };
        cx.refused(lan.host.nl().try_add_link(&spec)?, libc::EMLINK, "too many")?;
        ensure!(
            lan.host.nl().find_link("deep")?.is_none(),
            "the link is there"
        );
    }
    // The vlan below the top has room for one more, and whoever gets it finds it free.
    lan.host.nl().del_link(top)?;
    let below = lan.host.nl().link("v7")?.index;
    lan.host.nl().add_link(&LinkSpec {
        link: Some(below),
        ..lan.spec("fits")
    })?;
    Ok(())
}
