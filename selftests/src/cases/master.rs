// SPDX-License-Identifier: GPL-2.0
//! What may be a master, who else may sit on it, and what may sit on a slave.

use crate::cases;
use crate::cx::{Cx, Family, Suite, ANY, EACH, V46, VETH};
use crate::lan::{Lan, Mode};
use crate::modules;
use crate::netns::Netns;
use crate::nl::{granted, AddrSpec, LinkSpec};
use crate::ping::{ping, try_ping, Pong};
use anyhow::{bail, ensure, Context, Result};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::time::Duration;

cases! {
    "master", Suite::Both;
    loopback_is_refused: VETH, ANY;
    other_hardware_is_refused: VETH, ANY;
    bridge_port_is_busy: EACH, ANY;
    macvlan_master_is_busy: EACH, ANY;
    bond_port_is_busy: VETH, ANY;
    other_kind_is_busy: EACH, ANY;
    macvlan_on_our_master_is_refused: EACH, ANY;
    bridge_takes_no_busy_master: EACH, ANY;
    master_is_free_again: EACH, ANY;
    bridge_as_master: VETH, V46;
    vlan_as_master: VETH, V46;
    bond_as_master: VETH, V46;
    vlan_on_a_slave_is_refused: EACH, ANY;
    bridge_on_a_slave_is_refused: EACH, ANY;
    macvlan_on_a_slave_is_refused: EACH, ANY;
    vrf_takes_a_slave: VETH, V46;
}

async fn loopback_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let spec = LinkSpec {
        link: Some(1),
        ..lan.spec("x")
    };
    cx.refused(lan.host.nl().try_add_link(&spec)?, libc::EINVAL, "loopback")
}

/// A tun device: it has no Ethernet header.
struct Tun(#[allow(dead_code)] File);

impl Tun {
    fn new(ns: &Netns, name: &str) -> Result<Tun> {
        modules::load("tun")?;
        let tun = ns.enter(|| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/net/tun")
                .context("no tun device")?;
            // SAFETY: an all-zero ifreq is valid; TUNSETIFF reads the name and the flags.
            let rc = unsafe {
                let mut request: libc::ifreq = std::mem::zeroed();
                for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                    *to = from as libc::c_char;
                }
                request.ifr_ifru.ifru_flags = libc::IFF_TUN as i16;
                libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request)
            };
            nix::Error::result(rc).context("TUNSETIFF")?;
            Ok(file)
        })?;
        Ok(Tun(tun))
    }
}

async fn other_hardware_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let _tun = Tun::new(&lan.host, "tun0")?;
    let spec = LinkSpec {
        link: Some(lan.host.nl().link("tun0")?.index),
        ..lan.spec("x")
    };
    cx.refused(lan.host.nl().try_add_link(&spec)?, libc::EINVAL, "ethernet")
}

pub fn enslave(lan: &Lan, port: u32, upper: &str) -> Result<crate::nl::Answer> {
    let upper = lan.host.nl().link(upper)?.index;
    lan.host.nl().set_link(port, |l| l.controller(upper))
}

fn add(lan: &Lan, kind: &'static str, name: &str) -> Result<()> {
    modules::load(kind)?;
    lan.host.nl().add_link(&LinkSpec::new(kind, name))
}

fn busy(cx: Cx, lan: &Lan) -> Result<()> {
    cx.refused(
        lan.host.nl().try_add_link(&lan.spec("x"))?,
        libc::EBUSY,
        "in use",
    )
}

async fn bridge_port_is_busy(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    add(&lan, "bridge", "br0")?;
    granted(enslave(&lan, lan.master, "br0")?)?;
    busy(cx, &lan)?;
    granted(lan.host.nl().set_link(lan.master, |l| l.nocontroller())?)?;
    lan.slave().map(drop)
}

async fn macvlan_master_is_busy(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("macvlan")?;
    lan.host.nl().add_link(&LinkSpec {
        link: Some(lan.master),
        ..LinkSpec::new("macvlan", "mv")
    })?;
    busy(cx, &lan)
}

async fn bond_port_is_busy(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("bonding")?;
    // Loading makes a bond0 in the initial namespace only.
    lan.host.nl().add_link(&LinkSpec::new("bond", "bond0"))?;
    lan.host.nl().down(lan.master)?;
    granted(enslave(&lan, lan.master, "bond0")?)?;
    busy(cx, &lan)
}

async fn other_kind_is_busy(cx: Cx) -> Result<()> {
    let other = cx.kind.other();
    if !modules::is_loaded(other.name()) {
        modules::load(other.name()).map_err(|e| crate::cx::Skip(format!("{e:#}")))?;
    }
    let lan = Lan::new(cx, Mode::L2)?;
    let theirs = LinkSpec {
        link: Some(lan.master),
        mode: Some(0),
        ..LinkSpec::new(other.name(), "theirs")
    };
    lan.host.nl().add_link(&theirs)?;
    busy(cx, &lan)?;
    // A slave of the other kind is an Ethernet device, but takes no rx_handler.
    let spec = LinkSpec {
        link: Some(lan.host.nl().link("theirs")?.index),
        ..lan.spec("x")
    };
    let answer = lan.host.nl().try_add_link(&spec)?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EINVAL),
        "on a slave of the other kind: {answer:?}"
    );
    Ok(())
}

async fn macvlan_on_our_master_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("macvlan")?;
    lan.slave()?;
    let spec = LinkSpec {
        link: Some(lan.master),
        ..LinkSpec::new("macvlan", "mv")
    };
    let answer = lan.host.nl().try_add_link(&spec)?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EBUSY),
        "{answer:?}"
    );
    Ok(())
}

