// SPDX-License-Identifier: GPL-2.0

//! Decides which slaves get a copy of a group frame (broadcast or multicast) in L2.
//!
//! In-tree ipvlan gives it to all that listen to the group. Here `private` and `vepa` cover groups
//! too, and a question about who has an address (an ARP request, a neighbour solicitation) goes to
//! those who can answer it, where they are known: with many slaves each would be woken by every
//! question on the wire.

#![forbid(unsafe_code)]

use super::addr::Addr;
use super::config::Isolation;
use super::frame::Packet;
use super::verdict::{Facts, Inner};

/// The slaves that get a copy of a group frame.
///
/// Whoever sent a frame gets none of it. For one that a slave sends that is the caller's to see to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience<S> {
    /// None.
    Nobody,
    /// All that listen to the group.
    Listeners {
        /// Whoever sent it before the switch sent it back.
        but: Option<S>,
    },
    /// Those whom it concerns, no slave twice; all that listen to everything; and those that listen to the group in
    /// the namespace of the one who is asked, since an address is its namespace's.
    Concerned {
        /// The one who is asked, and the one who has the asker's address, whether or not they listen to the group.
        owners: [Option<S>; 2],
        /// As above.
        but: Option<S>,
    },
}

/// The slaves that get a copy of a group frame that the master received. Its own stack gets it in
/// any case.
pub fn of_received<F: Facts>(isolation: Isolation, facts: &mut F) -> Audience<F::Slave> {
    // A frame with our own source is one that the master's stack or a slave sent, and the switch
    // sent back.
    let reflected = facts.own_source();
    if reflected && isolation == Isolation::Private {
        // Who knows which of them, when the source address is 0.0.0.0.
        return Audience::Nobody;
    }
    let Inner::Packet(packet) = facts.packet() else {
        return Audience::Listeners { but: None };
    };
    let sender = if reflected {
        facts.lookup(origin(packet))
    } else {
        None
    };
    // In `bridge` the siblings had theirs when it was sent; in `vepa` this is when they get it.
    if sender.is_some() && isolation == Isolation::Bridge {
        return Audience::Nobody;
    }
    among(facts, packet, sender)
}

/// The siblings that get a copy of a group frame that a slave sends. The wire gets it in any case.
pub fn of_sent<F: Facts>(isolation: Isolation, facts: &mut F) -> Audience<F::Slave> {
    if isolation != Isolation::Bridge {
        return Audience::Nobody;
    }
    match facts.packet() {
        Inner::Packet(packet) => among(facts, packet, None),
        Inner::Invalid | Inner::Foreign => Audience::Listeners { but: None },
    }
}

/// The slaves that a packet concerns, save the one that sent it.
fn among<F: Facts>(facts: &F, packet: Packet, but: Option<F::Slave>) -> Audience<F::Slave> {
    let Some(Question { asker, target }) = question(packet) else {
        return Audience::Listeners { but };
    };
    let Some(owner) = facts.lookup(target) else {
        return Audience::Listeners { but };
    };
    // Whoever has the asker's address learns that another uses it.
    let rival = facts.lookup(asker).filter(|rival| *rival != owner);
    let other = |slave: &F::Slave| but != Some(*slave);
    Audience::Concerned {
        owners: [Some(owner).filter(other), rival.filter(other)],
        but,
    }
}

/// Who asks for the owner of which address.
struct Question {
    /// Unspecified in a probe (RFC 5227, 2.1.1; RFC 4862, 5.4.2).
    asker: Addr,
    target: Addr,
}

/// The question in a packet. An announcement, which asks for its own sender, is none: it concerns all.
fn question(packet: Packet) -> Option<Question> {
    let (asker, target): (Addr, Addr) = match packet {
        Packet::Arp {
            sender,
            target,
            request: true,
        } => (sender.into(), target.into()),
        Packet::Solicit { src, target, .. } => (src.into(), target.into()),
        Packet::Arp { request: false, .. } | Packet::Ipv4 { .. } | Packet::Ipv6 { .. } => {
            return None;
        }
    };
    (asker != target).then_some(Question { asker, target })
}

/// The address that tells who sent a packet.
fn origin(packet: Packet) -> Addr {
    match packet {
        Packet::Ipv4 { src, .. } => src.into(),
        Packet::Arp { sender, .. } => sender.into(),
        // Duplicate address detection comes from whoever has, or is about to have, the target.
        Packet::Solicit { src, target, .. } if src.is_unspecified() => target.into(),
        Packet::Ipv6 { src, .. } | Packet::Solicit { src, .. } => src.into(),
    }
}
