// SPDX-License-Identifier: GPL-2.0
//! Steps from a seed. What is chosen depends on nothing but the seed, so that it can be walked again: the generator
//! keeps its own idea of what there is, to be sensible more often than not, and does not mind when it is wrong.

use super::step::{
    From, Ip, On, Op, Probe, Shape, Step, To, EXTERNAL, FIRST_TENANT, MASTER, MODES, NOBODY, SLOTS,
    SPACES,
};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;

/// What the generator believes of a slave.
struct Belief {
    slot: u8,
    space: u8,
    up: bool,
    addrs: Vec<(Ip, u8)>,
}

pub struct Generator {
    rng: XorShiftRng,
    slaves: Vec<Belief>,
    mode: u16,
    /// Can the master change its namespace?
    movable: bool,
}

/// The steps of a walk.
pub fn steps(seed: u64, count: usize, movable: bool) -> Vec<Step> {
    let mut generator = Generator {
        rng: XorShiftRng::seed_from_u64(seed),
        slaves: Vec::new(),
        mode: 0,
        movable,
    };
    (0..count).map(|_| generator.step()).collect()
}

impl Generator {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from
            .choose(&mut self.rng)
            .expect("a list that is not empty")
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn step(&mut self) -> Step {
        let op = self.op();
        let count = self.rng.random_range(1..=3);
        let probes = (0..count).map(|_| self.probe()).collect();
        Step { op, probes }
    }

    /// A slot: nearly always one with a slave.
    fn slot(&mut self) -> u8 {
        if self.slaves.is_empty() || self.chance(2) {
            return self.rng.random_range(0..SLOTS);
        }
        let at = self.rng.random_range(0..self.slaves.len());
        self.slaves[at].slot
    }

    fn belief(&mut self, slot: u8) -> Option<&mut Belief> {
        self.slaves.iter_mut().find(|s| s.slot == slot)
    }

    fn ip(&mut self) -> Ip {
        let v6 = self.chance(50);
        let host = match self.rng.random_range(0..100) {
            0..5 => MASTER,
            5..9 => 2,
            _ => self.rng.random_range(11..=18),
        };
        Ip { v6, host }
    }

    fn op(&mut self) -> Op {
        if self.slaves.len() < 3 || (self.slaves.len() < usize::from(SLOTS) && self.chance(12)) {
            return self.create();
        }
        let slot = self.slot();
        // Of 200.
        match self.rng.random_range(0..200) {
            0..8 => {
                self.slaves.retain(|s| s.slot != slot);
                Op::Delete(slot)
            }
            8..24 => {
                if let Some(s) = self.belief(slot) {
                    s.up = true;
                }
                Op::Up(slot)
            }
            24..32 => {
                if let Some(s) = self.belief(slot) {
                    s.up = false;
                    s.addrs.retain(|(ip, _)| !ip.v6);
                }
                Op::Down(slot)
            }
            32..76 => self.add_addr(slot),
            76..90 => self.del_addr(slot),
            90..94 => Op::Peer {
                slot,
                local: self.rng.random_range(11..=20),
                peer: self.pick(&[12, 15, 18, 21, 22, MASTER]),
            },
            94..118 => self.change(slot),
            118..120 => Op::ChangeShort(slot),
            120..128 => Op::Mtu(
                slot,
                self.pick(&[60, 1280, 1300, 1400, 1500, 1600, 9000, 65535, 70000]),
            ),
            128..130 => Op::Mac(slot, self.rng.random_range(0..4)),
            130..136 => Op::AllMulti(slot, self.chance(60)),
            136..142 => Op::Promisc(slot, self.chance(60)),
            142..152 => Op::Join(slot, self.rng.random_range(0..6)),
            152..156 => Op::Leave(slot, self.rng.random_range(0..6)),
            156..164 => {
                let space = self.rng.random_range(0..SPACES);
                if let Some(s) = self.belief(slot) {
                    (s.space, s.up) = (space, false);
                    s.addrs.clear();
                }
                Op::Move(slot, space)
            }
            164..168 => Op::MasterUp,
            168..170 => Op::MasterDown,
            170..176 => {
                let host = self.pick(&[MASTER, 2, 2, 13, 16]);
                let v6 = self.chance(50);
                Op::MasterAddr(Ip { v6, host }, self.chance(50))
            }
            176..182 => Op::MasterMtu(self.pick(&[1300, 1400, 1500, 2000, 3000])),
            182..185 => Op::MasterMac(self.rng.random_range(0..4)),
            185..187 => Op::MasterAllMulti(self.chance(50)),
            187..190 if self.movable => Op::MasterMove(self.rng.random_range(0..FIRST_TENANT)),
            190..191 => {
                self.slaves.clear();
                Op::MasterGone
            }
            191..194 => Op::Carrier(self.chance(75)),
            194..196 => {
                let space = self.rng.random_range(FIRST_TENANT..SPACES);
                self.slaves.retain(|s| s.space != space);
                Op::DropSpace(space)
            }
            196..197 => Op::CreateAgain(slot),
            _ => Op::Up(slot),
        }
    }

