// SPDX-License-Identifier: GPL-2.0
//! The packets that pass while everything changes: anywhere, and to addresses that slaves have at the time.

use super::worker::{mac, pool, MACS, POOL};
use crate::frames::{self, Mac};
use crate::lan::{Lan, EXT_V4, EXT_V6};
use crate::netns::Netns;
use crate::nl::{flags, Nl};
use crate::packet;
use anyhow::{Context, Result};
use nix::sched::{setns, CloneFlags};
use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PORT: u16 = 4000;
/// What a datagram from the wire begins with, and one from a slave's namespace, whose number follows.
const WIRE: u8 = 1;
const SLAVE: u8 = 2;
/// Frames that the wire sends anywhere before it rests, and before them to slaves.
const ANYWHERE: usize = 10;
const TO_SLAVES: usize = 20;

/// How often a namespace sends to all whom it knows before the next one's turn.
const ROUNDS: usize = 16;
/// Namespaces of slaves that a thread sends from.
const SENDS_FOR: usize = 3;

/// Rests for longer than the work took, which includes the kernel's with the packets: who changes things must have his
/// turn on a slow guest too.
fn rest(begin: Instant) {
    std::thread::sleep(begin.elapsed() * 3 + Duration::from_millis(1));
}

/// What passed.
#[derive(Default)]
pub struct Passed {
    /// Frames that the wire sent.
    pub from_wire: AtomicU64,
    /// Datagrams that slaves' namespaces sent.
    pub from_slaves: AtomicU64,
    /// Datagrams of theirs that a socket on the wire got.
    pub at_wire: AtomicU64,
    /// Datagrams of the wire that sockets in slaves' namespaces got.
    pub at_slaves: AtomicU64,
    /// Datagrams of other slaves' namespaces that sockets there got.
    pub at_siblings: AtomicU64,
}

fn count(what: &AtomicU64, it_is: bool) {
    what.fetch_add(u64::from(it_is), Ordering::Relaxed);
}

impl Passed {
    /// Sorts what has come to a [`receiver`] in namespace `own` of the slaves', or on the wire. What a namespace sent to
    /// all comes back to it by its loopback, and does not count.
    fn receive(&self, receiver: &UdpSocket, own: Option<u8>) {
        let mut buffer = [0; 256];
        while let Ok(length) = receiver.recv(&mut buffer) {
            match (&buffer[..length], own) {
                ([WIRE, ..], Some(_)) => count(&self.at_slaves, true),
                ([SLAVE, from, ..], Some(own)) => count(&self.at_siblings, *from != own),
                ([SLAVE, ..], None) => count(&self.at_wire, true),
                _ => (),
            }
        }
    }
}

/// A socket of the calling thread's namespace that gets what is sent to [`PORT`] in either family.
fn receiver() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((IpAddr::from([0u16; 8]), PORT)).context("a receiving socket")?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// An address of a slave that is up, and the slave's MAC.
type Place = (IpAddr, Mac);

/// Where packets come from and go to: a namespace of slaves, until a worker ends it and puts another in its place.
pub struct Space {
    number: u8,
    passed: Arc<Passed>,
    now: Mutex<Option<Now>>,
}

/// The namespace of a [`Space`] as it is now.
struct Now {
    file: File,
    /// As old as the namespace, so that it gets what arrives at any time.
    receiver: UdpSocket,
    /// As a thread that sends saw them last.
    places: Vec<Place>,
}

impl Space {
    /// A new namespace takes the old one's place, of which this keeps nothing that would keep it alive.
    pub fn show(&self, ns: &Netns) -> Result<()> {
        let new = Now {
            file: ns.file()?,
            receiver: ns.enter(receiver)?,
            places: Vec::new(),
        };
        self.receive();
        *self.now.lock().unwrap() = Some(new);
        Ok(())
    }

    fn receive(&self) {
        if let Some(now) = &*self.now.lock().unwrap() {
            self.passed.receive(&now.receiver, Some(self.number));
        }
    }

    /// Takes the calling thread to the namespace, if there is one yet.
    fn enter(&self) -> Result<bool> {
        let file = match &*self.now.lock().unwrap() {
            Some(now) => now.file.try_clone()?,
            None => return Ok(false),
        };
        setns(&file, CloneFlags::CLONE_NEWNET).context("setns")?;
        Ok(true)
    }

