// SPDX-License-Identifier: GPL-2.0
//! Links: creation, defaults, refusals, dumps.

use crate::cases;
use crate::cx::{Cx, Suite, ANY, EACH, VETH};
use crate::lan::{Lan, Mode, PRIVATE, VEPA};
use crate::nl::{flags, LinkSpec};
use anyhow::{ensure, Result};

cases! {
    "link", Suite::Both;
    default_mode_is_l3: EACH, ANY;
    modes_and_flags_are_dumped: EACH, ANY;
    bad_modes_are_refused: VETH, ANY;
    bad_flags_are_refused: VETH, ANY;
    no_master_is_refused: VETH, ANY;
}

async fn default_mode_is_l3(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    lan.host.nl().add_link(&LinkSpec {
        mode: None,
        ..lan.spec("")
    })?;
    let link = lan.host.nl().link(&format!(
        "{}0",
        if cx.kind() == "ipvlan" {
            "ipvlan"
        } else {
            "ipvlan"
        }
    ))?;
    ensure!(
        link.kind.as_deref() == Some(cx.kind()),
        "kind {:?}",
        link.kind
    );
    ensure!(
        link.mode == Some(1) && link.port_flags == Some(0),
        "mode {:?} flags {:?}",
        link.mode,
        link.port_flags
    );
    ensure!(link.link == Some(lan.master), "link {:?}", link.link);
    ensure!(link.mac == lan.mac, "the slave's MAC is not the master's");
    Ok(())
}

async fn modes_and_flags_are_dumped(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        for port_flags in [0, PRIVATE, VEPA] {
            let lan = Lan::new(cx, mode)?;
            let slave = lan.slave_with(|spec| LinkSpec {
                flags: Some(port_flags),
                ..spec
            })?;
            let link = slave.link()?;
            ensure!(
                link.mode == Some(mode as u16),
                "mode {:?}, not {mode:?}",
                link.mode
            );
            ensure!(
                link.port_flags == Some(port_flags),
                "flags {:?}, not {port_flags}",
                link.port_flags
            );
            ensure!(
                link.data_attributes == 2,
                "{} attributes in IFLA_INFO_DATA",
                link.data_attributes
            );
            ensure!(
                link.has(flags::NOARP) == (mode == Mode::L3),
                "NOARP in {mode:?}: {:#x}",
                link.flags
            );
        }
    }
    Ok(())
}

async fn bad_modes_are_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    for mode in [3, 4, 0x100, 0xffff] {
        cx.refused(
            lan.host.nl().try_add_link(&LinkSpec {
                mode: Some(mode),
                ..lan.spec("x")
            })?,
            libc::EINVAL,
            "mode",
        )?;
    }
    ensure!(
        lan.host.nl().find_link("x")?.is_none(),
        "a refused link exists"
    );
    Ok(())
}

async fn bad_flags_are_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    for bits in [PRIVATE | VEPA, 4, 0x8000, 0xffff] {
        cx.refused(
            lan.host.nl().try_add_link(&LinkSpec {
                flags: Some(bits),
                ..lan.spec("x")
            })?,
            libc::EINVAL,
            "flag",
        )?;
    }
    Ok(())
}

async fn no_master_is_refused(cx: Cx) -> Result<()> {
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
        "link",
    )
}
