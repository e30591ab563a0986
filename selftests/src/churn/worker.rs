// SPDX-License-Identifier: GPL-2.0
//! One thread of the churn: what it does follows from its seed, and what comes of it from what the others do meanwhile.

use super::traffic::Space;
use super::Tally;
use crate::frames::Mac;
use crate::lan::{Mode, PRIVATE, VEPA};
use crate::modules;
use crate::netns::Netns;
use crate::nl::{granted, AddrSpec, Answer, LinkSpec, VethEnd, QUEUE_BYTES};
use anyhow::{ensure, Result};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;
use std::fmt::Display;
use std::fs::File;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Namespaces of each worker that slaves live in.
pub const SPACES: usize = 3;
/// Slaves of each worker, at most.
const SLOTS: usize = 6;
/// Addresses that all fight for.
pub const POOL: u8 = 40;
/// MACs that a master gets, one or the other.
pub const MACS: u8 = 3;

/// What there is to do, and what it may be refused with when others take away at the same time what it is about; with
/// anything else it must not.
pub const OPERATIONS: [(&str, &[i32]); 15] = [
    // The master moves or goes; the name is taken; the master is another's; the module is out.
    (
        "create",
        &[libc::ENODEV, libc::EEXIST, libc::EBUSY, libc::EOPNOTSUPP],
    ),
    ("delete", GONE),
    // Another slave has it, or this one; one that is down has no IPv6.
    (
        "add an address",
        &[
            libc::ENODEV,
            libc::EADDRINUSE,
            libc::EEXIST,
            libc::ENETDOWN,
            libc::EINVAL,
        ],
    ),
    // The kernel has taken it away: the link went down, or its MTU below IPv6's.
    ("delete an address", &[libc::ENODEV, libc::EADDRNOTAVAIL]),
    ("up or down", GONE),
    ("change mode or flags", &[libc::ENODEV, libc::EOPNOTSUPP]),
    // Above the master's.
    ("MTU of a slave", &[libc::ENODEV, libc::EINVAL]),
    ("listen to all", GONE),
    ("MTU of a master", &[]),
    ("MAC of a master", &[]),
    ("create a master", &[libc::EEXIST]),
    ("delete a master", GONE),
    ("move a master", &[libc::ENODEV, libc::EEXIST]),
    ("end a namespace", &[]),
    // Held by a creation that is under way.
    ("unload and load", &[libc::EAGAIN]),
];
const GONE: &[i32] = &[libc::ENODEV];

/// Where the masters are that all workers share.
pub struct Shared {
    pub host: File,
    pub master: u32,
}

pub struct Worker {
    rng: XorShiftRng,
    number: usize,
    kind: &'static str,
    /// The shared masters' namespaces, then the worker's own.
    hosts: Vec<(Netns, u32)>,
    own: Netns,
    spaces: Vec<Netns>,
    /// The same, for the threads that send.
    seen: Vec<Arc<Space>>,
    reload: Arc<Mutex<u64>>,
    pub tally: Tally,
}

/// The `n`th address of the pool, in either family.
pub fn pool(n: u8, v6: bool) -> IpAddr {
    match v6 {
        false => [10, 1, 0, 20 + n].into(),
        true => [0xfd01, 0, 0, 0, 0, 0, 0, 0x20 + u16::from(n)].into(),
    }
}

/// One of the MACs that a master gets.
pub fn mac(n: u8) -> Mac {
    [2, 0, 0, 0, 9, n]
}

impl Worker {
    pub fn new(
        number: usize,
        seed: u64,
        kind: &'static str,
        shared: &[Shared],
        seen: Vec<Arc<Space>>,
        reload: Arc<Mutex<u64>>,
    ) -> Result<Worker> {
        let mut hosts = Vec::new();
        for shared in shared {
            hosts.push((Netns::at(shared.host.try_clone()?)?, shared.master));
        }
        let mut worker = Worker {
            rng: XorShiftRng::seed_from_u64(seed ^ ((number as u64) << 32)),
            number,
            kind,
            hosts,
            own: Netns::new()?,
            spaces: Vec::new(),
            seen,
            reload,
            tally: Tally::default(),
        };
        for n in 0..SPACES {
            worker.spaces.push(Netns::new()?);
            worker.seen[n].show(&worker.spaces[n])?;
        }
        Ok(worker)
    }

    fn note(&mut self, op: &'static str, answer: Answer) -> Result<()> {
        match answer {
            Ok(_) => *self.tally.done.entry(op).or_default() += 1,
            Err(refusal) => self.refused(op, refusal.errno, &refusal)?,
        }
        Ok(())
    }