    fn places(&self) -> Vec<Place> {
        let now = self.now.lock().unwrap();
        now.as_ref().map_or(Vec::new(), |now| now.places.clone())
    }

    /// Looks where the namespace, which the calling thread is in, can be reached. If another has taken its place
    /// meanwhile, packets miss until the next look.
    fn look(&self) -> Result<()> {
        let nl = Nl::new()?;
        let links = nl.links(false)?;
        let up = |index| {
            let link = links.iter().find(|l| l.index == index);
            link.filter(|l| l.has(flags::UP)).map(|l| l.mac)
        };
        let addrs = nl.addrs(0)?.into_iter().filter(|a| in_pool(a.ip));
        let places = addrs.filter_map(|a| Some((a.ip, up(a.index)?))).collect();
        if let Some(now) = &mut *self.now.lock().unwrap() {
            now.places = places;
        }
        Ok(())
    }
}

fn in_pool(ip: IpAddr) -> bool {
    (0..POOL).any(|n| pool(n, ip.is_ipv6()) == ip)
}

/// Threads that send until the value is dropped.
pub struct Traffic {
    spaces: Vec<Arc<Space>>,
    passed: Arc<Passed>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Traffic {
    /// Among that many namespaces, which workers [show](Space::show), and on the networks' wires.
    pub fn start(lans: &[Lan], spaces: u8) -> Result<Traffic> {
        let passed = Arc::<Passed>::default();
        let space = |number| Space {
            number,
            passed: passed.clone(),
            now: Mutex::default(),
        };
        let mut traffic = Traffic {
            spaces: (0..spaces).map(|n| Arc::new(space(n))).collect(),
            passed: passed.clone(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for lan in lans {
            let wire = Wire {
                ns: lan.ext.file()?,
                index: lan.wire,
                mac: lan.wire_mac,
                anywhere: anywhere(lan),
                spaces: traffic.spaces.clone(),
                passed: passed.clone(),
            };
            let stop = traffic.stop.clone();
            let thread = std::thread::spawn(move || wire.send_until(&stop));
            traffic.threads.push(thread);
        }
        // Each waits for its turn to look as long as others change things.
        for own in traffic.spaces.chunks(SENDS_FOR) {
            let (own, all) = (own.to_vec(), traffic.spaces.clone());
            let stop = traffic.stop.clone();
            let thread = std::thread::spawn(move || send_until(&stop, &own, &all));
            traffic.threads.push(thread);
        }
        Ok(traffic)
    }

    /// The namespaces, `count` of them, of the `nth` worker.
    pub fn spaces(&self, nth: usize, count: usize) -> Vec<Arc<Space>> {
        self.spaces[nth * count..][..count].to_vec()
    }

    /// Ends it: what passed. None of the threads may have given up before.
    pub fn end(mut self) -> Result<Arc<Passed>> {
        for thread in self.stop() {
            let ended = thread.map_err(|_| anyhow::anyhow!("a thread that sends panicked"))?;
            ended.context("a thread that sends ended early")?;
        }
        for space in &self.spaces {
            space.receive();
        }
        Ok(self.passed.clone())
    }

    fn stop(&mut self) -> Vec<std::thread::Result<Result<()>>> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).map(JoinHandle::join).collect()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The far end of a network.
struct Wire {
    ns: File,
    index: u32,
    mac: Mac,
    anywhere: Vec<Vec<u8>>,
    spaces: Vec<Arc<Space>>,
    passed: Arc<Passed>,
}

impl Wire {
    /// By turns to slaves, of this network or not, and anywhere.
    fn send_until(self, stop: &AtomicBool) -> Result<()> {
        setns(&self.ns, CloneFlags::CLONE_NEWNET).context("setns")?;
        let (socket, receiver) = (packet::raw_socket(self.index)?, receiver()?);
        for (turn, burst) in self.anywhere.chunks(ANYWHERE).cycle().enumerate() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let begin = Instant::now();
            for frame in self.to_slaves(turn).iter().chain(burst) {
                // SAFETY: the buffer is valid for its length.
                let rc = unsafe {
                    libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0)
                };
                count(&self.passed.from_wire, rc > 0);
            }
            rest(begin);
            self.passed.receive(&receiver, None);
        }
        Ok(())
    }

    /// To the next of the addresses that slaves have.
    fn to_slaves(&self, turn: usize) -> Vec<Vec<u8>> {
        let places: Vec<_> = self.spaces.iter().flat_map(|s| s.places()).collect();
        let from = turn * TO_SLAVES % places.len().max(1);
        let some = places.iter().cycle().skip(from).take(TO_SLAVES);
        some.map(|(ip, mac)| datagram(self.mac, *mac, *ip))
            .collect()
    }
}

fn datagram(from: Mac, mac: Mac, to: IpAddr) -> Vec<u8> {
    let ip: IpAddr = match to {
        IpAddr::V4(_) => EXT_V4.into(),
        IpAddr::V6(_) => EXT_V6.into(),
    };
    frames::udp(from, mac, ip, to, (5, PORT), &[WIRE; 100])
}

/// To addresses of the pool by each MAC that the master may have, to all, to a group, and questions for addresses.
fn anywhere(lan: &Lan) -> Vec<Vec<u8>> {
    let mut frames = vec![
        frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[7; 600]),
        frames::ethernet(lan.wire_mac, [0x33, 0x33, 0, 0, 0, 1], 0x88b5, &[7; 60]),
    ];
    for n in 0..POOL {
        for v6 in [false, true] {
            let macs = (0..MACS).map(mac).chain([lan.mac]);
            frames.extend(macs.map(|mac| datagram(lan.wire_mac, mac, pool(n, v6))));
        }
        if let IpAddr::V4(target) = pool(n, false) {
            let sender = (lan.wire_mac, EXT_V4);
            let asked = ([0; 6], target);
            frames.push(frames::arp(
                lan.wire_mac,
                frames::BROADCAST,
                true,
                sender,
                asked,
            ));
        }
    }
    frames
}

