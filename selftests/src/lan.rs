// SPDX-License-Identifier: GPL-2.0
//! The network that most cases use: a host with a master, an external host on the wire behind it, and slaves in
//! namespaces of their own.
//!
//! ```text
//!   slaves 10.1.0.1x (L2) or 10.2.0.1x (L3)
//!      |
//!   m0 10.1.0.1 ----- the wire ----- e0 10.1.0.254
//!   host                             ext
//! ```
//! IPv6 alike with fd01:: and fd02::. A dummy master is joined to the wire by redirecting what it sends to a veth, and
//! what that veth receives to the dummy.

use crate::cx::{Cx, Family, Master};
use crate::frames::{self, Mac};
use crate::modules;
use crate::netns::Netns;
use crate::nl::{granted, Direction, Link, LinkSpec, VethEnd, Via};
use crate::packet::{Captured, Tap};
use crate::wait;
use anyhow::{Context, Result};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IFLA_IPVLAN_MODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    L2 = 0,
    L3 = 1,
    L3s = 2,
}

/// IFLA_IPVLAN_FLAGS.
pub const PRIVATE: u16 = 1;
pub const VEPA: u16 = 2;

/// The network.
pub struct Lan {
    pub cx: Cx,
    pub mode: Mode,
    pub host: Netns,
    pub ext: Netns,
    /// Index of m0 in the host.
    pub master: u32,
    pub mac: Mac,
    /// Index of e0 in the external host.
    pub wire: u32,
    pub wire_mac: Mac,
    slaves: Cell<u8>,
}

/// A slave that is up and has its addresses.
pub struct Slave {
    pub cx: Cx,
    pub ns: Netns,
    pub index: u32,
    pub name: String,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub mac: Mac,
}

pub const MASTER_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub const MASTER_V6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1);
pub const EXT_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);
pub const EXT_V6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0xfe);
/// In nobody's hands, on the same subnet.
pub const NOBODY_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 200);
pub const NOBODY_V6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0xc8);

impl Lan {
    /// A network whose slaves will be in `mode`, with an MTU of 1500.
    pub fn new(cx: Cx, mode: Mode) -> Result<Lan> {
        Self::with_mtu(cx, mode, 1500)
    }

    pub fn with_mtu(cx: Cx, mode: Mode, mtu: u32) -> Result<Lan> {
        Self::build(cx, mode, mtu, false)
    }

    /// A network whose wire ends at a switch that sends back what it has got (a bridge port in hairpin mode); the external
    /// host is the bridge itself.
    pub fn reflecting(cx: Cx, mode: Mode) -> Result<Lan> {
        Self::build(cx, mode, 1500, true)
    }

