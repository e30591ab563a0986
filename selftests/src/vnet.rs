// SPDX-License-Identifier: GPL-2.0
//! A raw socket that says for each frame how much of it is linear in the skb, and what checksum is left to the device
//! (PACKET_VNET_HDR of packet(7)).

use crate::netns::Netns;
use crate::packet::{raw_socket, set};
use anyhow::{Context, Result};
use std::os::fd::{AsRawFd, OwnedFd};

/// A frame that spans pages keeps its head linear only as far as its sender says; a smaller one is linear in any case.
pub const PAGED: usize = 4200;

/// VIRTIO_NET_HDR_GSO_UDP_L4.
const GSO_UDP_L4: u8 = 5;

/// The socket.
pub struct Vnet(OwnedFd);

impl Vnet {
    pub fn new(ns: &Netns, index: u32) -> Result<Vnet> {
        let fd = ns.enter(|| raw_socket(index))?;
        set(&fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        Ok(Vnet(fd))
    }

    /// Sends a frame of which the first `linear` bytes are linear, if it is longer than a page.
    pub fn send(&self, frame: &[u8], linear: u16) -> Result<()> {
        self.put(frame, linear, 0, None)
            .with_context(|| format!("{} bytes, {linear} linear", frame.len()))
    }

    /// Sends a frame whose checksum, from byte `start` on, is left to the device to put at `start + offset`.
    pub fn send_unsummed(&self, frame: &[u8], start: u16, offset: u16) -> Result<()> {
        self.put(frame, 0, 0, Some((start, offset)))
            .with_context(|| format!("checksum from {start} at {offset}"))
    }

    /// Sends a UDP datagram whose header begins at `start` as one skb, to be cut after each `size` bytes by who must.
    pub fn send_segmented(&self, frame: &[u8], start: u16, size: u16) -> Result<()> {
        // The checksum is the third pair of bytes after the header's lengths and ports.
        self.put(frame, start + 8, size, Some((start, 6)))
            .with_context(|| format!("{} bytes in segments of {size}", frame.len()))
    }

    fn put(
        &self,
        frame: &[u8],
        linear: u16,
        segment: u16,
        checksum: Option<(u16, u16)>,
    ) -> nix::Result<()> {
        // struct virtio_net_hdr: flags (1: needs a checksum), gso_type, hdr_len, gso_size, csum_start, csum_offset.
        let (start, offset) = checksum.unwrap_or((0, 0));
        let kind = if segment > 0 { GSO_UDP_L4 } else { 0 };
        let mut message = vec![u8::from(checksum.is_some()), kind];
        for word in [linear, segment, start, offset] {
            message.extend_from_slice(&word.to_le_bytes());
        }
        message.extend_from_slice(frame);
        // SAFETY: the buffer is valid for its length.
        let rc = unsafe {
            libc::send(
                self.0.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
            )
        };
        nix::Error::result(rc).map(drop)
    }
}
