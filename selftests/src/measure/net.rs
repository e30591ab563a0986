// SPDX-License-Identifier: GPL-2.0
//! The networks to be measured: a master in one namespace, its slaves in another, and pairs.

use crate::frames::Mac;
use crate::netns::Netns;
use crate::nl::{granted, AddrSpec, Direction, Link, LinkSpec, VethEnd, Via};
use anyhow::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The master alone.
    Bare,
    /// The master alone, entered through dev_queue_xmit(), which the kinds above it go through too.
    BareQueue,
    Ipvlan,
    IpvlanRs,
    Macvlan,
    Veth,
    Netkit,
    /// Devices without a master, for what the core does with links and addresses.
    Dummy,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Bare => "bare",
            Peer::BareQueue => "bare-queue",
            Peer::Ipvlan => "ipvlan",
            Peer::IpvlanRs => "ipvlan_rs",
            Peer::Macvlan => "macvlan",
            Peer::Veth => "veth",
            Peer::Netkit => "netkit",
            Peer::Dummy => "dummy",
        }
    }

    /// The kinds whose two ends may be in two namespaces; a macvlan has no modes.
    pub fn paired(mode: u16) -> Vec<Peer> {
        let mut peers = vec![Peer::Veth, Peer::Netkit, Peer::Ipvlan, Peer::IpvlanRs];
        if mode == L2 {
            peers.push(Peer::Macvlan);
        }
        peers
    }

    pub fn is_ipvlan(self) -> bool {
        matches!(self, Peer::Ipvlan | Peer::IpvlanRs)
    }
}

pub const L2: u16 = 0;
pub const L3: u16 = 1;
pub const L3S: u16 = 2;

/// IFLA_MACVLAN_MODE, and MACVLAN_MODE_BRIDGE.
const MACVLAN_BRIDGE: (u16, u32) = (1, 4);

/// A dummy as master in its own namespace, with routes to the outside, and the namespace for slaves.
pub struct Net {
    pub peer: Peer,
    pub mode: u16,
    pub host: Netns,
    pub inside: Netns,
    pub master: Link,
    pub slaves: Vec<Link>,
    /// Where the other end of a wired master is, and its index.
    pub cable: Option<(Netns, u32)>,
}

/// Where "outside" is: behind a gateway, so that many destinations need one neighbour.
pub fn outside(six: bool, n: u32) -> IpAddr {
    nth(
        if six {
            "fd09::".parse().unwrap()
        } else {
            [10, 9, 0, 0].into()
        },
        n,
    )
}

/// The address of the `n`th address of all slaves.
pub fn inside(six: bool, n: u32) -> IpAddr {
    nth(
        if six {
            "fd40::".parse().unwrap()
        } else {
            [10, 64, 0, 0].into()
        },
        n + 1,
    )
}

fn nth(base: IpAddr, n: u32) -> IpAddr {
    match base {
        IpAddr::V4(a) => Ipv4Addr::from(u32::from(a).saturating_add(n)).into(),
        IpAddr::V6(a) => Ipv6Addr::from(u128::from(a).saturating_add(n.into())).into(),
    }
}

impl Net {
    /// A dummy as master, up, and no slaves. Without `six`, nothing speaks IPv6 by itself.
    pub fn new(peer: Peer, mode: u16, six: bool) -> Result<Net> {
        Self::with(peer, mode, six, None)
    }

    /// As above, the master being one end of a veth.
    pub fn wired(peer: Peer, mode: u16, six: bool) -> Result<Net> {
        Self::with(peer, mode, six, Some(Netns::new()?))
    }

    fn with(peer: Peer, mode: u16, six: bool, outside: Option<Netns>) -> Result<Net> {
        let (host, inside) = (Netns::new()?, Netns::new()?);
        for ns in [&host, &inside] {
            if !six {
                ns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
            }
            // Slaves of one namespace do not answer for each other.
            ns.sysctl("ipv4/conf/all/arp_ignore", "1")?;
        }
        let nl = host.nl();
        let mut cable = None;
        match outside {
            None => nl.add_link(&LinkSpec::new("dummy", "m0"))?,
            Some(ns) => {
                // The end of the cable answers nothing by itself.
                ns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
                nl.add_link(&LinkSpec {
                    peer: Some(VethEnd {
                        name: "w0".into(),
                        ns: ns.fd(),
                        mtu: 1500,
                    }),
                    ..LinkSpec::new("veth", "m0")
                })?;
                let index = ns.nl().link("w0")?.index;
                ns.nl().up(index)?;
                cable = Some((ns, index));
            }
        }
        let master = nl.link("m0")?;
        nl.up(master.index)?;
        nl.add_addr(master.index, Ipv4Addr::new(10, 1, 0, 1), 24)?;
        nl.add_route(
            [10, 9, 0, 0].into(),
            16,
            Via::Gateway([10, 1, 0, 254].into()),
        )?;
        if six {
            nl.add_addr(master.index, "fd01::1".parse::<Ipv6Addr>()?, 64)?;
            nl.add_route("fd09::".parse()?, 64, Via::Gateway("fd01::fe".parse()?))?;
        }
        let master = nl.link("m0")?;
        Ok(Net {
            peer,
            mode,
            host,
            inside,
            master,
            slaves: Vec::new(),
            cable,
        })
    }