    fn refused(&mut self, op: &'static str, errno: i32, why: &dyn Display) -> Result<()> {
        let known = OPERATIONS.iter().find(|(known, _)| *known == op);
        ensure!(
            known.is_some_and(|(_, errnos)| errnos.contains(&errno)),
            "{op} was refused: {why}"
        );
        *self.tally.refused.entry((op, errno)).or_default() += 1;
        Ok(())
    }

    fn done(&mut self, op: &'static str) {
        *self.tally.done.entry(op).or_default() += 1;
    }

    /// One operation.
    pub fn step(&mut self) -> Result<()> {
        let (space, slot) = (
            self.rng.random_range(0..SPACES),
            self.rng.random_range(0..SLOTS),
        );
        match self.rng.random_range(0..1000) {
            0..220 => self.create(space, slot),
            220..320 => self.on_slave(space, slot, "delete", |_, ns, index| {
                ns.nl().try_del_link(index)
            }),
            320..520 => self.on_slave(space, slot, "add an address", add_address),
            520..600 => self.delete_address(space, slot),
            600..700 => self.on_slave(space, slot, "up or down", |rng, ns, index| {
                let up = rng.random_range(0..4) > 0;
                ns.nl()
                    .set_link(index, |l| if up { l.up() } else { l.down() })
            }),
            700..760 => {
                let kind = self.kind;
                self.on_slave(
                    space,
                    slot,
                    "change mode or flags",
                    move |rng, ns, index| {
                        let mut spec = LinkSpec::new(kind, "");
                        match rng.random_range(0..3) {
                            0 => spec.mode = Some(some_mode(rng) as u16),
                            1 => spec.flags = [0, PRIVATE, VEPA].choose(rng).copied(),
                            _ => {
                                let bytes: u32 = rng.random_range(262144..16 << 20);
                                spec.data = vec![(QUEUE_BYTES, bytes.to_ne_bytes().to_vec())];
                            }
                        }
                        ns.nl().change_link(index, &spec)
                    },
                )
            }
            760..810 => self.on_slave(space, slot, "MTU of a slave", |rng, ns, index| {
                ns.nl().try_set_mtu(index, rng.random_range(600..1501))
            }),
            810..850 => self.on_slave(space, slot, "listen to all", |rng, ns, index| {
                let (on, which) = (rng.random(), rng.random());
                ns.nl().set_link(index, |l| match which {
                    true => l.promiscuous(on),
                    false => l.allmulticast(on),
                })
            }),
            850..880 => self.on_master("MTU of a master", |rng, ns, index| {
                ns.nl().try_set_mtu(index, rng.random_range(1280..1501))
            }),
            880..910 => self.on_master("MAC of a master", |rng, ns, index| {
                let mac = mac(rng.random_range(0..MACS));
                // The veth that a dummy master is joined to the wire by.
                if let Some(joint) = ns.nl().find_link("w0")? {
                    granted(ns.nl().try_set_mac(joint.index, mac)?)?;
                }
                ns.nl().try_set_mac(index, mac)
            }),
            910..950 => self.make_master(),
            950..980 => {
                // What lives in it dies with it, in the background.
                self.spaces[space] = Netns::new()?;
                self.seen[space].show(&self.spaces[space])?;
                self.done("end a namespace");
                Ok(())
            }
            980..995 => self.move_master(),
            _ => self.reload(),
        }
    }

    fn slave(&self, slot: usize) -> String {
        format!("s{}x{slot}", self.number)
    }

    /// A request about a slave of a namespace, if there is one.
    fn on_slave(
        &mut self,
        space: usize,
        slot: usize,
        op: &'static str,
        f: impl FnOnce(&mut XorShiftRng, &Netns, u32) -> Result<Answer>,
    ) -> Result<()> {
        let Some((ns, index)) = self.some_slave(space, slot)? else {
            return self.create(space, slot);
        };
        let answer = f(&mut self.rng, &ns, index)?;
        self.note(op, answer)
    }

    /// That slave of a namespace, or the next that there is.
    fn some_slave(&self, space: usize, slot: usize) -> Result<Option<(Netns, u32)>> {
        let ns = &self.spaces[space];
        for n in 0..SLOTS {
            if let Some(link) = ns.nl().find_link(&self.slave((slot + n) % SLOTS))? {
                return Ok(Some((ns.clone(), link.index)));
            }
        }
        Ok(None)
    }