    fn build(cx: Cx, mode: Mode, mtu: u32, reflecting: bool) -> Result<Lan> {
        let (host, ext) = (cx.netns()?, cx.netns()?);
        let name = if cx.master == Master::Veth {
            "m0"
        } else {
            "w0"
        };
        let end = VethEnd {
            name: "e0".into(),
            ns: ext.fd(),
            mtu,
        };
        host.nl().add_link(&LinkSpec {
            mtu: Some(mtu),
            peer: Some(end),
            ..LinkSpec::new("veth", name)
        })?;
        if cx.master == Master::Dummy {
            // The same MAC on both, so that what arrives for the dummy is "to this host" on the veth.
            let w0 = host.nl().link("w0")?;
            host.nl().add_link(&LinkSpec {
                mtu: Some(mtu),
                address: Some(w0.mac),
                ..LinkSpec::new("dummy", "m0")
            })?;
            let m0 = host.nl().link("m0")?;
            // A dummy resolves no neighbours and joins no groups unless told to.
            granted(
                host.nl()
                    .set_link(m0.index, |l| l.arp(true).multicast(true))?,
            )?;
            for index in [w0.index, m0.index] {
                host.nl().add_clsact(index)?;
            }
            host.nl()
                .redirect(m0.index, Direction::Egress, w0.index, true)?;
            host.nl()
                .redirect(w0.index, Direction::Ingress, m0.index, false)?;
            // The veth is part of the wire: it must not answer for itself.
            if crate::netns::ipv6() {
                host.sysctl("ipv6/conf/w0/disable_ipv6", "1")?;
            }
            host.nl().up(w0.index)?;
        }
        let (m0, mut e0) = (host.nl().link("m0")?, ext.nl().link("e0")?);
        host.nl().up(m0.index)?;
        ext.nl().up(e0.index)?;
        if reflecting {
            e0 = hairpin(&ext, &e0)?;
        }
        let lan = Lan {
            cx,
            mode,
            host,
            ext,
            master: m0.index,
            mac: m0.mac,
            wire: e0.index,
            wire_mac: e0.mac,
            slaves: Cell::new(0),
        };
        if cx.family != Family::V6 {
            lan.host.nl().add_addr(lan.master, MASTER_V4, 24)?;
            lan.ext.nl().add_addr(lan.wire, EXT_V4, 24)?;
            lan.ext.nl().add_route(
                Ipv4Addr::new(10, 2, 0, 0).into(),
                24,
                Via::Gateway(MASTER_V4.into()),
            )?;
        }
        if cx.family != Family::V4 {
            lan.host.nl().add_addr(lan.master, MASTER_V6, 64)?;
            lan.ext.nl().add_addr(lan.wire, EXT_V6, 64)?;
            lan.ext.nl().add_route(
                Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0).into(),
                64,
                Via::Gateway(MASTER_V6.into()),
            )?;
        }
        Ok(lan)
    }

    /// The external host's address.
    pub fn ext_ip(&self) -> IpAddr {
        self.cx.pick(EXT_V4, EXT_V6)
    }

    /// The master's address.
    pub fn master_ip(&self) -> IpAddr {
        self.cx.pick(MASTER_V4, MASTER_V6)
    }

    pub fn nobody(&self) -> IpAddr {
        self.cx.pick(NOBODY_V4, NOBODY_V6)
    }

    /// What a slave of this network is created with.
    pub fn spec(&self, name: &str) -> LinkSpec {
        LinkSpec {
            link: Some(self.master),
            mode: Some(self.mode as u16),
            ..LinkSpec::new(self.cx.kind(), name)
        }
    }

    /// A slave in a namespace of its own, up, with its addresses.
    pub fn slave(&self) -> Result<Slave> {
        self.slave_with(|spec| spec)
    }

    /// Gives the next slaves the names and addresses of the first ones, which must be gone.
    pub fn begin_again(&self) {
        self.slaves.set(0);
    }

    /// As [`Lan::slave`], with changes to the request.
    pub fn slave_with(&self, change: impl FnOnce(LinkSpec) -> LinkSpec) -> Result<Slave> {
        self.slave_in(self.cx.netns()?, change)
    }

    /// As [`Lan::slave_with`], in a given namespace.
    pub fn slave_in(&self, ns: Netns, change: impl FnOnce(LinkSpec) -> LinkSpec) -> Result<Slave> {
        let slave = self.bare_in(ns, change)?;
        slave.ns.nl().up(slave.index)?;
        self.address(&slave)?;
        Ok(slave)
    }

    /// A slave without addresses that is down; its addresses are chosen but not added.
    pub fn bare(&self) -> Result<Slave> {
        self.bare_in(self.cx.netns()?, |spec| spec)
    }

    fn bare_in(&self, ns: Netns, change: impl FnOnce(LinkSpec) -> LinkSpec) -> Result<Slave> {
        let n = self.slaves.get() + 1;
        self.slaves.set(n);
        let name = format!("s{n}");
        let spec = change(LinkSpec {
            ns: Some(ns.fd()),
            ..self.spec(&name)
        });
        self.host.nl().add_link(&spec)?;
        let link = ns.nl().link(&name)?;
        let host = 10 + n;
        let (v4, v6) = match self.mode {
            Mode::L2 => ([10, 1, 0, host], 0xfd01),
            Mode::L3 | Mode::L3s => ([10, 2, 0, host], 0xfd02),
        };
        Ok(Slave {
            cx: self.cx,
            ns,
            index: link.index,
            name,
            v4: v4.into(),
            v6: Ipv6Addr::new(v6, 0, 0, 0, 0, 0, 0, host.into()),
            mac: link.mac,
        })
    }

    /// Adds a slave's addresses, and in L3 its default routes.
    pub fn address(&self, slave: &Slave) -> Result<()> {
        let nl = slave.ns.nl();
        let l3 = self.mode != Mode::L2;
        if self.cx.family != Family::V6 {
            nl.add_addr(slave.index, slave.v4, 24)?;
            if l3 {
                nl.add_route(Ipv4Addr::UNSPECIFIED.into(), 0, Via::Link(slave.index))?;
            }
        }
        if self.cx.family != Family::V4 {
            nl.add_addr(slave.index, slave.v6, 64)?;
            if l3 {
                nl.add_route(Ipv6Addr::UNSPECIFIED.into(), 0, Via::Link(slave.index))?;
            }
        }
        Ok(())
    }

    /// Gives a slave its IPv6 address back, which it lost by going down.
    pub fn address_again(&self, slave: &Slave) -> Result<()> {
        if self.cx.family == Family::V6 {
            slave.ns.nl().add_addr(slave.index, slave.v6, 64)?;
            if self.mode != Mode::L2 {
                slave
                    .ns
                    .nl()
                    .add_route(Ipv6Addr::UNSPECIFIED.into(), 0, Via::Link(slave.index))?;
            }
        }
        Ok(())
    }

    /// Changes the master's MAC, and that of the veth that carries a dummy's frames.
    pub fn set_master_mac(&self, mac: Mac) -> Result<()> {
        if self.cx.master == Master::Dummy {
            let w0 = self.host.nl().link("w0")?.index;
            granted(self.host.nl().try_set_mac(w0, mac)?)?;
        }
        granted(self.host.nl().try_set_mac(self.master, mac)?).context("the master's MAC")
    }

    /// The external host's end of the wire.
    pub fn wire_tap(&self) -> Result<Tap> {
        Tap::new(&self.ext, self.wire)
    }

    /// What a slave's tap has seen until now: the wire sends the slave, at `to`, a datagram, and all that came before
    /// that is given back, with it. `wire` is the tap that sent the rest, so that nothing overtakes.
    pub async fn until_fence(&self, wire: &Tap, tap: &Tap, to: IpAddr) -> Result<Vec<Captured>> {
        let (ports, fence) = ((5, 7), b"fence");
        wire.send(&frames::udp(
            self.wire_mac,
            self.mac,
            self.ext_ip(),
            to,
            ports,
            fence,
        ))?;
        tap.until("the fence", |f| frames::is_udp(&f.bytes, 7, fence))
            .await
    }

    /// A tap on the master.
    pub fn master_tap(&self) -> Result<Tap> {
        Tap::new(&self.host, self.master)
    }

    /// The master as the kernel sees it now.
    pub fn master_link(&self) -> Result<Link> {
        self.host.nl().link_at(self.master)
    }

    /// Waits until the whole wire has carrier.
    pub async fn settled(&self) -> Result<()> {
        wait::until("carrier on the wire", || {
            Ok(self.master_link()?.carrier && self.ext.nl().link_at(self.wire)?.carrier)
        })
        .await
    }
}

