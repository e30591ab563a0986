// SPDX-License-Identifier: GPL-2.0

//! Routing: sending a packet as if this host had made it, and receiving one as if another device had.

use super::{
    device::NetDevice,
    packet::{
        DropReason,
        Xmit, //
    },
    skbuff::Skb,
    softirq::Softirq,
    view::{
        Headers,
        SkbView, //
    }, //
};
use crate::sys;
use core::ptr;
use kernel::{
    bindings,
    prelude::*, //
};

/// The part of an IPv4 header that a route depends on.
#[derive(Clone, Copy)]
pub(crate) struct Route4 {
    /// Source address, network order.
    pub(crate) source: u32,
    /// Destination address, network order.
    pub(crate) dest: u32,
    /// The type of service byte.
    pub(crate) tos: u8,
}

/// The part of an IPv6 header that a route depends on.
#[derive(Clone, Copy)]
pub(crate) struct Route6 {
    /// Source address.
    pub(crate) source: [u8; 16],
    /// Destination address.
    pub(crate) dest: [u8; 16],
    /// The first four bytes of the header as they are: version, traffic class and flow label.
    pub(crate) first_word: [u8; 4],
    /// The first next-header value.
    pub(crate) next_header: u8,
}

impl Route4 {
    /// Reads the header that a packet's data begins with; `None` if it is not linear.
    pub(crate) fn of(skb: &Skb) -> Option<Self> {
        let header = skb.linear().first_chunk::<20>()?;
        let [_, tos, _, _, _, _, _, _, _, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        Some(Self {
            source: u32::from_ne_bytes([s0, s1, s2, s3]),
            dest: u32::from_ne_bytes([d0, d1, d2, d3]),
            tos,
        })
    }
}

impl Route6 {
    /// Reads the header that a packet's data begins with; `None` if it is not linear.
    pub(crate) fn of(skb: &Skb) -> Option<Self> {
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
}

impl Route6 {
    /// The key of a look-up, but for what the header does not tell.
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

/// What the stack's output functions return, as a transmit's result.
fn result(code: i32) -> Result<(), Xmit> {
    if code == 0 || Xmit::from_raw(code).is_sent() {
        Ok(())
    } else {
        Err(Xmit::DROP)
    }
}

/// Routes an IPv4 packet through `dev` in the namespace of `dev`, with the packet's mark, and sends it. The data
/// begins with the network header, which is linear.
///
/// Runs the OUTPUT and POSTROUTING hooks of that namespace. The packet may be lost on the way, which is then an error.
pub(crate) fn output4(
    mut skb: Skb,
    dev: &NetDevice,
    route: Route4,
    cx: &Softirq,
) -> Result<(), Xmit> {
    let net = dev.net_rcu(&cx.rcu).as_ptr();
    let mut flow: sys::flowi4 = pin_init::zeroed();
    flow.__fl_common.flowic_oif = dev.ifindex();
    flow.__fl_common.flowic_flags = sys::FLOWI_FLAG_ANYSRC as u8;
    flow.__fl_common.flowic_mark = skb.mark();
    flow.__fl_common.flowic_dscp = route.tos & DSCP_MASK;
    flow.saddr = route.source;
    flow.daddr = route.dest;

    // SAFETY: The namespace is alive under RCU; the flow is ours.
    let rt = unsafe { sys::ip_route_output_flow(net, &mut flow, ptr::null()) };
    let Ok(rt) = kernel::error::from_err_ptr(rt) else {
        skb.free(DropReason::NoRoute);
        return Err(Xmit::DROP);
    };
    // SAFETY: A counted reference of ours.
    let kind = u32::from(unsafe { (*rt).rt_type });
    // SAFETY: The address lies inside the route.
    let dst = unsafe { &raw mut (*rt).dst };
    if kind != sys::RTN_UNICAST && kind != sys::RTN_LOCAL {
        // SAFETY: The reference is ours.
        unsafe { sys::dst_release(dst) };
        skb.free(DropReason::NoRoute);
        return Err(Xmit::DROP);
    }
    skb.set_dev(dev, &cx.rcu);
    // SAFETY: The reference is ours; the packet was scrubbed, so it has no route.
    unsafe { skb.set_route(dst) };
    // The IP layer keeps its options there, and would believe what it finds.
    skb.clear_cb();
    // SAFETY: The packet is ours and has a route of this namespace.
    result(unsafe { sys::ip_local_out(net, ptr::null_mut(), skb.into_ptr()) })
}

/// Looks up the route of an IPv6 packet. Out of line, so that the flow is off the stack before the packet moves on.
#[inline(never)]
fn lookup6(
    skb: &Skb,
    dev: &NetDevice,
    route: &Route6,
    net: *mut sys::net,
) -> Result<*mut sys::dst_entry> {
    // With ipv6.disable=1 there are no tables to look into.
    // SAFETY: Reads a flag.
    if !unsafe { sys::ipvlan_rs_ipv6_mod_enabled() } {
        return Err(EAFNOSUPPORT);
    }
    let mut flow = route.flow();
    flow.__fl_common.flowic_oif = dev.ifindex();
    flow.__fl_common.flowic_flags = sys::FLOWI_FLAG_ANYSRC as u8;
    flow.__fl_common.flowic_mark = skb.mark();

    // SAFETY: The namespace is alive under RCU; the flow is ours.
    let dst = unsafe { sys::ip6_route_output_flags(net, ptr::null(), &mut flow, 0) };
    // SAFETY: The look-up returns a counted route, if need be one that holds an error.
    let code = i32::from(unsafe { (*dst).error });
    if code != 0 {
        // SAFETY: The reference is ours.
        unsafe { sys::dst_release(dst) };
        return Err(Error::from_errno(code));
    }
    Ok(dst)
}

/// As [`output4`], for IPv6.
///
/// # Errors
///
/// A missing route's error is what the sending socket sees.
pub(crate) fn output6(
    mut skb: Skb,
    dev: &NetDevice,
    route: &Route6,
    cx: &Softirq,
) -> Result<(), Xmit> {
    let net = dev.net_rcu(&cx.rcu).as_ptr();
    let dst = match lookup6(&skb, dev, route, net) {
        Ok(dst) => dst,
        Err(error) => {
            skb.free(DropReason::NoRoute);
            return Err(Xmit::error(error));
        }
    };
    skb.set_dev(dev, &cx.rcu);
    // SAFETY: The reference is ours; the packet was scrubbed, so it has no route.
    unsafe { skb.set_route(dst) };
    skb.clear_cb();
    // SAFETY: The packet is ours and has a route of this namespace.
    result(unsafe { sys::ip6_local_out(net, ptr::null_mut(), skb.into_ptr()) })
}

/// Routes a received IPv4 packet, whose header is linear, as if `dev` had received it. Without a route there, the
/// packet is as it was: its own device's namespace routes it.
pub(crate) fn input4(packet: &mut SkbView<'_>, dev: &NetDevice, _cx: &Softirq) {
    let Some(route) = Route4::of(packet.skb()) else {
        return;
    };
    // SAFETY: The packet is lent to us and the device alive, both for as long as the reader that `_cx` stands for; the
    // route is not counted, and good for as long. The call replaces a route that the packet has.
    let _ = unsafe {
        sys::ip_route_input_noref(
            packet.as_ptr(),
            route.dest,
            route.source,
            route.tos & DSCP_MASK,
            dev.as_ptr(),
        )
    };
}

/// As [`input4`], for IPv6; without a route, the packet gets one that answers so.
#[inline(never)]
pub(crate) fn input6(packet: &mut SkbView<'_>, dev: &NetDevice, cx: &Softirq) {
    let Some(route) = Route6::of(packet.skb()) else {
        return;
    };
    let mut flow = route.flow();
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
