// SPDX-License-Identifier: GPL-2.0
//! The differences that are meant: each decision that a walk can meet, as a rule that says when it applies and what it
//! changes. A difference that no rule explains is a finding.

use super::apply::Outcome;
use super::probe::{destination, ends, frame, Place, Sighting, Traces};
use super::step::{From, Ip, Op, Probe, Shape};
use super::view::View;
use crate::cx::Decision;
use crate::frames::BROADCAST;
use crate::lan::{PRIVATE, VEPA};
use std::net::IpAddr;

/// Decisions that a walk never shows, and why.
pub const UNSEEN: &[(Decision, &str)] = &[
    (Decision::D7, "counters are not compared"),
    (Decision::D10, "no probe is larger than a path takes"),
    (
        Decision::D11,
        "a loop only shows in the log, where the in-tree driver's are let pass",
    ),
    (Decision::D12, "which bytes are linear is not visible"),
    (Decision::D14, "time is not compared"),
    (Decision::D15, "no step unloads a module"),
];

/// What the rules on answers know: the operation, and what both worlds looked like before it.
pub struct Asked<'a> {
    pub op: &'a Op,
    pub before: &'a View,
}

/// The decision that explains why one kind grants what the other refuses.
pub fn on_answers(asked: &Asked<'_>, theirs: &Outcome, ours: &Outcome) -> Option<Decision> {
    let errno = |outcome: &Outcome| match outcome {
        Outcome::Answered(Err(refusal)) => Some(refusal.errno),
        Outcome::Answered(Ok(_)) => Some(0),
        Outcome::Skipped => None,
    };
    let (before, pair) = (asked.before, (errno(theirs)?, errno(ours)?));
    match (asked.op, pair) {
        // Larger than the master's.
        (Op::Create { mtu: Some(mtu), .. } | Op::Mtu(_, mtu), (0, libc::EINVAL))
            if *mtu > before.master.mtu =>
        {
            Some(Decision::D5)
        }
        // The same address of one slave with a second prefix.
        (Op::AddAddr { slot, ip, .. }, (libc::EADDRINUSE, 0))
            if before.owner(ip.addr()) == Some(*slot) =>
        {
            Some(Decision::D3)
        }
        // The master's own address.
        (Op::AddAddr { ip, .. }, (0, libc::EADDRINUSE)) if before.master.has_addr(ip.addr()) => {
            Some(Decision::D4)
        }
        _ => None,
    }
}

/// Whether the kernel's core, not the driver, refuses this, so that no text is due.
pub fn core_refuses(op: &Op, errno: i32) -> bool {
    matches!(
        (op, errno),
        (Op::CreateAgain(_), libc::EEXIST)
            | (Op::AddAddr { .. } | Op::MasterAddr(..), libc::EEXIST)
            | (Op::DelAddr { .. } | Op::MasterAddr(..), libc::EADDRNOTAVAIL)
            | (Op::Mac(..), libc::EOPNOTSUPP)
            | (Op::Join(..), _)
    )
}

/// What the rules on probes know: the probe, and what both worlds looked like when it was sent.
pub struct Sent<'a> {
    pub number: u32,
    pub probe: &'a Probe,
    pub view: &'a View,
}

impl Sent<'_> {
    fn l2(&self) -> bool {
        self.view.mode() == Some(0)
    }

    fn is_group(&self) -> bool {
        destination(self.probe, self.view.master.mac)[0] & 1 != 0
    }

    /// A slave receives for the address and the master has it too (D4).
    fn shadowed(&self, ip: Option<Ip>) -> bool {
        ip.is_some_and(|ip| {
            self.view.owner(ip.addr()).is_some() && self.view.master.has_addr(ip.addr())
        })
    }

    fn receiver(&self, ip: Option<Ip>) -> Option<u8> {
        if self.shadowed(ip) {
            return None;
        }
        self.view.receiver(ip?)
    }

    /// Slaves that are up, except one, and whether each listens to the probe's destination for certain.
    fn listeners(&self, except: Option<u8>) -> Vec<u8> {
        let mac = destination(self.probe, self.view.master.mac);
        let listens =
            |slot: &u8| self.view.slaves[slot].is_up() && self.view.slaves[slot].listens(&mac);
        self.view
            .slaves
            .keys()
            .copied()
            .filter(|slot| Some(*slot) != except && listens(slot))
            .collect()
    }
}

/// The slave that a sighting is about.
pub fn slave(place: Place) -> Option<u8> {
    match place {
        Place::Slave(slot) | Place::Socket(slot) => Some(slot),
        _ => None,
    }
}