    /// One more slave, down and without addresses, among the others or in `ns`.
    pub fn create(&self, ns: &Netns, name: &str) -> Result<()> {
        let data = match self.peer {
            Peer::Macvlan => vec![(MACVLAN_BRIDGE.0, MACVLAN_BRIDGE.1.to_ne_bytes().to_vec())],
            _ => Vec::new(),
        };
        let alone = self.peer == Peer::Dummy;
        self.host.nl().add_link(&LinkSpec {
            link: (!alone).then_some(self.master.index),
            mode: self.peer.is_ipvlan().then_some(self.mode),
            ns: Some(ns.fd()),
            data,
            ..LinkSpec::new(self.peer.name(), name)
        })
    }

    /// Creates a slave among the others, up.
    pub fn grow(&mut self) -> Result<()> {
        let name = format!("s{}", self.slaves.len());
        self.create(&self.inside, &name)?;
        let index = self.inside.nl().link(&name)?.index;
        self.inside.nl().up(index)?;
        self.slaves.push(self.inside.nl().link_at(index)?);
        Ok(())
    }

    /// The `n`th address of all goes to the slaves in turn.
    pub fn address(&self, n: u32) -> Result<()> {
        let slave = &self.slaves[n as usize % self.slaves.len()];
        let spec = AddrSpec::new(slave.index, inside(false, n), 32);
        granted(self.inside.nl().try_add_addr(&spec)?)
    }

    /// Whatever reaches slaves ends there, before the stack.
    pub fn cut(&self) -> Result<()> {
        self.slaves.iter().try_for_each(|s| cut(&self.inside, s))
    }
}

/// Whatever is received on the link is dropped at its ingress.
pub fn cut(ns: &Netns, link: &Link) -> Result<()> {
    ns.nl().add_clsact(link.index)?;
    ns.nl().drop_all(link.index, Direction::Ingress)
}

/// Two ends in two namespaces.
pub struct Pair {
    pub a: (Netns, Link),
    pub b: (Netns, Link),
    /// What sends to `b` puts there.
    pub to: Mac,
    /// Keeps the master.
    _net: Net,
}

impl Pair {
    /// With the second's ingress cut, or with all that sockets need to speak with each other.
    pub fn new(peer: Peer, mode: u16, severed: bool) -> Result<Pair> {
        let net = Net::new(peer, mode, true)?;
        let (a, b) = (net.inside.clone(), Netns::new()?);
        // The sender's IPv6 reports its groups when it likes, to the other end too: a packet that nobody fired.
        a.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        match peer {
            Peer::Veth | Peer::Netkit => {
                let nl = a.nl();
                nl.add_link(&LinkSpec::new(peer.name(), "a"))?;
                let other = nl
                    .links(false)?
                    .into_iter()
                    .find(|l| {
                        l.name != "a" && l.name != "lo" && l.kind.as_deref() == Some(peer.name())
                    })
                    .ok_or_else(|| anyhow::anyhow!("no second end of {}", peer.name()))?;
                granted(nl.set_link(other.index, |l| l.name("b").setns_by_fd(b.fd()))?)?;
            }
            _ => {
                net.create(&a, "a")?;
                net.create(&b, "b")?;
            }
        }
        for (ns, name) in [(&a, "a"), (&b, "b")] {
            ns.nl().up(ns.nl().link(name)?.index)?;
        }
        let (la, lb) = (a.nl().link("a")?, b.nl().link("b")?);
        b.nl().add_addr(lb.index, inside(false, 1), 32)?;
        b.nl().add_addr(lb.index, inside(true, 1), 128)?;
        if severed {
            cut(&b, &lb)?;
        } else {
            a.nl().add_addr(la.index, inside(false, 0), 32)?;
            for (ns, link, other, ip) in [(&a, &la, &lb, 1), (&b, &lb, &la, 0)] {
                let ip = inside(false, ip);
                ns.nl().add_route(ip, 32, Via::Link(link.index))?;
                // Found once and for all: no request of its own comes between.
                ns.nl().add_neigh(link.index, ip, other.mac)?;
            }
        }
        Ok(Pair {
            to: lb.mac,
            a: (a, la),
            b: (b, lb),
            _net: net,
        })
    }
}

/// Packets that all links of a namespace have received, or sent.
pub fn counted(ns: &Netns, sent: bool) -> Result<u64> {
    let links = ns.nl().links(false)?;
    Ok(links
        .iter()
        .filter(|l| l.name != "lo")
        .map(|l| {
            if sent {
                l.stats.tx_packets
            } else {
                l.stats.rx_packets
            }
        })
        .sum())
}
