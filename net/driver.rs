// SPDX-License-Identifier: GPL-2.0

//! What a driver of virtual links is: its callbacks, and the private data of its devices.

use super::{
    device::{
        Features,
        Mac,
        NetDevice, //
    },
    device_ref::DeviceRef,
    ops::Tables,
    packet::Xmit,
    rtnl::Rtnl,
    skbuff::Skb,
    softirq::Softirq, //
};
use crate::{
    sync::marked::Marked,
    sys, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::MaybeUninit,
    ops::Deref,
    ptr::{
        self,
        addr_of, //
    },
};
use kernel::prelude::*;

/// A driver of virtual Ethernet links: what the core calls for its devices.
///
/// The core calls these concurrently, on any CPU, so they get shared references; what changes is atomic, under RCU or
/// behind a lock. Between `init` and the destruction of the device its private data is there.
pub(crate) trait Driver: Sized + Send + Sync + 'static {
    /// What a device owns: made by [`init`](Self::init), dropped in process context when nobody refers to the device any
    /// more: without RTNL, or, if a registration fails after it, with.
    type Private: Send + Sync;

    /// What [`init`](Self::init) needs to know; lent for the registration.
    type Config;

    /// The name of the driver, as `ethtool -i` shows it.
    const NAME: &'static CStr;

    /// The operation tables: one `static`, because the kernel knows a driver's devices by the tables' address.
    fn tables() -> &'static Tables<Self>;

    /// `ndo_init`: makes the private data, all or nothing, and sets up `dev`, which nobody else has seen yet.
    fn init(dev: &NewDevice<'_>, config: &Self::Config, rtnl: &Rtnl) -> Result<Self::Private>;

    /// `ndo_uninit`: detaches the device from everything. The device has been closed and its addresses are gone.
    fn uninit(dev: &NetDevice, private: &Self::Private, rtnl: &Rtnl);

    /// `ndo_open`.
    fn open(dev: &NetDevice, private: &Self::Private, rtnl: &Rtnl) -> Result;

    /// `ndo_stop`.
    fn stop(dev: &NetDevice, private: &Self::Private, rtnl: &Rtnl);

    /// `ndo_start_xmit`, in softirq or with bottom halves disabled.
    fn start_xmit(private: &Self::Private, skb: Skb, dev: &NetDevice, cx: &Softirq) -> Xmit;

    /// `ndo_fix_features`.
    fn fix_features(dev: &NetDevice, private: &Self::Private, features: Features) -> Features;

    /// `ndo_change_mtu`: the core has checked `mtu` against the device's limits. Stores it on success.
    fn change_mtu(dev: &NetDevice, private: &Self::Private, mtu: u32, rtnl: &Rtnl) -> Result;

    /// `ndo_change_rx_flags`; `changed` are `IFF_*` bits.
    fn change_rx_flags(dev: &NetDevice, private: &Self::Private, changed: u32, rtnl: &Rtnl);

    /// `ndo_set_rx_mode`, with the device's address lists locked and bottom halves disabled.
    fn set_rx_mode(dev: &NetDevice, private: &Self::Private, lists: &AddressLists<'_>);

    /// `ndo_get_stats64`. Process context, perhaps with a spinlock or as a reader: must not sleep.
    fn get_stats64(private: &Self::Private, stats: &mut Stats64);

    /// `ndo_vlan_rx_add_vid`; `proto` in host order.
    fn vlan_rx_add_vid(private: &Self::Private, proto: u16, vid: u16, rtnl: &Rtnl) -> Result;

    /// `ndo_vlan_rx_kill_vid`.
    fn vlan_rx_kill_vid(private: &Self::Private, proto: u16, vid: u16, rtnl: &Rtnl);

    /// `ndo_get_iflink`: the index of the device below. Any context, concurrent with everything.
    fn iflink(private: &Self::Private) -> i32;

    /// The device below, which builds the link-layer headers (`header_ops.create`), and the source address to put in.
    fn header_device(private: &Self::Private) -> (&NetDevice, Mac);

    /// The device below, whose link settings and time stamps `ethtool` shows. Under RTNL or as a reader of RCU: must not
    /// sleep.
    fn hardware_device(private: &Self::Private) -> &NetDevice {
        Self::header_device(private).0
    }

    /// `ndo_hwtstamp_set`: whether the current task may change how the device below takes time stamps, which concerns
    /// everybody who uses that. No text with it: the core would write that to the kernel's log each time somebody tries.
    fn may_set_hwtstamp(private: &Self::Private, rtnl: &Rtnl) -> Result;

    /// `ethtool -s … msglvl`.
    fn msglevel(private: &Self::Private) -> &Marked<u32>;
}

/// The private area of a device (`netdev_priv()`): empty when the core has zeroed it, live from `ndo_init` on.
///
/// # Invariants
///
/// If `live` is true, `value` is initialised; it becomes false only when the value is dropped.
pub(super) struct PrivCell<D: Driver> {
    live: Marked<bool>,
    /// What `register` lends to `ndo_init`; null at all other times.
    config: UnsafeCell<*const D::Config>,
    value: UnsafeCell<MaybeUninit<D::Private>>,
}

impl<D: Driver> PrivCell<D> {
    /// The private area of a device of this driver.
    #[inline]
    pub(super) fn of(dev: *mut sys::net_device) -> *const Self {
        // SAFETY: Only the address of the trailing array is computed.
        unsafe { addr_of!((*dev).priv_) }.cast()
    }

    /// The private data.
    ///
    /// # Safety
    ///
    /// `dev` is a device of this driver on which `ndo_init` succeeded and that lives for `'a`.
    #[inline]
    pub(super) unsafe fn get<'a>(dev: *mut sys::net_device) -> &'a D::Private {
        // SAFETY: By the safety requirements and the type invariant: the destructor runs after the last use.
        unsafe { (*(*Self::of(dev)).value.get()).assume_init_ref() }
    }

    /// Runs `register` with `config` lent to [`init`](Self::init).
    ///
    /// # Safety
    ///
    /// `dev` is a device of this driver that nobody but the caller has seen.
    pub(super) unsafe fn lend<R>(
        dev: *mut sys::net_device,
        config: &D::Config,
        register: impl FnOnce() -> R,
    ) -> R {
        // SAFETY: The area is zeroed memory, which is a valid empty cell; nobody else looks yet.
        unsafe { *(*Self::of(dev)).config.get() = config };
        let result = register();
        // SAFETY: As above: `config` is used by `ndo_init` only, which `register` called or never calls.
        unsafe { *(*Self::of(dev)).config.get() = ptr::null() };
        result
    }

    /// Makes the private data.
    ///
    /// # Safety
    ///
    /// To be called by `ndo_init` only.
    pub(super) unsafe fn init(dev: *mut sys::net_device, rtnl: &Rtnl) -> Result {
        // SAFETY: In `ndo_init` nobody else uses the area.
        let this = unsafe { &*Self::of(dev) };
        // SAFETY: As above; what `lend` put there lives until the registration is over.
        let config = unsafe { (*this.config.get()).as_ref() }.ok_or(EINVAL)?;
        // SAFETY: The device is alive and not visible to others yet.
        let new = NewDevice(unsafe { NetDevice::from_ptr(dev) });
        let value = D::init(&new, config, rtnl)?;
        // SAFETY: As above.
        unsafe { (*this.value.get()).write(value) };
        // INVARIANT: Initialised above.
        this.live.write(true);
        Ok(())
    }

    /// Drops the private data.
    ///
    /// # Safety
    ///
    /// To be called by `priv_destructor` only: nobody refers to the device any more.
    pub(super) unsafe fn destroy(dev: *mut sys::net_device) {
        // SAFETY: By the safety requirements.
        let this = unsafe { &*Self::of(dev) };
        if this.live.read() {
            this.live.write(false);
            // SAFETY: By the type invariant it was initialised, and `live` is false now.
            unsafe { (*this.value.get()).assume_init_drop() };
        }
    }
}

impl NetDevice {
    /// The private data, if this is a device of driver `D`.
    #[inline]
    pub(crate) fn driver<D: Driver>(&self) -> Option<&D::Private> {
        let ops = super::device::field!(self, netdev_ops);
        // SAFETY: A device with these operations has a private area of this driver, and once `live` is true it stays
        // so while the device is referred to.
        unsafe {
            (ptr::eq(ops, D::tables().netdev_ops())
                && (*PrivCell::<D>::of(self.as_ptr())).live.read())
            .then(|| PrivCell::<D>::get(self.as_ptr()))
        }
    }
}

/// A counted reference to a device of driver `D`.
///
/// # Invariants
///
/// `ndo_init` succeeded on the device.
pub(crate) struct DriverRef<D: Driver> {
    dev: DeviceRef,
    _driver: PhantomData<D>,
}

impl<D: Driver> DriverRef<D> {
    /// Takes a counted reference, if `dev` is a device of driver `D`.
    pub(crate) fn new(dev: &NetDevice) -> Option<Self> {
        dev.driver::<D>()?;
        // INVARIANT: `driver` says so.
        Some(Self {
            dev: dev.hold(),
            _driver: PhantomData,
        })
    }

    /// The device.
    #[inline]
    pub(crate) fn dev(&self) -> &NetDevice {
        &self.dev
    }
}

impl<D: Driver> Clone for DriverRef<D> {
    fn clone(&self) -> Self {
        // INVARIANT: It is the same device.
        Self {
            dev: self.dev.clone(),
            _driver: PhantomData,
        }
    }
}

/// Whether both are to one device.
impl<D: Driver> PartialEq for DriverRef<D> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.dev.is(&other.dev)
    }
}

