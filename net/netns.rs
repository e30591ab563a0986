// SPDX-License-Identifier: GPL-2.0

//! Network namespaces.

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
    #[inline]
    pub(super) unsafe fn from_ptr<'a>(ptr: *mut sys::net) -> &'a Self {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut sys::net {
        self.0.get()
    }

    /// Whether both are one namespace.
    pub(crate) fn is(&self, other: &Net) -> bool {
        ptr::eq(self, other)
    }

    /// The number of the last change that IPv4 look-ups depend on (`rt_genid_ipv4()`).
    #[inline(always)]
    pub(super) fn route_generation4(&self) -> u32 {
        // SAFETY: The namespace is alive; an atomic_t is there, which is read as such are: whole.
        unsafe {
            let net = self.as_ptr().cast::<u8>();
            net.add(sys::NET_OFFSET_IPV4_GENID)
                .cast::<u32>()
                .read_volatile()
        }
    }

    /// A number that no other namespace has while this one lives. Not 0.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.as_ptr().addr()
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
}
