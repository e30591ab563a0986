// SPDX-License-Identifier: GPL-2.0

//! Routing of IPv4.

use super::{
    device::NetDevice,
    netns::Net,
    packet::Xmit,
    route::{
        IpHeader,
        Route, //
    },
    route_key::{
        Key4,
        DSCP_MASK, //
    },
    skbuff::Skb,
    softirq::Softirq,
    view::{
        Headers,
        SkbView, //
    }, //
};
use crate::sys;
use core::{
    cell::Cell,
    ptr::{
        self,
        NonNull, //
    }, //
};

/// The part of an IPv4 header that a packet's way depends on.
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

impl IpHeader for Header4 {
    type Key = Key4;
    /// The generation.
    type Seal = u32;

    const NO_KEY: Key4 = Key4::NONE;

    #[inline(always)]
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

    #[inline(always)]
    fn key(&self, mark: u32) -> Key4 {
        Key4::new(self.source, self.dest, self.tos, mark)
    }

    #[inline(always)]
    fn hash(key: Key4) -> u32 {
        key.hash()
    }

    fn ready() -> Result<(), Xmit> {
        Ok(())
    }

    #[inline(always)]
    fn moment(net: &Net) -> u32 {
        net.route_generation4()
    }

    #[inline]
    unsafe fn seal(
        generation: u32,
        dst: NonNull<sys::dst_entry>,
        dev: &NetDevice,
        net: &Net,
    ) -> Option<u32> {
        // SAFETY: By the safety requirements.
        unsafe {
            Self::holds(&Cell::new(generation), dst, net)
                && sys::ipvlan_rs_route4_keep(net.as_ptr(), dev.as_ptr())
        }
        .then_some(generation)
    }

    /// `ipv4_dst_check()` of net/ipv4/route.c, which every packet would call out of line, with the namespace's own
    /// generation, and what else says that a look-up would end elsewhere: see the documentation of
    /// [`route_cache`](super::route_cache).
    #[inline(always)]
    unsafe fn holds(generation: &Cell<u32>, dst: NonNull<sys::dst_entry>, net: &Net) -> bool {
        let (generation, dst) = (generation.get(), dst.as_ptr());
        // SAFETY: By the safety requirements a live route of IPv4, which begins with its `dst_entry`. Others write
        // these fields: each is read once.
        unsafe {
            let route = dst.cast::<sys::rtable>();
            let born = (&raw const (*route).rt_genid).read_volatile();
            // CAST: the same bits.
            born as u32 == generation
                && net.route_generation4() == generation
                && i32::from((&raw const (*dst).obsolete).read_volatile())
                    == sys::DST_OBSOLETE_FORCE_CHK
                && (&raw const (*dst).expires).read_volatile() == 0
                && (&raw const (*dst).rt_uncached_list)
                    .read_volatile()
                    .is_null()
        }
    }

    /// Out of line, so that the flow is off the stack before the packet moves on.
    #[inline(never)]
    fn lookup<'a>(
        &self,
        dev: &NetDevice,
        net: &Net,
        mark: u32,
        cx: &'a Softirq,
    ) -> Result<Route<'a, Self>, Xmit> {
        let mut flow: sys::flowi4 = pin_init::zeroed();
        flow.__fl_common.flowic_oif = dev.ifindex();
        flow.__fl_common.flowic_flags = sys::FLOWI_FLAG_ANYSRC as u8;
        flow.__fl_common.flowic_mark = mark;
        flow.__fl_common.flowic_dscp = self.tos & DSCP_MASK;
        flow.saddr = self.source;
        flow.daddr = self.dest;

        // SAFETY: The namespace is alive; the flow is ours.
        let rt = unsafe { sys::ip_route_output_flow(net.as_ptr(), &mut flow, ptr::null()) };
        // IS_ERR() without its helper: an error is one of the last addresses.
        if rt.addr().wrapping_add(sys::MAX_ERRNO as usize) < rt.addr() {
            return Err(Xmit::DROP);
        }
        // SAFETY: A counted reference of ours.
        let kind = u32::from(unsafe { (*rt).rt_type });
        // SAFETY: The address lies inside the route, which is not null. The reference is ours, and IPv4's.
        let route = unsafe { Route::counted(NonNull::new_unchecked(&raw mut (*rt).dst), cx) };
        if kind != sys::RTN_UNICAST && kind != sys::RTN_LOCAL {
            return Err(Xmit::DROP);
        }
        Ok(route)
    }

    #[inline(always)]
    fn least_mtu(&self, _skb: &Skb) -> Option<u32> {
        self.whole.then_some(0)
    }

    #[inline(always)]
    unsafe fn local_out(
        net: &Net,
        skb: *mut sys::sk_buff,
        dst: *mut sys::dst_entry,
        counted: bool,
    ) -> i32 {
        // SAFETY: By the safety requirements.
        unsafe { sys::ipvlan_rs_ip_local_out(net.as_ptr(), skb, dst, counted) }
    }

    unsafe fn report(skb: *mut sys::sk_buff, mtu: u32) -> bool {
        // SAFETY: By the safety requirements.
        unsafe { sys::ipvlan_rs_report_frag_needed(skb, mtu) }
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
