// SPDX-License-Identifier: GPL-2.0
//! Requests of rtnetlink as trees of attributes, good ones from a seed, and every way to get them wrong.

use super::corpus::mutate;
use rand::seq::IndexedRandom;
use rand::Rng;
use rand_xorshift::XorShiftRng;

/// Of linux/rtnetlink.h and linux/netlink.h.
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;
const NESTED: u16 = 0x8000;

#[derive(Clone)]
pub struct Attr {
    kind: u16,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Bytes(Vec<u8>),
    Nest(Vec<Attr>),
}

/// A request, its header left to be filled in.
#[derive(Clone)]
pub struct Request {
    kind: u16,
    flags: u16,
    /// struct ifinfomsg or ifaddrmsg.
    header: Vec<u8>,
    attrs: Vec<Attr>,
    /// Added to the length that the message claims.
    lie: i32,
}

/// What requests are about.
pub struct Pool {
    pub master: u32,
    pub slave: u32,
    /// Of links that may be there.
    pub indices: Vec<u32>,
    /// A namespace for links to go to.
    pub ns: i32,
}

fn bytes(kind: u16, body: &[u8]) -> Attr {
    Attr {
        kind,
        body: Body::Bytes(body.to_vec()),
    }
}

fn nest(kind: u16, attrs: Vec<Attr>) -> Attr {
    Attr {
        kind,
        body: Body::Nest(attrs),
    }
}

fn link(flags: u32, change: u32, index: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

impl Pool {
    /// IFLA_LINKINFO with the kind and all its attributes, those that it has not among them.
    fn info(&self, mode: u16, flags: u16, queue: u32, most: u32) -> Attr {
        let data = vec![
            bytes(1, &mode.to_ne_bytes()),
            bytes(2, &flags.to_ne_bytes()),
            bytes(32, &queue.to_ne_bytes()),
            bytes(33, &most.to_ne_bytes()),
        ];
        nest(18, vec![bytes(1, b"ipvlan_rs\0"), nest(2, data)])
    }

    /// One request of each sort, fit to be granted.
    pub fn good(&self, rng: &mut XorShiftRng) -> Vec<Request> {
        let index = *self.indices.choose(rng).unwrap_or(&self.slave);
        let name = format!("f{}\0", rng.random_range(0..1000));
        let (mode, flags) = (rng.random_range(0..3), rng.random_range(0..3));
        let queue = rng.random_range(262_144..u32::MAX);
        let most = rng.random_range(0..50);
        let mtu: u32 = rng.random_range(60..1600);
        let host = [10, 1, 0, rng.random_range(1..60)];
        let mut v6 = [0; 16];
        v6[..2].copy_from_slice(&[0xfd, 1]);
        v6[15] = host[3];
        let request = |kind, flags, header, attrs| Request {
            kind,
            flags: flags | REQUEST | ACK,
            header,
            attrs,
            lie: 0,
        };
        let address = |family: u8, prefix: u8| {
            let mut header = vec![family, prefix, 0, 0];
            header.extend(index.to_ne_bytes());
            header
        };
        let create = vec![
            bytes(3, name.as_bytes()),
            bytes(5, &self.master.to_ne_bytes()),
            self.info(mode, flags, queue, most),
        ];
        let mut rich = create.clone();
        rich.extend([
            bytes(4, &mtu.to_ne_bytes()),
            bytes(1, &[2, 0, 0, 0, 0, 7]),
            bytes(13, &100u32.to_ne_bytes()),
            bytes(28, &(self.ns as u32).to_ne_bytes()),
            bytes(31, &2u32.to_ne_bytes()),
            bytes(32, &2u32.to_ne_bytes()),
            bytes(41, &30_000u32.to_ne_bytes()),
        ]);
        let up = u32::from(rng.random::<bool>());
        vec![
            request(NEWLINK, CREATE | EXCL, link(up, up, 0), create),
            request(NEWLINK, CREATE | EXCL, link(0, 0, 0), rich),
            request(
                NEWLINK,
                0,
                link(0, 0, index),
                vec![self.info(mode, flags, queue, most)],
            ),
            request(
                NEWLINK,
                0,
                link(0, 0, self.slave),
                vec![self.info(mode, flags, queue, most)],
            ),
            request(
                SETLINK,
                0,
                link(up, 1, index),
                vec![
                    bytes(4, &mtu.to_ne_bytes()),
                    bytes(39, &[rng.random_range(0..2)]),
                ],
            ),
            // IFF_PROMISC, IFF_ALLMULTI.
            request(SETLINK, 0, link(rng.random(), 0x300, index), Vec::new()),
            request(DELLINK, 0, link(0, 0, index), Vec::new()),
            request(
                GETLINK,
                0,
                link(0, 0, index),
                vec![bytes(29, &1u32.to_ne_bytes())],
            ),
            request(
                NEWADDR,
                CREATE | EXCL,
                address(2, 24),
                vec![bytes(1, &host), bytes(2, &host)],
            ),
            request(DELADDR, 0, address(2, 24), vec![bytes(2, &host)]),
            request(
                NEWADDR,
                CREATE | EXCL,
                address(10, 64),
                vec![bytes(1, &v6), bytes(2, &v6), bytes(8, &2u32.to_ne_bytes())],
            ),
            request(DELADDR, 0, address(10, 64), vec![bytes(2, &v6)]),
        ]
    }
}

/// A way to get an attribute wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Missing,
    Short,
    Long,
    Twice,
    /// What is nested is not, or the other way round.
    Nested,
    /// The flag that says that it is nested, or the one of the byte order.
    Flag,
    Unknown,
    Value,
}

