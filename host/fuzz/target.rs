// SPDX-License-Identifier: GPL-2.0

//! What is asked of `logic/` for any bytes: the parser agrees with etherparse and reads nothing that is not there, and the
//! verdicts keep what mode and flags promise. A breach panics.
//!
//! The first four bytes of an input choose how much of the frame is linear, who owns which addresses, and what the kernel
//! says of the frame; the rest is the frame. libFuzzer runs this, and so does `cargo test`, over the corpus.

use etherparse::{ArpHardwareId, ArpPacketSlice, EtherType, Ipv4HeaderSlice, Ipv6HeaderSlice};
use ipvlan_rs_host::logic::addr::{Addr, V4, V6};
use ipvlan_rs_host::logic::audience::{of_received, of_sent, Audience};
use ipvlan_rs_host::logic::config::{Isolation, Mode, Packed, Settings};
use ipvlan_rs_host::logic::frame::{parse, plain, Packet, Parsed};
use ipvlan_rs_host::logic::verdict::{
    is_for_the_wire, receive, receive_above, receive_at_once, transmit, transmit_at_once, Facts,
    Family, Inner, Verdict, Why,
};

/// The master's address.
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

#[derive(Clone, Copy)]
struct World<'a> {
    frame: &'a [u8],
    linear: usize,
    owners: u8,
    loopback: bool,
}

impl World<'_> {
    fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.frame[12], self.frame[13]])
    }

    /// Who has an address: one slave in two, by a bit of its last byte that the input chooses; never `::`.
    fn owner(&self, addr: Addr) -> Option<u8> {
        let octets = match addr {
            Addr::V4(v4) => v4.to_be().to_ne_bytes().to_vec(),
            Addr::V6(v6) => v6.octets().to_vec(),
        };
        let last = *octets.last().expect("an address");
        if octets.iter().all(|b| *b == 0) || last & self.owners == 0 {
            return None;
        }
        Some(last & 1)
    }
}

impl Facts for World<'_> {
    type Slave = u8;

    fn group_dest(&self) -> bool {
        self.frame[0] & 1 != 0
    }

    fn loopback(&self) -> bool {
        self.loopback
    }

    fn own_source(&self) -> bool {
        self.frame[6..12] == OWN
    }

    fn own_dest(&self) -> bool {
        self.frame[..6] == self.frame[6..12]
    }

    fn packet(&mut self) -> Inner {
        pulled(self.ethertype(), &self.frame[14..], self.linear)
    }

    fn plain(&self) -> Option<Addr> {
        let packet = &self.frame[14..];
        plain(
            self.ethertype(),
            &packet[..self.linear.min(packet.len())],
            packet.len(),
        )
    }

    fn lookup(&self, addr: Addr) -> Option<u8> {
        self.owner(addr)
    }
}

/// Parses with so much linear, pulling as it is asked for.
fn pulled(ethertype: u16, packet: &[u8], mut linear: usize) -> Inner {
    linear = linear.min(packet.len());
    for _ in 0..3 {
        match parse(ethertype, &packet[..linear], packet.len()) {
            Parsed::Packet(inner) => return Inner::Packet(inner),
            Parsed::Invalid => return Inner::Invalid,
            Parsed::Foreign => return Inner::Foreign,
            Parsed::Pull(n) => {
                assert!(n > linear, "asks for {n} bytes of which {linear} are there");
                assert!(n <= packet.len(), "asks for more than there is");
                linear = n;
            }
        }
    }
    panic!("asks for more after two pulls");
}

