// SPDX-License-Identifier: GPL-2.0
//! What sockets see: large sends that no driver may cut up, a TCP stream, request and response.

use super::control::timed;
use super::net::{inside, outside, Net, Pair, Peer, L2, L3};
use super::unicast::Witness;
use super::Bench;
use crate::netns::Netns;
use crate::nl::Via;
use crate::packet::set;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// UDP_SEGMENT of linux/udp.h.
const UDP_SEGMENT: i32 = 103;
const SEGMENT: usize = 1400;
/// Segments of one send, nearly 64 KiB.
const SEGMENTS: usize = 44;
/// Sends of a round, and before the first: the page allocator has its own to do until large buffers come back to it.
const SENDS: u64 = 20;
const WARM: u64 = 200;

/// A socket whose sends are cut into segments by who must, the master's card at best.
fn segmenting(ns: &Netns, from: IpAddr, to: IpAddr) -> Result<UdpSocket> {
    ns.enter(|| {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
        set(&socket, libc::SOL_UDP, UDP_SEGMENT, SEGMENT as i32)?;
        socket.connect(SocketAddr::new(to, 9))?;
        Ok(socket)
    })
}

/// From the networks' slaves, or their masters, to the wire in one piece: the witness has each send as one packet.
pub fn bulk(b: &mut Bench<'_>, mode: &str, nets: &[Net]) -> Result<()> {
    for (six, family) in [(false, "v4"), (true, "v6")] {
        let row = format!("tx {mode} {family} gso");
        if !b.wants(&row) {
            continue;
        }
        let gateway: IpAddr = match six {
            false => [10, 1, 0, 254].into(),
            true => "fd01::fe".parse()?,
        };
        let (whole, network) = if six { (128, 64) } else { (32, 16) };
        let mut sockets = Vec::new();
        // Both ways into the bare master are one to a socket.
        for net in nets.iter().filter(|n| n.peer != Peer::Bare) {
            let (ns, link, from) = match net.slaves.first() {
                Some(slave) => (&net.inside, slave, inside(six, 0)),
                None => (&net.host, &net.master, master_ip(six)),
            };
            let nl = ns.nl();
            if ns.fd() == net.inside.fd() {
                nl.add_addr(link.index, from, whole)?;
                nl.add_route(gateway, whole, Via::Link(link.index))?;
                nl.add_route(outside(six, 0), network, Via::Gateway(gateway))?;
            }
            nl.add_neigh(link.index, gateway, [2, 0, 0, 0, 0, 9])?;
            let name = match net.peer {
                Peer::BareQueue => Peer::Bare.name(),
                peer => peer.name(),
            };
            let socket = segmenting(ns, from, outside(six, 1)).context(name)?;
            sockets.push((name, socket, Witness::sent(&net.host)));
        }
        let bytes = vec![0x5a; SEGMENT * SEGMENTS];
        let mut costs = vec![Vec::new(); sockets.len()];
        for (_, socket, _) in &sockets {
            for _ in 0..WARM {
                socket.send(&bytes)?;
            }
        }
        for _ in 0..b.rounds {
            for ((name, socket, witness), costs) in sockets.iter().zip(&mut costs) {
                let before = witness.count()?;
                let cost = timed(|| {
                    for _ in 0..SENDS {
                        socket.send(&bytes)?;
                    }
                    Ok(())
                })?;
                witness.check(before, SENDS).context(*name)?;
                costs.push(cost / SENDS as f64);
            }
        }
        for ((name, ..), costs) in sockets.iter().zip(&costs) {
            b.report(&row, 1, name, "per send of 60 KiB", costs);
        }
    }
    Ok(())
}

fn master_ip(six: bool) -> IpAddr {
    if six {
        "fd01::1".parse().expect("an address")
    } else {
        [10, 1, 0, 1].into()
    }
}

/// A TCP connection from the pair's first end to its second.
fn connected(pair: &Pair) -> Result<(TcpStream, TcpStream)> {
    let at = SocketAddr::new(inside(false, 1), 5001);
    let listener = pair.b.0.enter(|| Ok(TcpListener::bind(at)?))?;
    let from = pair.a.0.enter(|| Ok(TcpStream::connect(at)?))?;
    let (to, _) = listener.accept()?;
    for socket in [&from, &to] {
        socket.set_nodelay(true)?;
    }
    Ok((from, to))
}

const CHUNK: usize = 64 << 10;

/// Time to take `chunks` of 64 KiB from one end to the other.
fn pour(from: &mut TcpStream, to: &mut TcpStream, chunks: usize) -> Result<f64> {
    timed(|| {
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || -> Result<()> {
                let mut buffer = vec![0; CHUNK];
                (0..chunks).try_for_each(|_| Ok(to.read_exact(&mut buffer)?))
            });
            let buffer = vec![0x5a; CHUNK];
            for _ in 0..chunks {
                from.write_all(&buffer)?;
            }
            reader.join().map_err(|_| anyhow::anyhow!("the reader"))?
        })
    })
}

/// Time for `count` single bytes there and back.
fn bounce(from: &mut TcpStream, to: &mut TcpStream, count: usize) -> Result<f64> {
    timed(|| {
        std::thread::scope(|scope| {
            let server = scope.spawn(move || -> Result<()> {
                let mut byte = [0];
                for _ in 0..count {
                    to.read_exact(&mut byte)?;
                    to.write_all(&byte)?;
                }
                Ok(())
            });
            let mut byte = [7];
            for _ in 0..count {
                from.write_all(&byte)?;
                from.read_exact(&mut byte)?;
            }
            server.join().map_err(|_| anyhow::anyhow!("the server"))?
        })
    })
}

/// TCP between two namespaces.
pub fn tcp(b: &mut Bench<'_>) -> Result<()> {
    let (chunks, bounces) = if b.full() { (200, 500) } else { (50, 200) };
    for (mode, name) in [(L2, "l2"), (L3, "l3")] {
        let rows = [format!("tcp stream {name}"), format!("tcp request {name}")];
        if !rows.iter().any(|r| b.wants(r)) {
            continue;
        }
        let mut ends = Vec::new();
        for peer in Peer::paired(mode) {
            let pair = Pair::new(peer, mode, false).context(peer.name())?;
            let sockets = connected(&pair).context(peer.name())?;
            ends.push((peer, sockets, pair));
        }
        let mut costs = vec![(Vec::new(), Vec::new()); ends.len()];
        // The first round leaves windows open and neighbours known.
        for round in 0..=b.rounds {
            for ((peer, (from, to), _), costs) in ends.iter_mut().zip(&mut costs) {
                let stream = pour(from, to, chunks).context(peer.name())?;
                let request = bounce(from, to, bounces).context(peer.name())?;
                if round > 0 {
                    costs.0.push(stream / chunks as f64);
                    costs.1.push(request / bounces as f64);
                }
            }
        }
        for ((peer, ..), costs) in ends.iter().zip(&costs) {
            b.report(&rows[0], 1, peer.name(), "per 64 KiB", &costs.0);
            b.report(&rows[1], 1, peer.name(), "per request", &costs.1);
        }
    }
    Ok(())
}
