// SPDX-License-Identifier: GPL-2.0

//! rtnetlink link kinds: what `ip link add … type KIND` calls.

use super::{
    attr::{
        AttrType,
        AttrWriter,
        Attrs, //
    },
    device::{
        field,
        Mac,
        NetDevice, //
    },
    driver::{
        Driver,
        PrivCell, //
    },
    extack::ExtAck,
    netns::Net,
    rtnl::Rtnl, //
};
use crate::sys;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::size_of, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    str::CStr,
    sync::atomic::{
        Atomic,
        Full, //
    },
    types::Opaque, //
};

/// A kind of link: the netlink side of a [`Driver`]. All methods run with RTNL held.
pub(crate) trait LinkKind: Driver {
    /// The name after `type`.
    const KIND: &'static CStr;

    /// The policy of the attributes in IFLA_INFO_DATA, indexed by attribute number.
    const POLICY: &'static [AttrType];

    /// What [`validate`](Self::validate) makes of the attributes, so that nothing is parsed twice.
    type Request;

    /// Checks the attributes of a request before anything is touched.
    fn validate(data: Attrs<'_>, extack: ExtAck<'_>) -> Result<Self::Request>;

    /// `ip link add`. Registers the device; on error it must not be registered (any more).
    fn newlink(
        new: NewLink<'_, Self>,
        request: Self::Request,
        extack: ExtAck<'_>,
        rtnl: &Rtnl,
    ) -> Result;

    /// `ip link set … type KIND …`.
    fn changelink(
        dev: &NetDevice,
        private: &Self::Private,
        request: Self::Request,
        extack: ExtAck<'_>,
        rtnl: &Rtnl,
    ) -> Result;

    /// `ip link del`, and whatever else deletes the device: prepares; the core unregisters.
    fn dellink(private: &Self::Private, rtnl: &Rtnl);

    /// Writes the attributes of IFLA_INFO_DATA, all those of [`POLICY`](Self::POLICY) at most once.
    fn fill_info(private: &Self::Private, out: &mut AttrWriter<'_>) -> Result;

    /// The device in whose namespace IFLA_LINK is to be understood.
    fn link_device(private: &Self::Private) -> &NetDevice;
}

/// The most attributes that a kind can have.
const MAX_ATTRS: usize = 64;

/// A device that `ip link add` has made and that is not registered yet.
pub(crate) struct NewLink<'a, K: LinkKind> {
    dev: *mut sys::net_device,
    /// The attributes that every link has.
    pub(crate) attrs: Attrs<'a>,
    /// The namespace that IFLA_LINK names a device in.
    pub(crate) link_net: &'a Net,
    _kind: PhantomData<K>,
}

impl<'a, K: LinkKind> NewLink<'a, K> {
    /// Sets the Ethernet address and the MTU, the latter only if the request did not.
    pub(crate) fn prepare(&self, address: &Mac, mtu: u32, max_mtu: u32, rtnl: &Rtnl) {
        // SAFETY: The device is alive and nobody else uses it.
        let dev = unsafe { NetDevice::from_ptr(self.dev) };
        dev.set_address(address, rtnl);
        dev.store_mtu(mtu, rtnl);
        dev.set_max_mtu(max_mtu, rtnl);
    }

    /// Registers the device; `config` goes to [`Driver::init`].
    ///
    /// # Errors
    ///
    /// What `init` or the core says. The device is then not registered.
    pub(crate) fn register(
        self,
        config: &K::Config,
        _rtnl: &'a Rtnl,
    ) -> Result<(&'a NetDevice, &'a K::Private)> {
        // SAFETY: RTNL is held, and nobody else has seen the device.
        to_result(unsafe {
            PrivCell::<K>::lend(self.dev, config, || sys::register_netdevice(self.dev))
        })?;
        // SAFETY: A registered device stays so while RTNL is held, and `init` succeeded.
        Ok(unsafe { (NetDevice::from_ptr(self.dev), PrivCell::<K>::get(self.dev)) })
    }
}

impl NetDevice {
    /// Unregisters a device that [`NewLink::register`] has registered, when a later step of its creation fails.
    pub(crate) fn unregister(&self, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held. The memory goes when RTNL is released, by `needs_free_netdev`.
        unsafe { sys::unregister_netdevice_queue(self.as_ptr(), core::ptr::null_mut()) };
    }
}

/// Devices that are unregistered together.
pub(crate) struct UnregisterBatch<'a> {
    head: Opaque<sys::list_head>,
    _rtnl: &'a Rtnl,
}