/// The same by etherparse, all bytes at hand.
fn by_etherparse(ethertype: u16, packet: &[u8]) -> Inner {
    let v6 = V6::from_octets;
    match EtherType(ethertype) {
        EtherType::IPV4 => {
            let Ok(header) = Ipv4HeaderSlice::from_slice(packet) else {
                // Options that are not there make the total length wrong too.
                return Inner::Invalid;
            };
            let total = match usize::from(header.total_len()) {
                0 if packet.len() > 0xffff => packet.len(),
                total => total,
            };
            if total < header.slice().len() || total > packet.len() {
                return Inner::Invalid;
            }
            Inner::Packet(Packet::Ipv4 {
                src: V4::from_octets(header.source()),
                dst: V4::from_octets(header.destination()),
            })
        }
        EtherType::IPV6 => {
            let Ok(header) = Ipv6HeaderSlice::from_slice(packet) else {
                return Inner::Invalid;
            };
            let (src, dst) = (v6(header.source()), v6(header.destination()));
            let other = Inner::Packet(Packet::Ipv6 { src, dst });
            let body = &packet[40..];
            if header.next_header() != etherparse::IpNumber::IPV6_ICMP || body.first() != Some(&135)
            {
                return other;
            }
            match body.get(8..24) {
                Some(target) => Inner::Packet(Packet::Solicit {
                    src,
                    dst,
                    target: v6(target.try_into().expect("16 bytes")),
                }),
                None if header.source() == [0; 16] => Inner::Invalid,
                None => other,
            }
        }
        EtherType::ARP => {
            let Ok(arp) = ArpPacketSlice::from_slice(packet) else {
                return Inner::Invalid;
            };
            let hardware = matches!(
                arp.hw_addr_type(),
                ArpHardwareId::ETHERNET | ArpHardwareId(6)
            );
            if !hardware || arp.proto_addr_type() != EtherType::IPV4 {
                return Inner::Invalid;
            }
            let (Ok(sender), Ok(target)) = (
                <[u8; 4]>::try_from(arp.sender_protocol_addr()),
                <[u8; 4]>::try_from(arp.target_protocol_addr()),
            ) else {
                return Inner::Invalid;
            };
            if arp.hw_addr_size() != 6 {
                return Inner::Invalid;
            }
            Inner::Packet(Packet::Arp {
                sender: V4::from_octets(sender),
                target: V4::from_octets(target),
                request: arp.operation() == etherparse::ArpOperation::REQUEST,
            })
        }
        _ => Inner::Foreign,
    }
}

/// Whom a packet is for, in plain words: by its target if it looks for an owner of `::`, else by its destination.
fn addressee(packet: Packet) -> Addr {
    match packet {
        Packet::Ipv4 { dst, .. } => Addr::V4(dst),
        Packet::Ipv6 { dst, .. } => Addr::V6(dst),
        Packet::Arp { target, .. } => Addr::V4(target),
        Packet::Solicit { src, dst, target } => {
            Addr::V6(if src.octets() == [0; 16] { target } else { dst })
        }
    }
}

fn seeks_owner(packet: Packet) -> bool {
    match packet {
        Packet::Arp { .. } => true,
        Packet::Solicit { src, .. } => src.octets() == [0; 16],
        Packet::Ipv4 { .. } | Packet::Ipv6 { .. } => false,
    }
}

/// The packet that is delivered to a slave, which must be its addressee's owner.
fn owned(world: &World<'_>, inner: Inner, slave: u8, what: &impl std::fmt::Debug) -> Packet {
    let Inner::Packet(packet) = inner else {
        panic!("{what:?}: delivered what cannot be read");
    };
    let owner = world.owner(addressee(packet));
    assert_eq!(owner, Some(slave), "{what:?}: not its owner");
    packet
}

fn received(settings: Settings, world: World<'_>, inner: Inner) {
    let Settings { mode, isolation } = settings;
    let verdict = receive(settings, &mut { world });
    let what = (settings, verdict);
    if let Some(at_once) = receive_at_once(Packed::from_bits(settings.to_bits()), &world) {
        assert_eq!(verdict, at_once, "{settings:?}: at once");
    }
    match verdict {
        Verdict::Pass => {}
        Verdict::Deliver(slave) => {
            let packet = owned(&world, inner, slave, &what);
            assert_ne!(mode, Mode::L3s, "{what:?}: past netfilter");
            assert!(
                mode == Mode::L2 || !seeks_owner(packet),
                "{what:?}: the master's to answer"
            );
            if mode == Mode::L2 {
                assert!(!world.group_dest() && !world.loopback, "{what:?}");
                assert!(
                    isolation != Isolation::Private || !world.own_source(),
                    "{what:?}: of a sibling"
                );
            }
        }
        Verdict::FloodAndPass => assert!(mode == Mode::L2 && world.group_dest(), "{what:?}"),
        other => panic!("{settings:?}: {other:?} of what was received"),
    }
    if let Some(addr) = receive_above(inner) {
        let Inner::Packet(packet) = inner else {
            panic!("above the stack: {addr:?} of {inner:?}");
        };
        assert!(addr == addressee(packet) && !seeks_owner(packet));
    }
}

