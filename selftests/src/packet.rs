// SPDX-License-Identifier: GPL-2.0
//! AF_PACKET: frames in and out of a link, past the stack.

use crate::netns::Netns;
use crate::wait::patience;
use anyhow::{bail, Context, Result};
use nix::sys::socket::{socket, AddressFamily, SockFlag, SockType};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// How the stack classified a frame (sll_pkttype of packet(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Host,
    Broadcast,
    Multicast,
    OtherHost,
    Outgoing,
    Other(u8),
}

/// A captured frame, from the Ethernet header on.
#[derive(Clone, Debug)]
pub struct Captured {
    pub bytes: Vec<u8>,
    pub class: Class,
    /// The checksum was left to the device (TP_STATUS_CSUMNOTREADY), so it is not complete in `bytes`.
    pub partial_checksum: bool,
    /// The link it was on.
    pub index: u32,
}

/// A raw packet socket bound to one link.
pub struct Tap {
    fd: AsyncFd<OwnedFd>,
    index: u32,
}

/// TP_STATUS_CSUMNOTREADY of linux/if_packet.h.
const CSUMNOTREADY: u32 = 1 << 3;
/// The largest frame that fits into one skb, GSO included.
const LARGEST: usize = 65536 + 64;

impl Tap {
    /// Opens a socket that sends on `index` and sees every frame of it, both ways.
    pub fn new(ns: &Netns, index: u32) -> Result<Tap> {
        Self::open(ns, index, libc::ETH_P_ALL, false)
    }

    /// Opens a socket that sees every frame of every link in `ns`, both ways.
    pub fn everywhere(ns: &Netns) -> Result<Tap> {
        Self::open(ns, 0, libc::ETH_P_ALL, false)
    }

    /// Opens a socket that sees, on every link of `ns`, what is left to the stack of one protocol after whoever receives
    /// on the link's behalf, and nothing that is sent.
    pub fn at_the_stack(ns: &Netns, protocol: i32) -> Result<Tap> {
        Self::open(ns, 0, protocol, false)
    }

    /// As above, of one link.
    pub fn at_the_stack_of(ns: &Netns, index: u32, protocol: i32) -> Result<Tap> {
        Self::open(ns, index, protocol, false)
    }

    /// As [`Tap::new`], past the link's qdisc (PACKET_QDISC_BYPASS).
    pub fn bypassing(ns: &Netns, index: u32) -> Result<Tap> {
        Self::open(ns, index, libc::ETH_P_ALL, true)
    }

