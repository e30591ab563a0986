// SPDX-License-Identifier: GPL-2.0

//! What becomes of a packet in each mode: in-tree ipvlan's behaviour, one row per line, and where
//! ipvlan_rs does otherwise.

use super::packets::*;
use super::world::*;
use ipvlan_rs_host::logic::config::{Isolation, Mode, Settings};
use ipvlan_rs_host::logic::verdict::Verdict::{self, *};
use ipvlan_rs_host::logic::verdict::{receive, transmit, Family::*, Why::*};
use std::net::Ipv6Addr;
use Slave::{A, B};

/// What becomes of it with no flag, `private` and `vepa`.
type Outcomes = [Verdict<Slave>; 3];
type Row = (&'static str, Frame, Outcomes);

const ISOLATIONS: [Isolation; 3] = [Isolation::Bridge, Isolation::Private, Isolation::Vepa];

/// The flags do not matter.
fn always(verdict: Verdict<Slave>) -> Outcomes {
    [verdict; 3]
}

/// For a sibling: reached with no flag, kept apart by `private`; through the switch with `vepa`.
fn sibling(slave: Slave, outside: Verdict<Slave>) -> Outcomes {
    [Deliver(slave), Drop(Private), outside]
}

fn check(modes: &[Mode], rows: Vec<Row>, decide: fn(Settings, &mut World<'_>) -> Verdict<Slave>) {
    for &mode in modes {
        for (what, frame, outcomes) in &rows {
            for (isolation, expected) in ISOLATIONS.into_iter().zip(outcomes) {
                let settings = Settings { mode, isolation };
                let verdict = decide(settings, &mut World::new(frame));
                assert_eq!(verdict, *expected, "{what}, {mode:?}, {isolation:?}");
            }
        }
    }
}

fn received(modes: &[Mode], rows: Vec<Row>) {
    check(modes, rows, |settings, world| receive(settings, world));
}

fn sent(modes: &[Mode], rows: Vec<Row>) {
    // Slaves send with the master's address.
    check(modes, rows, |settings, world| transmit(settings, world));
}

#[rustfmt::skip]
#[test]
fn l2_rx_unicast_goes_by_destination() {
    received(&[Mode::L2], vec![
        ("v4", udp4(WIRE4, A4), always(Deliver(A))),
        ("v4, the other slave", udp4(WIRE4, B4), always(Deliver(B))),
        ("v4 with options", udp4_with_options(WIRE4, B4), always(Deliver(B))),
        ("v4, a later fragment", udp4(WIRE4, A4).with(7, 185), always(Deliver(A))),
        ("v4, from a sibling by the switch", udp4(A4, B4).between(OWN, OWN), [Deliver(B), Pass, Deliver(B)]),
        ("ICMP error: the outer header counts", icmp_error(WIRE4, A4, B4), always(Deliver(A))),
        ("v6", udp6(WIRE6, A6), always(Deliver(A))),
        ("v6, the other slave", udp6(WIRE6, B6), always(Deliver(B))),
        ("NA", advert(WIRE6, A6, B6), always(Deliver(A))),
        ("NS that checks reachability", solicit(WIRE6, A6, A6), always(Deliver(A))),
        ("NS for another target", solicit(WIRE6, A6, B6), always(Deliver(A))),
        ("NS cut before its target", solicit(WIRE6, A6, B6).cut(60), always(Deliver(A))),
        ("ICMPv6 without a type", solicit(WIRE6, A6, B6).cut(40), always(Deliver(A))),
        ("ARP reply", arp_reply(WIRE4, A4), always(Deliver(A))),
        ("ARP request to one station", arp_request(WIRE4, B4).between(OTHER, OWN), always(Deliver(B))),
        ("ARP of IEEE 802", arp_reply(WIRE4, A4).with(1, 6), always(Deliver(A))),
        ("DAD to one station", dad(B6).between(OTHER, OWN), always(Deliver(B))),
    ]);
}

#[rustfmt::skip]
#[test]
fn l2_rx_unicast_for_nobody_is_the_masters() {
    let mut rows = vec![
        ("v4 of the master", udp4(WIRE4, MASTER4), always(Pass)),
        ("v4 from a slave's address", udp4(A4, MASTER4), always(Pass)),
        ("v4 of a slave that is down", udp4(WIRE4, DOWN4), always(Pass)),
        ("v4 group in a unicast frame", udp4(WIRE4, MDNS4), always(Pass)),
        ("v6 of the master", udp6(WIRE6, MASTER6), always(Pass)),
        ("v6 of a slave that is down", udp6(WIRE6, DOWN6), always(Pass)),
        ("ARP reply to the master", arp_reply(A4, MASTER4), always(Pass)),
        ("DAD of a free address", dad(WIRE6).between(OTHER, OWN), always(Pass)),
        ("another protocol", foreign(), always(Pass)),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame, always(Pass))));
    received(&[Mode::L2], rows);
}

