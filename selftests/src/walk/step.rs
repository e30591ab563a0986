// SPDX-License-Identifier: GPL-2.0
//! What one step of the walk is: an operation, then probes. Steps name links by slot and namespaces by number, never by
//! index, so that any part of a walk can be replayed in a fresh world; one that meets nothing to act on does nothing.

use std::fmt;
use std::net::IpAddr;

/// Slaves are called s0, s1, ... More than eight running ones make ipvlan_rs use its queue.
pub const SLOTS: u8 = 10;
/// Namespaces: where the master begins, one that it can move to, and those of tenants, which come and go.
pub const SPACES: u8 = 5;
pub const FIRST_TENANT: u8 = 2;

/// The modes that are walked.
pub const MODES: &[u16] = &[0, 1, 2];

/// Host numbers within 10.1.0.0/24 and fd01::/64.
pub const MASTER: u8 = 1;
pub const EXTERNAL: u8 = 254;
pub const NOBODY: u8 = 200;

/// An address of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ip {
    pub v6: bool,
    pub host: u8,
}

impl Ip {
    pub fn addr(self) -> IpAddr {
        if self.v6 {
            [0xfd01, 0, 0, 0, 0, 0, 0, u16::from(self.host)].into()
        } else {
            [10, 1, 0, self.host].into()
        }
    }
}

/// What a new slave is to lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Master,
    /// A slave: the new one becomes its sibling.
    Slave(u8),
    Loopback,
    /// An index that no device has.
    Nothing,
    /// No IFLA_LINK.
    Unsaid,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Create {
        slot: u8,
        on: On,
        space: u8,
        mode: Option<u16>,
        flags: Option<u16>,
        mtu: Option<u32>,
        mac: Option<u8>,
        up: bool,
    },
    /// A second link with the name of one that exists, in its namespace.
    CreateAgain(u8),
    Delete(u8),
    Up(u8),
    Down(u8),
    Change {
        slot: u8,
        mode: Option<u16>,
        flags: Option<u16>,
    },
    /// The mode in one byte instead of two.
    ChangeShort(u8),
    AddAddr {
        slot: u8,
        ip: Ip,
        prefix: u8,
    },
    DelAddr {
        slot: u8,
        ip: Ip,
        prefix: u8,
    },
    /// Adds a point-to-point address, asks who receives for which end, and deletes it.
    Peer {
        slot: u8,
        local: u8,
        peer: u8,
    },
    Mtu(u8, u32),
    Mac(u8, u8),
    AllMulti(u8, bool),
    Promisc(u8, bool),
    Join(u8, u8),
    Leave(u8, u8),
    Move(u8, u8),
    MasterUp,
    MasterDown,
    MasterAddr(Ip, bool),
    MasterMtu(u32),
    MasterMac(u8),
    MasterAllMulti(bool),
    MasterMove(u8),
    /// The master is deleted; a new network follows.
    MasterGone,
    Carrier(bool),
    DropSpace(u8),
}

/// Who sends a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Slave(u8),
    Wire,
}

/// The Ethernet destination of a unicast probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Master,
    Wire,
    Nobody,
}

/// What a probe is. `own` says that the Ethernet source is the master's, which is what slaves use; from the wire it looks
/// as if a switch had reflected the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Udp { src: Ip, dst: Ip, to: To },
    Broadcast { src: u8 },
    Group { src: Ip, group: u8 },
    ArpRequest { sender: u8, target: u8 },
    ArpReply { sender: u8, target: u8 },
    Solicit { src: u8, target: u8 },
    Dad { target: u8 },
}

/// A frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub from: From,
    pub own: bool,
    pub shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    pub probes: Vec<Probe>,
}

/// The groups that slaves join and probes go to.
pub fn group(v6: bool, n: u8) -> IpAddr {
    if v6 {
        [0xff05, 0, 0, 0, 0, 0, 0x0102, u16::from(n)].into()
    } else {
        [239, 1, 2, n].into()
    }
}

pub fn space_name(space: u8) -> String {
    match space {
        0 => "host".into(),
        1 => "host2".into(),
        n => format!("tenant{}", n - FIRST_TENANT),
    }
}

