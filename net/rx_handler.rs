// SPDX-License-Identifier: GPL-2.0

//! Taking over what another device receives.

use super::{
    device::{
        field,
        NetDevice, //
    },
    device_ref::DeviceRef,
    rtnl::Rtnl,
    skbuff::Skb,
    softirq::Softirq, //
};
use crate::sys;
use core::{
    mem::ManuallyDrop,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

/// Something that gets to see all that a device receives.
pub(crate) trait RxHandler: Send + Sync + Sized + 'static {
    /// Decides on a packet, in softirq. Its data begins with the network header.
    fn receive<'a>(&'a self, skb: RxSkb<'a>, cx: &'a Softirq) -> RxResult<'a>;
}

/// A packet in a receive handler. It must be turned into the handler's result.
pub(crate) struct RxSkb<'a> {
    /// The packet. The core has seen to it that nobody else uses its header.
    pub(crate) skb: Skb,
    /// Where the core looks for the packet when it goes on.
    slot: &'a core::cell::Cell<*mut sys::sk_buff>,
}

/// What a receive handler returns; made from its packet, so that a packet that is gone cannot be passed on as well.
#[must_use]
pub(crate) struct RxResult<'a>(sys::rx_handler_result, core::marker::PhantomData<&'a ()>);

impl<'a> RxSkb<'a> {
    /// The device that received the packet goes on with it.
    #[inline]
    pub(crate) fn pass(self) -> RxResult<'a> {
        self.slot.set(self.skb.into_ptr());
        RxResult(
            sys::rx_handler_result_RX_HANDLER_PASS,
            core::marker::PhantomData,
        )
    }

    /// Another device has received the packet: taps, filters and protocols see it there.
    #[inline]
    pub(crate) fn another(mut self, dev: &'a NetDevice, cx: &'a Softirq) -> RxResult<'a> {
        self.skb.set_dev(dev, &cx.rcu);
        self.slot.set(self.skb.into_ptr());
        RxResult(
            sys::rx_handler_result_RX_HANDLER_ANOTHER,
            core::marker::PhantomData,
        )
    }
}

/// That a handler sees what a device receives. To be [ended](Self::end) under RTNL; one that is dropped instead stays
/// registered for ever, so its owner must be sure to get there.
///
/// # Invariants
///
/// The device's `rx_handler` is the shell for `H`, and its `rx_handler_data` is `handler`, of which the device has the
/// count that `handler` here stands for.
#[must_use = "the handler stays until the registration is ended"]
pub(crate) struct RxRegistration<H: RxHandler> {
    dev: DeviceRef,
    handler: ManuallyDrop<Arc<H>>,
}

impl<H: RxHandler> RxRegistration<H> {
    /// Begins.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the device has a handler, `EINVAL` if it may not have one.
    pub(crate) fn new(dev: &NetDevice, handler: Arc<H>, _rtnl: &Rtnl) -> Result<Self> {
        let data = Arc::as_ptr(&handler).cast_mut().cast();
        // SAFETY: RTNL is held; the handler stays alive until `end` has waited for readers.
        to_result(unsafe {
            sys::netdev_rx_handler_register(dev.as_ptr(), Some(shell::<H>), data)
        })?;
        // INVARIANT: Registered above.
        Ok(Self {
            dev: dev.hold(),
            handler: ManuallyDrop::new(handler),
        })
    }

    /// Ends, and waits until no handler runs any more. Sleeps.
    pub(crate) fn end(mut self, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held. This waits for readers (net/core/dev.c, netdev_rx_handler_unregister()).
        unsafe { sys::netdev_rx_handler_unregister(self.dev.as_ptr()) };
        // SAFETY: By the type invariant the count is ours; `self` is gone after this.
        drop(unsafe { ManuallyDrop::take(&mut self.handler) });
    }
}

impl NetDevice {
    /// Whether what this device receives goes to an `H`.
    #[inline]
    fn has_rx_handler<H: RxHandler>(&self) -> bool {
        let ours: unsafe extern "C" fn(_) -> _ = shell::<H>;
        // CAST: to compare addresses. The crate is one codegen unit, so the shell has one.
        field!(self, rx_handler)
            .is_some_and(|handler| ptr::eq(handler as *const (), ours as *const ()))
    }

    /// The handler of what this device receives, if it is an `H`.
    pub(crate) fn rx_handler<H: RxHandler>(&self, _rtnl: &Rtnl) -> Option<Arc<H>> {
        if !self.has_rx_handler::<H>() {
            return None;
        }
        let data = field!(self, rx_handler_data).cast::<H>();
        // SAFETY: By the invariant of `RxRegistration`, which changes under RTNL only, this is a counted `Arc`; the
        // temporary does not give its count back.
        let handler = ManuallyDrop::new(unsafe { Arc::from_raw(data) });
        Some(Arc::clone(&handler))
    }

    /// Calls `f` with the handler of what this device receives, if it is an `H`. For readers.
    pub(crate) fn with_rx_handler<H: RxHandler, R>(
        &self,
        _rcu: &crate::sync::rcu::RcuRead,
        f: impl FnOnce(&H) -> R,
    ) -> Option<R> {
        if !self.has_rx_handler::<H>() {
            return None;
        }
        let data = field!(self, rx_handler_data).cast::<H>();
        // SAFETY: As in `rx_handler`; `end` clears the handler and waits for readers before it clears the data and
        // gives the count back, so a reader that saw the handler sees live data, or null.
        unsafe { data.as_ref() }.map(f)
    }
}

/// The core's entry.
unsafe extern "C" fn shell<H: RxHandler>(skb: *mut *mut sys::sk_buff) -> sys::rx_handler_result_t {
    // SAFETY: The core calls this in softirq or with bottom halves disabled, under rcu_read_lock().
    let cx = unsafe { Softirq::assume() };
    // SAFETY: The skb is handed over, and has `dev` set to the device that this is the handler of. By the invariant of
    // `RxRegistration` its data is an `H` that lives as long as readers may see it.
    let (dev, rx) = unsafe {
        let slot = &*skb.cast::<core::cell::Cell<*mut sys::sk_buff>>();
        let skb = slot.get();
        let dev = skb
            .cast::<u8>()
            .add(sys::SKB_OFFSET_DEV)
            .cast::<*mut sys::net_device>()
            .read();
        (
            NetDevice::from_ptr(dev),
            RxSkb {
                skb: Skb::from_ptr(skb),
                slot,
            },
        )
    };
    let data = field!(dev, rx_handler_data).cast::<H>();
    // SAFETY: As above.
    unsafe { &*data }.receive(rx, &cx).0
}
