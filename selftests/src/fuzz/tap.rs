// SPDX-License-Identifier: GPL-2.0
//! A tap device as the master: what is written to it is received within the system call, so that KCOV sees it, and with
//! whatever offloads its header claims (IFF_VNET_HDR).

use super::frame::HEADER;
use crate::modules;
use crate::netns::Netns;
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

const TUNSETIFF: u64 = 0x4004_54ca;
/// IFF_TAP | IFF_NO_PI | IFF_VNET_HDR of linux/if_tun.h.
const FLAGS: i16 = 0x0002 | 0x1000 | 0x4000;

/// The wire's end of the tap.
pub struct Wire(File);

impl Wire {
    /// Makes a tap of this name.
    pub fn new(ns: &Netns, name: &str) -> Result<Wire> {
        modules::load("tun")?;
        let file = ns.enter(|| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")
                .context("/dev/net/tun")?;
            // SAFETY: all-zero is a valid ifreq.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_flags = FLAGS;
            // SAFETY: the request is valid, and outlives the call.
            let rc = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw const request) };
            nix::Error::result(rc).context("making a tap")?;
            Ok(file)
        })?;
        Ok(Wire(file))
    }

    /// Has the master receive a message, that is a virtio_net_hdr with a frame; its errno.
    pub fn write(&self, message: &[u8]) -> i32 {
        // SAFETY: the buffer is valid for its length.
        let rc = unsafe { libc::write(self.0.as_raw_fd(), message.as_ptr().cast(), message.len()) };
        nix::Error::result(rc).err().map_or(0, |e| e as i32)
    }

    /// Forgets what the master has sent; how many frames that were, and whether one of them is `wanted`.
    pub fn drain(&self, wanted: impl Fn(&[u8]) -> bool) -> (u64, bool) {
        let mut buffer = vec![0u8; 70_000];
        let (mut number, mut found) = (0, false);
        loop {
            // SAFETY: the buffer is valid for its length.
            let rc =
                unsafe { libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            if rc <= 0 {
                return (number, found);
            }
            number += 1;
            found = found || wanted(buffer.get(HEADER..rc as usize).unwrap_or(&[]));
        }
    }
}