/// Forgets which slaves got a frame for a group that passes their filter by chance alone: two groups share one of the 256
/// bits, in the one world and not in the other. Returns how many those were, and how many could have been.
/// What ipvlan_rs gives to those whom it concerns, it gives whether or not they listen.
pub fn forget_chance(sent: &Sent<'_>, traces: &mut Traces, ours: bool) -> (usize, usize) {
    if !sent.l2() || !sent.is_group() {
        return (0, 0);
    }
    let mut sure = sent.listeners(None);
    if ours {
        sure.extend(concerned(sent).unwrap_or_default());
    }
    sure.sort_unstable();
    sure.dedup();
    let up = sent.view.slaves.values().filter(|s| s.is_up()).count();
    let by_chance = |place| slave(place).is_some_and(|slot| !sure.contains(&slot));
    let passed = traces
        .seen
        .keys()
        .filter(|s| matches!(s.place, Place::Slave(_)) && by_chance(s.place))
        .count();
    // Sockets add nothing to what was seen on the links.
    traces
        .seen
        .retain(|s, _| !by_chance(s.place) && !matches!(s.place, Place::Socket(_)));
    (passed, up - sure.len().min(up))
}

/// Changes what became of a probe in-tree into what is meant to become of it with ipvlan_rs.
type Rule = fn(&Sent<'_>, &mut Traces);

/// In the order in which they apply.
pub const ON_PROBES: &[(Decision, Rule)] = &[
    (Decision::D9, owner_is_not_asked),
    (Decision::D2, isolated),
    (Decision::D2, reflected),
    (Decision::D17, whom_it_concerns),
];

/// L3: what looks for the owner of an address is the master's to answer, not the slave's, which does no ARP.
fn owner_is_not_asked(sent: &Sent<'_>, traces: &mut Traces) {
    let asks = matches!(
        sent.probe.shape,
        Shape::ArpRequest { .. } | Shape::ArpReply { .. } | Shape::Dad { .. }
    );
    if sent.view.mode() != Some(1) || !asks {
        return;
    }
    if sent.probe.from == From::Wire {
        leave_to_master(traces);
    }
}

/// What a slave took from the wire goes to the master's stack instead.
fn leave_to_master(traces: &mut Traces) {
    let taken = |s: &Sighting| matches!(s.place, Place::Slave(_));
    if !traces.seen.keys().any(taken) {
        return;
    }
    let passed = traces.seen.keys().filter(|s| s.place == Place::MasterIn);
    let passed: Vec<Sighting> = passed.cloned().collect();
    traces.seen.retain(|s, _| slave(s.place).is_none());
    for s in passed {
        let place = Place::MasterStack;
        traces.seen.insert(Sighting { place, ..s }, 1);
    }
}

/// Private and vepa: nothing goes from slave to slave in memory, groups included; in private neither what a switch sent
/// back, which may be a slave's.
fn isolated(sent: &Sent<'_>, traces: &mut Traces) {
    let from_slave = matches!(sent.probe.from, From::Slave(_));
    let reflected = sent.view.port_flags() == PRIVATE && sent.probe.own;
    if sent.l2() && sent.is_group() && sent.view.port_flags() != 0 && (from_slave || reflected) {
        traces.seen.retain(|s, _| slave(s.place).is_none());
    }
    if sent.l2() && !sent.is_group() && !from_slave && reflected {
        leave_to_master(traces);
    }
}

/// Vepa: what the switch reflects goes to all but the owner of the source address.
fn reflected(sent: &Sent<'_>, traces: &mut Traces) {
    let from_wire = sent.probe.from == From::Wire && sent.probe.own;
    if sent.l2() && sent.is_group() && from_wire && sent.view.port_flags() == VEPA {
        let owner = sent.receiver(ends(&sent.probe.shape).1);
        give(sent, traces, &sent.listeners(owner));
    }
}

/// L2: ARP requests and solicitations for a known target go to those whom they concern, and to those who hear all.
fn whom_it_concerns(sent: &Sent<'_>, traces: &mut Traces) {
    if let Some(slaves) = concerned(sent) {
        give(sent, traces, &slaves);
    }
}

/// The slaves that get a question, where not all do.
fn concerned(sent: &Sent<'_>) -> Option<Vec<u8>> {
    let (target, mut asker) = ends(&sent.probe.shape);
    match sent.probe.shape {
        Shape::ArpRequest { .. } | Shape::Solicit { .. } => {}
        // Nobody asks.
        Shape::Dad { .. } => asker = None,
        _ => return None,
    }
    let owner = sent
        .receiver(target)
        .filter(|_| sent.l2() && asker != target)?;
    let own_wire = sent.probe.from == From::Wire && sent.probe.own;
    let isolated = match sent.view.port_flags() {
        0 => own_wire && sent.receiver(ends(&sent.probe.shape).1).is_some(),
        PRIVATE => own_wire || sent.probe.from != From::Wire,
        _ => sent.probe.from != From::Wire,
    };
    if isolated {
        return None;
    }
    let sender = match sent.probe.from {
        From::Slave(slot) => Some(slot),
        From::Wire if sent.probe.own => sent.receiver(ends(&sent.probe.shape).1),
        From::Wire => None,
    };
    let all = (libc::IFF_PROMISC | libc::IFF_ALLMULTI) as u32;
    let slaves = sent.view.slaves.iter();
    // Who asks for an address of its own by way of a switch is not asked itself.
    let home = (!own_wire || Some(owner) != sender).then(|| sent.view.slaves[&owner].space);
    let group = destination(sent.probe, sent.view.master.mac);
    let concerned = slaves
        .filter(|(slot, s)| {
            let named = **slot == owner || Some(**slot) == sent.receiver(asker);
            let at_home = home == Some(s.space) && s.listens(&group);
            let nosy = s.flags & all != 0;
            s.is_up() && Some(**slot) != sender && (named || at_home || nosy)
        })
        .map(|(slot, _)| *slot)
        .collect();
    Some(concerned)
}

/// These slaves and no others get a copy of the frame, if it was sent at all.
fn give(sent: &Sent<'_>, traces: &mut Traces, to: &[u8]) {
    let there = match sent.probe.from {
        From::Wire => traces.seen.keys().any(|s| s.place == Place::MasterIn),
        // What a slave without carrier sends is lost before the driver sees it.
        From::Slave(slot) => {
            traces.sent == Some(0) && sent.view.slaves.get(&slot).is_some_and(|s| s.carrier)
        }
    };
    if !there {
        return;
    }
    let master = sent.view.master.mac;
    let class = if destination(sent.probe, master) == BROADCAST {
        "Broadcast"
    } else {
        "Multicast"
    };
    traces.seen.retain(|s, _| slave(s.place).is_none());
    for slot in to {
        let copy = Sighting {
            place: Place::Slave(*slot),
            class: class.into(),
            frame: frame(sent.probe, master, sent.number),
        };
        traces.seen.insert(copy, 1);
    }
}

/// A private slave's frame with a source that is not its own: a switch could bring it back to its siblings. Nobody may
/// get it.
pub fn forged(sent: &Sent<'_>) -> bool {
    let from_slave = matches!(sent.probe.from, From::Slave(_));
    sent.l2() && sent.view.port_flags() == PRIVATE && from_slave && !sent.probe.own
}

/// Where ipvlan_rs hands out copies of a group frame at once (D13), its sender learns that the master could not send it;
/// in-tree that comes later, from a worker.
pub fn master_failed(sent: &Sent<'_>, theirs: &Traces, ours: &Traces) -> bool {
    let refused = (theirs.sent, ours.sent) == (Some(0), Some(libc::ENOBUFS));
    let out = theirs.seen.keys().any(|s| s.place == Place::Wire);
    sent.l2() && sent.is_group() && matches!(sent.probe.from, From::Slave(_)) && refused && !out
}

/// Whether a probe's way depends on an address that a slave and the master both have. Who has it is then all that is
/// compared: with ipvlan_rs the slave gets nothing by it (D4).
pub fn is_shadowed(sent: &Sent<'_>) -> Option<Option<u8>> {
    let (to, from) = ends(&sent.probe.shape);
    if !sent.shadowed(to) && !sent.shadowed(from) {
        return None;
    }
    let owner = |ip: Ip| sent.view.owner(ip.addr());
    Some(if sent.shadowed(to) && !sent.is_group() {
        to.and_then(owner)
    } else {
        None
    })
}

/// What a point-to-point address does: who receives for its ends, and who may have it at all. In-tree the far end counts
/// (D3); a slave's own address is refused by it, and the master's is not (D4).
pub fn peer_refused(view: &View, slot: u8, peer: IpAddr) -> (bool, bool) {
    let owner = view.owner(peer);
    (
        owner.is_some(),
        owner.is_some_and(|o| o != slot) || view.master.has_addr(peer),
    )
}