async fn bridge_takes_no_busy_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    add(&lan, "bridge", "br0")?;
    let slave = lan.slave()?;
    let answer = enslave(&lan, lan.master, "br0")?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EBUSY),
        "{answer:?}"
    );
    slave.ns.nl().del_link(slave.index)?;
    granted(enslave(&lan, lan.master, "br0")?)
}

/// With the last slave the port goes, and with it the rx_handler: again and again.
async fn master_is_free_again(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("macvlan")?;
    let nl = lan.host.nl();
    for _ in 0..5 {
        let (a, b) = (lan.slave()?, lan.slave()?);
        a.ns.nl().del_link(a.index)?;
        b.ns.nl().del_link(b.index)?;
        nl.add_link(&LinkSpec {
            link: Some(lan.master),
            ..LinkSpec::new("macvlan", "mv")
        })?;
        nl.del_link(nl.link("mv")?.index)?;
    }
    Ok(())
}

/// Moves the master's addresses and role to another link of the host, and gives it a slave that reaches the outside.
async fn works_over(cx: Cx, lan: &Lan, master: &str) -> Result<()> {
    let nl = lan.host.nl();
    let index = nl.link(master)?.index;
    nl.up(index)?;
    let a = lan.slave_with(|s| LinkSpec {
        link: Some(index),
        ..s
    })?;
    let b = lan.slave_with(|s| LinkSpec {
        link: Some(index),
        ..s
    })?;
    crate::wait::until("carrier", || Ok(a.link()?.carrier)).await?;
    ping(&a.ns, b.ip()).await?;
    ping(&a.ns, lan.ext_ip()).await?;
    ping(&lan.ext, b.ip()).await?;
    ensure!(
        a.link()?.link == Some(index),
        "{} is not on {master}",
        cx.kind()
    );
    Ok(())
}

async fn bridge_as_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    add(&lan, "bridge", "br0")?;
    granted(enslave(&lan, lan.master, "br0")?)?;
    works_over(cx, &lan, "br0").await
}

async fn vlan_as_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("8021q")?;
    // IFLA_VLAN_ID of linux/if_link.h.
    let vlan = |link| LinkSpec {
        link: Some(link),
        data: vec![(1, 7u16.to_ne_bytes().to_vec())],
        ..LinkSpec::new("vlan", "v7")
    };
    lan.host.nl().add_link(&vlan(lan.master))?;
    lan.ext.nl().add_link(&vlan(lan.wire))?;
    let v7 = lan.ext.nl().link("v7")?.index;
    {
        let (ip, prefix) = (lan.ext_ip(), if lan.ext_ip().is_ipv4() { 24 } else { 64 });
        lan.ext.nl().del_addr(lan.wire, ip, prefix)?;
        lan.ext.nl().up(v7)?;
        lan.ext.nl().add_addr(v7, ip, prefix)?;
    }
    works_over(cx, &lan, "v7").await
}

async fn bond_as_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("bonding")?;
    // IFLA_BOND_MODE 1 (active-backup), IFLA_BOND_MIIMON 10 ms.
    let data = vec![(1, vec![1]), (3, 10u32.to_ne_bytes().to_vec())];
    lan.host.nl().add_link(&LinkSpec {
        data,
        ..LinkSpec::new("bond", "bond0")
    })?;
    lan.host.nl().down(lan.master)?;
    granted(enslave(&lan, lan.master, "bond0")?)?;
    works_over(cx, &lan, "bond0").await
}

async fn vlan_on_a_slave_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("8021q")?;
    lan.host.nl().add_link(&lan.spec("x"))?;
    let spec = LinkSpec {
        link: Some(lan.host.nl().link("x")?.index),
        data: vec![(1, 7u16.to_ne_bytes().to_vec())],
        ..LinkSpec::new("vlan", "v7")
    };
    let answer = lan.host.nl().try_add_link(&spec)?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EOPNOTSUPP),
        "{answer:?}"
    );
    Ok(())
}

async fn bridge_on_a_slave_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    add(&lan, "bridge", "br0")?;
    lan.host.nl().add_link(&lan.spec("x"))?;
    let answer = enslave(&lan, lan.host.nl().link("x")?.index, "br0")?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EINVAL),
        "{answer:?}"
    );
    Ok(())
}

async fn macvlan_on_a_slave_is_refused(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("macvlan")?;
    lan.host.nl().add_link(&lan.spec("x"))?;
    let link = Some(lan.host.nl().link("x")?.index);
    let answer = lan.host.nl().try_add_link(&LinkSpec {
        link,
        ..LinkSpec::new("macvlan", "mv")
    })?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EINVAL),
        "{answer:?}"
    );
    Ok(())
}

/// A slave in a VRF is reached, and answers, by the VRF's own table.
async fn vrf_takes_a_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    modules::load("vrf")?;
    let a = lan.slave()?;
    let nl = a.ns.nl();
    // IFLA_VRF_TABLE.
    let data = vec![(1, 99u32.to_ne_bytes().to_vec())];
    nl.add_link(&LinkSpec {
        data,
        up: true,
        ..LinkSpec::new("vrf", "vrf0")
    })?;
    let vrf = nl.link("vrf0")?.index;
    granted(nl.set_link(a.index, |l| l.controller(vrf))?)?;
    ensure!(a.link()?.controller == Some(vrf), "not in the VRF");
    // It went down and up on the way, which takes an IPv6 address. When the new one is usable, only the VRF's table says.
    if cx.family == Family::V6 {
        granted(nl.try_add_addr(&AddrSpec::new(a.index, a.ip(), 64))?)?;
    }
    for _ in 0..30 {
        let patience = Duration::from_millis(300);
        if try_ping(&lan.ext, None, a.ip(), 10, patience).await? == Pong::Reply {
            return Ok(());
        }
    }
    bail!("nobody answers in the VRF")
}