impl UnregisterBatch<'_> {
    /// Collects devices with `collect`, then unregisters them all; what their going triggers may re-enter the driver.
    pub(crate) fn run(rtnl: &Rtnl, collect: impl FnOnce(&UnregisterBatch<'_>)) {
        let batch = UnregisterBatch {
            head: Opaque::uninit(),
            _rtnl: rtnl,
        };
        let head = batch.head.get();
        // SAFETY: The memory is ours and does not move from here on: the list is circular through it.
        unsafe {
            head.write(sys::list_head {
                next: head,
                prev: head,
            });
        }
        collect(&batch);
        // SAFETY: RTNL is held; the list is well-formed and empty afterwards.
        unsafe { sys::unregister_netdevice_many(head) };
    }

    /// Adds a registered device.
    pub(crate) fn add(&self, dev: &NetDevice) {
        if dev.is_registered() {
            // SAFETY: RTNL is held; the device is registered, so its list node is the core's to move here.
            unsafe { sys::ipvlan_rs_unregister_netdevice_queue(dev.as_ptr(), self.head.get()) };
        }
    }
}

/// `rtnl_link_ops` of a kind, for one `static`: the core writes into it.
pub(crate) struct LinkOps<K: LinkKind> {
    ops: UnsafeCell<sys::rtnl_link_ops>,
    policy: [sys::nla_policy; MAX_ATTRS],
    /// Registering twice would reset what the first registration uses.
    taken: Atomic<bool>,
    _kind: PhantomData<fn(K)>,
}

// SAFETY: After registration only the core writes to it, with its own locks.
unsafe impl<K: LinkKind> Sync for LinkOps<K> {}

impl<K: LinkKind> LinkOps<K> {
    /// The operations, not registered.
    pub(crate) const fn new() -> Self {
        Self::named(K::KIND)
    }

    /// The operations under another name: the same driver may serve a second kind. Its links are like those of the first,
    /// and tell only by what they are called in dumps which they were made as.
    pub(crate) const fn named(kind: &'static CStr) -> Self {
        const { assert!(K::POLICY.len() <= MAX_ATTRS) };
        let mut policy = [AttrType::None.policy(); MAX_ATTRS];
        let mut attr = 0;
        while attr < K::POLICY.len() {
            policy[attr] = K::POLICY[attr].policy();
            attr += 1;
        }
        Self {
            ops: UnsafeCell::new(sys::rtnl_link_ops {
                kind: kernel::str::as_char_ptr_in_const_context(kind),
                priv_size: size_of::<PrivCell<K>>(),
                maxtype: K::POLICY.len() as u32 - 1,
                setup: Some(setup::<K>),
                validate: Some(validate::<K>),
                newlink: Some(newlink::<K>),
                changelink: Some(changelink::<K>),
                dellink: Some(dellink::<K>),
                get_size: Some(get_size::<K>),
                fill_info: Some(fill_info::<K>),
                get_link_net: Some(get_link_net::<K>),
                ..pin_init::zeroed()
            }),
            policy,
            taken: Atomic::new(false),
            _kind: PhantomData,
        }
    }

    /// Registers the kind.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the kind is taken, `EBUSY` if this was registered before.
    pub(crate) fn register(&'static self) -> Result<LinkRegistration<K>> {
        if self.taken.xchg(true, Full) {
            return Err(EBUSY);
        }
        let ops = self.ops.get();
        // SAFETY: The static is ours until it is registered, and nobody gets here twice.
        unsafe { (*ops).policy = self.policy.as_ptr() };
        // SAFETY: The operations are static, and live until the registration is dropped.
        to_result(unsafe { sys::rtnl_link_register(ops) })?;
        Ok(LinkRegistration(self))
    }
}

