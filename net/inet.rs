// SPDX-License-Identifier: GPL-2.0

//! IPv4 and IPv6 addresses of devices: the events of their notifier chains, and who has which.

use super::{
    device::NetDevice,
    extack::ExtAck,
    rtnl::Rtnl, //
};
use crate::{
    sync::rcu::RcuRead,
    sys, //
};
use core::ffi::c_void;

/// An IPv4 address came or went.
pub(crate) struct Address4Event<'a> {
    /// It came.
    pub(crate) up: bool,
    /// The device that it belongs to.
    pub(crate) dev: &'a NetDevice,
    /// The local address (`ifa_local`), not a point-to-point peer's, in network order.
    pub(crate) local: u32,
    /// The chain is called with RTNL held.
    pub(crate) rtnl: &'a Rtnl,
}

impl<'a> Address4Event<'a> {
    /// # Safety
    ///
    /// `data` is a `struct in_ifaddr` for `'a`.
    pub(super) unsafe fn from_raw(data: *mut c_void, up: bool, rtnl: &'a Rtnl) -> Self {
        let ifa = data.cast::<sys::in_ifaddr>();
        // SAFETY: By the safety requirements; an address keeps its in_device, and that its device.
        unsafe {
            Self {
                up,
                dev: NetDevice::from_ptr((*(*ifa).ifa_dev).dev),
                local: (*ifa).ifa_local,
                rtnl,
            }
        }
    }
}

/// Somebody wants to add an IPv4 address.
pub(crate) struct Validate4Event<'a> {
    /// It is to be added.
    pub(crate) up: bool,
    /// The device that it is for.
    pub(crate) dev: &'a NetDevice,
    /// The address (`ifa_address`: of a point-to-point link the peer's), in network order.
    pub(crate) address: u32,
    /// Where the reason of a refusal goes.
    pub(crate) extack: ExtAck<'a>,
}

impl<'a> Validate4Event<'a> {
    /// # Safety
    ///
    /// `data` is a `struct in_validator_info` for `'a`.
    pub(super) unsafe fn from_raw(data: *mut c_void, up: bool, _rtnl: &'a Rtnl) -> Self {
        let info = data.cast::<sys::in_validator_info>();
        // SAFETY: By the safety requirements.
        unsafe {
            Self {
                up,
                dev: NetDevice::from_ptr((*(*info).ivi_dev).dev),
                address: (*info).ivi_addr,
                extack: ExtAck::from_ptr((*info).extack),
            }
        }
    }
}

/// An IPv6 address came or went.
pub(crate) struct Address6Event<'a> {
    /// It came.
    pub(crate) up: bool,
    /// The device that it belongs to.
    pub(crate) dev: &'a NetDevice,
    /// The address.
    pub(crate) address: [u8; 16],
    /// The chain is called under RCU; it may not sleep.
    pub(crate) rcu: &'a RcuRead,
}

impl<'a> Address6Event<'a> {
    /// # Safety
    ///
    /// `data` is a `struct inet6_ifaddr` for `'a`.
    pub(super) unsafe fn from_raw(data: *mut c_void, up: bool, rcu: &'a RcuRead) -> Self {
        let ifa = data.cast::<sys::inet6_ifaddr>();
        // SAFETY: By the safety requirements; an address keeps its inet6_dev, and that its device.
        unsafe {
            Self {
                up,
                dev: NetDevice::from_ptr((*(*ifa).idev).dev),
                address: octets(&(*ifa).addr),
                rcu,
            }
        }
    }
}

/// Somebody wants to add an IPv6 address.
pub(crate) struct Validate6Event<'a> {
    /// It is to be added.
    pub(crate) up: bool,
    /// The device that it is for.
    pub(crate) dev: &'a NetDevice,
    /// The address.
    pub(crate) address: [u8; 16],
    /// Where the reason of a refusal goes.
    pub(crate) extack: ExtAck<'a>,
}

impl<'a> Validate6Event<'a> {
    /// # Safety
    ///
    /// `data` is a `struct in6_validator_info` for `'a`.
    pub(super) unsafe fn from_raw(data: *mut c_void, up: bool, _rtnl: &'a Rtnl) -> Self {
        let info = data.cast::<sys::in6_validator_info>();
        // SAFETY: By the safety requirements.
        unsafe {
            Self {
                up,
                dev: NetDevice::from_ptr((*(*info).i6vi_dev).dev),
                address: octets(&(*info).i6vi_addr),
                extack: ExtAck::from_ptr((*info).extack),
            }
        }
    }
}

/// The bytes of an IPv6 address.
fn octets(addr: &sys::in6_addr) -> [u8; 16] {
    // SAFETY: All members of the union are 16 plain bytes.
    unsafe { addr.in6_u.u6_addr8 }
}

impl NetDevice {
    /// Whether this IPv4 address (network order) is a local one of the device. Any context.
    pub(crate) fn has_address4(&self, local: u32) -> bool {
        // SAFETY: The device is alive.
        unsafe { sys::ipvlan_rs_in_dev_has(self.as_ptr(), local, false) }
    }

    /// As [`has_address4`](Self::has_address4), but a device whose addresses are all being taken away has none.
    pub(crate) fn keeps_address4(&self, local: u32) -> bool {
        // SAFETY: The device is alive.
        unsafe { sys::ipvlan_rs_in_dev_has(self.as_ptr(), local, true) }
    }

    /// Whether this IPv6 address is one of the device, tentative ones included. For readers.
    #[cfg(not(CONFIG_IPV6))]
    pub(crate) fn has_address6(&self, _address: [u8; 16], _rcu: &RcuRead) -> bool {
        false
    }

    /// Whether this IPv6 address is one of the device, tentative ones included. For readers.
    #[cfg(CONFIG_IPV6)]
    pub(crate) fn has_address6(&self, address: [u8; 16], rcu: &RcuRead) -> bool {
        let addr = sys::in6_addr {
            in6_u: sys::in6_addr__bindgen_ty_1 { u6_addr8: address },
        };
        // SAFETY: The namespace is alive; the look-up is a reader itself.
        unsafe {
            sys::ipv6_chk_addr_and_flags(
                self.net_rcu(rcu).as_ptr(),
                &addr,
                self.as_ptr(),
                false,
                1,
                0,
            ) != 0
        }
    }
}
