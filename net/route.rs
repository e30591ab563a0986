// SPDX-License-Identifier: GPL-2.0

//! Routing: sending a packet as if this host had made it: a route, its MTU, then the output path with its netfilter
//! hooks. What the IP versions have of their own is in `route4` and `route6`; `route_cache` saves look-ups.

use super::{
    device::NetDevice,
    netns::Net,
    packet::Xmit,
    skbuff::Skb,
    softirq::Softirq, //
};
use crate::sys;
use core::{
    cell::Cell,
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::Zeroable, //
};

/// What of an IP header a packet's way depends on, and what its version makes of it.
pub(crate) trait IpHeader: Copy + 'static {
    /// All that a look-up reads of a packet.
    type Key: Copy + Eq;
    /// What must stay as it was, for a route that is remembered to be what a look-up would find.
    type Seal: Copy + Zeroable;

    /// A key that no packet has.
    const NO_KEY: Self::Key;

    /// Reads the header that a packet's data begins with; `None` if it is not linear.
    fn of(skb: &Skb) -> Option<Self>;

    /// The key, for a packet with this header and mark.
    fn key(&self, mark: u32) -> Self::Key;

    /// A number to find a key by.
    fn hash(key: Self::Key) -> u32;

    /// Whether there is anything to look into. Does not change.
    ///
    /// # Errors
    ///
    /// What a sender is to see if not.
    fn ready() -> Result<(), Xmit>;

    /// What look-ups in a namespace depend on, as it is now: to be taken before one whose route is to be remembered.
    fn moment(net: &Net) -> Self::Seal;

    /// Whether a route may be remembered that was looked up for `dev`, in `net`, after this moment, and by what it is
    /// known to hold.
    ///
    /// # Safety
    ///
    /// A live route of this version, in a section of RCU.
    unsafe fn seal(
        moment: Self::Seal,
        dst: NonNull<sys::dst_entry>,
        dev: &NetDevice,
        net: &Net,
    ) -> Option<Self::Seal>;

    /// Whether a look-up would still find this route.
    ///
    /// # Safety
    ///
    /// A live route of this version, in a section of RCU.
    unsafe fn holds(seal: &Cell<Self::Seal>, dst: NonNull<sys::dst_entry>, net: &Net) -> bool;

    /// Looks up the route that a packet with this header and mark takes out of `dev`, in the namespace `net` of
    /// `dev`, as if that had made it. Only where it is [`ready`](Self::ready).
    ///
    /// # Errors
    ///
    /// What the sending socket is to see: a failed transmit, or, with IPv6, the route's own error.
    fn lookup<'a>(
        &self,
        dev: &NetDevice,
        net: &Net,
        mark: u32,
        cx: &'a Softirq,
    ) -> Result<Route<'a, Self>, Xmit>;

    /// The least MTU that a packet is held to; `None` if it is not held to any, as it may be fragmented or is smaller.
    fn least_mtu(&self, skb: &Skb) -> Option<u32>;

    /// Sends a packet by a route, through the hooks of OUTPUT and POSTROUTING. Consumes the packet.
    ///
    /// # Safety
    ///
    /// The packet is the caller's and has no route; `dst` is a route of this version in `net`, of which the packet gets
    /// the reference if it is counted, and which else lives until the end of a section of RCU.
    unsafe fn local_out(
        net: &Net,
        skb: *mut sys::sk_buff,
        dst: *mut sys::dst_entry,
        counted: bool,
    ) -> i32;

    /// Tells the sender of a packet of the MTU: see [`report_too_big`].
    ///
    /// # Safety
    ///
    /// The packet is the caller's, its network header is set, and its device is the one that sends it.
    unsafe fn report(skb: *mut sys::sk_buff, mtu: u32) -> bool;
}

/// A route, for one packet, of the version of `H`. Dropping it gives it back.
///
/// # Invariants
///
/// If `counted`, owns one counted reference. If not, the route lives for `'a`.
pub(crate) struct Route<'a, H: IpHeader> {
    dst: NonNull<sys::dst_entry>,
    counted: bool,
    _cx: PhantomData<(&'a Softirq, H)>,
}

