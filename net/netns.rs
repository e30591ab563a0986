// SPDX-License-Identifier: GPL-2.0

//! Network namespaces.

use super::{
    device::NetDevice,
    rtnl::Rtnl, //
};
use crate::sys;
use core::ptr;
use kernel::types::Opaque;

/// A network namespace. Only ever borrowed, from something that keeps it alive.
#[repr(transparent)]
pub(crate) struct Net(Opaque<sys::net>);

// SAFETY: `struct net` synchronises itself; only references to it exist here.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `ptr` is a namespace that lives for `'a`.
    pub(super) unsafe fn from_ptr<'a>(ptr: *mut sys::net) -> &'a Self {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::net {
        self.0.get()
    }

    /// Whether both are one namespace.
    pub(crate) fn is(&self, other: &Net) -> bool {
        ptr::eq(self, other)
    }

    /// Whether the current task has CAP_NET_ADMIN in the user namespace that owns this one.
    pub(crate) fn net_admin(&self) -> bool {
        // SAFETY: The namespace is alive; its owner is set when it is made and never changes.
        unsafe {
            sys::ns_capable(
                sys::ipvlan_rs_net_user_ns(self.as_ptr()),
                sys::CAP_NET_ADMIN as i32,
            )
        }
    }

    /// The device with this index, if there is one.
    pub(crate) fn device<'a>(&'a self, index: u32, _rtnl: &'a Rtnl) -> Option<&'a NetDevice> {
        let index = i32::try_from(index).ok()?;
        // SAFETY: RTNL is held, which the look-up asks for.
        let dev = unsafe { sys::__dev_get_by_index(self.as_ptr(), index) };
        // SAFETY: A registered device stays so while RTNL is held.
        (!dev.is_null()).then(|| unsafe { NetDevice::from_ptr(dev) })
    }
}
