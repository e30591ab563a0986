// SPDX-License-Identifier: GPL-2.0

//! Packets that somebody else owns, lent to look at.

use super::{
    device::NetDevice,
    skbuff::Skb, //
};
use crate::{
    sync::rcu::RcuRead,
    sys, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop, //
};

/// A packet whose headers can be made linear, to be looked at.
pub(crate) trait Headers {
    /// The packet.
    fn skb(&self) -> &Skb;

    /// Makes at least `len` bytes linear. False if there are not so many, or no memory; the packet is as it was.
    fn pull_linear(&mut self, len: usize) -> bool;
}

impl Headers for Skb {
    #[inline]
    fn skb(&self) -> &Skb {
        self
    }

    #[inline]
    fn pull_linear(&mut self, len: usize) -> bool {
        Skb::pull_linear(self, len)
    }
}

/// A packet that goes on its way when a hook returns. A hook gets no `&mut Skb`: it could put another in its place.
pub(crate) struct SkbView<'a> {
    skb: ManuallyDrop<Skb>,
    _lent: PhantomData<&'a mut ()>,
}

impl SkbView<'_> {
    /// # Safety
    ///
    /// For `'a`, `ptr` is an skb whose header is the caller's to write.
    #[inline]
    pub(super) unsafe fn new(ptr: *mut sys::sk_buff) -> Self {
        Self {
            // SAFETY: By the safety requirements; never dropped, so that the reference stays the caller's.
            skb: ManuallyDrop::new(unsafe { Skb::from_ptr(ptr) }),
            _lent: PhantomData,
        }
    }

    pub(super) fn as_ptr(&mut self) -> *mut sys::sk_buff {
        self.skb.as_ptr()
    }

    /// Passes the packet on as received by `dev`. Not counted: see [`Skb::set_dev`].
    pub(super) fn set_receiver(&mut self, dev: &NetDevice, rcu: &RcuRead) {
        self.skb.set_dev(dev, rcu);
        self.skb.set_iif(dev.ifindex());
    }
}

impl Headers for SkbView<'_> {
    #[inline]
    fn skb(&self) -> &Skb {
        &self.skb
    }

    #[inline]
    fn pull_linear(&mut self, len: usize) -> bool {
        self.skb.pull_linear(len)
    }
}