pub const WRONGS: [Wrong; 8] = [
    Wrong::Missing,
    Wrong::Short,
    Wrong::Long,
    Wrong::Twice,
    Wrong::Nested,
    Wrong::Flag,
    Wrong::Unknown,
    Wrong::Value,
];

/// The number of attributes in a tree.
fn count(attrs: &[Attr]) -> usize {
    let nested = |attr: &Attr| match &attr.body {
        Body::Nest(inner) => count(inner),
        Body::Bytes(_) => 0,
    };
    attrs.iter().map(|attr| 1 + nested(attr)).sum()
}

/// Gets the `nth` attribute of a tree, counted depth first, wrong; whether it was there.
fn spoil(attrs: &mut Vec<Attr>, nth: &mut usize, wrong: Wrong, rng: &mut XorShiftRng) -> bool {
    for at in 0..attrs.len() {
        if *nth == 0 {
            spoil_one(attrs, at, wrong, rng);
            return true;
        }
        *nth -= 1;
        if let Body::Nest(inner) = &mut attrs[at].body {
            if spoil(inner, nth, wrong, rng) {
                return true;
            }
        }
    }
    false
}

fn spoil_one(attrs: &mut Vec<Attr>, at: usize, wrong: Wrong, rng: &mut XorShiftRng) {
    let raw = |attr: &Attr| match &attr.body {
        Body::Bytes(body) => body.clone(),
        Body::Nest(inner) => emit(inner),
    };
    match wrong {
        Wrong::Missing => {
            attrs.remove(at);
        }
        Wrong::Short => {
            let mut body = raw(&attrs[at]);
            body.truncate(rng.random_range(0..body.len().max(1)));
            attrs[at].body = Body::Bytes(body);
        }
        Wrong::Long => {
            let mut body = raw(&attrs[at]);
            let more = *[1, 2, 3, 4, 60, 300, 5000].choose(rng).expect("some");
            body.extend((0..more).map(|_| rng.random::<u8>()));
            attrs[at].body = Body::Bytes(body);
        }
        Wrong::Twice => {
            let mut twin = attrs[at].clone();
            if let Body::Bytes(body) = &mut twin.body {
                mutate(rng, body, 0, false);
            }
            attrs.push(twin);
        }
        Wrong::Nested => {
            let kind = rng.random_range(0..40);
            attrs[at].body = match &attrs[at].body {
                Body::Bytes(body) => Body::Nest(vec![bytes(kind, body)]),
                Body::Nest(_) => {
                    Body::Bytes((0..rng.random_range(0..40)).map(|_| rng.random()).collect())
                }
            };
        }
        Wrong::Flag => attrs[at].kind ^= *[NESTED, 0x4000, 0xc000].choose(rng).expect("some"),
        Wrong::Unknown => {
            let kind = match rng.random_range(0..3) {
                0 => rng.random_range(0..70),
                1 => rng.random(),
                _ => attrs[at].kind.wrapping_add(rng.random_range(1..4)),
            };
            let body: Vec<u8> = (0..rng.random_range(0..12)).map(|_| rng.random()).collect();
            if rng.random() {
                attrs[at].kind = kind;
            } else {
                attrs.insert(at, bytes(kind, &body));
            }
        }
        Wrong::Value => {
            let mut body = raw(&attrs[at]);
            mutate(rng, &mut body, 0, false);
            attrs[at].body = Body::Bytes(body);
        }
    }
}

impl Request {
    /// How many attributes it has, nested ones too.
    pub fn attributes(&self) -> usize {
        count(&self.attrs)
    }

    /// Gets one attribute wrong.
    pub fn spoil(&mut self, mut nth: usize, wrong: Wrong, rng: &mut XorShiftRng) {
        spoil(&mut self.attrs, &mut nth, wrong, rng);
    }

    /// Gets the header wrong.
    pub fn spoil_header(&mut self, rng: &mut XorShiftRng) {
        match rng.random_range(0..5) {
            0 => self.flags ^= 1 << rng.random_range(8..12),
            1 => {
                let length = rng.random_range(0..=self.header.len());
                self.header.truncate(length);
            }
            2 => self.lie = rng.random_range(-40..40),
            3 => self.kind = rng.random_range(16..24),
            _ => mutate(rng, &mut self.header, 0, false),
        }
    }

    /// The message.
    pub fn emit(&self, sequence: u32) -> Vec<u8> {
        let mut body = self.header.clone();
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(emit(&self.attrs));
        let length = (16 + body.len() as i32 + self.lie).max(0) as u32;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(self.kind.to_ne_bytes());
        message.extend(self.flags.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        message
    }
}

fn emit(attrs: &[Attr]) -> Vec<u8> {
    let mut out = Vec::new();
    for attr in attrs {
        let (body, flag) = match &attr.body {
            Body::Bytes(body) => (body.clone(), 0),
            Body::Nest(inner) => (emit(inner), NESTED),
        };
        out.extend(((body.len() + 4) as u16).to_ne_bytes());
        out.extend((attr.kind ^ flag).to_ne_bytes());
        out.extend(&body);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}
