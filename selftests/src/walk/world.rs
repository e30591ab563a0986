// SPDX-License-Identifier: GPL-2.0
//! A world: a network of one kind, with namespaces that slaves and the master move between, and ears everywhere.

use super::step::{space_name, Ip, EXTERNAL, FIRST_TENANT, MASTER, SPACES};
use super::view::{LinkView, View, Who};
use crate::cx::{Cx, Family, Kind, Master};
use crate::frames::Mac;
use crate::kmsg;
use crate::lan::{Lan, Mode};
use crate::netns::Netns;
use crate::nl::{granted, Link, LinkSpec, VethEnd};
use crate::packet::{set, Tap};
use crate::wait;
use anyhow::{Context, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::mem::size_of;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// The same in every world, so that addresses made from it are.
pub const WIRE_MAC: Mac = [2, 0, 0, 0, 0xee, 1];
/// Where the probes' datagrams go.
pub const PORT: u16 = 4242;

pub fn mac(n: u8) -> Mac {
    [2, 0, 0, 0, 0xaa, n]
}

/// A namespace with what listens in it. Dropping it ends the namespace.
pub struct Space {
    pub ns: Netns,
    pub tap: Tap,
    pub stack: Vec<Tap>,
    pub udp: UdpSocket,
    groups: RefCell<File>,
    /// One end of a veth whose other end disappears together with the namespace's links.
    canary: Option<String>,
}

impl Space {
    fn new(kind: Kind, ns: Netns, canary: Option<String>) -> Result<Space> {
        if let Some(name) = &canary {
            let end = VethEnd {
                name: "canary".into(),
                ns: ns.fd(),
                mtu: 1500,
            };
            Netns::init()?.nl().add_link(&LinkSpec {
                peer: Some(end),
                ..LinkSpec::new("veth", name)
            })?;
        }
        let (udp, groups) = ns.enter(|| {
            let socket = UdpSocket::bind(("::", PORT))?;
            socket.set_nonblocking(true)?;
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            Ok((socket, File::open("/proc/thread-self/net/dev_mcast")?))
        })?;
        if kind == Kind::Ipvlan {
            kmsg::expect_loops(cookie(&udp)?);
        }
        Ok(Space {
            tap: Tap::everywhere(&ns)?,
            stack: [libc::ETH_P_IP, libc::ETH_P_IPV6, libc::ETH_P_ARP]
                .into_iter()
                .map(|protocol| Tap::at_the_stack(&ns, protocol))
                .collect::<Result<_>>()?,
            ns,
            udp,
            groups: RefCell::new(groups),
            canary,
        })
    }

    fn tenant(kind: Kind) -> Result<Space> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("walk{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Space::new(kind, Netns::new()?, Some(name))
    }

    /// Index and address of each multicast address of each link.
    fn groups(&self) -> Result<Vec<(u32, Mac)>> {
        let mut file = self.groups.borrow_mut();
        file.rewind()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let index = words.next()?.parse().ok()?;
                let hex = words.nth(3)?;
                let mut mac = [0; 6];
                for (i, byte) in mac.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()?;
                }
                Some((index, mac))
            })
            .collect())
    }
}

/// SO_NETNS_COOKIE: the number by which the kernel's log names a namespace.
fn cookie(socket: &UdpSocket) -> Result<u64> {
    const SO_NETNS_COOKIE: i32 = 71;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the value is as long as told.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    nix::Error::result(rc).context("SO_NETNS_COOKIE")?;
    Ok(cookie)
}

pub struct World {
    pub lan: Lan,
    pub spaces: Vec<Space>,
    pub wire: Tap,
    /// Where the master is.
    pub home: u8,
    pub master: u32,
    /// Namespace and index of each slave.
    pub slaves: BTreeMap<u8, (u8, u32)>,
    /// Memberships, by slot and group.
    pub members: BTreeMap<(u8, u8), UdpSocket>,
}

impl World {
    pub fn new(kind: Kind, sort: Master) -> Result<World> {
        let cx = Cx {
            kind,
            master: sort,
            family: Family::Any,
        };
        let lan = Lan::with_mtu(cx, Mode::L2, 1500)?;
        let mut spaces = vec![Space::new(kind, lan.host.clone(), None)?];
        for space in 1..SPACES {
            spaces.push(if space < FIRST_TENANT {
                Space::new(kind, Netns::new()?, None)?
            } else {
                Space::tenant(kind)?
            });
        }
        lan.host.nl().down(lan.master)?;
        lan.set_master_mac(mac(0))?;
        granted(lan.ext.nl().try_set_mac(lan.wire, WIRE_MAC)?)?;
        let wire = lan.wire_tap()?;
        let world = World {
            home: 0,
            master: lan.master,
            spaces,
            wire,
            slaves: BTreeMap::new(),
            members: BTreeMap::new(),
            lan,
        };
        world.master_up()?;
        Ok(world)
    }