fn given<T: fmt::Display>(f: &mut fmt::Formatter<'_>, key: &str, value: &Option<T>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {key} {value}"),
        None => Ok(()),
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr().fmt(f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on: bool| if on { "on" } else { "off" };
        match self {
            Op::Create {
                slot,
                on,
                space,
                mode,
                flags,
                mtu,
                mac,
                up,
            } => {
                write!(f, "add s{slot}")?;
                match on {
                    On::Master => write!(f, " link m0")?,
                    On::Slave(other) => write!(f, " link s{other}")?,
                    On::Loopback => write!(f, " link lo")?,
                    On::Nothing => write!(f, " link 999999")?,
                    On::Unsaid => {}
                }
                write!(f, " netns {}", space_name(*space))?;
                given(f, "mode", mode)?;
                given(f, "flags", flags)?;
                given(f, "mtu", mtu)?;
                given(f, "mac", mac)?;
                f.write_str(if *up { " up" } else { "" })
            }
            Op::CreateAgain(slot) => write!(f, "add s{slot} link m0, which exists"),
            Op::Delete(slot) => write!(f, "del s{slot}"),
            Op::Up(slot) => write!(f, "set s{slot} up"),
            Op::Down(slot) => write!(f, "set s{slot} down"),
            Op::Change { slot, mode, flags } => {
                write!(f, "set s{slot} type")?;
                given(f, "mode", mode)?;
                given(f, "flags", flags)
            }
            Op::ChangeShort(slot) => write!(f, "set s{slot} type, with a mode of one byte"),
            Op::AddAddr { slot, ip, prefix } => write!(f, "addr add {ip}/{prefix} dev s{slot}"),
            Op::DelAddr { slot, ip, prefix } => write!(f, "addr del {ip}/{prefix} dev s{slot}"),
            Op::Peer { slot, local, peer } => write!(
                f,
                "addr add 10.1.0.{local} peer 10.1.0.{peer} dev s{slot}, and del"
            ),
            Op::Mtu(slot, mtu) => write!(f, "set s{slot} mtu {mtu}"),
            Op::Mac(slot, mac) => write!(f, "set s{slot} address {mac}"),
            Op::AllMulti(slot, x) => write!(f, "set s{slot} allmulticast {}", on(*x)),
            Op::Promisc(slot, x) => write!(f, "set s{slot} promisc {}", on(*x)),
            Op::Join(slot, group) => write!(f, "s{slot} joins group {group}"),
            Op::Leave(slot, group) => write!(f, "s{slot} leaves group {group}"),
            Op::Move(slot, space) => write!(f, "set s{slot} netns {}", space_name(*space)),
            Op::MasterUp => write!(f, "set m0 up"),
            Op::MasterDown => write!(f, "set m0 down"),
            Op::MasterAddr(ip, true) => write!(f, "addr add {ip} dev m0"),
            Op::MasterAddr(ip, false) => write!(f, "addr del {ip} dev m0"),
            Op::MasterMtu(mtu) => write!(f, "set m0 mtu {mtu}"),
            Op::MasterMac(mac) => write!(f, "set m0 address {mac}"),
            Op::MasterAllMulti(x) => write!(f, "set m0 allmulticast {}", on(*x)),
            Op::MasterMove(space) => write!(f, "set m0 netns {}, up", space_name(*space)),
            Op::MasterGone => write!(f, "del m0"),
            Op::Carrier(x) => write!(f, "set e0 {}", if *x { "up" } else { "down" }),
            Op::DropSpace(space) => write!(f, "netns del {}", space_name(*space)),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            From::Slave(slot) => write!(f, "s{slot}")?,
            From::Wire => write!(f, "wire")?,
        }
        write!(f, " sends {:?}", self.shape)?;
        f.write_str(match (self.from, self.own) {
            (From::Slave(_), true) | (From::Wire, false) => "",
            (From::Slave(_), false) => " with a foreign source MAC",
            (From::Wire, true) => " with the master's MAC",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        for probe in &self.probes {
            write!(f, "; {probe}")?;
        }
        Ok(())
    }
}
