// SPDX-License-Identifier: GPL-2.0

//! The layer 3 hook of a device (net/l3mdev.h): between PREROUTING and the routing of what the device receives.

use super::{
    device::NetDevice,
    device_ref::DeviceRef,
    extack::ExtAck,
    route4::input4,
    route6::input6,
    rtnl::Rtnl,
    rx_handler::RxHandler,
    softirq::Softirq,
    view::SkbView, //
};
use crate::sys;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A receive handler that may have packets, which its device received, routed as if another device had.
pub(crate) trait L3Router: RxHandler {
    /// The device's operations: one `static`.
    fn ops() -> &'static L3Ops<Self>;

    /// The device in whose namespace, and as if received by which, a packet is to be routed; `None`: as its own
    /// device's. Softirq; the packet's data begins with its network header.
    fn routed_by<'a>(&'a self, packet: &mut SkbView<'_>, cx: &'a Softirq) -> Option<&'a NetDevice>;
}

/// The operations of a device with an [`L3Router`].
pub(crate) struct L3Ops<H: L3Router>(Opaque<sys::l3mdev_ops>, PhantomData<fn(H)>);

// SAFETY: Never written; the function in it may be called on any CPU.
unsafe impl<H: L3Router> Sync for L3Ops<H> {}

impl<H: L3Router> L3Ops<H> {
    /// To be put in a `static`.
    pub(crate) const fn new() -> Self {
        Self(
            Opaque::new(sys::l3mdev_ops {
                l3mdev_fib_table: None,
                l3mdev_l3_rcv: Some(receive::<H>),
                l3mdev_l3_out: None,
                l3mdev_link_scope_lookup: None,
            }),
            PhantomData,
        )
    }
}

/// That the layer 3 hook of a device is an `H`'s. To be [ended](Self::end) under RTNL; one that is dropped instead
/// stays for ever, so its owner must be sure to get there.
///
/// # Invariants
///
/// The device's `l3mdev_ops` are `H`'s and its `IFF_L3MDEV_RX_HANDLER` is set.
#[must_use = "the hook stays until the registration is ended"]
pub(crate) struct L3Registration<H: L3Router> {
    dev: DeviceRef,
    _router: PhantomData<fn(H)>,
}

impl<H: L3Router> L3Registration<H> {
    /// Begins. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the device is a VRF, which has a hook of its own. (A VRF takes no receive handler either, so that a
    /// driver with one need not expect this.)
    pub(crate) fn new(dev: &NetDevice, extack: ExtAck<'_>, _rtnl: &Rtnl) -> Result<Self> {
        // SAFETY: The device is alive.
        if unsafe { sys::ipvlan_rs_netdev_is_l3_master(dev.as_ptr()) } {
            return Err(extack.refuse(
                EBUSY,
                c"The master is a VRF, whose own layer 3 hook is in the way",
            ));
        }
        // SAFETY: RTNL is held; the operations are static, and nobody else's are in use. Readers look at the operations
        // after they saw the flag, without a barrier, so one that sees it must have begun after these were there.
        unsafe {
            sys::ipvlan_rs_netdev_set_l3mdev_ops(dev.as_ptr(), H::ops().0.get());
            sys::synchronize_net();
            sys::ipvlan_rs_netdev_set_l3_rx(dev.as_ptr(), true);
        }
        // INVARIANT: Begun above.
        Ok(Self {
            dev: dev.hold(),
            _router: PhantomData,
        })
    }

    /// Ends, and waits until no hook runs any more. Sleeps.
    pub(crate) fn end(self, _rtnl: &Rtnl) {
        // SAFETY: By the type invariant the hook is ours. Readers that saw the flag may still look at the operations,
        // so these are taken away only when such readers are gone.
        unsafe {
            sys::ipvlan_rs_netdev_set_l3_rx(self.dev.as_ptr(), false);
            sys::synchronize_net();
            sys::ipvlan_rs_netdev_set_l3mdev_ops(self.dev.as_ptr(), ptr::null());
        }
    }
}

/// The core's entry: always returns the packet, perhaps with a route.
unsafe extern "C" fn receive<H: L3Router>(
    dev: *mut sys::net_device,
    skb: *mut sys::sk_buff,
    proto: u16,
) -> *mut sys::sk_buff {
    // SAFETY: Called by ip_rcv_finish() and ip6_rcv_finish(), with bottom halves off and as a reader, for a device
    // that is alive.
    let (cx, dev) = unsafe { (Softirq::assume(), NetDevice::from_ptr(dev)) };
    dev.with_rx_handler(&cx.rcu, |handler: &H| {
        // SAFETY: The IP layer has made the header its own (skb_share_check()), and waits for this to return.
        let mut packet = unsafe { SkbView::new(skb) };
        let Some(router) = handler.routed_by(&mut packet, &cx) else {
            return;
        };
        match u32::from(proto) {
            sys::AF_INET => input4(&mut packet, router, &cx),
            sys::AF_INET6 => input6(&mut packet, router, &cx),
            _ => {}
        }
    });
    skb
}