fn sent(settings: Settings, world: World<'_>, inner: Inner) {
    let Settings { mode, isolation } = settings;
    let verdict = transmit(settings, &mut { world });
    let what = (settings, verdict);
    let packed = Packed::from_bits(settings.to_bits());
    if is_for_the_wire(packed, &world) {
        assert_eq!(verdict, Verdict::Transmit, "{settings:?}: at once");
    } else if let Some(at_once) = transmit_at_once(packed, &world) {
        assert_eq!(verdict, at_once, "{settings:?}: at once");
    }
    match verdict {
        Verdict::Deliver(slave) => {
            owned(&world, inner, slave, &what);
            assert_eq!(isolation, Isolation::Bridge, "{what:?}: between siblings");
        }
        Verdict::Flood => assert!(mode == Mode::L2 && world.group_dest(), "{what:?}"),
        Verdict::Transmit => assert!(mode == Mode::L2 && !world.group_dest(), "{what:?}"),
        Verdict::ToMaster => assert!(mode == Mode::L2 && world.own_dest(), "{what:?}"),
        Verdict::Route(family) => {
            assert!(mode != Mode::L2 && !world.group_dest(), "{what:?}");
            let right = match inner {
                Inner::Packet(Packet::Ipv4 { .. }) => family == Family::Ipv4,
                Inner::Packet(Packet::Ipv6 { .. } | Packet::Solicit { .. }) => {
                    family == Family::Ipv6
                }
                _ => false,
            };
            assert!(right, "{what:?}: {inner:?} is routed");
        }
        Verdict::Drop(why) => assert!(
            why != Why::Private || isolation == Isolation::Private,
            "{what:?}"
        ),
        Verdict::Pass | Verdict::FloodAndPass => panic!("{what:?} of what was sent"),
    }
    if mode == Mode::L2 && isolation == Isolation::Private && !world.own_source() {
        assert_eq!(verdict, Verdict::Drop(Why::Source), "{settings:?}");
    }
}

fn distributed(isolation: Isolation, world: World<'_>) {
    let sent = of_sent(isolation, &mut { world });
    assert!(
        isolation == Isolation::Bridge || sent == Audience::Nobody,
        "{isolation:?}: {sent:?}"
    );
    let received = of_received(isolation, &mut { world });
    if isolation == Isolation::Private && world.own_source() {
        assert_eq!(
            received,
            Audience::Nobody,
            "{isolation:?}: a sibling's by the switch"
        );
    }
    for audience in [sent, received] {
        if let Audience::Concerned { owners, but } = audience {
            assert!(
                owners[0].is_none() || owners[0] != owners[1],
                "twice: {audience:?}"
            );
            assert!(
                but.is_none() || owners.iter().all(|o| *o != but),
                "its sender: {audience:?}"
            );
        }
        if let Audience::Listeners { but: Some(_) } = audience {
            assert!(
                world.own_source(),
                "the sender of a stranger's: {audience:?}"
            );
        }
    }
}

/// Asks everything of one input.
pub fn run(data: &[u8]) {
    let [linear, owners, bits, reserved, frame @ ..] = data else {
        return;
    };
    if frame.len() < 14 || frame.len() > 0x1_2000 {
        return;
    }
    let world = World {
        frame,
        linear: usize::from(*linear),
        owners: *owners,
        loopback: bits & 1 != 0,
    };
    let (ethertype, packet) = (world.ethertype(), &frame[14..]);
    let inner = pulled(ethertype, packet, packet.len());
    for linear in [0, 1, world.linear, packet.len() / 2] {
        assert_eq!(
            pulled(ethertype, packet, linear),
            inner,
            "with {linear} bytes linear"
        );
    }
    assert_eq!(
        inner,
        by_etherparse(ethertype, packet),
        "etherparse disagrees"
    );
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        for isolation in [Isolation::Bridge, Isolation::Private, Isolation::Vepa] {
            let settings = Settings { mode, isolation };
            assert_eq!(Settings::from_bits(settings.to_bits()), settings);
            received(settings, world, inner);
            sent(settings, world, inner);
        }
    }
    for isolation in [Isolation::Bridge, Isolation::Private, Isolation::Vepa] {
        distributed(isolation, world);
    }
    let number = u16::from_le_bytes([*bits, *reserved]);
    assert!(Mode::from_attr(number).is_none_or(|mode| mode.to_attr() == number));
    assert!(Isolation::from_attr(number).map_or(true, |isolation| isolation.to_attr() == number));
}
