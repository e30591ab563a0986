// SPDX-License-Identifier: GPL-2.0
//! Frames from a seed: good ones of each sort that the packet path tells apart, and what mutation makes of them.

use super::corpus::{mutate, Corpus};
use crate::frames::{self, Mac};
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use rand_xorshift::XorShiftRng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a frame goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Wire,
    Slave(usize),
}

/// A frame with what its sender says of it: the virtio_net_hdr of packet(7), 10 bytes.
#[derive(Clone)]
pub struct Shot {
    pub from: From,
    pub message: Vec<u8>,
}

/// Bytes of the virtio_net_hdr.
pub const HEADER: usize = 10;
pub const EXT_MAC: Mac = [2, 0, 0, 0, 0, 0xee];

/// The addresses that mean something here.
pub struct Pool {
    pub macs: Vec<Mac>,
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
    /// How many slaves send.
    pub senders: usize,
}

impl Pool {
    fn mac(&self, rng: &mut XorShiftRng) -> Mac {
        *self.macs.choose(rng).expect("some")
    }

    fn v4(&self, rng: &mut XorShiftRng) -> Ipv4Addr {
        *self.v4.choose(rng).expect("some")
    }

    fn v6(&self, rng: &mut XorShiftRng) -> Ipv6Addr {
        *self.v6.choose(rng).expect("some")
    }

    fn ip(&self, rng: &mut XorShiftRng, v4: bool) -> IpAddr {
        if v4 {
            self.v4(rng).into()
        } else {
            self.v6(rng).into()
        }
    }

    /// A frame that is fit to be sent.
    fn good(&self, rng: &mut XorShiftRng) -> Vec<u8> {
        let (from, mut to) = (self.mac(rng), self.mac(rng));
        let v4 = rng.random();
        let (src, dst) = (self.ip(rng, v4), self.ip(rng, v4));
        if dst.is_multicast() && rng.random_range(0..4) != 0 {
            to = frames::group_mac(dst);
        }
        let payload = vec![rng.random(); length(rng)];
        let ports = (
            rng.random_range(1..2000),
            *[7, 53, 67, 68, 546].choose(rng).expect("some"),
        );
        let udp = |payload: &[u8]| frames::udp(from, to, src, dst, ports, payload);
        match rng.random_range(0..14) {
            0..=3 => udp(&payload),
            4 => frames::arp(
                from,
                to,
                rng.random(),
                (from, self.v4(rng)),
                (to, self.v4(rng)),
            ),
            5 => {
                let (src, target) = (self.v6(rng), self.v6(rng));
                let group = frames::solicited_node(target);
                frames::solicit(from, frames::group_mac(group.into()), src, group, target)
            }
            6 => {
                // Router and neighbour discovery, echo, errors, listener reports.
                let kind = *[128, 129, 133, 134, 135, 136, 137, 1, 2, 3, 4, 130, 131, 143]
                    .choose(rng)
                    .expect("some");
                frames::icmp6(from, to, self.v6(rng), self.v6(rng), 255, kind, 0, &payload)
            }
            7 if v4 => {
                let words = rng.random_range(1..=10);
                let options: Vec<u8> = (0..words * 4).map(|_| rng.random()).collect();
                frames::with_options(&udp(&payload), &options)
            }
            8 if v4 => {
                // A fragment, the first or another.
                let mut frame = udp(&payload);
                let place: u16 = *[0x2000, 0x2001, 0x0001, 0x3fff, 0x1fff, 0x4000]
                    .choose(rng)
                    .expect("some");
                frame[20..22].copy_from_slice(&place.to_be_bytes());
                frames::header_checksum(&mut frame);
                frame
            }
            7 | 8 => {
                // Extension headers of IPv6 before the datagram.
                let mut frame = udp(&payload);
                for _ in 0..rng.random_range(1..4) {
                    let kind = *[0, 43, 44, 60, 51, 135].choose(rng).expect("some");
                    let mut header = [0u8; 8];
                    header[0] = frame[20];
                    header[1] = *[0, 0, 0, 1, 255].choose(rng).expect("some");
                    header[2] = rng.random_range(0..8);
                    frame[20] = kind;
                    frame.splice(54..54, header);
                }
                let length = (frame.len() - 54) as u16;
                frame[18..20].copy_from_slice(&length.to_be_bytes());
                frame
            }
            9 => {
                // TCP, or ICMP, or what no header follows.
                let mut frame = udp(&vec![0; payload.len().max(20)]);
                let (place, kind) = if v4 {
                    (23, [6, 1, 47, 4])
                } else {
                    (20, [6, 58, 47, 59])
                };
                frame[place] = *kind.choose(rng).expect("some");
                if v4 {
                    frames::header_checksum(&mut frame);
                }
                frame
            }
            10 => {
                // Behind VLAN tags.
                let mut frame = udp(&payload);
                let tag: u16 = *[0x8100, 0x88a8].choose(rng).expect("some");
                for _ in 0..rng.random_range(1..3) {
                    frame.splice(12..12, [tag.to_be_bytes(), [0, rng.random()]].concat());
                }
                frame
            }
            11 => frames::ethernet(
                from,
                [1, 0x80, 0xc2, 0, 0, rng.random_range(0..16)],
                0x8808,
                &payload,
            ),
            _ => {
                let protocol = *[
                    0x0800, 0x86dd, 0x0806, 0x88b5, 0x8863, 0x8847, 0x0004, 46, 1500, 0xffff,
                ]
                .choose(rng)
                .expect("some");
                frames::ethernet(from, to, protocol, &payload)
            }
        }
    }

