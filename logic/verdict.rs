// SPDX-License-Identifier: GPL-2.0

//! Decides what becomes of a packet; carrying it out is the caller's part.
//!
//! The rules are those of in-tree ipvlan (drivers/net/ipvlan/ipvlan_core.c), save that L3 leaves ARP
//! and duplicate address detection to the master: in-tree hands them to a slave that ignores them,
//! and then nobody can answer for it. Which slaves get a copy of a group frame is decided in
//! [`audience`](super::audience), for those that are distributed later at that time.

#![forbid(unsafe_code)]

use super::addr::Addr;
use super::config::{Isolation, Mode, Packed, Settings};
use super::frame::Packet;

/// What there is to know about a packet.
///
/// Each is asked only when the decision depends on it, so the common path does not pay for the
/// others.
pub trait Facts {
    /// Names a slave for as long as the decision takes; e.g. a reference under RCU.
    type Slave: Copy + PartialEq;

    /// The Ethernet destination is a group (multicast or broadcast).
    fn group_dest(&self) -> bool;

    /// Received only: a copy of what this host itself sent (`PACKET_LOOPBACK`).
    fn loopback(&self) -> bool;

    /// The Ethernet source is the master's address, which all slaves share.
    fn own_source(&self) -> bool;

    /// Sent only: the Ethernet destination equals the source, as between two users of the master's
    /// address.
    fn own_dest(&self) -> bool;

    /// Parses the packet, pulling as [`parse`](super::frame::parse) asks. Asked at most once.
    fn packet(&mut self) -> Inner;

    /// [`plain`](super::frame::plain) of the packet.
    fn plain(&self) -> Option<Addr>;

    /// The running slave that owns `addr`.
    fn lookup(&self, addr: Addr) -> Option<Self::Slave>;
}

/// What is inside a frame, once all needed bytes are linear.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inner {
    /// A packet that can be steered.
    Packet(Packet),
    /// Truncated or malformed.
    Invalid,
    /// Neither IP nor ARP.
    Foreign,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict<S> {
    /// Received: the master's stack gets it, and nobody else.
    Pass,
    /// The slave gets it, and nobody else.
    Deliver(S),
    /// Received: the master's stack gets it now, and the slaves that [`audience`](super::audience)
    /// names a copy.
    FloodAndPass,
    /// Sent: the siblings that [`audience`](super::audience) names get a copy, the wire the original.
    Flood,
    /// Sent: the master's stack receives it.
    ToMaster,
    /// Sent: it leaves through the master as it is.
    Transmit,
    /// Sent: the master's namespace routes it.
    Route(Family),
    /// Nobody gets it.
    Drop(Why),
}

/// The protocol whose routing takes a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// It is for a sibling of a private port.
    Private,
    /// Its Ethernet source is made up: on a private port, what the switch sends back is known by the
    /// source alone.
    Source,
    /// Group destination, where slaves have no layer 2.
    Multicast,
    /// Its headers are truncated or contradict themselves.
    Malformed,
    /// Neither IPv4 nor IPv6, where only those can be routed.
    Protocol,
}

/// Decides on a frame that the master received, if it is of the commonest kind; `None` says nothing.
/// [`receive`] agrees.
#[inline(always)]
pub fn receive_at_once<F: Facts>(settings: Packed, facts: &F) -> Option<Verdict<F::Slave>> {
    let unicast = || !facts.loopback() && !facts.group_dest();
    if !(settings.is_l3() || settings.is_open_l2() && unicast()) {
        return None;
    }
    // Looked up once: what is not for a slave is the master's, and there may be much of it.
    Some(match facts.lookup(facts.plain()?) {
        Some(slave) => Verdict::Deliver(slave),
        None => Verdict::Pass,
    })
}

/// Whether a frame that a slave sends is of the commonest kind: it leaves as it is. `false` says
/// nothing. [`transmit`] agrees.
#[inline(always)]
pub fn is_for_the_wire<F: Facts>(settings: Packed, facts: &F) -> bool {
    settings.is_open_l2() && !facts.group_dest() && !facts.own_dest()
}

/// Decides on a frame that a slave sends, if its shape is the commonest and siblings reach each other;
/// `None` says nothing. [`transmit`] agrees. For frames of which [`is_for_the_wire`] has said `false`:
/// of these it need not be asked again whether they are between two users of the master's address.
#[inline(always)]
pub fn transmit_at_once<F: Facts>(settings: Packed, facts: &F) -> Option<Verdict<F::Slave>> {
    let is_routed = settings.is_routed();
    // In L2 a frame for one receiver has come here because it is for another user of the master's address.
    if !settings.is_bridge() || !is_routed && facts.group_dest() {
        return None;
    }
    let dest = facts.plain()?;
    match facts.lookup(dest) {
        Some(slave) => Some(Verdict::Deliver(slave)),
        None if !is_routed || facts.group_dest() => None,
        None => Some(Verdict::Route(match dest {
            Addr::V4(_) => Family::Ipv4,
            Addr::V6(_) => Family::Ipv6,
        })),
    }
}