impl<H: IpHeader> Drop for Route<'_, H> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.counted {
            // SAFETY: By the type invariant.
            unsafe { sys::dst_release(self.dst.as_ptr()) };
        }
    }
}

impl<'a, H: IpHeader> Route<'a, H> {
    /// # Safety
    ///
    /// `dst` is a counted reference of the caller's to a route of `H`'s version.
    pub(super) unsafe fn counted(dst: NonNull<sys::dst_entry>, _cx: &'a Softirq) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            dst,
            counted: true,
            _cx: PhantomData,
        }
    }

    /// # Safety
    ///
    /// `dst` is a route of `H`'s version that lives until the end of the section that `_cx` stands for.
    #[inline(always)]
    pub(super) unsafe fn borrowed(dst: NonNull<sys::dst_entry>, _cx: &'a Softirq) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            dst,
            counted: false,
            _cx: PhantomData,
        }
    }

    #[inline(always)]
    pub(super) fn dst(&self) -> NonNull<sys::dst_entry> {
        self.dst
    }

    /// The MTU of the route, if the packet, whose data begins with this header, is larger and may not be fragmented.
    #[inline(always)]
    pub(crate) fn mtu_exceeded(&self, skb: &Skb, header: &H) -> Option<u32> {
        let least = header.least_mtu(skb)?;
        // SAFETY: Both are alive; the packet has its network header set.
        match unsafe { sys::ipvlan_rs_mtu_exceeded(self.dst.as_ptr(), skb.as_ptr(), least) } {
            0 => None,
            mtu => Some(mtu),
        }
    }

    /// Sends the packet, which is scrubbed and whose data begins with the header that the route was looked up for,
    /// through the OUTPUT and POSTROUTING hooks of `net`, where `dev` is. It may be lost on the way, which is an
    /// error; it is lost, with the reason `RECURSION_LIMIT`, where transmits are nested deeper than the kernel's stack
    /// bears, by devices that route into each other.
    #[inline(always)]
    pub(crate) fn output(
        self,
        mut skb: Skb,
        dev: &NetDevice,
        net: &Net,
        cx: &Softirq,
    ) -> Result<(), Xmit> {
        skb.set_dev(dev, &cx.rcu);
        // The IP layer keeps its options there, and would believe what it finds.
        skb.clear_cb();
        let this = ManuallyDrop::new(self);
        // SAFETY: The packet is ours and has no route since it was scrubbed; what is counted goes to it, and what is
        // not lives until the end of RCU's section.
        let code = unsafe { H::local_out(net, skb.into_ptr(), this.dst.as_ptr(), this.counted) };
        if Xmit::from_raw(code).is_sent() {
            Ok(())
        } else {
            Err(Xmit::DROP)
        }
    }
}

/// Tells the sender of a packet that its way takes no more than `mtu` bytes: its route learns it, and it gets the ICMP
/// error that a router would send, as far as the kernel sends one (for a first fragment, not too many a second). For
/// `ndo_start_xmit` of `dev`; the packet's data begins with its IP header, of the version of `H`. What it had in its
/// control buffer is gone afterwards.
///
/// False if the packet came without a route (a raw frame): there is none to learn it then, or to answer by.
#[inline(never)]
pub(crate) fn report_too_big<H: IpHeader>(
    skb: &mut Skb,
    mtu: u32,
    dev: &NetDevice,
    cx: &Softirq,
) -> bool {
    skb.set_dev(dev, &cx.rcu);
    skb.clear_cb();
    // SAFETY: The packet is ours and its network header is set; `dev` is what sends it, so it is the sender's
    // namespace that the route belongs to.
    unsafe { H::report(skb.as_ptr(), mtu) }
}

/// Random bytes for seeds. Process context.
pub(crate) fn random_words<const N: usize>() -> [u64; N] {
    let mut words = [0u64; N];
    // SAFETY: The buffer is ours, and every bit pattern is a u64.
    unsafe { bindings::get_random_bytes(words.as_mut_ptr().cast(), N.wrapping_mul(8)) };
    words
}
