// SPDX-License-Identifier: GPL-2.0

//! Which slaves get a copy of a group frame, one row per line, with no flag, `private` and `vepa`.

use super::packets::*;
use super::world::*;
use ipvlan_rs_host::logic::audience::Audience::{self, *};
use ipvlan_rs_host::logic::audience::{of_received, of_sent};
use ipvlan_rs_host::logic::config::Isolation;
use std::net::Ipv4Addr;
use Slave::{A, B};

type Outcomes = [Audience<Slave>; 3];
type Row = (&'static str, Frame, Outcomes);

const ISOLATIONS: [Isolation; 3] = [Isolation::Bridge, Isolation::Private, Isolation::Vepa];
const ZERO4: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// All that listen.
const ALL: Audience<Slave> = Listeners { but: None };

/// These two, whoever listens to everything, and nobody else.
fn only(one: Option<Slave>, other: Option<Slave>) -> Audience<Slave> {
    Concerned {
        owners: [one, other],
        but: None,
    }
}

/// All that listen, save one.
fn all_but(slave: Slave) -> Audience<Slave> {
    Listeners { but: Some(slave) }
}

fn only_but(one: Option<Slave>, other: Option<Slave>, but: Slave) -> Audience<Slave> {
    Concerned {
        owners: [one, other],
        but: Some(but),
    }
}

/// From the wire: `private` and `vepa` are about siblings only.
fn always(audience: Audience<Slave>) -> Outcomes {
    [audience; 3]
}

/// A slave's frame that the switch sent back: news in `vepa` alone.
fn back(vepa: Audience<Slave>) -> Outcomes {
    [Nobody, Nobody, vepa]
}

/// A frame with our station, but no slave's address, that the switch sent back.
fn back_from_whom(audience: Audience<Slave>) -> Outcomes {
    [audience, Nobody, audience]
}

/// Between siblings: with no flag alone.
fn bridged(audience: Audience<Slave>) -> Outcomes {
    [audience, Nobody, Nobody]
}

fn check(rows: Vec<Row>, decide: fn(Isolation, &mut World<'_>) -> Audience<Slave>) {
    for (what, frame, outcomes) in &rows {
        for (isolation, expected) in ISOLATIONS.into_iter().zip(outcomes) {
            let audience = decide(isolation, &mut World::new(frame));
            assert_eq!(audience, *expected, "{what}, {isolation:?}");
        }
    }
}

fn received(rows: Vec<Row>) {
    check(rows, |isolation, world| of_received(isolation, world));
}

fn sent(rows: Vec<Row>) {
    check(rows, |isolation, world| of_sent(isolation, world));
}

#[rustfmt::skip]
#[test]
fn from_the_wire_to_all() {
    let mut rows = vec![
        ("v4 broadcast", udp4(WIRE4, B4).between(OTHER, BROADCAST), always(ALL)),
        ("v4 multicast", udp4(WIRE4, MDNS4).between(OTHER, GROUP4), always(ALL)),
        ("v4, our address, another station", udp4(A4, MDNS4).between(OTHER, GROUP4), always(ALL)),
        ("v6 multicast", udp6(WIRE6, ALL_NODES6).between(OTHER, GROUP6), always(ALL)),
        ("NA", advert(WIRE6, ALL_NODES6, A6).between(OTHER, GROUP6), always(ALL)),
        ("another protocol", foreign().between(OTHER, BROADCAST), always(ALL)),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame.between(OTHER, GROUP4), always(ALL))));
    received(rows);
}

#[rustfmt::skip]
#[test]
fn questions_from_the_wire_go_to_those_they_concern() {
    received(vec![
        ("ARP request for a slave", arp_request(WIRE4, A4), always(only(Some(A), None))),
        ("ARP request for the other", arp_request(WIRE4, B4), always(only(Some(B), None))),
        ("ARP request, a slave's address as sender", arp_request(A4, B4), always(only(Some(B), Some(A)))),
        ("ARP probe", arp_request(ZERO4, A4), always(only(Some(A), None))),
        ("NS for a slave", solicit(WIRE6, ALL_NODES6, A6).between(OTHER, GROUP6), always(only(Some(A), None))),
        ("NS, a slave's address as sender", solicit(B6, ALL_NODES6, A6).between(OTHER, GROUP6), always(only(Some(A), Some(B)))),
        ("DAD", dad(B6), always(only(Some(B), None))),
    ]);
}

