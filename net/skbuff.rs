// SPDX-License-Identifier: GPL-2.0

//! Socket buffers: owned packets that are consumed exactly once.

use super::{
    device::NetDevice,
    device_ref::DeviceRef,
    packet::{
        DropReason,
        Ethernet,
        PacketType,
        Xmit, //
    },
    softirq::Softirq, //
};
use crate::{
    sync::rcu::RcuRead,
    sys, //
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        addr_of,
        NonNull, //
    },
    slice, //
};
use kernel::bindings;

/// A socket buffer that is owned. Dropping it frees it with [`DropReason::NotSpecified`].
///
/// # Invariants
///
/// `ptr` is an skb of which one reference is ours. Its header is ours to write, save where a method's documentation
/// says otherwise; its data may be shared with clones and is never written.
pub(crate) struct Skb {
    ptr: NonNull<sys::sk_buff>,
}

// SAFETY: An skb belongs to whoever holds it, on any CPU.
unsafe impl Send for Skb {}

impl Skb {
    /// # Safety
    ///
    /// `ptr` is an skb whose ownership the caller passes on.
    #[inline]
    pub(super) unsafe fn from_ptr(ptr: *mut sys::sk_buff) -> Self {
        // INVARIANT: By the safety requirements the reference is ours.
        Self {
            // SAFETY: The core never passes null.
            ptr: unsafe { NonNull::new_unchecked(ptr) },
        }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut sys::sk_buff {
        self.ptr.as_ptr()
    }

    /// Gives up ownership.
    #[inline]
    pub(super) fn into_ptr(self) -> *mut sys::sk_buff {
        ManuallyDrop::new(self).as_ptr()
    }

    /// Reads a field of the header at `offset`.
    ///
    /// # Safety
    ///
    /// There is a `T` at `offset` in `struct sk_buff`.
    #[inline]
    unsafe fn field<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: By the safety requirements and the type invariant.
        unsafe { self.as_ptr().cast::<u8>().add(offset).cast::<T>().read() }
    }

    /// Writes a field of the header at `offset`.
    ///
    /// # Safety
    ///
    /// There is a `T` at `offset` in `struct sk_buff`, and `value` is right for it.
    #[inline]
    unsafe fn set_field<T: Copy>(&mut self, offset: usize, value: T) {
        // SAFETY: By the safety requirements and the type invariant.
        unsafe {
            self.as_ptr()
                .cast::<u8>()
                .add(offset)
                .cast::<T>()
                .write(value)
        }
    }

