// SPDX-License-Identifier: GPL-2.0
//! What a packet carries beside its bytes, as the receiver's socket sees it.

use crate::netns::Netns;
use crate::packet::set;
use crate::wait;
use anyhow::{Context, Result};
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// SO_RCVMARK and SO_RCVPRIORITY of asm-generic/socket.h.
const SO_RCVMARK: i32 = 75;
const SO_RCVPRIORITY: i32 = 82;

/// A UDP socket that tells mark and priority of what it receives.
pub struct Receiver(UdpSocket);

impl Receiver {
    pub fn new(ns: &Netns, at: IpAddr, port: u16) -> Result<Receiver> {
        let socket = ns.enter(|| Ok(UdpSocket::bind((at, port))?))?;
        socket.set_nonblocking(true)?;
        set(&socket, libc::SOL_SOCKET, SO_RCVMARK, 1)?;
        set(&socket, libc::SOL_SOCKET, SO_RCVPRIORITY, 1)?;
        Ok(Receiver(socket))
    }

    /// Mark and priority of the next datagram.
    pub async fn next(&self) -> Result<(u32, u32)> {
        let mut seen = None;
        wait::until("a datagram", || {
            seen = self.poll()?;
            Ok(seen.is_some())
        })
        .await?;
        seen.context("no datagram")
    }

    fn poll(&self) -> Result<Option<(u32, u32)>> {
        let mut buffer = [0u8; 2048];
        let (mut mark, mut priority) = (None, None);
        // SAFETY: all pointers in the msghdr are to live locals of the sizes given, and the control messages are walked
        // with the macros made for that.
        unsafe {
            let mut iov = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let mut control = [0u64; 16];
            let mut message: libc::msghdr = zeroed();
            message.msg_iov = &mut iov;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of::<[u64; 16]>();
            if libc::recvmsg(self.0.as_raw_fd(), &mut message, 0) < 0 {
                let e = std::io::Error::last_os_error();
                return if e.kind() == std::io::ErrorKind::WouldBlock {
                    Ok(None)
                } else {
                    Err(e.into())
                };
            }
            let mut header = libc::CMSG_FIRSTHDR(&message);
            while !header.is_null() {
                let value = libc::CMSG_DATA(header).cast::<u32>().read_unaligned();
                match (*header).cmsg_type {
                    libc::SO_MARK => mark = Some(value),
                    libc::SO_PRIORITY => priority = Some(value),
                    _ => {}
                }
                header = libc::CMSG_NXTHDR(&message, header);
            }
        }
        Ok(Some((
            mark.context("no mark")?,
            priority.context("no priority")?,
        )))
    }
}