/// Which slaves those are: see `audience`.
#[rustfmt::skip]
#[test]
fn l2_rx_group_frames_reach_master_and_slaves() {
    let mut rows = vec![
        ("v4 broadcast", udp4(WIRE4, B4).between(OTHER, BROADCAST), always(FloodAndPass)),
        ("v4 multicast", udp4(WIRE4, MDNS4).between(OTHER, GROUP4), always(FloodAndPass)),
        ("v4 multicast of our station", udp4(A4, MDNS4).between(OWN, GROUP4), always(FloodAndPass)),
        ("v6 multicast", udp6(WIRE6, ALL_NODES6).between(OTHER, GROUP6), always(FloodAndPass)),
        ("ARP request for a slave", arp_request(WIRE4, A4), always(FloodAndPass)),
        ("DAD of a slave's address", dad(A6), always(FloodAndPass)),
        ("another protocol", foreign().between(OTHER, BROADCAST), always(FloodAndPass)),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame.between(OTHER, GROUP4), always(FloodAndPass))));
    received(&[Mode::L2], rows);
}

#[test]
fn l2_rx_own_copies_are_the_masters() {
    // What the master itself multicasts comes back as PACKET_LOOPBACK.
    for frame in [
        udp4(MASTER4, MDNS4).between(OWN, GROUP4),
        udp6(MASTER6, ALL_NODES6).between(OWN, GROUP6),
        udp4(MASTER4, A4),
    ] {
        let mut world = World::new(&frame);
        world.loopback = true;
        let settings = Settings {
            mode: Mode::L2,
            isolation: Isolation::Bridge,
        };
        assert_eq!(receive(settings, &mut world), Pass);
        assert_eq!(world.parsed.get(), 0);
    }
}

#[rustfmt::skip]
#[test]
fn l3_rx_goes_by_ip_destination() {
    received(&[Mode::L3], vec![
        ("v4", udp4(WIRE4, A4), always(Deliver(A))),
        ("v4 with options", udp4_with_options(WIRE4, B4), always(Deliver(B))),
        ("v4 in a broadcast frame", udp4(WIRE4, B4).between(OTHER, BROADCAST), always(Deliver(B))),
        ("v6", udp6(WIRE6, B6), always(Deliver(B))),
        ("NA", advert(WIRE6, A6, B6), always(Deliver(A))),
        ("NS that checks reachability", solicit(WIRE6, A6, A6), always(Deliver(A))),
        ("NS cut before its target", solicit(WIRE6, A6, B6).cut(60), always(Deliver(A))),
    ]);
}

#[rustfmt::skip]
#[test]
fn l3_rx_the_rest_is_the_masters() {
    let mut rows = vec![
        ("v4 of the master", udp4(WIRE4, MASTER4), always(Pass)),
        ("v4 of a slave that is down", udp4(WIRE4, DOWN4), always(Pass)),
        ("v6 of the master", udp6(WIRE6, MASTER6), always(Pass)),
        // Slaves have no layer 2, so nothing is distributed.
        ("v4 multicast", udp4(WIRE4, MDNS4).between(OTHER, GROUP4), always(Pass)),
        ("v6 multicast", udp6(WIRE6, ALL_NODES6).between(OTHER, GROUP6), always(Pass)),
        ("NS of a slave's address", solicit(WIRE6, ALL_NODES6, A6).between(OTHER, GROUP6), always(Pass)),
        ("another protocol", foreign(), always(Pass)),
        // In-tree hands these to the slave, which ignores them; the master may answer as a proxy.
        ("ARP request for a slave", arp_request(WIRE4, A4), always(Pass)),
        ("ARP request to one station", arp_request(WIRE4, A4).between(OTHER, OWN), always(Pass)),
        ("ARP reply to a slave", arp_reply(WIRE4, A4), always(Pass)),
        ("DAD of a slave's address", dad(A6), always(Pass)),
        ("DAD to one station", dad(A6).between(OTHER, OWN), always(Pass)),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame, always(Pass))));
    received(&[Mode::L3], rows);
}

#[rustfmt::skip]
#[test]
fn l3s_rx_all_passes_the_masters_stack_first() {
    let mut rows = vec![
        ("v4", udp4(WIRE4, A4), always(Pass)),
        ("v6", udp6(WIRE6, A6), always(Pass)),
        ("v4 multicast", udp4(WIRE4, MDNS4).between(OTHER, GROUP4), always(Pass)),
        ("ARP request", arp_request(WIRE4, A4), always(Pass)),
        ("DAD", dad(A6), always(Pass)),
        ("another protocol", foreign(), always(Pass)),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame, always(Pass))));
    received(&[Mode::L3s], rows);
}

