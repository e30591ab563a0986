// SPDX-License-Identifier: GPL-2.0
//! Ping: one echo request, one reply, contents compared. Nothing is sent twice, so nothing lost stays unseen.

use crate::netns::Netns;
use crate::wait::patience;
use anyhow::{bail, Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

static NEXT: AtomicU16 = AtomicU16::new(1);

/// How a ping ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Pong {
    Reply,
    /// The send was refused.
    Refused(i32),
    Silence,
}

/// Sends one echo request of `size` payload bytes from `ns` and waits for its reply up to `patience`.
pub async fn try_ping(
    ns: &Netns,
    from: Option<IpAddr>,
    to: IpAddr,
    size: usize,
    patience: Duration,
) -> Result<Pong> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    // An ICMP datagram socket: the kernel keeps the identifier, and replies to others do not reach us.
    let socket = ns.enter(|| {
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol)).context("ping socket")?;
        socket.set_nonblocking(true)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        Ok(socket)
    })?;
    let sequence = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut request = vec![if to.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0];
    request.extend_from_slice(&sequence.to_be_bytes());
    request.extend((0..size).map(|i| (i as u8) ^ (sequence as u8)));
    if let Err(e) = socket.send_to(&request, &SockAddr::from(SocketAddr::new(to, 0))) {
        return Ok(Pong::Refused(e.raw_os_error().unwrap_or(0)));
    }
    // SAFETY: a Socket keeps its one descriptor open until it is dropped.
    let socket = unsafe { AsyncFd::register(socket) }?;
    let reply = async {
        let mut buffer = vec![0u8; 65536];
        loop {
            let mut ready = socket.readable().await?;
            use std::io::Read;
            match socket.get_ref().read(&mut buffer) {
                Ok(n) => {
                    let reply = &buffer[..n];
                    if reply.len() >= 8 && reply[6..8] == sequence.to_be_bytes() {
                        anyhow::ensure!(
                            reply[0] == if to.is_ipv4() { 0 } else { 129 },
                            "not an echo reply"
                        );
                        anyhow::ensure!(
                            reply[8..] == request[8..],
                            "the echo reply's payload differs"
                        );
                        return Ok(Pong::Reply);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                Err(e) => return Ok(Pong::Refused(e.raw_os_error().unwrap_or(0))),
            }
        }
    };
    match tokio::time::timeout(patience, reply).await {
        Ok(pong) => pong,
        Err(_) => Ok(Pong::Silence),
    }
}

/// A ping that must be answered.
pub async fn ping(ns: &Netns, to: impl Into<IpAddr>) -> Result<()> {
    ping_sized(ns, to, 56).await
}

/// A ping of a given payload that must be answered.
pub async fn ping_sized(ns: &Netns, to: impl Into<IpAddr>, size: usize) -> Result<()> {
    let to = to.into();
    match try_ping(ns, None, to, size, patience()).await? {
        Pong::Reply => Ok(()),
        other => bail!("ping {to} with {size} bytes: {other:?}"),
    }
}