#[rustfmt::skip]
#[test]
fn questions_that_no_slave_can_answer_go_to_all() {
    received(vec![
        ("ARP request for the master", arp_request(WIRE4, MASTER4), always(ALL)),
        ("ARP request for the wire", arp_request(WIRE4, WIRE4), always(ALL)),
        ("ARP request for a slave that is down", arp_request(WIRE4, DOWN4), always(ALL)),
        ("ARP request from a slave's address for nobody", arp_request(A4, WIRE4), always(ALL)),
        ("ARP probe for nobody", arp_request(ZERO4, WIRE4), always(ALL)),
        ("NS for the master", solicit(WIRE6, ALL_NODES6, MASTER6).between(OTHER, GROUP6), always(ALL)),
        ("NS for a slave that is down", solicit(WIRE6, ALL_NODES6, DOWN6).between(OTHER, GROUP6), always(ALL)),
        ("DAD of a free address", dad(WIRE6), always(ALL)),
    ]);
}

#[rustfmt::skip]
#[test]
fn announcements_go_to_all() {
    received(vec![
        ("gratuitous ARP of a slave's address", arp_request(A4, A4), always(ALL)),
        ("gratuitous ARP reply", arp_reply(A4, A4).between(OTHER, BROADCAST), always(ALL)),
        ("ARP reply to all", arp_reply(WIRE4, A4).between(OTHER, BROADCAST), always(ALL)),
        ("NS for its own sender", solicit(A6, ALL_NODES6, A6).between(OTHER, GROUP6), always(ALL)),
    ]);
    sent(vec![
        ("gratuitous ARP", arp_request(A4, A4).between(OWN, BROADCAST), bridged(ALL)),
        ("gratuitous ARP reply", arp_reply(A4, A4).between(OWN, BROADCAST), bridged(ALL)),
        ("NA", advert(A6, ALL_NODES6, A6).between(OWN, GROUP6), bridged(ALL)),
    ]);
}

/// What a switch sends back of what slaves sent.
#[rustfmt::skip]
#[test]
fn reflections_are_for_siblings_in_vepa() {
    received(vec![
        ("v4", udp4(A4, MDNS4).between(OWN, GROUP4), back(all_but(A))),
        ("v6", udp6(B6, ALL_NODES6).between(OWN, GROUP6), back(all_but(B))),
        ("NA", advert(A6, ALL_NODES6, A6).between(OWN, GROUP6), back(all_but(A))),
        ("gratuitous ARP", arp_request(B4, B4).between(OWN, BROADCAST), back(all_but(B))),
        ("ARP reply to all", arp_reply(B4, B4).between(OWN, BROADCAST), back(all_but(B))),
        ("ARP request for the wire", arp_request(A4, WIRE4).between(OWN, BROADCAST), back(all_but(A))),
        ("ARP request for a sibling", arp_request(A4, B4).between(OWN, BROADCAST), back(only_but(Some(B), None, A))),
        ("NS for the wire", solicit(A6, ALL_NODES6, WIRE6).between(OWN, GROUP6), back(all_but(A))),
        ("NS for a sibling", solicit(A6, ALL_NODES6, B6).between(OWN, GROUP6), back(only_but(Some(B), None, A))),
        // The prober is the target's owner, and must not hear itself.
        ("DAD", dad(A6).between(OWN, GROUP6), back(only_but(None, None, A))),
    ]);
}

/// Both the station and the address must be ours to make it a slave's. With our station alone, it may be the master's or
/// that of a slave without an address.
#[rustfmt::skip]
#[test]
fn reflections_of_nobody_known() {
    let mut rows = vec![
        ("v4", udp4(MASTER4, MDNS4).between(OWN, GROUP4), back_from_whom(ALL)),
        ("v4 of a slave that is down", udp4(DOWN4, MDNS4).between(OWN, GROUP4), back_from_whom(ALL)),
        ("v4 without an address", udp4(ZERO4, MDNS4).between(OWN, BROADCAST), back_from_whom(ALL)),
        ("v4 to a slave", udp4(MASTER4, A4).between(OWN, BROADCAST), back_from_whom(ALL)),
        ("v6", udp6(MASTER6, ALL_NODES6).between(OWN, GROUP6), back_from_whom(ALL)),
        ("ARP request for a slave", arp_request(MASTER4, A4).between(OWN, BROADCAST), back_from_whom(only(Some(A), None))),
        ("ARP probe for a slave", arp_request(ZERO4, A4).between(OWN, BROADCAST), back_from_whom(only(Some(A), None))),
        ("NS for a slave", solicit(MASTER6, ALL_NODES6, A6).between(OWN, GROUP6), back_from_whom(only(Some(A), None))),
        ("DAD of another address", dad(MASTER6).between(OWN, GROUP6), back_from_whom(ALL)),
    ];
    rows.push(("another protocol", foreign().between(OWN, BROADCAST), back_from_whom(ALL)));
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame.between(OWN, GROUP4), back_from_whom(ALL))));
    received(rows);
}