/// Puts a bridge on `port` that sends back what comes by it; returns the bridge.
fn hairpin(ns: &Netns, port: &Link) -> Result<Link> {
    modules::load("bridge")?;
    // The bridge speaks for itself, the port must not.
    ns.sysctl(&format!("ipv6/conf/{}/disable_ipv6", port.name), "1")?;
    // IFLA_BR_MCAST_SNOOPING of linux/if_link.h: groups go everywhere.
    ns.nl().add_link(&LinkSpec {
        data: vec![(23, vec![0])],
        ..LinkSpec::new("bridge", "br0")
    })?;
    let bridge = ns.nl().link("br0")?.index;
    granted(ns.nl().set_link(port.index, |l| l.controller(bridge))?)?;
    ns.nl().set_hairpin(port.index)?;
    ns.nl().up(bridge)?;
    ns.nl().link_at(bridge)
}

impl Slave {
    /// The slave's address of the case's family.
    pub fn ip(&self) -> IpAddr {
        self.cx.pick(self.v4, self.v6)
    }

    pub fn link(&self) -> Result<Link> {
        self.ns
            .nl()
            .link_at(self.index)
            .with_context(|| format!("slave {}", self.name))
    }

    /// Whether the link still exists.
    pub fn exists(&self) -> Result<bool> {
        Ok(self.ns.nl().find_link(&self.name)?.is_some())
    }

    pub fn tap(&self) -> Result<Tap> {
        Tap::new(&self.ns, self.index)
    }

    /// Sends a UDP datagram from the slave's stack; the error is the stack's.
    pub fn send_udp(&self, to: IpAddr, port: u16, payload: &[u8]) -> std::io::Result<()> {
        let any: IpAddr = if to.is_ipv4() {
            [0; 4].into()
        } else {
            [0u8; 16].into()
        };
        let socket = self
            .ns
            .enter(|| Ok(std::net::UdpSocket::bind((any, 0))?))
            .map_err(|e| std::io::Error::other(format!("{e:#}")))?;
        socket.send_to(payload, (to, port)).map(drop)
    }
}

/// Waits until every namespace dropped so far is gone. The kernel takes them down one batch after the other, so a veth
/// into a namespace that is dropped last disappears last. Twice: the first may end up in the batch that is waited for, and
/// its veth disappears before the batch is through.
pub async fn namespaces_gone() -> Result<()> {
    let init = Netns::init()?;
    for _ in 0..2 {
        let last = Netns::new()?;
        let end = VethEnd {
            name: "gone1".into(),
            ns: last.fd(),
            mtu: 1500,
        };
        init.nl().add_link(&LinkSpec {
            peer: Some(end),
            ..LinkSpec::new("veth", "gone0")
        })?;
        drop(last);
        wait::until("the namespaces are gone", || {
            Ok(init.nl().find_link("gone0")?.is_none())
        })
        .await?;
    }
    Ok(())
}