/// Decides on a frame that the master received.
#[inline]
pub fn receive<F: Facts>(settings: Settings, facts: &mut F) -> Verdict<F::Slave> {
    match settings.mode {
        // Slaves get theirs after the master's netfilter hooks.
        Mode::L3s => return Verdict::Pass,
        Mode::L2 if facts.loopback() => return Verdict::Pass,
        Mode::L2 if facts.group_dest() => return Verdict::FloodAndPass,
        // From a sibling, by the switch or by the master.
        Mode::L2 if settings.isolation == Isolation::Private && facts.own_source() => {
            return Verdict::Pass;
        }
        Mode::L2 | Mode::L3 => {}
    }
    let Inner::Packet(packet) = facts.packet() else {
        return Verdict::Pass;
    };
    // In L3 the master answers for its slaves, if at all (proxy ARP, proxy neighbour discovery).
    if settings.mode == Mode::L3 && asks_for_owner(packet) {
        return Verdict::Pass;
    }
    match facts.lookup(destination(packet)) {
        Some(slave) => Verdict::Deliver(slave),
        None => Verdict::Pass,
    }
}

/// Whom a packet is for that the master's stack has received, where slaves get theirs from there.
/// What looks for the owner of an address (duplicate address detection) is not for the owner's
/// attention.
#[inline]
pub fn receive_above(packet: Inner) -> Option<Addr> {
    match packet {
        Inner::Packet(packet) if !asks_for_owner(packet) => Some(destination(packet)),
        Inner::Packet(_) | Inner::Invalid | Inner::Foreign => None,
    }
}

/// Decides on a frame that a slave sends.
#[inline]
pub fn transmit<F: Facts>(settings: Settings, facts: &mut F) -> Verdict<F::Slave> {
    let Settings { mode, isolation } = settings;
    if mode == Mode::L2 && isolation == Isolation::Private && !facts.own_source() {
        return Verdict::Drop(Why::Source);
    }
    // All slaves and the master share one address, so a frame between two of them has it twice.
    if mode == Mode::L2 && (isolation == Isolation::Vepa || !facts.own_dest()) {
        return if facts.group_dest() {
            Verdict::Flood
        } else {
            Verdict::Transmit
        };
    }
    let inner = facts.packet();
    if let Some(verdict) = local(isolation, facts, inner) {
        return verdict;
    }
    if mode == Mode::L2 {
        return Verdict::ToMaster;
    }
    if facts.group_dest() {
        return Verdict::Drop(Why::Multicast);
    }
    match inner {
        Inner::Packet(Packet::Ipv4 { .. }) => Verdict::Route(Family::Ipv4),
        Inner::Packet(Packet::Ipv6 { .. } | Packet::Solicit { .. }) => Verdict::Route(Family::Ipv6),
        Inner::Packet(Packet::Arp { .. }) | Inner::Foreign => Verdict::Drop(Why::Protocol),
        Inner::Invalid => Verdict::Drop(Why::Malformed),
    }
}

/// The verdict on a packet between siblings; `None` if it is not one, or is to go through the switch
/// all the same.
#[inline]
fn local<F: Facts>(isolation: Isolation, facts: &F, inner: Inner) -> Option<Verdict<F::Slave>> {
    let Inner::Packet(packet) = inner else {
        return None;
    };
    if isolation == Isolation::Vepa {
        return None;
    }
    let slave = facts.lookup(destination(packet))?;
    Some(match isolation {
        Isolation::Private => Verdict::Drop(Why::Private),
        Isolation::Bridge | Isolation::Vepa => Verdict::Deliver(slave),
    })
}

/// Whether a packet looks for the owner of an address, not for the owner's attention: ARP, duplicate
/// address detection.
#[inline]
fn asks_for_owner(packet: Packet) -> bool {
    match packet {
        Packet::Arp { .. } => true,
        Packet::Solicit { src, .. } => src.is_unspecified(),
        Packet::Ipv4 { .. } | Packet::Ipv6 { .. } => false,
    }
}

/// The address that tells who gets a packet.
#[inline]
fn destination(packet: Packet) -> Addr {
    match packet {
        Packet::Ipv4 { dst, .. } => dst.into(),
        Packet::Arp { target, .. } => target.into(),
        // Duplicate address detection concerns the owner of the target; its destination is a group.
        Packet::Solicit { src, target, .. } if src.is_unspecified() => target.into(),
        Packet::Ipv6 { dst, .. } | Packet::Solicit { dst, .. } => dst.into(),
    }
}
