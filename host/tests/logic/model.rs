// SPDX-License-Identifier: GPL-2.0

//! The verdicts against a model that knows nothing of laziness: it gets every fact up front and goes
//! through a flat list of rules. Every combination of facts is tried.

use ipvlan_rs_host::logic::addr::{Addr, V4, V6};
use ipvlan_rs_host::logic::audience::{of_received, of_sent, Audience};
use ipvlan_rs_host::logic::config::{Isolation, Mode, Packed, Settings};
use ipvlan_rs_host::logic::frame::Packet;
use ipvlan_rs_host::logic::verdict::{
    is_for_the_wire, receive, receive_at_once, transmit, transmit_at_once, Facts, Family, Inner,
    Verdict, Why,
};

/// A slave is named by the role its address has in the packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Source,
    Destination,
    Target,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    V4,
    V6,
    /// Neighbour solicitation from an address.
    Solicit,
    /// Neighbour solicitation from `::`.
    Dad,
    Arp,
    Invalid,
    Foreign,
}

const KINDS: [Kind; 7] = [
    Kind::V4,
    Kind::V6,
    Kind::Solicit,
    Kind::Dad,
    Kind::Arp,
    Kind::Invalid,
    Kind::Foreign,
];

#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    group: bool,
    loopback: bool,
    own_source: bool,
    own_dest: bool,
    /// Which of the packet's addresses slaves own.
    source_owned: bool,
    destination_owned: bool,
    target_owned: bool,
}