#[rustfmt::skip]
#[test]
fn l2_tx_between_siblings() {
    sent(&[Mode::L2], vec![
        ("v4", udp4(A4, B4).between(OWN, OWN), sibling(B, Transmit)),
        ("v6", udp6(B6, A6).between(OWN, OWN), sibling(A, Transmit)),
        ("ARP reply", arp_reply(A4, B4).between(OWN, OWN), sibling(B, Transmit)),
        ("ARP request to one station", arp_request(A4, B4).between(OWN, OWN), sibling(B, Transmit)),
        ("NA", advert(A6, B6, A6).between(OWN, OWN), sibling(B, Transmit)),
        ("NS", solicit(A6, B6, B6).between(OWN, OWN), sibling(B, Transmit)),
        ("DAD to one station", dad(B6).between(OWN, OWN), sibling(B, Transmit)),
        // The frame's two addresses are compared with each other, not with the master's.
        ("v4, a forged station", udp4(A4, B4).between(OTHER, OTHER), [Deliver(B), Drop(Source), Transmit]),
        ("v4, a forged group", udp4(A4, B4).between(GROUP4, GROUP4), [Deliver(B), Drop(Source), Flood]),
        ("v4 by the switch, a forged station", udp4(A4, B4).between(OTHER, OWN), [Transmit, Drop(Source), Transmit]),
    ]);
}

#[rustfmt::skip]
#[test]
fn l2_tx_to_own_station_for_no_slave_is_the_masters() {
    let to_master = [ToMaster, ToMaster, Transmit];
    let mut rows = vec![
        ("v4", udp4(A4, MASTER4).between(OWN, OWN), to_master),
        ("v4 of a slave that is down", udp4(A4, DOWN4).between(OWN, OWN), to_master),
        ("v6", udp6(A6, MASTER6).between(OWN, OWN), to_master),
        ("ARP reply", arp_reply(A4, MASTER4).between(OWN, OWN), to_master),
        ("another protocol", foreign().between(OWN, OWN), to_master),
        // The master would take it for one from the wire and hand it to all slaves.
        ("another protocol, a forged group", foreign().between(BROADCAST, BROADCAST), [ToMaster, Drop(Source), Flood]),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame.between(OWN, OWN), to_master)));
    sent(&[Mode::L2], rows);
}

#[rustfmt::skip]
#[test]
fn l2_tx_to_other_stations_takes_the_wire() {
    let mut rows = vec![
        ("v4", udp4(A4, WIRE4).between(OWN, OTHER), always(Transmit)),
        // The station decides, not the address.
        ("v4 of a sibling", udp4(A4, B4).between(OWN, OTHER), always(Transmit)),
        ("v6 of a sibling", udp6(A6, B6).between(OWN, OTHER), always(Transmit)),
        ("ARP reply", arp_reply(A4, WIRE4).between(OWN, OTHER), always(Transmit)),
        ("another protocol", foreign().between(OWN, OTHER), always(Transmit)),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame.between(OWN, OTHER), always(Transmit))));
    sent(&[Mode::L2], rows);
}

#[rustfmt::skip]
#[test]
fn l2_tx_group_frames_reach_siblings_and_wire() {
    let mut rows = vec![
        ("v4 broadcast", udp4(A4, B4).between(OWN, BROADCAST), always(Flood)),
        ("v4 multicast", udp4(A4, MDNS4).between(OWN, GROUP4), always(Flood)),
        ("v6 multicast", udp6(A6, ALL_NODES6).between(OWN, GROUP6), always(Flood)),
        ("ARP request for a sibling", arp_request(A4, B4).between(OWN, BROADCAST), always(Flood)),
        ("DAD", dad(A6).between(OWN, GROUP6), always(Flood)),
        ("another protocol", foreign().between(OWN, BROADCAST), always(Flood)),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame.between(OWN, GROUP4), always(Flood))));
    sent(&[Mode::L2], rows);
}

