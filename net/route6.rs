// SPDX-License-Identifier: GPL-2.0

//! Routing of IPv6.

#[cfg(CONFIG_IPV6)]
use super::view::Headers;
use super::{
    compat::eafnosupport,
    device::NetDevice,
    netns::Net,
    packet::Xmit,
    route::{
        IpHeader,
        Route, //
    },
    route_key::Key6,
    skbuff::Skb,
    softirq::Softirq,
    view::SkbView, //
};
use crate::sys;
use core::{
    cell::Cell,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// The part of an IPv6 header that a packet's way depends on.
#[derive(Clone, Copy)]
pub(crate) struct Header6 {
    /// Source address.
    source: [u8; 16],
    /// Destination address.
    dest: [u8; 16],
    /// The first four bytes of the header as they are, without the version: traffic class and flow label
    /// (`IPV6_FLOWINFO_MASK`).
    flow: u32,
    /// The first next-header value.
    next_header: u8,
}

/// The smallest MTU that IPv6 knows (RFC 8200, section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// What must stay as it was for a route of IPv6.
type Seal6 = sys::ipvlan_rs_route6_seal;

impl Header6 {
    /// The key of a look-up, but for what the header does not tell. In place: nothing of it is moved.
    #[cfg(CONFIG_IPV6)]
    #[inline(always)]
    fn fill(&self, flow: &mut sys::flowi6) {
        flow.__fl_common.flowic_proto = self.next_header;
        flow.saddr.in6_u.u6_addr8 = self.source;
        flow.daddr.in6_u.u6_addr8 = self.dest;
        flow.flowlabel = self.flow;
    }
}

impl IpHeader for Header6 {
    type Key = Key6;
    type Seal = Seal6;

    const NO_KEY: Key6 = Key6::NONE;

    #[inline(always)]
    fn of(skb: &Skb) -> Option<Self> {
        let [v, a, b, c, _, _, next_header, _, rest @ ..] = skb.linear().first_chunk::<40>()?;
        let (source, rest) = rest.split_first_chunk::<16>()?;
        Some(Self {
            source: *source,
            dest: *rest.first_chunk()?,
            flow: u32::from_ne_bytes([v & 0x0f, *a, *b, *c]),
            next_header: *next_header,
        })
    }

    #[inline(always)]
    fn key(&self, mark: u32) -> Key6 {
        Key6::new(self.source, self.dest, self.flow, self.next_header, mark)
    }

    #[inline(always)]
    fn hash(key: Key6) -> u32 {
        key.hash()
    }

    #[cfg(not(CONFIG_IPV6))]
    fn ready() -> Result<(), Xmit> {
        Err(Xmit::error(eafnosupport()))
    }

    #[cfg(CONFIG_IPV6)]
    fn ready() -> Result<(), Xmit> {
        // With ipv6.disable=1 there are no tables to look into.
        // SAFETY: Reads a flag.
        if unsafe { sys::ipvlan_rs_ipv6_mod_enabled() } {
            Ok(())
        } else {
            Err(Xmit::error(eafnosupport()))
        }
    }

    #[cfg(not(CONFIG_IPV6))]
    fn moment(_: &Net) -> Seal6 {
        pin_init::zeroed()
    }

    #[cfg(CONFIG_IPV6)]
    #[inline(always)]
    fn moment(net: &Net) -> Seal6 {
        let mut seal: Seal6 = pin_init::zeroed();
        // SAFETY: The namespace is alive; the seal is ours.
        unsafe { sys::ipvlan_rs_route6_moment(net.as_ptr(), &mut seal) };
        seal
    }

    #[cfg(not(CONFIG_IPV6))]
    unsafe fn seal(_: Seal6, _: NonNull<sys::dst_entry>, _: &NetDevice, _: &Net) -> Option<Seal6> {
        None
    }

    #[cfg(CONFIG_IPV6)]
    #[inline]
    unsafe fn seal(
        mut seal: Seal6,
        dst: NonNull<sys::dst_entry>,
        dev: &NetDevice,
        net: &Net,
    ) -> Option<Seal6> {
        // SAFETY: By the safety requirements a live route of IPv6, in RCU's section; the seal is ours.
        unsafe { sys::ipvlan_rs_route6_keep(net.as_ptr(), dev.as_ptr(), dst.as_ptr(), &mut seal) }
            .then_some(seal)
    }

    #[cfg(not(CONFIG_IPV6))]
    unsafe fn holds(_: &Cell<Seal6>, _: NonNull<sys::dst_entry>, _: &Net) -> bool {
        false
    }

    #[cfg(CONFIG_IPV6)]
    #[inline(always)]
    unsafe fn holds(seal: &Cell<Seal6>, dst: NonNull<sys::dst_entry>, net: &Net) -> bool {
        // SAFETY: By the safety requirements a live route of IPv6, in RCU's section; the seal is only read.
        unsafe { sys::ipvlan_rs_route6_holds(net.as_ptr(), dst.as_ptr(), seal.as_ptr()) }
    }

    #[cfg(not(CONFIG_IPV6))]
    fn lookup<'a>(
        &self,
        _: &NetDevice,
        _: &Net,
        _: u32,
        _: &'a Softirq,
    ) -> Result<Route<'a, Self>, Xmit> {
        Err(Xmit::error(eafnosupport()))
    }

    /// Out of line, so that the flow is off the stack before the packet moves on.
    #[cfg(CONFIG_IPV6)]
    #[inline(never)]
    fn lookup<'a>(
        &self,
        dev: &NetDevice,
        net: &Net,
        mark: u32,
        cx: &'a Softirq,
    ) -> Result<Route<'a, Self>, Xmit> {
        let mut flow: sys::flowi6 = pin_init::zeroed();
        self.fill(&mut flow);
        flow.__fl_common.flowic_oif = dev.ifindex();
        flow.__fl_common.flowic_flags = sys::FLOWI_FLAG_ANYSRC as u8;
        flow.__fl_common.flowic_mark = mark;

        // SAFETY: The namespace is alive; the flow is ours.
        let dst =
            unsafe { sys::ip6_route_output_flags(net.as_ptr(), core::ptr::null(), &mut flow, 0) };
        // SAFETY: The look-up never returns null, and returns a counted route, if need be one that holds an error.
        let route = unsafe { Route::counted(NonNull::new_unchecked(dst), cx) };
        // SAFETY: As above.
        match i32::from(unsafe { (*dst).error }) {
            0 => Ok(route),
            code => Err(Xmit::error(Error::from_errno(code))),
        }
    }

    #[inline(always)]
    fn least_mtu(&self, skb: &Skb) -> Option<u32> {
        // No sender of IPv6 could do better than with the least.
        (skb.len() > IPV6_MIN_MTU as usize).then_some(IPV6_MIN_MTU)
    }

    #[inline(always)]
    unsafe fn local_out(
        net: &Net,
        skb: *mut sys::sk_buff,
        dst: *mut sys::dst_entry,
        counted: bool,
    ) -> i32 {
        // SAFETY: By the safety requirements.
        unsafe { sys::ipvlan_rs_ip6_local_out(net.as_ptr(), skb, dst, counted) }
    }

    unsafe fn report(skb: *mut sys::sk_buff, mtu: u32) -> bool {
        // SAFETY: By the safety requirements.
        unsafe { sys::ipvlan_rs_report_too_big(skb, mtu) }
    }
}

/// As [`input4`](super::route4::input4), for IPv6; without a route, the packet gets one that answers so.
#[cfg(CONFIG_IPV6)]
#[inline(never)]
pub(crate) fn input6(packet: &mut SkbView<'_>, dev: &NetDevice, cx: &Softirq) {
    let Some(header) = Header6::of(packet.skb()) else {
        return;
    };
    let mut flow: sys::flowi6 = pin_init::zeroed();
    header.fill(&mut flow);
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