    fn create(&mut self) -> Op {
        let free: Vec<u8> = (0..SLOTS)
            .filter(|slot| self.slaves.iter().all(|s| s.slot != *slot))
            .collect();
        let slot = self.pick(&free);
        let space = self.rng.random_range(0..SPACES);
        let on = match self.rng.random_range(0..100) {
            0..80 => On::Master,
            80..94 if !self.slaves.is_empty() => On::Slave(self.slot()),
            80..95 => On::Loopback,
            95..98 => On::Nothing,
            _ => On::Unsaid,
        };
        let mode = match self.rng.random_range(0..100) {
            0..12 => None,
            12..70 => Some(self.mode),
            70..95 => Some(self.some_mode()),
            _ => Some(self.pick(&[3, 7, 0xffff])),
        };
        let flags = match self.rng.random_range(0..100) {
            0..70 => None,
            70..95 => Some(self.rng.random_range(0..3)),
            _ => Some(self.pick(&[3, 4, 0x8001])),
        };
        let mtu = match self.rng.random_range(0..100) {
            0..80 => None,
            _ => Some(self.pick(&[60, 1280, 1400, 1500, 1600, 9000, 70000])),
        };
        let up = self.chance(80);
        let op = Op::Create {
            slot,
            on,
            space,
            mode,
            flags,
            mtu,
            mac: if self.chance(10) {
                Some(self.rng.random_range(0..4))
            } else {
                None
            },
            up,
        };
        let good = matches!(on, On::Master | On::Slave(_))
            && mode.is_none_or(|m| m < 3)
            && flags.is_none_or(|f| f < 3)
            && mtu.is_none_or(|m| (68..=65535).contains(&m));
        if good {
            self.mode = mode.unwrap_or(1);
            self.slaves.push(Belief {
                slot,
                space,
                up,
                addrs: Vec::new(),
            });
        }
        op
    }

    fn some_mode(&mut self) -> u16 {
        // L2 has the most rules.
        if self.chance(55) {
            0
        } else {
            self.pick(MODES)
        }
    }

    fn change(&mut self, slot: u8) -> Op {
        let mode = match self.rng.random_range(0..100) {
            0..45 => None,
            45..95 => Some(self.some_mode()),
            _ => Some(self.pick(&[3, 0x100])),
        };
        let flags = match self.rng.random_range(0..100) {
            0..40 => None,
            40..70 => Some(0),
            70..95 => Some(self.rng.random_range(1..3)),
            _ => Some(self.pick(&[3, 8])),
        };
        if mode.is_none_or(|m| m < 3) && flags.is_none_or(|f| f < 3) {
            self.mode = mode.unwrap_or(self.mode);
        }
        Op::Change { slot, mode, flags }
    }

    fn add_addr(&mut self, slot: u8) -> Op {
        let ip = self.ip();
        let prefix = match (ip.v6, self.chance(85)) {
            (false, true) => 24,
            (false, false) => 32,
            (true, true) => 64,
            (true, false) => 128,
        };
        let taken = self
            .slaves
            .iter()
            .any(|s| s.addrs.iter().any(|(other, _)| *other == ip));
        if !taken {
            if let Some(s) = self.belief(slot) {
                s.addrs.push((ip, prefix));
            }
        }
        Op::AddAddr { slot, ip, prefix }
    }

    fn del_addr(&mut self, slot: u8) -> Op {
        let known = self.belief(slot).and_then(|s| s.addrs.pop());
        let (ip, prefix) = match known {
            Some(known) => known,
            None => (self.ip(), 24),
        };
        Op::DelAddr { slot, ip, prefix }
    }

    /// Somebody's address, most often a slave's.
    fn somebody(&mut self, v6: bool) -> Ip {
        let known: Vec<Ip> = self
            .slaves
            .iter()
            .flat_map(|s| s.addrs.iter().map(|(ip, _)| *ip))
            .filter(|ip| ip.v6 == v6)
            .collect();
        if !known.is_empty() && self.chance(70) {
            return self.pick(&known);
        }
        let host = self.pick(&[MASTER, 2, 11, 12, 13, 14, 15, 16, 17, 18, EXTERNAL, NOBODY]);
        Ip { v6, host }
    }

    fn probe(&mut self) -> Probe {
        let up: Vec<u8> = self
            .slaves
            .iter()
            .filter(|s| s.up)
            .map(|s| s.slot)
            .collect();
        let from = if up.is_empty() || self.chance(45) {
            From::Wire
        } else {
            From::Slave(if self.chance(92) {
                self.pick(&up)
            } else {
                self.slot()
            })
        };
        let v6 = self.chance(50);
        let own = match from {
            From::Wire => self.chance(15),
            From::Slave(_) => self.chance(93),
        };
        let shape = match self.rng.random_range(0..100) {
            0..40 => Shape::Udp {
                src: self.somebody(v6),
                dst: self.somebody(v6),
                to: match self.rng.random_range(0..10) {
                    0..7 => To::Master,
                    7..9 => To::Wire,
                    _ => To::Nobody,
                },
            },
            40..50 => Shape::Broadcast {
                src: self.somebody(false).host,
            },
            50..65 => Shape::Group {
                src: self.somebody(v6),
                group: self.rng.random_range(0..6),
            },
            65..79 => Shape::ArpRequest {
                sender: if self.chance(15) {
                    0
                } else {
                    self.somebody(false).host
                },
                target: self.somebody(false).host,
            },
            79..84 => Shape::ArpReply {
                sender: self.somebody(false).host,
                target: self.somebody(false).host,
            },
            84..93 => Shape::Solicit {
                src: self.somebody(true).host,
                target: self.somebody(true).host,
            },
            _ => Shape::Dad {
                target: self.somebody(true).host,
            },
        };
        Probe { from, own, shape }
    }
}