    /// The length in bytes from the start of the data, paged data included.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: By the type invariant. CAST: u32 to usize.
        unsafe { (*self.as_ptr()).len as usize }
    }

    /// The bytes from the start of the data that are in one piece.
    #[inline]
    pub(crate) fn linear(&self) -> &[u8] {
        let skb = self.as_ptr();
        // SAFETY: `len - data_len` bytes from `data` on are in the linear area (`skb_headlen()`); they are not written
        // while borrowed.
        unsafe {
            slice::from_raw_parts(
                (*skb).data,
                (*skb).len.wrapping_sub((*skb).data_len) as usize,
            )
        }
    }

    /// Makes at least `len` bytes linear. False if there are not so many, or no memory; the packet is as it was.
    #[inline]
    pub(crate) fn pull_linear(&mut self, len: usize) -> bool {
        let have = self.linear().len();
        if len <= have {
            return true;
        }
        if len > self.len() {
            return false;
        }
        // CAST: At most `len`, which is a u32. SAFETY: There are that many bytes in the pages.
        !unsafe { sys::__pskb_pull_tail(self.as_ptr(), len.wrapping_sub(have) as i32) }.is_null()
    }

    /// The EtherType in host order; what the kernel made of frames without one, else.
    #[inline]
    pub(crate) fn protocol(&self) -> u16 {
        // SAFETY: A __be16 is there.
        u16::from_be(unsafe { self.field(sys::SKB_OFFSET_PROTOCOL) })
    }

    /// The memory that the packet holds, in bytes.
    pub(crate) fn truesize(&self) -> usize {
        // SAFETY: By the type invariant. CAST: u32 to usize.
        unsafe { (*self.as_ptr()).truesize as usize }
    }

    /// Whether this is what a local sender sees of its own packet (`PACKET_LOOPBACK`).
    #[inline]
    pub(crate) fn is_loopback(&self) -> bool {
        u32::from(self.packet_type()) == sys::PACKET_LOOPBACK
    }

    #[inline]
    fn headers(&self) -> *mut sys::skb_headers {
        // SAFETY: The address lies inside the skb.
        unsafe { self.as_ptr().cast::<u8>().add(sys::SKB_OFFSET_HEADERS) }.cast()
    }

    #[inline]
    fn packet_type(&self) -> u8 {
        // SAFETY: By the type invariant.
        unsafe { sys::skb_headers::pkt_type_raw(self.headers()) }
    }

    /// Sets what kind of destination the packet has.
    #[inline]
    pub(crate) fn set_packet_type(&mut self, to: PacketType) {
        // CAST: the discriminants are the UAPI's numbers. SAFETY: By the type invariant.
        unsafe { sys::skb_headers::set_pkt_type_raw(self.headers(), to as u8) };
    }

    /// Sets the device. It is not counted: the packet must be passed on while `_rcu` lasts, or a reference kept.
    #[inline]
    pub(crate) fn set_dev(&mut self, dev: &NetDevice, _rcu: &RcuRead) {
        // SAFETY: A pointer to a device is there.
        unsafe { self.set_field(sys::SKB_OFFSET_DEV, dev.as_ptr()) };
    }

    /// Sets the index of the device that the stack takes the packet to have come in by (`skb_iif`).
    pub(super) fn set_iif(&mut self, ifindex: i32) {
        // SAFETY: An int is there.
        unsafe { self.set_field(sys::SKB_OFFSET_SKB_IIF, ifindex) };
    }

    /// Sets the device to one that the caller keeps a reference to for as long as it has the packet.
    pub(super) fn set_counted_dev(&mut self, dev: &DeviceRef) {
        // SAFETY: A pointer to a device is there.
        unsafe { self.set_field(sys::SKB_OFFSET_DEV, dev.as_ptr()) };
    }

    /// The Ethernet header of a received packet, which lies before the data.
    /// `None` if there is none: a driver may hand up frames without.
    #[inline]
    pub(crate) fn received_ethernet(&self) -> Option<Ethernet> {
        let skb = self.as_ptr();
        // SAFETY: An offset is there; `data` lies behind `head`. Between the two all bytes are linear, so the header
        // can be read if it ends before `data`.
        unsafe {
            let offset = usize::from(self.field::<u16>(sys::SKB_OFFSET_MAC_HEADER));
            let room = (*skb).data.offset_from((*skb).head) as usize;
            (offset.wrapping_add(14) <= room).then(|| Ethernet::read((*skb).head.add(offset)))
        }
    }

    /// The Ethernet header of a packet to send, with which the data begins; `None` if there is less.
    #[inline]
    pub(crate) fn sent_ethernet(&self) -> Option<Ethernet> {
        let header = self.linear().first_chunk::<14>()?;
        // SAFETY: There are 14 bytes.
        Some(unsafe { Ethernet::read(header.as_ptr()) })
    }

    /// Whether there is no other user of this skb's header.
    #[inline]
    fn is_shared(&self) -> bool {
        // SAFETY: By the type invariant; the count is one word.
        unsafe {
            addr_of!((*self.as_ptr()).users)
                .cast::<i32>()
                .read_volatile()
                != 1
        }
    }

    /// Makes the header exclusive (`skb_share_check()`); `None` if there is no memory, and the packet is freed.
    #[inline]
    pub(crate) fn unshare(self) -> Option<Self> {
        if !self.is_shared() {
            return Some(self);
        }
        // SAFETY: Takes our reference and returns an skb that is ours, or null.
        let ptr = unsafe { sys::ipvlan_rs_skb_share_check(self.into_ptr()) };
        // INVARIANT: As above.
        NonNull::new(ptr).map(|ptr| Self { ptr })
    }

    /// A second header for the same data, from atomic memory; `None` if there is none.
    pub(crate) fn clone_header(&self) -> Option<Self> {
        // SAFETY: By the type invariant.
        let ptr = unsafe { sys::skb_clone(self.as_ptr(), bindings::GFP_ATOMIC) };
        // INVARIANT: A clone is ours.
        NonNull::new(ptr).map(|ptr| Self { ptr })
    }

    /// Strips what must not cross to another user of the packet: route, connection tracking, and, if it also crosses
    /// namespaces, the mark and timestamps too (`skb_scrub_packet()`).
    pub(crate) fn scrub(&mut self, crosses_namespaces: bool) {
        // SAFETY: By the type invariant.
        unsafe { sys::skb_scrub_packet(self.as_ptr(), crosses_namespaces) };
    }

    /// Takes the Ethernet header off a packet to send, and begins the network header where it ended. False if there
    /// are no 14 linear bytes; the packet is as it was.
    #[inline(always)]
    pub(crate) fn strip_ethernet(&mut self) -> bool {
        const NOT_SET: u16 = u16::MAX;
        if self.linear().len() < 14 {
            return false;
        }
        let skb = self.as_ptr();
        // SAFETY: There are that many bytes from `data` on in the linear area (`__skb_pull()`). `data` lies behind
        // `head`, by less than 64 KiB, as everywhere in the kernel.
        unsafe {
            (*skb).len = (*skb).len.wrapping_sub(14);
            (*skb).data = (*skb).data.add(14);
            let network = (*skb).data.offset_from((*skb).head) as u16;
            self.set_field(sys::SKB_OFFSET_MAC_HEADER, NOT_SET);
            self.set_field(sys::SKB_OFFSET_NETWORK_HEADER, network);
        }
        true
    }

    /// Sets the MAC header to where the data begins.
    pub(crate) fn reset_mac_header(&mut self) {
        let skb = self.as_ptr();
        // SAFETY: As in `strip_ethernet`.
        unsafe {
            let mac = (*skb).data.offset_from((*skb).head) as u16;
            self.set_field(sys::SKB_OFFSET_MAC_HEADER, mac);
        }
    }

    /// The firewall mark.
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: A u32 is there.
        unsafe { self.field(sys::SKB_OFFSET_MARK) }
    }

    /// Zeroes the control buffer, which belongs to whatever layer has the packet.
    pub(super) fn clear_cb(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { (&raw mut (*self.as_ptr()).cb).write_bytes(0, 1) };
    }

    /// Frees the packet as lost (`kfree_skb_reason()`).
    pub(crate) fn free(self, reason: DropReason) {
        // CAST: the discriminants are the kernel's numbers.
        // SAFETY: The reference is ours.
        unsafe { sys::sk_skb_reason_drop(core::ptr::null_mut(), self.into_ptr(), reason as u32) };
    }

    /// Frees the packet as used.
    pub(crate) fn consume(self) {
        // SAFETY: The reference is ours.
        unsafe { sys::ipvlan_rs_consume_skb(self.into_ptr()) };
    }

    /// Sends a packet with Ethernet header through `dev` (`dev_queue_xmit()`).
    #[inline]
    pub(crate) fn queue_xmit(mut self, dev: &NetDevice, cx: &Softirq) -> Xmit {
        self.set_dev(dev, &cx.rcu);
        // SAFETY: The reference is ours; bottom halves are off.
        Xmit::from_raw(unsafe { sys::__dev_queue_xmit(self.into_ptr(), core::ptr::null_mut()) })
    }

    /// Makes `dev` receive a packet with Ethernet header, from its backlog (`dev_forward_skb()`). False if it could
    /// not.
    #[inline]
    pub(crate) fn forward_to(self, dev: &NetDevice, _cx: &Softirq) -> bool {
        // SAFETY: The reference is ours.
        unsafe { sys::dev_forward_skb(dev.as_ptr(), self.into_ptr()) == sys::NET_RX_SUCCESS as i32 }
    }

    /// As [`forward_to`](Self::forward_to), but now, not from the backlog: for process context only.
    pub(crate) fn forward_to_now(self, dev: &NetDevice, _cx: &Softirq) -> bool {
        // SAFETY: The reference is ours; __dev_forward_skb() frees the skb unless it returns 0.
        unsafe {
            let skb = self.into_ptr();
            sys::__dev_forward_skb(dev.as_ptr(), skb) == 0
                && sys::netif_receive_skb(skb) == sys::NET_RX_SUCCESS as i32
        }
    }

    /// Makes `dev` receive a received packet, from its backlog (`netif_rx()`). False if it could not.
    pub(crate) fn receive_on(mut self, dev: &NetDevice, cx: &Softirq) -> bool {
        self.set_dev(dev, &cx.rcu);
        // SAFETY: The reference is ours.
        unsafe { sys::netif_rx(self.into_ptr()) == sys::NET_RX_SUCCESS as i32 }
    }

    /// As [`receive_on`](Self::receive_on), but now (`netif_receive_skb()`): for process context only, never from a
    /// receive handler.
    pub(crate) fn receive_on_now(mut self, dev: &NetDevice, cx: &Softirq) -> bool {
        self.set_dev(dev, &cx.rcu);
        // SAFETY: The reference is ours; bottom halves are off.
        unsafe { sys::netif_receive_skb(self.into_ptr()) == sys::NET_RX_SUCCESS as i32 }
    }
}

impl Drop for Skb {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe {
            sys::sk_skb_reason_drop(
                core::ptr::null_mut(),
                self.as_ptr(),
                DropReason::NotSpecified as u32,
            )
        };
    }
}