#[rustfmt::skip]
#[test]
fn from_a_slave() {
    let mut rows = vec![
        ("v4 broadcast", udp4(A4, B4).between(OWN, BROADCAST), bridged(ALL)),
        ("v4 multicast", udp4(A4, MDNS4).between(OWN, GROUP4), bridged(ALL)),
        ("v6 multicast", udp6(A6, ALL_NODES6).between(OWN, GROUP6), bridged(ALL)),
        ("another protocol", foreign().between(OWN, BROADCAST), bridged(ALL)),
        ("ARP request for the wire", arp_request(A4, WIRE4).between(OWN, BROADCAST), bridged(ALL)),
        ("ARP probe for a sibling", arp_request(ZERO4, B4).between(OWN, BROADCAST), bridged(only(Some(B), None))),
        // The sender gets no copy, whatever address it claims: that is the caller's part.
        ("ARP request, its own address", arp_request(A4, B4).between(OWN, BROADCAST), bridged(only(Some(B), Some(A)))),
        ("NS for a sibling", solicit(A6, ALL_NODES6, B6).between(OWN, GROUP6), bridged(only(Some(B), Some(A)))),
        ("NS for the wire", solicit(A6, ALL_NODES6, WIRE6).between(OWN, GROUP6), bridged(ALL)),
        ("DAD of its own address", dad(A6).between(OWN, GROUP6), bridged(only(Some(A), None))),
        ("DAD of a sibling's", dad(B6).between(OWN, GROUP6), bridged(only(Some(B), None))),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame.between(OWN, GROUP4), bridged(ALL))));
    sent(rows);
}

/// One slave may own several addresses: it gets one copy.
#[test]
fn nobody_is_named_twice() {
    for frame in [
        arp_request(A4, OTHER_OF_A4),
        solicit(A6, ALL_NODES6, OTHER_OF_A6).between(OTHER, GROUP6),
    ] {
        assert_eq!(
            of_received(Isolation::Bridge, &mut World::new(&frame)),
            only(Some(A), None)
        );
        // It asked for itself: nothing to hear.
        assert_eq!(
            of_received(
                Isolation::Vepa,
                &mut World::new(&frame.between(OWN, BROADCAST))
            ),
            only_but(None, None, A)
        );
    }
}

/// Nothing is parsed or looked up that does not matter.
#[test]
fn facts_are_asked_only_when_needed() {
    let asked = |decide: fn(Isolation, &mut World<'_>) -> Audience<Slave>, isolation, frame| {
        let mut world = World::new(frame);
        decide(isolation, &mut world);
        (world.parsed.get(), world.looked_up.get())
    };
    let receive = |isolation, frame| asked(|i, w| of_received(i, w), isolation, frame);
    let send = |isolation, frame| asked(|i, w| of_sent(i, w), isolation, frame);
    let group = udp4(WIRE4, MDNS4).between(OTHER, GROUP4);
    let question = arp_request(WIRE4, A4);
    for isolation in ISOLATIONS {
        assert_eq!(receive(isolation, &group), (1, 0));
        assert_eq!(receive(isolation, &question), (1, 2));
    }
    let own = arp_request(A4, B4).between(OWN, BROADCAST);
    assert_eq!(receive(Isolation::Bridge, &own), (1, 1));
    assert_eq!(receive(Isolation::Private, &own), (0, 0));
    assert_eq!(send(Isolation::Bridge, &own), (1, 2));
    assert_eq!(send(Isolation::Private, &own), (0, 0));
    assert_eq!(send(Isolation::Vepa, &own), (0, 0));
}
