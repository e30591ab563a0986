// SPDX-License-Identifier: GPL-2.0

//! Routing: sending a packet as if this host had made it (look-up, the path's MTU, then the output path with its
//! netfilter hooks), and receiving one as if another device had.

use super::{
    compat::eafnosupport,
    device::NetDevice,
    packet::Xmit,
    skbuff::Skb,
    softirq::Softirq,
    view::{
        Headers,
        SkbView, //
    }, //
};
use crate::sys;
use core::{
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    bindings,
    prelude::*, //
};

/// What of an IP header a packet's way depends on.
pub(crate) enum IpHeader {
    /// IPv4's.
    V4(Header4),
    /// IPv6's.
    V6(Header6),
}

/// The part of an IPv4 header that a route depends on.
#[derive(Clone, Copy)]
pub(crate) struct Header4 {
    /// Source address, network order.
    source: u32,
    /// Destination address, network order.
    dest: u32,
    /// The type of service byte.
    tos: u8,
    /// It must not be fragmented on the way (DF).
    whole: bool,
}

/// The part of an IPv6 header that a route depends on.
#[derive(Clone, Copy)]
pub(crate) struct Header6 {
    /// Source address.
    source: [u8; 16],
    /// Destination address.
    dest: [u8; 16],
    /// The first four bytes of the header as they are: version, traffic class and flow label.
    first_word: [u8; 4],
    /// The first next-header value.
    next_header: u8,
}

impl IpHeader {
    /// Reads the IPv4 header that a packet's data begins with; `None` if it is not linear.
    pub(crate) fn v4(skb: &Skb) -> Option<Self> {
        Header4::of(skb).map(Self::V4)
    }

    /// Reads the IPv6 header that a packet's data begins with; `None` if it is not linear.
    pub(crate) fn v6(skb: &Skb) -> Option<Self> {
        Header6::of(skb).map(Self::V6)
    }
}

impl Header4 {
    fn of(skb: &Skb) -> Option<Self> {
        const DF: u8 = 0x40;
        let header = skb.linear().first_chunk::<20>()?;
        let [_, tos, _, _, _, _, flags, _, _, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        Some(Self {
            source: u32::from_ne_bytes([s0, s1, s2, s3]),
            dest: u32::from_ne_bytes([d0, d1, d2, d3]),
            tos,
            whole: flags & DF != 0,
        })
    }
}

impl Header6 {
    fn of(skb: &Skb) -> Option<Self> {
        let (fixed, rest) = skb.linear().split_first_chunk::<8>()?;
        let (source, rest) = rest.split_first_chunk::<16>()?;
        let [v, a, b, c, _, _, next_header, _] = *fixed;
        Some(Self {
            source: *source,
            dest: *rest.first_chunk()?,
            first_word: [v, a, b, c],
            next_header,
        })
    }

    /// The key of a look-up, but for what the header does not tell.
    #[cfg(CONFIG_IPV6)]
    fn flow(&self) -> sys::flowi6 {
        let mut flow: sys::flowi6 = pin_init::zeroed();
        flow.__fl_common.flowic_proto = self.next_header;
        flow.saddr.in6_u.u6_addr8 = self.source;
        flow.daddr.in6_u.u6_addr8 = self.dest;
        // Traffic class and flow label (IPV6_FLOWINFO_MASK).
        let [version, a, b, c] = self.first_word;
        flow.flowlabel = u32::from_ne_bytes([version & 0x0f, a, b, c]);
        flow
    }
}

/// `INET_DSCP_MASK` of include/net/inet_dscp.h.
const DSCP_MASK: u8 = 0xfc;

/// The smallest MTU that IPv6 knows (RFC 8200, section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// A route, for one packet. Dropping it gives it back.
///
/// # Invariants
///
/// Owns one counted reference, to a route of IPv6 if `v6`, else of IPv4.
pub(crate) struct Route {
    dst: NonNull<sys::dst_entry>,
    v6: bool,
}

impl Drop for Route {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { sys::dst_release(self.dst.as_ptr()) };
    }
}

impl Route {
    /// Looks up the route that a packet with this header and mark takes out of `dev`, in the namespace of `dev`, as if
    /// that had made it.
    ///
    /// # Errors
    ///
    /// What the sending socket is to see: a failed transmit, or, with IPv6, the route's own error.
    pub(crate) fn lookup(
        dev: &NetDevice,
        header: &IpHeader,
        mark: u32,
        cx: &Softirq,
    ) -> Result<Self, Xmit> {
        match header {
            IpHeader::V4(header) => Self::lookup4(dev, header, mark, cx),
            IpHeader::V6(header) => Self::lookup6(dev, header, mark, cx),
        }
    }