/// A registered kind. Dropping it deletes all links of the kind and waits for their last users.
pub(crate) struct LinkRegistration<K: LinkKind>(&'static LinkOps<K>);

impl<K: LinkKind> Drop for LinkRegistration<K> {
    fn drop(&mut self) {
        // SAFETY: Registered in `LinkOps::register`. The caller is a module's exit: process context, no lock held.
        unsafe { sys::rtnl_link_unregister(self.0.ops.get()) };
    }
}

/// The attributes in IFLA_INFO_DATA.
///
/// # Safety
///
/// `data` is what the core passes to an operation of kind `K`.
unsafe fn info<'a, K: LinkKind>(data: *mut *mut sys::nlattr) -> Attrs<'a> {
    // SAFETY: The core's array goes up to `maxtype`.
    unsafe { Attrs::new(data, K::POLICY.len()) }
}

unsafe extern "C" fn setup<K: LinkKind>(dev: *mut sys::net_device) {
    // SAFETY: The core has just allocated the device, and nobody else has seen it.
    unsafe {
        sys::ether_setup(dev);
        K::tables().install(dev);
        (*dev).needs_free_netdev = true;
        sys::ipvlan_rs_netdev_setup_stacked(dev);
    }
}

unsafe extern "C" fn validate<K: LinkKind>(
    _tb: *mut *mut sys::nlattr,
    data: *mut *mut sys::nlattr,
    extack: *mut sys::netlink_ext_ack,
) -> i32 {
    // SAFETY: The core's arguments, valid for the call.
    let (data, extack) = unsafe { (info::<K>(data), ExtAck::from_ptr(extack)) };
    from_result(|| K::validate(data, extack).map(|_| 0))
}

unsafe extern "C" fn newlink<K: LinkKind>(
    dev: *mut sys::net_device,
    params: *mut sys::rtnl_newlink_params,
    extack: *mut sys::netlink_ext_ack,
) -> i32 {
    // SAFETY: The core calls this with RTNL held, and its arguments are valid for the call.
    let (rtnl, extack, params) = unsafe { (Rtnl::assume(), ExtAck::from_ptr(extack), &*params) };
    let net = if params.link_net.is_null() {
        params.src_net
    } else {
        params.link_net
    };
    // SAFETY: As above; the array of link attributes goes up to IFLA_MAX.
    let (data, new) = unsafe {
        (
            info::<K>(params.data),
            NewLink {
                dev,
                attrs: Attrs::new(params.tb, sys::__IFLA_MAX as usize),
                link_net: Net::from_ptr(net),
                _kind: PhantomData,
            },
        )
    };
    from_result(|| {
        let request = K::validate(data, extack)?;
        K::newlink(new, request, extack, &rtnl).map(|()| 0)
    })
}

unsafe extern "C" fn changelink<K: LinkKind>(
    dev: *mut sys::net_device,
    _tb: *mut *mut sys::nlattr,
    data: *mut *mut sys::nlattr,
    extack: *mut sys::netlink_ext_ack,
) -> i32 {
    if data.is_null() {
        return 0;
    }
    // SAFETY: The core calls this with RTNL held for a registered device of this kind.
    let (rtnl, extack, data, private, dev) = unsafe {
        (
            Rtnl::assume(),
            ExtAck::from_ptr(extack),
            info::<K>(data),
            PrivCell::<K>::get(dev),
            NetDevice::from_ptr(dev),
        )
    };
    from_result(|| {
        let request = K::validate(data, extack)?;
        K::changelink(dev, private, request, extack, &rtnl).map(|()| 0)
    })
}

unsafe extern "C" fn dellink<K: LinkKind>(dev: *mut sys::net_device, head: *mut sys::list_head) {
    // SAFETY: As for `changelink`.
    let (rtnl, private) = unsafe { (Rtnl::assume(), PrivCell::<K>::get(dev)) };
    K::dellink(private, &rtnl);
    // SAFETY: RTNL is held; the list is the core's.
    unsafe { sys::ipvlan_rs_unregister_netdevice_queue(dev, head) };
}

unsafe extern "C" fn get_size<K: LinkKind>(_dev: *const sys::net_device) -> usize {
    K::POLICY
        .iter()
        .fold(0, |sum, attr| sum.wrapping_add(attr.size()))
}

unsafe extern "C" fn fill_info<K: LinkKind>(
    skb: *mut sys::sk_buff,
    dev: *const sys::net_device,
) -> i32 {
    // SAFETY: As for `changelink`.
    let private = unsafe { PrivCell::<K>::get(dev.cast_mut()) };
    // SAFETY: The message is the core's, and ours to write during the call.
    let mut out = unsafe { AttrWriter::new(skb) };
    from_result(|| K::fill_info(private, &mut out).map(|()| 0))
}

unsafe extern "C" fn get_link_net<K: LinkKind>(dev: *const sys::net_device) -> *mut sys::net {
    // SAFETY: As for `changelink`.
    let private = unsafe { PrivCell::<K>::get(dev.cast_mut()) };
    let lower = K::link_device(private);
    field!(lower, nd_net).net
}
