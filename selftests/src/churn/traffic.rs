// SPDX-License-Identifier: GPL-2.0
//! The packets that pass while everything changes.

use super::worker::{mac, pool, Space, MACS, POOL};
use crate::frames;
use crate::lan::Lan;
use crate::packet;
use anyhow::{Context, Result};
use nix::sched::{setns, CloneFlags};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PORT: u16 = 4000;
/// What a datagram from the wire begins with, and one from a slave's namespace, whose number follows.
const WIRE: u8 = 1;
const SLAVE: u8 = 2;
/// Frames that are sent without a rest.
const BURST: usize = 10;

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
fn receiver() -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((IpAddr::from([0u16; 8]), PORT))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Threads that send until the value is dropped.
pub struct Traffic {
    pub passed: Arc<Passed>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(lans: &[Lan], spaces: Vec<Space>) -> Result<Traffic> {
        let mut traffic = Traffic {
            passed: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for lan in lans {
            let (stop, passed, file) = (
                traffic.stop.clone(),
                traffic.passed.clone(),
                lan.ext.file()?,
            );
            let (index, frames) = (lan.wire, from_wire(lan));
            traffic.threads.push(std::thread::spawn(move || {
                let socket = setns(&file, CloneFlags::CLONE_NEWNET)
                    .context("setns")
                    .and_then(|()| packet::raw_socket(index))
                    .expect("a socket on the wire");
                let receiver = receiver().expect("a socket beside it");
                for burst in frames.chunks(BURST).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let begin = Instant::now();
                    for frame in burst {
                        // SAFETY: the buffer is valid for its length.
                        let rc = unsafe {
                            libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0)
                        };
                        count(&passed.from_wire, rc > 0);
                    }
                    rest(begin);
                    passed.receive(&receiver, None);
                }
            }));
        }
        let (stop, passed) = (traffic.stop.clone(), traffic.passed.clone());
        traffic.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for (number, space) in (0..).zip(&spaces) {
                    let begin = Instant::now();
                    let file = space.lock().unwrap().as_ref().map(|f| f.try_clone());
                    if let Some(Ok(file)) = file {
                        if setns(&file, CloneFlags::CLONE_NEWNET).is_ok() {
                            drop(file);
                            let receiver = receiver().expect("a socket of a namespace");
                            let _ = from_slaves(&passed, number);
                            // Others have as long to send to it.
                            rest(begin);
                            passed.receive(&receiver, Some(number));
                        }
                    }
                    rest(begin);
                }
            }
        }));
        Ok(traffic)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// To addresses of the pool by each MAC that the master may have, to all, to a group, and questions for addresses.
fn from_wire(lan: &Lan) -> Vec<Vec<u8>> {
    let mut frames = vec![
        frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[7; 600]),
        frames::ethernet(lan.wire_mac, [0x33, 0x33, 0, 0, 0, 1], 0x88b5, &[7; 60]),
    ];
    for n in 0..POOL {
        for v6 in [false, true] {
            let from: IpAddr = if v6 {
                crate::lan::EXT_V6.into()
            } else {
                crate::lan::EXT_V4.into()
            };
            let (to, ports, text) = (pool(n, v6), (5, PORT), [WIRE; 100]);
            for mac in (0..MACS).map(mac).chain([lan.mac]) {
                frames.push(frames::udp(lan.wire_mac, mac, from, to, ports, &text));
            }
        }
        if let IpAddr::V4(target) = pool(n, false) {
            let sender = (lan.wire_mac, crate::lan::EXT_V4);
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

/// From the calling thread's namespace, by its own routes, to siblings, the wire, all and a group. What it would send to
/// itself, by the loopback, it does not.
fn from_slaves(passed: &Passed, number: u8) -> std::io::Result<()> {
    let mut text = [SLAVE; 100];
    text[1] = number;
    for v6 in [false, true] {
        let any: IpAddr = if v6 {
            [0u16; 8].into()
        } else {
            [0u8; 4].into()
        };
        let sender = UdpSocket::bind((any, 0))?;
        sender.set_nonblocking(true)?;
        let _ = sender.set_broadcast(true);
        let mut to: Vec<SocketAddr> = (0..POOL).map(|n| (pool(n, v6), PORT).into()).collect();
        match v6 {
            false => to.extend::<[SocketAddr; 3]>([
                (crate::lan::EXT_V4, PORT).into(),
                ([10, 1, 0, 255], PORT).into(),
                ([239, 1, 2, 3], PORT).into(),
            ]),
            true => to.push((crate::lan::EXT_V6, PORT).into()),
        }
        for to in to {
            // Looks the route up; to an address of the namespace's own it leads from that address.
            let routed = sender.connect(to).and_then(|()| sender.local_addr());
            if routed.is_ok_and(|from| from.ip() != to.ip()) {
                count(&passed.from_slaves, sender.send(&text).is_ok());
            }
        }
    }
    Ok(())
}
