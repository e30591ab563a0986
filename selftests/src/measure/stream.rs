// SPDX-License-Identifier: GPL-2.0
//! What sockets see: large sends that no driver may cut up, a TCP stream, request and response.

use super::control::timed;
use super::net::{inside, outside, Net, Pair, Peer, L2, L3};
use super::unicast::Witness;
use super::Bench;
use crate::frames::udp;
use crate::vnet::Vnet;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// What a card would cut from one large frame, and its length.
const SEGMENT: u16 = 1400;
const LARGE: usize = 44 * SEGMENT as usize;
/// Sends of a round.
const SENDS: u64 = 50;

/// Large frames from the networks' slaves, or their masters, to the wire in one piece: the witness has each as one packet.
/// They come from a packet socket, whose own work is the same each time; a UDP socket's depends on what its pages are up to.
pub fn bulk(b: &mut Bench<'_>, mode: &str, nets: &[Net]) -> Result<()> {
    for (six, family) in [(false, "v4"), (true, "v6")] {
        let row = format!("tx {mode} {family} gso");
        if !b.wants(&row) {
            continue;
        }
        let to = [2, 0, 0, 0, 0, 9];
        let mut ends = Vec::new();
        // Both ways into the bare master are one to a socket.
        for net in nets.iter().filter(|n| n.peer != Peer::Bare) {
            let (ns, link, name) = match net.slaves.first() {
                Some(slave) => (&net.inside, slave, net.peer.name()),
                None => (&net.host, &net.master, Peer::Bare.name()),
            };
            let payload = vec![0x5a; LARGE];
            let frame = udp(
                link.mac,
                to,
                inside(six, 0),
                outside(six, 1),
                (9, 9),
                &payload,
            );
            let socket = Vnet::new(ns, link.index)?;
            ends.push((name, socket, frame, Witness::sent(&net.host)));
        }
        let start = if six { 14 + 40 } else { 14 + 20 };
        let mut costs = vec![Vec::new(); ends.len()];
        for round in 0..=b.rounds {
            for ((name, socket, frame, witness), costs) in ends.iter().zip(&mut costs) {
                let before = witness.count()?;
                let cost = timed(|| {
                    (0..SENDS).try_for_each(|_| socket.send_segmented(frame, start, SEGMENT))
                })?;
                witness.check(before, SENDS).context(*name)?;
                if round > 0 {
                    costs.push(cost / SENDS as f64);
                }
            }
        }
        for ((name, ..), costs) in ends.iter().zip(&costs) {
            b.report(&row, 1, name, "per send of 60 KiB", costs);
        }
    }
    Ok(())
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
