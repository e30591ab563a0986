// SPDX-License-Identifier: GPL-2.0
//! TCP and UDP between two namespaces, with contents that depend on the position, so that a lost, repeated, swapped or
//! changed byte is seen.

use crate::netns::Netns;
use crate::wait::patience;
use anyhow::{bail, ensure, Context, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a whole transfer may take.
const TRANSFER: Duration = Duration::from_secs(40);

/// The byte at a position of a stream.
fn pattern(seed: u64, position: usize) -> u8 {
    let x = (position as u64 / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ seed.wrapping_mul(0xd134_2543_de82_ef95);
    (x >> (position % 8 * 8)) as u8
}

fn fill(seed: u64, position: usize, buffer: &mut [u8]) {
    for (i, byte) in buffer.iter_mut().enumerate() {
        *byte = pattern(seed, position + i);
    }
}

/// A listener at `at` inside `ns`.
pub fn listen(ns: &Netns, at: SocketAddr) -> Result<TcpListener> {
    let listener = ns.enter(|| {
        let listener =
            std::net::TcpListener::bind(at).with_context(|| format!("listening at {at}"))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })?;
    Ok(TcpListener::from_std(listener)?)
}

/// Connects from `ns`.
pub async fn connect(ns: &Netns, to: SocketAddr) -> Result<TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = ns.enter(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e).context("connect"),
            _ => Ok(socket),
        }
    })?;
    let stream = TcpStream::from_std(socket.into())?;
    timeout(patience(), stream.writable())
        .await
        .with_context(|| format!("connecting to {to} takes too long"))??;
    if let Some(e) = stream.take_error()? {
        bail!("connecting to {to}: {e}");
    }
    Ok(stream)
}

async fn send(stream: &mut TcpStream, seed: u64, bytes: usize) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while at < bytes {
        let n = buffer.len().min(bytes - at);
        fill(seed, at, &mut buffer[..n]);
        stream.write_all(&buffer[..n]).await?;
        at += n;
    }
    stream.shutdown().await?;
    Ok(())
}

async fn receive(stream: &mut TcpStream, seed: u64, bytes: usize) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut expected = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            ensure!(at == bytes, "the stream ended after {at} of {bytes} bytes");
            return Ok(());
        }
        fill(seed, at, &mut expected[..n]);
        ensure!(
            buffer[..n] == expected[..n],
            "the stream's contents differ after {at} bytes"
        );
        at += n;
    }
}

/// One TCP connection from `client` to `server`'s address: `up` bytes to the server, then `down` bytes back.
pub async fn tcp(client: &Netns, server: &Netns, to: IpAddr, up: usize, down: usize) -> Result<()> {
    let listener = listen(server, SocketAddr::new(to, 0))?;
    let at = listener.local_addr()?;
    let both = async {
        let serve = async {
            let (mut stream, _) = listener.accept().await?;
            receive(&mut stream, 1, up).await.context("to the server")?;
            send(&mut stream, 2, down).await
        };
        let ask = async {
            let mut stream = connect(client, at).await?;
            send(&mut stream, 1, up).await?;
            receive(&mut stream, 2, down).await.context("to the client")
        };
        tokio::try_join!(serve, ask)
    };
    timeout(TRANSFER, both)
        .await
        .with_context(|| format!("TCP to {at} takes longer than {TRANSFER:?}"))??;
    Ok(())
}

/// A UDP socket in `ns`.
pub fn udp_socket(ns: &Netns, at: SocketAddr) -> Result<UdpSocket> {
    let socket = ns.enter(|| {
        let socket = std::net::UdpSocket::bind(at).with_context(|| format!("binding to {at}"))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    Ok(UdpSocket::from_std(socket)?)
}

/// Sends `count` datagrams of `size` bytes from `client` to `server`, each echoed before the next is sent: none may be
/// lost or changed.
pub async fn udp_echo(
    client: &Netns,
    server: &Netns,
    to: IpAddr,
    count: usize,
    size: usize,
) -> Result<()> {
    let there = udp_socket(server, SocketAddr::new(to, 0))?;
    let any: IpAddr = if to.is_ipv4() {
        [0; 4].into()
    } else {
        [0u8; 16].into()
    };
    let here = udp_socket(client, SocketAddr::new(any, 0))?;
    let target = there.local_addr()?;
    let mut buffer = vec![0; 65536];
    for i in 0..count {
        let mut datagram = vec![0; size];
        fill(i as u64 + 7, 0, &mut datagram);
        here.send_to(&datagram, target).await.context("sending")?;
        let (n, from) = timeout(patience(), there.recv_from(&mut buffer))
            .await
            .context("a datagram is lost")??;
        ensure!(buffer[..n] == datagram, "datagram {i} differs ({n} bytes)");
        there.send_to(&buffer[..n], from).await.context("echoing")?;
        let (n, _) = timeout(patience(), here.recv_from(&mut buffer))
            .await
            .context("an echo is lost")??;
        ensure!(buffer[..n] == datagram, "echo {i} differs ({n} bytes)");
    }
    Ok(())
}