    pub fn kind(&self) -> Kind {
        self.lan.cx.kind
    }

    pub fn home(&self) -> &Space {
        &self.spaces[usize::from(self.home)]
    }

    pub fn space(&self, space: u8) -> &Space {
        &self.spaces[usize::from(space)]
    }

    /// Brings the master up and gives it what it lost by having been down: its IPv6 address, and the external host's
    /// link-layer address, which nobody is to ask for.
    pub fn master_up(&self) -> Result<()> {
        let nl = self.home().ns.nl();
        nl.up(self.master)?;
        for v6 in [false, true] {
            let own = Ip { v6, host: MASTER };
            let prefix = if v6 { 64 } else { 24 };
            if !nl.addrs(self.master)?.iter().any(|a| a.ip == own.addr()) {
                let spec = crate::nl::AddrSpec::new(self.master, own.addr(), prefix);
                granted(nl.try_add_addr(&spec)?)?;
            }
            let outside = Ip { v6, host: EXTERNAL };
            nl.add_neigh(self.master, outside.addr(), WIRE_MAC)?;
        }
        Ok(())
    }

    /// Ends a tenant's namespace and makes a new one, once its links are gone.
    pub async fn renew(&mut self, space: u8) -> Result<()> {
        let slaves = &self.slaves;
        self.members
            .retain(|(slot, _), _| slaves.get(slot).is_none_or(|(at, _)| *at != space));
        let new = Space::tenant(self.kind())?;
        let old = std::mem::replace(&mut self.spaces[usize::from(space)], new);
        let canary = old.canary.clone().context("only tenants' namespaces end")?;
        drop(old);
        let init = Netns::init()?;
        wait::until("the namespace's links are gone", || {
            Ok(init.nl().find_link(&canary)?.is_none())
        })
        .await
    }

    /// Reads everything, and notes where the links are.
    pub fn view(&mut self) -> Result<View> {
        let mut view = View::default();
        self.slaves.clear();
        for (space, inside) in (0..SPACES).zip(&self.spaces) {
            let nl = inside.ns.nl();
            let mut places = BTreeMap::new();
            for link in nl
                .links(false)
                .with_context(|| format!("dump in {}", space_name(space)))?
            {
                let slot = link.name.strip_prefix('s').and_then(|n| n.parse().ok());
                let seen = LinkView {
                    space,
                    flags: link.flags,
                    mtu: link.mtu,
                    min_mtu: link.min_mtu,
                    max_mtu: link.max_mtu,
                    mac: link.mac,
                    mode: link.mode,
                    port_flags: link.port_flags,
                    operstate: format!("{:?}", link.operstate),
                    carrier: link.carrier,
                    promiscuity: link.promiscuity,
                    allmulti: link.allmulti,
                    others: others(&link),
                    on_master: link.link == Some(self.master),
                    elsewhere: link.link_netnsid.is_some(),
                    ..LinkView::default()
                };
                match slot {
                    Some(slot) => {
                        self.slaves.insert(slot, (space, link.index));
                        view.slaves.insert(slot, seen);
                        places.insert(link.index, Who::Slave(slot));
                    }
                    None if link.name == "m0" => {
                        (self.home, self.master) = (space, link.index);
                        // What it lies on is not the drivers' business.
                        view.master = LinkView {
                            on_master: false,
                            elsewhere: false,
                            ..seen
                        };
                        places.insert(link.index, Who::Master);
                    }
                    None => {}
                }
            }
            for addr in nl.addrs(0)? {
                if let Some(link) = view.link_mut(places.get(&addr.index)) {
                    link.addrs.insert((addr.ip, addr.prefix));
                }
            }
            for (index, mac) in inside.groups()? {
                if let Some(link) = view.link_mut(places.get(&index)) {
                    link.groups.insert(mac);
                }
            }
        }
        Ok(view)
    }

    /// Which link an index means in a namespace.
    pub fn who(&self, space: u8, index: u32) -> Who {
        if (space, index) == (self.home, self.master) {
            return Who::Master;
        }
        self.slaves
            .iter()
            .find(|(_, at)| **at == (space, index))
            .map_or(Who::Other, |(slot, _)| Who::Slave(*slot))
    }
}

/// What a link's dump says besides the attributes that are compared one by one.
fn others(link: &Link) -> Vec<String> {
    let mut all = link.others.clone();
    all.push(format!(
        "{} {} {} {} {} {}",
        link.tso_max_size,
        link.gso_max_size,
        link.gso_ipv4_max_size,
        link.tx_queues,
        link.rx_queues,
        link.qdisc
    ));
    all
}