    fn open(ns: &Netns, index: u32, protocol: i32, bypass: bool) -> Result<Tap> {
        let fd = ns.enter(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            // No protocol yet: frames of other links must not slip in before the bind.
            let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
            set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20)?;
            set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 4 << 20)?;
            set(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
            if bypass {
                set(&fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
            }
            let mut address = address(index);
            address.sll_protocol = (protocol as u16).to_be();
            // SAFETY: the address is a valid sockaddr_ll of the given size.
            let rc = unsafe {
                libc::bind(
                    fd.as_raw_fd(),
                    (&raw const address).cast(),
                    size_of::<libc::sockaddr_ll>() as u32,
                )
            };
            if rc < 0 {
                return Err(std::io::Error::last_os_error()).context("binding a packet socket");
            }
            Ok(fd)
        })?;
        // SAFETY: an OwnedFd keeps its one descriptor open until it is dropped.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Tap { fd, index })
    }

    /// Sends one frame, from the Ethernet header on; the error is the device's or the socket's.
    pub fn try_send(&self, frame: &[u8]) -> nix::Result<()> {
        self.try_send_on(self.index, frame)
    }

    /// As [`Tap::try_send`], on a given link of the socket's namespace.
    pub fn try_send_on(&self, index: u32, frame: &[u8]) -> nix::Result<()> {
        self.try_send_to(&address(index), frame)
    }

    /// Sends one frame that the kernel is told to be of this protocol, whatever its header says.
    pub fn try_send_as(&self, protocol: u16, frame: &[u8]) -> nix::Result<()> {
        let address = libc::sockaddr_ll {
            sll_protocol: protocol.to_be(),
            ..address(self.index)
        };
        self.try_send_to(&address, frame)
    }

    fn try_send_to(&self, address: &libc::sockaddr_ll, frame: &[u8]) -> nix::Result<()> {
        // SAFETY: the buffers are valid for the lengths given.
        let rc = unsafe {
            libc::sendto(
                self.fd.get_ref().as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                std::ptr::from_ref(address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        nix::Error::result(rc).map(drop)
    }

    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.try_send(frame)
            .with_context(|| format!("sending a frame of {} bytes", frame.len()))
    }

    /// Sends one frame whose checksum is left to be made (PACKET_VNET_HDR): where it begins, and where from there it
    /// goes, are the sender's word.
    pub fn try_send_with_checksum(&self, start: u16, offset: u16, frame: &[u8]) -> nix::Result<()> {
        const PACKET_VNET_HDR: i32 = 15;
        const NEEDS_CSUM: u8 = 1;
        set(self.fd.get_ref(), libc::SOL_PACKET, PACKET_VNET_HDR, 1)
            .map_err(|_| nix::Error::ENOPROTOOPT)?;
        let mut bytes = vec![NEEDS_CSUM, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&start.to_ne_bytes());
        bytes.extend_from_slice(&offset.to_ne_bytes());
        bytes.extend_from_slice(frame);
        let sent = self.try_send(&bytes);
        let _ = set(self.fd.get_ref(), libc::SOL_PACKET, PACKET_VNET_HDR, 0);
        sent
    }

    /// Sets SO_MARK or SO_PRIORITY of what is sent from now on.
    pub fn set_option(&self, option: i32, value: i32) -> Result<()> {
        set(self.fd.get_ref(), libc::SOL_SOCKET, option, value)
    }

    /// The next frame if one is there.
    pub fn poll(&self) -> Result<Option<Captured>> {
        let mut buffer = vec![0u8; LARGEST];
        // SAFETY: all pointers in the msghdr are to live locals of the sizes given.
        unsafe {
            let mut from: libc::sockaddr_ll = zeroed();
            let mut iov = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let mut control = [0u64; 8];
            let mut message: libc::msghdr = zeroed();
            message.msg_name = (&raw mut from).cast();
            message.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
            message.msg_iov = &mut iov;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of::<[u64; 8]>();
            let n = libc::recvmsg(self.fd.get_ref().as_raw_fd(), &mut message, 0);
            if n < 0 {
                let e = std::io::Error::last_os_error();
                return match e.raw_os_error() {
                    Some(libc::EAGAIN) => Ok(None),
                    // The link went down: told once, and what was queued before stays readable.
                    Some(libc::ENETDOWN) => Ok(None),
                    _ => Err(e.into()),
                };
            }
            buffer.truncate(n as usize);
            let mut partial_checksum = false;
            let header = libc::CMSG_FIRSTHDR(&message);
            if !header.is_null() && (*header).cmsg_type == libc::PACKET_AUXDATA {
                let status = libc::CMSG_DATA(header).cast::<u32>().read_unaligned();
                partial_checksum = status & CSUMNOTREADY != 0;
            }
            let class = match from.sll_pkttype {
                0 => Class::Host,
                1 => Class::Broadcast,
                2 => Class::Multicast,
                3 => Class::OtherHost,
                4 => Class::Outgoing,
                n => Class::Other(n),
            };
            Ok(Some(Captured {
                bytes: buffer,
                class,
                partial_checksum,
                index: from.sll_ifindex as u32,
            }))
        }
    }

    /// The next frame that `wanted` accepts; those before it are returned too, in order, the wanted one last.
    pub async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&Captured) -> bool,
    ) -> Result<Vec<Captured>> {
        let start = Instant::now();
        let mut seen = Vec::new();
        loop {
            while let Some(frame) = self.poll()? {
                let found = wanted(&frame);
                seen.push(frame);
                if found {
                    return Ok(seen);
                }
            }
            let Some(left) = patience()
                .checked_sub(start.elapsed())
                .filter(|d| *d > Duration::ZERO)
            else {
                let summary: Vec<String> = seen
                    .iter()
                    .take(8)
                    .map(|f| crate::frames::describe(&f.bytes))
                    .collect();
                bail!("no frame: {what}; {} others came: {summary:?}", seen.len());
            };
            if let Ok(ready) = tokio::time::timeout(left, self.fd.readable()).await {
                ready?.clear_ready();
            }
        }
    }

    /// The next frame that `wanted` accepts.
    pub async fn expect(&self, what: &str, wanted: impl Fn(&Captured) -> bool) -> Result<Captured> {
        Ok(self
            .until(what, wanted)
            .await?
            .pop()
            .expect("until() ends with the wanted frame"))
    }

    /// Forgets what has been captured so far.
    pub fn drain(&self) -> Result<usize> {
        let mut n = 0;
        while self.poll()?.is_some() {
            n += 1;
        }
        Ok(n)
    }
}

fn address(index: u32) -> libc::sockaddr_ll {
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    address.sll_halen = 6;
    address
}

/// A blocking raw socket bound to a link of the calling thread's namespace, which receives nothing.
pub fn raw_socket(index: u32) -> Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut address = address(index);
    address.sll_protocol = 0;
    // SAFETY: the address is a valid sockaddr_ll of the given size.
    let rc = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    nix::Error::result(rc).context("binding a packet socket")?;
    Ok(fd)
}

/// setsockopt() with an integer.
pub fn set(fd: &impl AsRawFd, level: i32, option: i32, value: i32) -> Result<()> {
    // SAFETY: the value is an int that outlives the call.
    let rc = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    };
    nix::Error::result(rc)
        .map(drop)
        .with_context(|| format!("setsockopt {level} {option}"))
}