/// To the private data.
impl<D: Driver> Deref for DriverRef<D> {
    type Target = D::Private;

    #[inline]
    fn deref(&self) -> &D::Private {
        // SAFETY: By the type invariant; the count keeps the device alive.
        unsafe { PrivCell::<D>::get(self.dev.as_ptr()) }
    }
}

/// A device that is being registered: nobody else sees it yet, so its fields can be set.
pub(crate) struct NewDevice<'a>(&'a NetDevice);

impl NewDevice<'_> {
    /// Takes over what a stacked Ethernet device has from the one below at birth: whether there is a carrier, the
    /// header's length and rooms, the limits of offloads.
    pub(crate) fn stack_on(&self, lower: &NetDevice, rtnl: &Rtnl) {
        const LINK: usize = (1 << sys::netdev_state_t___LINK_STATE_NOCARRIER)
            | (1 << sys::netdev_state_t___LINK_STATE_DORMANT);
        let (this, below) = (self.0.as_ptr(), lower.as_ptr());
        // SAFETY: RTNL is held; nobody else uses `this` yet.
        unsafe {
            (*this).state = ((*this).state & !LINK) | ((*below).state & LINK);
            (*this).hard_header_len = (*below).hard_header_len;
            sys::ipvlan_rs_netdev_set_lltx(this);
            sys::ipvlan_rs_netdev_lockdep_set_classes(this);
        }
        self.0.inherit_limits(lower, rtnl);
    }

    /// Sets the features, those for VLANs above, and offers all of them for encapsulated packets too.
    pub(crate) fn set_features(&self, features: Features, vlan_features: Features) {
        let this = self.0.as_ptr();
        // SAFETY: Nobody else uses the device yet.
        unsafe {
            (*this).features = features;
            (*this).vlan_features = vlan_features;
            (*this).hw_enc_features |= features;
        }
    }

    /// Sets the number that tells devices with one Ethernet address apart (`/sys/class/net/*/dev_id`).
    pub(crate) fn set_dev_id(&self, id: u16) {
        // SAFETY: Nobody else uses the device yet.
        unsafe { (*self.0.as_ptr()).dev_id = id };
    }
}