    /// Out of line, like its twin, so that the flow is off the stack before the packet moves on.
    #[inline(never)]
    fn lookup4(dev: &NetDevice, header: &Header4, mark: u32, cx: &Softirq) -> Result<Self, Xmit> {
        let mut flow: sys::flowi4 = pin_init::zeroed();
        flow.__fl_common.flowic_oif = dev.ifindex();
        flow.__fl_common.flowic_flags = sys::FLOWI_FLAG_ANYSRC as u8;
        flow.__fl_common.flowic_mark = mark;
        flow.__fl_common.flowic_dscp = header.tos & DSCP_MASK;
        flow.saddr = header.source;
        flow.daddr = header.dest;

        let net = dev.net_rcu(&cx.rcu).as_ptr();
        // SAFETY: The namespace is alive under RCU; the flow is ours.
        let rt = unsafe { sys::ip_route_output_flow(net, &mut flow, ptr::null()) };
        let rt = kernel::error::from_err_ptr(rt).map_err(|_| Xmit::DROP)?;
        // SAFETY: A counted reference of ours.
        let kind = u32::from(unsafe { (*rt).rt_type });
        // INVARIANT: The reference is ours.
        let route = Self {
            // SAFETY: The address lies inside the route, which is not null.
            dst: unsafe { NonNull::new_unchecked(&raw mut (*rt).dst) },
            v6: false,
        };
        if kind != sys::RTN_UNICAST && kind != sys::RTN_LOCAL {
            return Err(Xmit::DROP);
        }
        Ok(route)
    }

    #[cfg(not(CONFIG_IPV6))]
    fn lookup6(_: &NetDevice, _: &Header6, _: u32, _: &Softirq) -> Result<Self, Xmit> {
        Err(Xmit::error(eafnosupport()))
    }

    #[cfg(CONFIG_IPV6)]
    #[inline(never)]
    fn lookup6(dev: &NetDevice, header: &Header6, mark: u32, cx: &Softirq) -> Result<Self, Xmit> {
        // With ipv6.disable=1 there are no tables to look into.
        // SAFETY: Reads a flag.
        if !unsafe { sys::ipvlan_rs_ipv6_mod_enabled() } {
            return Err(Xmit::error(eafnosupport()));
        }
        let mut flow = header.flow();
        flow.__fl_common.flowic_oif = dev.ifindex();
        flow.__fl_common.flowic_flags = sys::FLOWI_FLAG_ANYSRC as u8;
        flow.__fl_common.flowic_mark = mark;

        let net = dev.net_rcu(&cx.rcu).as_ptr();
        // SAFETY: The namespace is alive under RCU; the flow is ours.
        let dst = unsafe { sys::ip6_route_output_flags(net, ptr::null(), &mut flow, 0) };
        // INVARIANT: The look-up returns a counted route, if need be one that holds an error.
        let route = Self {
            // SAFETY: It never returns null.
            dst: unsafe { NonNull::new_unchecked(dst) },
            v6: true,
        };
        // SAFETY: By the type invariant.
        match i32::from(unsafe { (*dst).error }) {
            0 => Ok(route),
            code => Err(Xmit::error(Error::from_errno(code))),
        }
    }

    /// The MTU of the route, if the packet, whose data begins with this header, is larger and may not be fragmented.
    #[inline]
    pub(crate) fn mtu_exceeded(&self, skb: &Skb, header: &IpHeader) -> Option<u32> {
        let least = match header {
            IpHeader::V4(header) if !header.whole => return None,
            IpHeader::V4(_) => 0,
            // No sender of IPv6 could do better.
            IpHeader::V6(_) if skb.len() <= IPV6_MIN_MTU as usize => return None,
            IpHeader::V6(_) => IPV6_MIN_MTU,
        };
        // SAFETY: Both are alive; the packet has its network header set.
        match unsafe { sys::ipvlan_rs_mtu_exceeded(self.dst.as_ptr(), skb.as_ptr(), least) } {
            0 => None,
            mtu => Some(mtu),
        }
    }

    /// Sends the packet, which is scrubbed and whose data begins with the header that the route was looked up for,
    /// through the OUTPUT and POSTROUTING hooks of the namespace of `dev`. It may be lost on the way, which is an error.
    pub(crate) fn output(self, mut skb: Skb, dev: &NetDevice, cx: &Softirq) -> Result<(), Xmit> {
        let net = dev.net_rcu(&cx.rcu).as_ptr();
        skb.set_dev(dev, &cx.rcu);
        // The IP layer keeps its options there, and would believe what it finds.
        skb.clear_cb();
        let this = ManuallyDrop::new(self);
        // SAFETY: The reference is ours and goes to the packet, which has no route since it was scrubbed.
        unsafe { skb.set_route(this.dst.as_ptr()) };
        let skb = skb.into_ptr();
        // SAFETY: The packet is ours and has a route of this namespace and of its own protocol.
        let code = unsafe {
            if this.v6 {
                sys::ip6_local_out(net, ptr::null_mut(), skb)
            } else {
                sys::ip_local_out(net, ptr::null_mut(), skb)
            }
        };
        if Xmit::from_raw(code).is_sent() {
            Ok(())
        } else {
            Err(Xmit::DROP)
        }
    }
}

