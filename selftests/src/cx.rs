// SPDX-License-Identifier: GPL-2.0
//! What a case is told: the link kind, the sort of master and the address family; and what it may ask: whether a
//! documented difference between the kinds applies.

use crate::netns::{self, Netns};
use crate::nl::Answer;
use anyhow::{bail, ensure, Result};
use futures_util::future::LocalBoxFuture;
use std::fmt;
use std::net::IpAddr;

/// The link kind under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The kernel's own driver.
    Ipvlan,
    /// This project's.
    IpvlanRs,
}

impl Kind {
    /// The rtnl kind, which is the module's name too.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ipvlan => "ipvlan",
            Kind::IpvlanRs => "ipvlan_rs",
        }
    }

    pub fn from_name(name: &str) -> Result<Kind> {
        match name {
            "ipvlan" => Ok(Kind::Ipvlan),
            "ipvlan_rs" => Ok(Kind::IpvlanRs),
            _ => bail!("unknown link kind {name}"),
        }
    }

    /// The other kind.
    pub fn other(self) -> Kind {
        match self {
            Kind::Ipvlan => Kind::IpvlanRs,
            Kind::IpvlanRs => Kind::Ipvlan,
        }
    }
}

/// The sort of master. Both have an external host behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// One end of a veth; the other is the external host's.
    Veth,
    /// A dummy, whose instance lock the kernel's core holds around its operations; traffic control joins it to a veth.
    Dummy,
}

/// The address family of a case's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    /// The case is about neither, or about both.
    Any,
}

/// A documented difference between the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(dead_code)]
pub enum Decision {
    /// A sibling created without a mode leaves the port's mode alone.
    D1,
    /// Private and vepa cover broadcast, multicast and ARP too.
    D2,
    /// IPv4 addresses count by their local part, once per slave.
    D3,
    /// The master's own addresses cannot be taken.
    D4,
    /// A slave's MTU is bounded by the master's, and changes are announced.
    D5,
    /// allmulticast on the master goes with the slave that asked for it.
    D6,
    /// Local delivery counts the same bytes on both sides; failures count on the slave.
    D7,
    /// An address given at creation is ignored with a warning.
    D8,
    /// In L3, ARP and address probes for a slave's address pass to the master.
    D9,
    /// L3 sends ICMP errors for packets over the path MTU.
    D10,
    /// Transmit recursion is bounded by the driver.
    D11,
    /// Header pulls count from the network header.
    D12,
    /// Multicast: filtered before the queue, few listeners served inline, queue bounded in bytes.
    D13,
    /// Adding an address does not take longer the more there are.
    D14,
    /// Deleting live slaves when the module goes is logged.
    D15,
    /// Every refusal has a text.
    D16,
    /// ARP requests and solicitations go to those whom they concern.
    D17,
}

/// What one run of a case is about.
#[derive(Clone, Copy, Debug)]
pub struct Cx {
    pub kind: Kind,
    pub master: Master,
    pub family: Family,
}

impl Cx {
    /// Whether the kind under test follows this decision instead of the in-tree behaviour. All of them are in force; the
    /// name says which one a case depends on.
    pub fn decision(&self, _which: Decision) -> bool {
        self.kind == Kind::IpvlanRs
    }

    /// The rtnl kind.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// A namespace for this case; in an IPv4 case nothing speaks IPv6.
    pub fn netns(&self) -> Result<Netns> {
        let ns = Netns::new()?;
        if self.family == Family::V4 && netns::ipv6() {
            ns.enter(|| {
                std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")?;
                Ok(std::fs::write(
                    "/proc/sys/net/ipv6/conf/default/disable_ipv6",
                    "1",
                )?)
            })?;
        }
        Ok(ns)
    }

    /// The address of the case's family (IPv4 when it has none).
    pub fn pick(&self, v4: impl Into<IpAddr>, v6: impl Into<IpAddr>) -> IpAddr {
        match self.family {
            Family::V6 => v6.into(),
            _ => v4.into(),
        }
    }

    /// The unspecified address of the case's family: with a prefix of no length, everything.
    pub fn any(&self) -> IpAddr {
        self.pick([0; 4], [0u8; 16])
    }

    /// Whether addresses are IPv6's.
    pub fn is_v6(&self) -> bool {
        self.any().is_ipv6()
    }

    /// The prefix length of this network's links.
    pub fn link_prefix(&self) -> u8 {
        if self.is_v6() {
            64
        } else {
            24
        }
    }

    /// A whole-address prefix length of the case's family.
    pub fn host_prefix(&self) -> u8 {
        match self.family {
            Family::V6 => 128,
            _ => 32,
        }
    }

    /// The request must have been refused with `errno`. By D16 `ipvlan_rs` also has to say why, with `word` in it.
    pub fn refused(&self, answer: Answer, errno: i32, word: &str) -> Result<()> {
        match answer {
            Ok(_) => bail!("accepted, although errno {errno} was due"),
            Err(refusal) => {
                ensure!(
                    refusal.errno == errno,
                    "refused with {refusal}, although errno {errno} was due"
                );
                if self.decision(Decision::D16) {
                    ensure!(
                        refusal.text.to_lowercase().contains(&word.to_lowercase()),
                        "the refusal's text {:?} does not say {word:?}",
                        refusal.text
                    );
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let master = match self.master {
            Master::Veth => "veth",
            Master::Dummy => "dummy",
        };
        write!(f, "{master}")?;
        match self.family {
            Family::V4 => write!(f, "/v4"),
            Family::V6 => write!(f, "/v6"),
            Family::Any => Ok(()),
        }
    }
}

/// On which masters a case runs.
pub const EACH: &[Master] = &[Master::Veth, Master::Dummy];
pub const VETH: &[Master] = &[Master::Veth];
/// In which families.
pub const V46: &[Family] = &[Family::V4, Family::V6];
pub const V4: &[Family] = &[Family::V4];
pub const V6: &[Family] = &[Family::V6];
pub const ANY: &[Family] = &[Family::Any];

/// When a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// With both modules loaded, on both kinds.
    Both,
    /// On `ipvlan_rs` alone, in a kernel without IPv6, where nothing else runs but what is about IPv4.
    Bare,
    /// On `ipvlan_rs` alone, in a debug kernel, and only if asked for: proofs that take their time.
    Debug,
    /// On `ipvlan_rs` alone, while the in-tree module, whose open bugs could fail the run, is not loaded.
    Own,
}

/// A case: one behaviour, written once for both kinds.
pub struct Case {
    /// topic.name
    pub name: &'static str,
    pub suite: Suite,
    pub masters: &'static [Master],
    pub families: &'static [Family],
    /// Seconds.
    pub limit: u64,
    pub run: fn(Cx) -> LocalBoxFuture<'static, Result<()>>,
}

/// Lists the cases of a topic: `cases! { "topic", Suite::Both; name: MASTERS, FAMILIES; ... }`.
#[macro_export]
macro_rules! cases {
    ($topic:literal, $suite:expr; $($name:ident: $masters:expr, $families:expr $(, $limit:literal)?;)*) => {
        pub const CASES: &[$crate::cx::Case] = &[$($crate::cx::Case {
            name: concat!($topic, ".", stringify!($name)),
            suite: $suite,
            masters: $masters,
            families: $families,
            limit: $crate::cases!(@limit $($limit)?),
            run: |cx| Box::pin($name(cx)),
        }),*];
    };
    (@limit) => { 60 };
    (@limit $limit:literal) => { $limit };
}

/// A case that does not want to run here says so with this error.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}