impl Deref for NewDevice<'_> {
    type Target = NetDevice;

    fn deref(&self) -> &NetDevice {
        self.0
    }
}

/// The address lists of a device, locked.
pub(crate) struct AddressLists<'a>(&'a NetDevice);

impl<'a> AddressLists<'a> {
    /// # Safety
    ///
    /// The device's address list lock is held for `'a`.
    pub(super) unsafe fn new(dev: &'a NetDevice) -> Self {
        Self(dev)
    }

    /// Calls `f` with each multicast address that somebody on this device listens to.
    pub(crate) fn for_each_multicast(&self, mut f: impl FnMut(&Mac)) {
        // SAFETY: The device is alive; the list's head lies in it.
        let head = unsafe { &raw const (*self.0.as_ptr()).mc.list };
        // SAFETY: The lock is held, so the list does not change; it is circular, and each node is the `list` field of
        // a `netdev_hw_addr`.
        unsafe {
            let mut node = (*head).next.cast_const();
            while !ptr::eq(node, head) {
                let entry = kernel::container_of!(node, sys::netdev_hw_addr, list);
                f(&*(&raw const (*entry).addr).cast::<Mac>());
                node = (*node).next;
            }
        }
    }

    /// Puts this device's unicast and multicast addresses into the filter of the device below.
    pub(crate) fn sync_to(&self, lower: &NetDevice) {
        // SAFETY: The source's lock is held, as these ask for; they lock the target's.
        unsafe {
            sys::dev_uc_sync(lower.as_ptr(), self.0.as_ptr());
            sys::dev_mc_sync(lower.as_ptr(), self.0.as_ptr());
        }
    }
}

/// The counters of `ip -s link`.
#[repr(transparent)]
pub(crate) struct Stats64(sys::rtnl_link_stats64);

/// Setters, so that a driver need not name the C structure.
macro_rules! stats {
    ($($field:ident),* $(,)?) => {
        impl Stats64 {
            /// # Safety
            ///
            /// `ptr` is a counter structure that only the caller uses for `'a`.
            pub(super) unsafe fn from_ptr<'a>(ptr: *mut sys::rtnl_link_stats64) -> &'a mut Self {
                // SAFETY: By the safety requirements; the type is transparent.
                unsafe { &mut *ptr.cast() }
            }

            $(
                #[doc = concat!("Sets `", stringify!($field), "`.")]
                pub(crate) fn $field(&mut self, value: u64) {
                    self.0.$field = value;
                }
            )*
        }
    };
}

stats!(
    rx_packets, rx_bytes, rx_errors, rx_dropped, multicast, tx_packets, tx_bytes, tx_errors,
    tx_dropped
);