const SRC4: V4 = V4::from_octets([10, 0, 0, 1]);
const DST4: V4 = V4::from_octets([10, 0, 0, 2]);
const SRC6: V6 = V6::from_octets([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const DST6: V6 = V6::from_octets([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
const TARGET6: V6 = V6::from_octets([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);

impl Facts for Case {
    type Slave = Role;

    fn group_dest(&self) -> bool {
        self.group
    }

    fn loopback(&self) -> bool {
        self.loopback
    }

    fn own_source(&self) -> bool {
        self.own_source
    }

    fn own_dest(&self) -> bool {
        self.own_dest
    }

    fn packet(&mut self) -> Inner {
        Inner::Packet(match self.kind {
            Kind::V4 => Packet::Ipv4 {
                src: SRC4,
                dst: DST4,
            },
            Kind::V6 => Packet::Ipv6 {
                src: SRC6,
                dst: DST6,
            },
            Kind::Solicit => Packet::Solicit {
                src: SRC6,
                dst: DST6,
                target: TARGET6,
            },
            Kind::Dad => Packet::Solicit {
                src: V6::from_octets([0; 16]),
                dst: DST6,
                target: TARGET6,
            },
            Kind::Arp => Packet::Arp {
                sender: SRC4,
                target: DST4,
                request: true,
            },
            Kind::Invalid => return Inner::Invalid,
            Kind::Foreign => return Inner::Foreign,
        })
    }

    fn plain(&self) -> Option<Addr> {
        match self.kind {
            Kind::V4 => Some(DST4.into()),
            Kind::V6 => Some(DST6.into()),
            _ => None,
        }
    }

    fn lookup(&self, addr: Addr) -> Option<Role> {
        let (role, owned) = if addr == Addr::V4(SRC4) || addr == Addr::V6(SRC6) {
            (Role::Source, self.source_owned)
        } else if addr == Addr::V4(DST4) || addr == Addr::V6(DST6) {
            (Role::Destination, self.destination_owned)
        } else if addr == Addr::V6(TARGET6) {
            (Role::Target, self.target_owned)
        } else {
            assert_eq!(addr, Addr::V6(V6::from_octets([0; 16])), "never a key");
            (Role::Source, false)
        };
        owned.then_some(role)
    }
}

impl Case {
    /// The slave that the packet is for.
    fn receiver(self) -> Option<Role> {
        match self.kind {
            Kind::Dad => self.target_owned.then_some(Role::Target),
            Kind::Invalid | Kind::Foreign => None,
            _ => self.destination_owned.then_some(Role::Destination),
        }
    }

    /// The slave that has the sender's address, or is about to have it.
    fn sender(self) -> Option<Role> {
        match self.kind {
            Kind::Dad => self.target_owned.then_some(Role::Target),
            Kind::Invalid | Kind::Foreign => None,
            _ => self.source_owned.then_some(Role::Source),
        }
    }

    /// The slaves that a question about an address concerns, if it can be answered: the target's owner and the asker.
    fn concerned(self) -> Option<[Option<Role>; 2]> {
        match self.kind {
            Kind::Arp => {
                let target = self.destination_owned.then_some(Role::Destination)?;
                Some([Some(target), self.source_owned.then_some(Role::Source)])
            }
            Kind::Solicit => {
                let target = self.target_owned.then_some(Role::Target)?;
                Some([Some(target), self.source_owned.then_some(Role::Source)])
            }
            Kind::Dad => Some([Some(self.target_owned.then_some(Role::Target)?), None]),
            Kind::V4 | Kind::V6 | Kind::Invalid | Kind::Foreign => None,
        }
    }

    /// Everybody whom the frame concerns, save one.
    fn everybody(self, but: Option<Role>) -> Audience<Role> {
        match self.concerned() {
            Some(owners) => Audience::Concerned {
                owners: owners.map(|owner| owner.filter(|owner| Some(*owner) != but)),
                but,
            },
            None => Audience::Listeners { but },
        }
    }
}

type Rule<'a> = (bool, &'a dyn Fn() -> Verdict<Role>);

fn first(rules: &[Rule<'_>]) -> Verdict<Role> {
    let (_, verdict) = rules.iter().find(|(applies, _)| *applies).unwrap();
    verdict()
}

fn model_receive(settings: Settings, case: Case) -> Verdict<Role> {
    let (l2, l3) = (settings.mode == Mode::L2, settings.mode == Mode::L3);
    let private = settings.isolation == Isolation::Private;
    let receiver = case.receiver();
    let seeks_owner = matches!(case.kind, Kind::Arp | Kind::Dad);
    first(&[
        (settings.mode == Mode::L3s, &|| Verdict::Pass),
        (l2 && case.loopback, &|| Verdict::Pass),
        (l2 && case.group, &|| Verdict::FloodAndPass),
        (l2 && private && case.own_source, &|| Verdict::Pass),
        (l3 && seeks_owner, &|| Verdict::Pass),
        (receiver.is_some(), &|| Verdict::Deliver(receiver.unwrap())),
        (true, &|| Verdict::Pass),
    ])
}

fn model_transmit(settings: Settings, case: Case) -> Verdict<Role> {
    let l2 = settings.mode == Mode::L2;
    let vepa = settings.isolation == Isolation::Vepa;
    let private = settings.isolation == Isolation::Private;
    let receiver = case.receiver();
    let local = !vepa && (!l2 || case.own_dest) && receiver.is_some();
    first(&[
        (l2 && private && !case.own_source, &|| {
            Verdict::Drop(Why::Source)
        }),
        (local && private, &|| Verdict::Drop(Why::Private)),
        (local, &|| Verdict::Deliver(receiver.unwrap())),
        (l2 && case.own_dest && !vepa, &|| Verdict::ToMaster),
        (l2 && case.group, &|| Verdict::Flood),
        (l2, &|| Verdict::Transmit),
        (case.group, &|| Verdict::Drop(Why::Multicast)),
        (true, &|| match case.kind {
            Kind::V4 => Verdict::Route(Family::Ipv4),
            Kind::V6 | Kind::Solicit | Kind::Dad => Verdict::Route(Family::Ipv6),
            Kind::Arp | Kind::Foreign => Verdict::Drop(Why::Protocol),
            Kind::Invalid => Verdict::Drop(Why::Malformed),
        }),
    ])
}

fn model_received(isolation: Isolation, case: Case) -> Audience<Role> {
    match (case.own_source, isolation, case.sender()) {
        (true, Isolation::Private, _) => Audience::Nobody,
        (true, Isolation::Bridge, Some(_)) => Audience::Nobody,
        (true, Isolation::Vepa, Some(sender)) => case.everybody(Some(sender)),
        _ => case.everybody(None),
    }
}

fn model_sent(isolation: Isolation, case: Case) -> Audience<Role> {
    match isolation {
        Isolation::Bridge => case.everybody(None),
        Isolation::Private | Isolation::Vepa => Audience::Nobody,
    }
}

/// What is decided at once is what would be decided at leisure. Counts what was, by shortcut.
fn at_once(settings: Settings, case: Case, decided: &mut [usize; 3]) {
    let packed = Packed::from_bits(settings.to_bits());
    if let Some(verdict) = receive_at_once(packed, &case) {
        assert_eq!(
            verdict,
            model_receive(settings, case),
            "receive_at_once, {settings:?}, {case:?}"
        );
        decided[0] += 1;
    }
    if is_for_the_wire(packed, &case) {
        assert_eq!(
            Verdict::Transmit,
            model_transmit(settings, case),
            "is_for_the_wire, {settings:?}, {case:?}"
        );
        decided[1] += 1;
    } else if let Some(verdict) = transmit_at_once(packed, &case) {
        assert_eq!(
            verdict,
            model_transmit(settings, case),
            "transmit_at_once, {settings:?}, {case:?}"
        );
        decided[2] += 1;
    }
}

#[test]
fn every_combination_of_facts() {
    let mut cases = 0;
    let mut decided = [0; 3];
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        for isolation in [Isolation::Bridge, Isolation::Private, Isolation::Vepa] {
            let settings = Settings { mode, isolation };
            for kind in KINDS {
                for bits in 0..1u8 << 7 {
                    let bit = |n: u8| (bits >> n) & 1 != 0;
                    let case = Case {
                        kind,
                        group: bit(0),
                        loopback: bit(1),
                        own_source: bit(2),
                        own_dest: bit(3),
                        source_owned: bit(4),
                        destination_owned: bit(5),
                        target_owned: bit(6),
                    };
                    assert_eq!(
                        receive(settings, &mut case.clone()),
                        model_receive(settings, case),
                        "receive, {settings:?}, {case:?}"
                    );
                    assert_eq!(
                        transmit(settings, &mut case.clone()),
                        model_transmit(settings, case),
                        "transmit, {settings:?}, {case:?}"
                    );
                    at_once(settings, case, &mut decided);
                    assert_eq!(
                        of_received(isolation, &mut case.clone()),
                        model_received(isolation, case),
                        "of_received, {isolation:?}, {case:?}"
                    );
                    assert_eq!(
                        of_sent(isolation, &mut case.clone()),
                        model_sent(isolation, case),
                        "of_sent, {isolation:?}, {case:?}"
                    );
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 9 * 7 * 128);
    assert!(
        decided.iter().all(|n| *n > 0),
        "the shortcuts are never taken: {decided:?}"
    );
}