    /// One of those that a slave has; one that has none gets one.
    fn delete_address(&mut self, space: usize, slot: usize) -> Result<()> {
        let Some((ns, index)) = self.some_slave(space, slot)? else {
            return self.create(space, slot);
        };
        let Some(a) = ns.nl().addrs(index)?.choose(&mut self.rng).cloned() else {
            let answer = add_address(&mut self.rng, &ns, index)?;
            return self.note("add an address", answer);
        };
        let answer = ns
            .nl()
            .try_del_addr(&AddrSpec::new(index, a.ip, a.prefix))?;
        self.note("delete an address", answer)
    }

    fn on_master(
        &mut self,
        op: &'static str,
        f: impl FnOnce(&mut XorShiftRng, &Netns, u32) -> Result<Answer>,
    ) -> Result<()> {
        let (ns, index) = self.hosts.choose(&mut self.rng).cloned().expect("two");
        let answer = f(&mut self.rng, &ns, index)?;
        self.note(op, answer)
    }

    /// A slave of a shared master, or of one of the worker's own.
    fn create(&mut self, space: usize, slot: usize) -> Result<()> {
        let (mut host, mut master) = self.hosts.choose(&mut self.rng).cloned().expect("two");
        if self.rng.random_range(0..4) == 0 {
            host = self.own.clone();
            let name = *["m0", "m1"].choose(&mut self.rng).expect("two");
            match host.nl().find_link(name)? {
                Some(link) => master = link.index,
                None => return self.make_master(),
            }
        }
        let spec = LinkSpec {
            ns: Some(self.spaces[space].fd()),
            link: Some(master),
            mode: (self.rng.random_range(0..3) > 0).then(|| some_mode(&mut self.rng) as u16),
            up: self.rng.random_range(0..8) > 0,
            ..LinkSpec::new(self.kind, &self.slave(slot))
        };
        let answer = host.nl().try_add_link(&spec)?;
        if matches!(&answer, Err(refusal) if refusal.errno == libc::EOPNOTSUPP) {
            // The module is out: whoever unloaded it loads it again before this lock is free.
            drop(self.reload.lock());
        }
        self.note("create", answer)
    }

    /// One of the worker's own masters goes with its slaves, and comes again.
    fn make_master(&mut self) -> Result<()> {
        let dummy = self.rng.random();
        let name = if dummy { "m0" } else { "m1" };
        let nl = self.own.nl();
        if let Some(link) = nl.find_link(name)? {
            let answer = nl.try_del_link(link.index)?;
            self.note("delete a master", answer)?;
        }
        let spec = match dummy {
            true => LinkSpec::new("dummy", name),
            false => LinkSpec {
                peer: Some(VethEnd {
                    name: "e1".into(),
                    ns: self.own.fd(),
                    mtu: 1500,
                }),
                ..LinkSpec::new("veth", name)
            },
        };
        let answer = self.own.nl().try_add_link(&LinkSpec { up: true, ..spec })?;
        self.note("create a master", answer)
    }

    /// A master moves to the namespace of one of its slaves, or back.
    fn move_master(&mut self) -> Result<()> {
        let space = self.rng.random_range(0..SPACES);
        let (from, to) = match self.rng.random() {
            true => (self.own.clone(), self.spaces[space].clone()),
            false => (self.spaces[space].clone(), self.own.clone()),
        };
        match from.nl().find_link("m0")? {
            Some(link) => {
                let answer = from.nl().set_link(link.index, |l| l.setns_by_fd(to.fd()))?;
                self.note("move a master", answer)
            }
            None => self.make_master(),
        }
    }

    /// Unloads the module, with all its slaves, and loads it again. One at a time: loading waits for nobody.
    fn reload(&mut self) -> Result<()> {
        let reload = self.reload.clone();
        let mut count = reload.lock().unwrap();
        // A creation that is under way holds it.
        let unloaded = modules::unload(self.kind);
        modules::load(self.kind)?;
        match unloaded {
            Ok(()) => {
                *count += 1;
                self.done("unload and load");
                Ok(())
            }
            Err(e) => {
                let errno = e
                    .downcast_ref::<std::io::Error>()
                    .and_then(std::io::Error::raw_os_error);
                self.refused("unload and load", errno.unwrap_or(0), &e)
            }
        }
    }
}

fn some_mode(rng: &mut XorShiftRng) -> Mode {
    *[Mode::L2, Mode::L3, Mode::L3s].choose(rng).expect("three")
}

/// One of the pool's.
fn add_address(rng: &mut XorShiftRng, ns: &Netns, index: u32) -> Result<Answer> {
    let v6 = rng.random();
    let ip = pool(rng.random_range(0..POOL), v6);
    let prefix = if v6 { 64 } else { 24 };
    ns.nl().try_add_addr(&AddrSpec::new(index, ip, prefix))
}
