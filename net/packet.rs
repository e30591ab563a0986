// SPDX-License-Identifier: GPL-2.0

//! What there is to say about packets: why they are dropped, what a transmit returns, whom a frame is for.

use super::device::Mac;
use crate::sys;
use kernel::prelude::*;

/// Why a packet is dropped, for `drop_monitor` and the `skb:kfree_skb` tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum DropReason {
    /// Nothing better fits.
    NotSpecified = sys::skb_drop_reason_SKB_DROP_REASON_NOT_SPECIFIED,
    /// Shorter than its headers.
    PacketTooSmall = sys::skb_drop_reason_SKB_DROP_REASON_PKT_TOO_SMALL,
    /// The receiving device is not up.
    DeviceReady = sys::skb_drop_reason_SKB_DROP_REASON_DEV_READY,
    /// Headers contradict themselves.
    BadHeader = sys::skb_drop_reason_SKB_DROP_REASON_IP_INHDR,
    /// Not a protocol that is handled here.
    UnhandledProtocol = sys::skb_drop_reason_SKB_DROP_REASON_UNHANDLED_PROTO,
    /// No route.
    NoRoute = sys::skb_drop_reason_SKB_DROP_REASON_IP_OUTNOROUTES,
    /// Larger than the path takes.
    PacketTooBig = sys::skb_drop_reason_SKB_DROP_REASON_PKT_TOO_BIG,
    /// A source address that is not the sender's.
    InvalidSource = sys::skb_drop_reason_SKB_DROP_REASON_MAC_INVALID_SOURCE,
    /// The queue of frames for many is full.
    MulticastBacklog = sys::IPVLAN_RS_DROP_BACKLOG,
}

/// What a transmit returns: `NET_XMIT_*` or a negative errno. The packet is consumed in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) struct Xmit {
    code: i32,
    sent: bool,
}

impl Xmit {
    /// Sent, or as good as.
    pub(crate) const SUCCESS: Self = Self::from_raw(sys::NET_XMIT_SUCCESS as i32);
    /// Dropped.
    pub(crate) const DROP: Self = Self::from_raw(sys::NET_XMIT_DROP as i32);
    /// Dropped, and the sender's route has learnt why; as a rule an ICMP error is on its way too. A code besides would
    /// have TCP wait for a timer, where the ICMP error has it send again at once.
    pub(crate) const REPORTED: Self = Self {
        code: sys::NET_XMIT_SUCCESS as i32,
        sent: false,
    };

    /// Dropped, with an errno that the sending socket sees.
    pub(crate) fn error(error: Error) -> Self {
        Self::from_raw(error.to_errno())
    }

    /// What a C function said.
    pub(super) const fn from_raw(code: i32) -> Self {
        Self {
            code,
            sent: code == sys::NET_XMIT_SUCCESS as i32 || code == sys::NET_XMIT_CN as i32,
        }
    }

    pub(super) const fn to_raw(self) -> i32 {
        self.code
    }

    /// Whether the packet counts as sent: congestion on the way (`NET_XMIT_CN`) does not lose it.
    pub(crate) const fn is_sent(self) -> bool {
        self.sent
    }
}

/// What kind of destination a received frame has, of `pkt_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PacketType {
    /// To everybody.
    Broadcast = sys::PACKET_BROADCAST as u8,
    /// To a group.
    Multicast = sys::PACKET_MULTICAST as u8,
}

/// An Ethernet header.
#[derive(Clone, Copy)]
pub(crate) struct Ethernet {
    /// Destination.
    pub(crate) dest: Mac,
    /// Source.
    pub(crate) source: Mac,
    /// The EtherType, in host order; a length where it is below 1536.
    pub(crate) protocol: u16,
    /// Whether destination and source are one address.
    pub(crate) is_to_itself: bool,
}

impl Ethernet {
    /// # Safety
    ///
    /// 14 bytes can be read at `ptr`.
    #[inline]
    pub(super) unsafe fn read(ptr: *const u8) -> Self {
        // SAFETY: By the safety requirements.
        unsafe {
            // In two words each, as they can be loaded: six bytes compared at once are put together first.
            let word = |at: usize| ptr.add(at).cast::<u32>().read_unaligned();
            let half = |at: usize| ptr.add(at).cast::<u16>().read_unaligned();
            Self {
                is_to_itself: (word(0) ^ word(6)) | u32::from(half(4) ^ half(10)) == 0,
                dest: ptr.cast::<Mac>().read(),
                source: ptr.add(6).cast::<Mac>().read(),
                protocol: u16::from_be_bytes(ptr.add(12).cast::<[u8; 2]>().read()),
            }
        }
    }

    /// Whether the destination is a group: multicast or broadcast.
    #[inline]
    pub(crate) const fn is_group(&self) -> bool {
        self.dest[0] & 1 != 0
    }
}