/// From one after another of `own` namespaces of slaves.
fn send_until(stop: &AtomicBool, own: &[Arc<Space>], all: &[Arc<Space>]) -> Result<()> {
    for (turn, space) in own.iter().cycle().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let there = space.enter()?;
        if there {
            space.look()?;
        }
        // A look waits for who changes things, which is rest enough.
        let begin = Instant::now();
        if there {
            from_slaves(space, all, turn)?;
            space.receive();
        }
        rest(begin);
    }
    Ok(())
}

/// From the calling thread's namespace, by its own routes, to siblings, nobody, the wire, all and a group. What it would
/// send to itself, by the loopback, it does not.
fn from_slaves(space: &Space, spaces: &[Arc<Space>], turn: usize) -> Result<()> {
    let mut text = [SLAVE; 100];
    text[1] = space.number;
    let others = spaces.iter().filter(|s| s.number != space.number);
    let others: Vec<_> = others.flat_map(|s| s.places()).map(|(ip, _)| ip).collect();
    for v6 in [false, true] {
        let any: IpAddr = if v6 {
            [0u16; 8].into()
        } else {
            [0u8; 4].into()
        };
        let sender = UdpSocket::bind((any, 0))?;
        sender.set_nonblocking(true)?;
        sender.set_broadcast(true)?;
        let mut to: Vec<SocketAddr> =
            vec![(pool((turn % usize::from(POOL)) as u8, v6), PORT).into()];
        to.extend(
            others
                .iter()
                .filter(|ip| ip.is_ipv6() == v6)
                .map(|ip| SocketAddr::from((*ip, PORT))),
        );
        match v6 {
            false => to.extend::<[SocketAddr; 3]>([
                (EXT_V4, PORT).into(),
                ([10, 1, 0, 255], PORT).into(),
                ([239, 1, 2, 3], PORT).into(),
            ]),
            true => to.push((EXT_V6, PORT).into()),
        }
        for to in to.iter().cycle().take(ROUNDS * to.len()) {
            // Looks the route up; to an address of the namespace's own it leads from that address.
            let routed = sender.connect(to).and_then(|()| sender.local_addr());
            if routed.is_ok_and(|from| from.ip() != to.ip()) {
                count(&space.passed.from_slaves, sender.send(&text).is_ok());
            }
        }
    }
    Ok(())
}