#[rustfmt::skip]
#[test]
fn l3_tx_between_siblings() {
    sent(&[Mode::L3, Mode::L3s], vec![
        ("v4", udp4(A4, B4), sibling(B, Route(Ipv4))),
        ("v4 to itself", udp4(A4, A4), sibling(A, Route(Ipv4))),
        ("v4 in a broadcast frame", udp4(A4, B4).between(OWN, BROADCAST), sibling(B, Drop(Multicast))),
        ("v6", udp6(A6, B6), sibling(B, Route(Ipv6))),
        ("NS", solicit(A6, B6, B6), sibling(B, Route(Ipv6))),
        ("DAD to one station", dad(B6).between(OWN, OTHER), sibling(B, Route(Ipv6))),
        ("DAD", dad(B6).between(OWN, GROUP6), sibling(B, Drop(Multicast))),
        ("ARP reply", arp_reply(A4, B4), sibling(B, Drop(Protocol))),
        ("ARP request", arp_request(A4, B4), sibling(B, Drop(Multicast))),
    ]);
}

#[rustfmt::skip]
#[test]
fn l3_tx_is_routed_by_the_master() {
    sent(&[Mode::L3, Mode::L3s], vec![
        ("v4", udp4(A4, WIRE4), always(Route(Ipv4))),
        ("v4 with options", udp4_with_options(A4, WIRE4), always(Route(Ipv4))),
        ("v4 of the master", udp4(A4, MASTER4), always(Route(Ipv4))),
        ("v4 of a slave that is down", udp4(A4, DOWN4), always(Route(Ipv4))),
        ("v4 group in a unicast frame", udp4(A4, MDNS4), always(Route(Ipv4))),
        ("v6", udp6(A6, WIRE6), always(Route(Ipv6))),
        ("NA", advert(A6, WIRE6, A6), always(Route(Ipv6))),
        ("NS", solicit(A6, WIRE6, B6), always(Route(Ipv6))),
    ]);
}

#[rustfmt::skip]
#[test]
fn l3_tx_what_cannot_be_routed_is_dropped() {
    let mut rows = vec![
        ("v4 broadcast", udp4(A4, WIRE4).between(OWN, BROADCAST), always(Drop(Multicast))),
        ("v4 multicast", udp4(A4, MDNS4).between(OWN, GROUP4), always(Drop(Multicast))),
        ("v6 multicast", udp6(A6, ALL_NODES6).between(OWN, GROUP6), always(Drop(Multicast))),
        ("router solicitation", icmp6(Ipv6Addr::UNSPECIFIED, ALL_NODES6, 133, &[]).between(OWN, GROUP6), always(Drop(Multicast))),
        ("DAD of a free address", dad(WIRE6).between(OWN, GROUP6), always(Drop(Multicast))),
        ("another protocol, broadcast", foreign().between(OWN, BROADCAST), always(Drop(Multicast))),
        ("another protocol", foreign(), always(Drop(Protocol))),
        ("ARP request", arp_request(A4, WIRE4), always(Drop(Multicast))),
        ("ARP request to one station", arp_request(A4, WIRE4).between(OWN, OTHER), always(Drop(Protocol))),
    ];
    rows.extend(malformed().into_iter().map(|(what, frame)| (what, frame, always(Drop(Malformed)))));
    rows.extend(
        malformed().into_iter()
            .map(|(what, frame)| (what, frame.between(OWN, GROUP4), always(Drop(Multicast)))),
    );
    sent(&[Mode::L3, Mode::L3s], rows);
}

/// The common paths pay only for what their decision depends on.
#[test]
fn facts_are_asked_only_when_needed() {
    let parses = |mode, isolation, frame: &Frame, receiving| {
        let (settings, mut world) = (Settings { mode, isolation }, World::new(frame));
        if receiving {
            receive(settings, &mut world);
        } else {
            transmit(settings, &mut world);
        }
        assert!(world.looked_up.get() <= 1);
        (world.parsed.get(), world.looked_up.get())
    };
    let wire = udp4(A4, WIRE4).between(OWN, OTHER);
    let unicast = udp4(WIRE4, A4);
    let group = udp4(WIRE4, MDNS4).between(OTHER, GROUP4);
    let local = udp4(A4, B4).between(OWN, OWN);
    for isolation in ISOLATIONS {
        assert_eq!(parses(Mode::L2, isolation, &wire, false), (0, 0));
        assert_eq!(parses(Mode::L2, isolation, &group, false), (0, 0));
        assert_eq!(parses(Mode::L2, isolation, &group, true), (0, 0));
        assert_eq!(parses(Mode::L2, isolation, &unicast, true), (1, 1));
        assert_eq!(parses(Mode::L3, isolation, &unicast, true), (1, 1));
        assert_eq!(parses(Mode::L3s, isolation, &unicast, true), (0, 0));
    }
    assert_eq!(parses(Mode::L2, Isolation::Bridge, &local, false), (1, 1));
    assert_eq!(parses(Mode::L2, Isolation::Vepa, &local, false), (0, 0));
    assert_eq!(parses(Mode::L3, Isolation::Vepa, &local, false), (1, 0));
}