/// Tells the sender of a packet that its way takes no more than `mtu` bytes: its route learns it, and it gets the ICMP
/// error that a router would send, as far as the kernel sends one (for a first fragment, not too many a second). For
/// `ndo_start_xmit` of `dev`; the packet's data begins with its IP header. What it had in its control buffer is gone
/// afterwards.
///
/// False if the packet came without a route (a raw frame): there is none to learn it then, or to answer by.
#[inline(never)]
pub(crate) fn report_too_big(
    skb: &mut Skb,
    header: &IpHeader,
    mtu: u32,
    dev: &NetDevice,
    cx: &Softirq,
) -> bool {
    skb.set_dev(dev, &cx.rcu);
    skb.clear_cb();
    // SAFETY: The packet is ours and its network header is set; `dev` is what sends it, so it is the sender's
    // namespace that the route belongs to.
    unsafe {
        match header {
            IpHeader::V4(_) => sys::ipvlan_rs_report_frag_needed(skb.as_ptr(), mtu),
            IpHeader::V6(_) => sys::ipvlan_rs_report_too_big(skb.as_ptr(), mtu),
        }
    }
}

/// Routes a received IPv4 packet, whose header is linear, as if `dev` had received it. Where there is no way, that is a
/// route too, which answers so; only a packet that the namespace of `dev` calls martian is left to that of its own
/// device.
pub(crate) fn input4(packet: &mut SkbView<'_>, dev: &NetDevice, _cx: &Softirq) {
    let Some(header) = Header4::of(packet.skb()) else {
        return;
    };
    // SAFETY: The packet is lent to us and the device alive, both for as long as the reader that `_cx` stands for; the
    // route is not counted, and good for as long. The call replaces a route that the packet has.
    let _ = unsafe {
        sys::ip_route_input_noref(
            packet.as_ptr(),
            header.dest,
            header.source,
            header.tos & DSCP_MASK,
            dev.as_ptr(),
        )
    };
}

/// As [`input4`], for IPv6; without a route, the packet gets one that answers so.
#[cfg(CONFIG_IPV6)]
#[inline(never)]
pub(crate) fn input6(packet: &mut SkbView<'_>, dev: &NetDevice, cx: &Softirq) {
    let Some(header) = Header6::of(packet.skb()) else {
        return;
    };
    let mut flow = header.flow();
    flow.__fl_common.flowic_iif = dev.ifindex();
    flow.__fl_common.flowic_mark = packet.skb().mark();
    // SAFETY: The packet is lent to us, the device and its namespace are alive under RCU; the flow is ours. The look-up
    // returns a counted route, which the packet takes over after it has lost what it had.
    unsafe {
        sys::ipvlan_rs_skb_dst_drop(packet.as_ptr());
        let dst = sys::ip6_route_input_lookup(
            dev.net_rcu(&cx.rcu).as_ptr(),
            dev.as_ptr(),
            &mut flow,
            packet.as_ptr(),
            sys::RT6_LOOKUP_F_HAS_SADDR as i32,
        );
        sys::ipvlan_rs_skb_dst_set(packet.as_ptr(), dst);
    }
}

/// Never called: without IPv6 nobody receives such packets.
#[cfg(not(CONFIG_IPV6))]
pub(crate) fn input6(_: &mut SkbView<'_>, _: &NetDevice, _: &Softirq) {}

/// How deep this CPU (on PREEMPT_RT, this task) is nested in transmits. Leaves again when dropped.
pub(crate) struct XmitDepth<'a> {
    depth: u32,
    _cx: &'a Softirq,
}

impl<'a> XmitDepth<'a> {
    /// Goes one deeper.
    pub(crate) fn enter(cx: &'a Softirq) -> Self {
        // SAFETY: Bottom halves are off, so this stays on the CPU.
        let depth = unsafe { sys::ipvlan_rs_xmit_depth_inc() };
        Self { depth, _cx: cx }
    }

    /// Whether this is deeper than the kernel stack bears: devices that route into each other.
    pub(crate) fn is_too_deep(&self) -> bool {
        self.depth > sys::IPVLAN_RS_XMIT_DEPTH_MAX
    }
}

impl Drop for XmitDepth<'_> {
    fn drop(&mut self) {
        // SAFETY: As in `enter`.
        unsafe { sys::ipvlan_rs_xmit_depth_dec() };
    }
}

/// Random bytes for seeds. Process context.
pub(crate) fn random_words<const N: usize>() -> [u64; N] {
    let mut words = [0u64; N];
    // SAFETY: The buffer is ours, and every bit pattern is a u64.
    unsafe { bindings::get_random_bytes(words.as_mut_ptr().cast(), N.wrapping_mul(8)) };
    words
}