    /// A frame to put in: one in ten as good as it is.
    pub fn shot(&self, rng: &mut XorShiftRng, corpus: &Corpus<Shot>) -> Shot {
        let mut shot = corpus.pick(rng).unwrap_or_else(|| {
            let from = if rng.random() {
                From::Wire
            } else {
                From::Slave(rng.random_range(0..self.senders))
            };
            let mut message = self.claims(rng);
            message.extend(self.good(rng));
            Shot { from, message }
        });
        if rng.random_range(0..10) != 0 {
            // The addresses are left alone more often than not, or nothing would come to anybody.
            let from = if rng.random_range(0..4) == 0 {
                HEADER
            } else {
                HEADER + 12
            };
            mutate(rng, &mut shot.message, from, true);
            if rng.random_range(0..3) == 0 {
                repair(&mut shot.message[HEADER..]);
            }
        }
        if rng.random_range(0..8) == 0 {
            let claims = self.claims(rng);
            shot.message[..HEADER].copy_from_slice(&claims);
        }
        shot
    }

    /// A virtio_net_hdr: mostly none of its claims, else checksums and segments that may be or not.
    fn claims(&self, rng: &mut XorShiftRng) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        let word = |rng: &mut XorShiftRng, likely: &[u16]| -> [u8; 2] {
            let value = match rng.random_range(0..5) {
                0 => rng.next_u32() as u16,
                _ => *likely.choose(rng).expect("some"),
            };
            value.to_le_bytes()
        };
        match rng.random_range(0..6) {
            0 => {
                // VIRTIO_NET_HDR_F_NEEDS_CSUM.
                header[0] = 1;
                header[6..8].copy_from_slice(&word(rng, &[34, 54, 14, 38]));
                header[8..10].copy_from_slice(&word(rng, &[6, 16, 2]));
            }
            1 => {
                header[0] = 1;
                // TCPV4, UDP, TCPV6, UDP_L4, with or without ECN.
                header[1] = *[1, 3, 4, 5, 0x81, 0x84].choose(rng).expect("some");
                header[2..4].copy_from_slice(&word(rng, &[54, 74, 42, 62]));
                header[4..6].copy_from_slice(&word(rng, &[1, 100, 1400]));
                header[6..8].copy_from_slice(&word(rng, &[34, 54]));
                header[8..10].copy_from_slice(&word(rng, &[6, 16]));
            }
            // How much of a large frame is linear.
            2 => header[2..4].copy_from_slice(&word(rng, &[0, 14, 20, 34, 54])),
            _ => {}
        }
        header
    }
}

fn length(rng: &mut XorShiftRng) -> usize {
    match rng.random_range(0..40) {
        0 => rng.random_range(1500..9000),
        1..=3 => rng.random_range(500..1500),
        4..=8 => rng.random_range(0..8),
        _ => rng.random_range(8..200),
    }
}

/// Makes the header checksum of an IPv4 frame right again, so that it is not dropped for that alone.
fn repair(frame: &mut [u8]) {
    let header = usize::from(frame.get(14).copied().unwrap_or(0) & 0xf) * 4;
    if frame.len() >= 14 + header.max(20) && frame[12..14] == [8, 0] && header >= 20 {
        frame[24..26].fill(0);
        let sum = frames::internet_checksum(&frame[14..14 + header]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
}
