// SPDX-License-Identifier: GPL-2.0

//! Counted references to network devices, and what holds two of them.

use super::{
    device::NetDevice,
    extack::ExtAck,
    rtnl::Rtnl, //
};
use crate::sys;
use core::{
    mem::MaybeUninit,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

impl NetDevice {
    /// Takes a counted reference. Any context.
    pub(crate) fn hold(&self) -> DeviceRef {
        let mut tracker = MaybeUninit::zeroed();
        // SAFETY: The device is alive, so its count is not zero. The tracker is only an identifier and may move.
        unsafe { sys::ipvlan_rs_netdev_hold(self.as_ptr(), tracker.as_mut_ptr()) };
        DeviceRef {
            // SAFETY: A reference is never null.
            dev: unsafe { NonNull::new_unchecked(self.as_ptr()) },
            // SAFETY: The kernel wrote it, or it is a type without content that zero is valid for.
            tracker: unsafe { tracker.assume_init() },
        }
    }

    /// Makes this device an upper device of `lower`.
    ///
    /// # Errors
    ///
    /// What `netdev_upper_dev_link()` returns: loops and too deep stacks among others.
    pub(crate) fn link_to(
        &self,
        lower: &NetDevice,
        extack: ExtAck<'_>,
        _rtnl: &Rtnl,
    ) -> Result<UpperLink> {
        // SAFETY: RTNL is held; both devices are registered.
        to_result(unsafe {
            sys::netdev_upper_dev_link(lower.as_ptr(), self.as_ptr(), extack.as_ptr())
        })?;
        Ok(UpperLink {
            lower: lower.hold(),
            upper: self.hold(),
        })
    }
}

/// That one device lies above another. It holds references to both, so it must be [taken back](Self::unlink) before the
/// core waits for their last users: in the upper device's `dellink` or `ndo_uninit`.
#[must_use = "the devices can only go once the link is taken back"]
pub(crate) struct UpperLink {
    lower: DeviceRef,
    upper: DeviceRef,
}

impl UpperLink {
    /// Undoes the link.
    pub(crate) fn unlink(self, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held; the two were linked, and `self` is gone after this.
        unsafe { sys::netdev_upper_dev_unlink(self.lower.as_ptr(), self.upper.as_ptr()) };
    }
}

/// A counted reference: the device's memory stays, and its unregistration waits.
///
/// # Invariants
///
/// Owns one reference, taken with `tracker`.
pub(crate) struct DeviceRef {
    dev: NonNull<sys::net_device>,
    tracker: sys::netdevice_tracker,
}

// SAFETY: Reference counts are per device, not per task.
unsafe impl Send for DeviceRef {}
// SAFETY: Gives out `&NetDevice` only.
unsafe impl Sync for DeviceRef {}

impl Deref for DeviceRef {
    type Target = NetDevice;

    #[inline]
    fn deref(&self) -> &NetDevice {
        // SAFETY: By the type invariant the device lives as long as `self`.
        unsafe { NetDevice::from_ptr(self.dev.as_ptr()) }
    }
}

impl Clone for DeviceRef {
    fn clone(&self) -> Self {
        self.hold()
    }
}

impl Drop for DeviceRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours to give back.
        unsafe { sys::ipvlan_rs_netdev_put(self.dev.as_ptr(), &raw mut self.tracker) };
    }
}
