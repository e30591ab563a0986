// SPDX-License-Identifier: GPL-2.0

//! Network devices, borrowed and counted.

use super::{
    extack::ExtAck,
    netns::Net,
    rtnl::Rtnl, //
};
use crate::{
    sync::rcu::RcuRead,
    sys, //
};
use core::ptr::{
    self,
    addr_of, //
};
use kernel::{
    error::to_result,
    fmt::{
        self,
        Write as _, //
    },
    prelude::*,
    types::Opaque, //
};

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// `netdev_features_t`.
pub(crate) type Features = u64;

/// A network device, borrowed from whatever keeps it alive: a callback, RTNL, RCU or a [`DeviceRef`].
///
/// C changes its fields while we look, so each is read through a raw pointer, never through a reference.
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<sys::net_device>);

// SAFETY: Devices are shared between all CPUs; every method says what synchronises it.
unsafe impl Send for NetDevice {}
// SAFETY: As above.
unsafe impl Sync for NetDevice {}

/// Reads a field of the device behind `$dev` once (`READ_ONCE()`).
macro_rules! field {
    ($dev:expr, $field:ident) => {
        // SAFETY: The device is alive as long as the reference to it; the field is at most a word.
        unsafe { ::core::ptr::addr_of!((*$dev.as_ptr()).$field).read_volatile() }
    };
}
pub(super) use field;

impl NetDevice {
    /// # Safety
    ///
    /// `ptr` is a device that lives for `'a`.
    #[inline]
    pub(super) unsafe fn from_ptr<'a>(ptr: *mut sys::net_device) -> &'a Self {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut sys::net_device {
        self.0.get()
    }

    /// Whether both are one device.
    #[inline]
    pub(crate) fn is(&self, other: &NetDevice) -> bool {
        ptr::eq(self, other)
    }

    /// The interface index.
    pub(crate) fn ifindex(&self) -> i32 {
        field!(self, ifindex)
    }

    /// The `IFF_*` flags.
    #[inline]
    pub(crate) fn flags(&self) -> u32 {
        field!(self, flags)
    }

    /// Whether `IFF_UP` is set.
    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.flags() & sys::net_device_flags_IFF_UP != 0
    }

    /// Whether all multicast is received.
    pub(crate) fn is_allmulti(&self) -> bool {
        self.flags() & sys::net_device_flags_IFF_ALLMULTI != 0
    }

    /// Whether everything is received.
    pub(crate) fn is_promiscuous(&self) -> bool {
        self.flags() & sys::net_device_flags_IFF_PROMISC != 0
    }

    /// Whether the device is open (`netif_running()`): true from before `ndo_open` to before `ndo_stop`.
    pub(crate) fn is_running(&self) -> bool {
        field!(self, state) & (1 << sys::netdev_state_t___LINK_STATE_START) != 0
    }

    /// Whether the device is registered and nobody has begun to take it away.
    pub(crate) fn is_registered(&self) -> bool {
        u32::from(field!(self, reg_state)) == sys::netdev_reg_state_NETREG_REGISTERED
    }

    /// Whether the device is being taken away for good, not just moved to another namespace.
    pub(crate) fn is_unregistering(&self) -> bool {
        u32::from(field!(self, reg_state)) == sys::netdev_reg_state_NETREG_UNREGISTERING
    }

    /// Whether frames are Ethernet's (`ARPHRD_ETHER`).
    pub(crate) fn is_ethernet(&self) -> bool {
        u32::from(field!(self, type_)) == sys::ARPHRD_ETHER
    }

    /// Whether `IFF_LOOPBACK` is set.
    pub(crate) fn is_loopback(&self) -> bool {
        self.flags() & sys::net_device_flags_IFF_LOOPBACK != 0
    }

    /// The MTU in bytes, without the Ethernet header.
    pub(crate) fn mtu(&self) -> u32 {
        field!(self, mtu)
    }

    /// The active features.
    pub(crate) fn features(&self) -> Features {
        field!(self, features)
    }

    /// The features that VLAN devices inherit.
    pub(crate) fn vlan_features(&self) -> Features {
        field!(self, vlan_features)
    }

    /// The Ethernet address. A change in progress may be seen in part, as everywhere in the kernel.
    #[inline]
    pub(crate) fn address(&self) -> Mac {
        let addr = field!(self, dev_addr).cast::<Mac>();
        // SAFETY: `dev_addr` points to MAX_ADDR_LEN bytes that live as long as the device.
        unsafe { addr.read_volatile() }
    }

    /// The broadcast address.
    pub(crate) fn broadcast(&self) -> Mac {
        // SAFETY: The device is alive; the field has MAX_ADDR_LEN bytes.
        unsafe { addr_of!((*self.as_ptr()).broadcast).cast::<Mac>().read() }
    }

    /// The namespace that the device is in: it does not move while RTNL is held.
    pub(crate) fn net<'a>(&'a self, _rtnl: &'a Rtnl) -> &'a Net {
        let net = field!(self, nd_net).net;
        // SAFETY: A device's namespace outlives its stay there, which RTNL prolongs.
        unsafe { Net::from_ptr(net) }
    }

    /// The namespace that the device was in a moment ago, for readers: it is freed only after a grace period.
    #[inline]
    pub(crate) fn net_rcu<'a>(&'a self, _rcu: &'a RcuRead) -> &'a Net {
        let net = field!(self, nd_net).net;
        // SAFETY: A namespace is freed after the devices that left it have seen a grace period.
        unsafe { Net::from_ptr(net) }
    }

    /// The name, for messages.
    pub(crate) fn name(&self) -> Name {
        // SAFETY: The device is alive; a rename in progress may be seen in part, but the last byte is always zero.
        Name(unsafe {
            addr_of!((*self.as_ptr()).name)
                .cast::<[u8; IFNAMSIZ]>()
                .read_volatile()
        })
    }

    /// Whether `IFF_NOARP` is set.
    pub(crate) fn is_noarp(&self) -> bool {
        self.flags() & sys::net_device_flags_IFF_NOARP != 0
    }

    /// Sets or clears `IFF_NOARP` as `ip link set` does: listeners hear of it.
    pub(crate) fn change_noarp(&self, on: bool, extack: ExtAck<'_>, _rtnl: &Rtnl) -> Result {
        // What the user has asked for, without what only in-kernel users have on (tcpdump's promiscuity): the change
        // would take that for the user's.
        // SAFETY: RTNL is held.
        let flags = unsafe { sys::netif_get_flags(self.as_ptr()) };
        let flags = if on {
            flags | sys::net_device_flags_IFF_NOARP
        } else {
            flags & !sys::net_device_flags_IFF_NOARP
        };
        // SAFETY: RTNL is held.
        to_result(unsafe { sys::dev_change_flags(self.as_ptr(), flags, extack.as_ptr()) })
    }

    /// Sets `IFF_NOARP` in place, in the device's own `ndo_open`, where the core announces the flags afterwards.
    pub(crate) fn set_noarp(&self, on: bool, _rtnl: &Rtnl) {
        let flags = self.flags() & !sys::net_device_flags_IFF_NOARP;
        let flags = if on {
            flags | sys::net_device_flags_IFF_NOARP
        } else {
            flags
        };
        // SAFETY: Flags are written under RTNL only.
        unsafe { (&raw mut (*self.as_ptr()).flags).write_volatile(flags) };
    }

    /// Counts a user of all-multicast reception in or out. The device's instance lock is not held.
    pub(crate) fn set_allmulti(&self, on: bool, _rtnl: &Rtnl) -> Result {
        // SAFETY: RTNL is held.
        to_result(unsafe { sys::dev_set_allmulti(self.as_ptr(), if on { 1 } else { -1 }) })
    }

    /// Sets the MTU as `ip link set` does: listeners hear of it.
    pub(crate) fn set_mtu(&self, mtu: u32, _rtnl: &Rtnl) -> Result {
        let mtu = i32::try_from(mtu).map_err(|_| EINVAL)?;
        // SAFETY: RTNL is held.
        to_result(unsafe { sys::dev_set_mtu(self.as_ptr(), mtu) })
    }

    /// Sets the Ethernet address, without telling anybody.
    pub(crate) fn set_address(&self, address: &Mac, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held; an Ethernet device's address has six bytes.
        unsafe { sys::ipvlan_rs_netdev_addr_set(self.as_ptr(), address.as_ptr()) };
    }

    /// Tells everybody who listens of an event that reached this device from the one below.
    pub(crate) fn relay(&self, event: Relay, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held. These events come with nothing but the device, and nobody can veto them.
        unsafe { sys::call_netdevice_notifiers(event.to_raw(), self.as_ptr()) };
    }

    /// Asks everybody who listens whether the address may change.
    pub(crate) fn pre_change_address(
        &self,
        address: &Mac,
        extack: ExtAck<'_>,
        _rtnl: &Rtnl,
    ) -> Result {
        // SAFETY: RTNL is held.
        to_result(unsafe {
            sys::netif_pre_changeaddr_notify(
                self.as_ptr(),
                address.as_ptr().cast(),
                extack.as_ptr(),
            )
        })
    }

    /// Copies carrier, dormancy and operational state from the device below.
    pub(crate) fn transfer_operstate_from(&self, lower: &NetDevice, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held.
        unsafe { sys::netif_stacked_transfer_operstate(lower.as_ptr(), self.as_ptr()) };
    }

    /// Works out the features again, after those of the device below changed.
    pub(crate) fn update_features(&self, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held.
        unsafe { sys::netdev_update_features(self.as_ptr()) };
    }

    /// Copies what a stacked device takes from the one below whenever that changes: the limits of segmentation
    /// offload, head and tail room.
    pub(crate) fn inherit_limits(&self, lower: &NetDevice, _rtnl: &Rtnl) {
        let (this, lower) = (self.as_ptr(), lower.as_ptr());
        // SAFETY: RTNL is held, which writers of these fields hold.
        unsafe {
            sys::netif_inherit_tso_max(this, lower);
            (*this).needed_headroom = (*lower).needed_headroom;
            (*this).needed_tailroom = (*lower).needed_tailroom;
        }
    }

    /// Sets the largest MTU that the core lets pass.
    pub(crate) fn set_max_mtu(&self, mtu: u32, _rtnl: &Rtnl) {
        // SAFETY: Written under RTNL only.
        unsafe { (&raw mut (*self.as_ptr()).max_mtu).write_volatile(mtu) };
    }

    /// Writes the MTU in place, in the device's own `ndo_change_mtu`.
    pub(crate) fn store_mtu(&self, mtu: u32, _rtnl: &Rtnl) {
        // SAFETY: Written under RTNL only; readers are marked.
        unsafe { (&raw mut (*self.as_ptr()).mtu).write_volatile(mtu) };
    }

    /// Whether something else receives what this device receives.
    pub(crate) fn is_rx_handler_busy(&self, _rtnl: &Rtnl) -> bool {
        // SAFETY: RTNL is held.
        unsafe { sys::netdev_is_rx_handler_busy(self.as_ptr()) }
    }

    /// Whether nothing may receive what this device receives, because it lies on another itself.
    pub(crate) fn refuses_rx_handler(&self) -> bool {
        // SAFETY: The device is alive.
        unsafe { sys::ipvlan_rs_netdev_no_rx_handler(self.as_ptr()) }
    }

    /// Counts a frame that was lost before any protocol saw it (`rx_dropped` of `ip -s link`). Any context.
    pub(crate) fn count_rx_dropped(&self) {
        // SAFETY: The device is alive.
        unsafe { sys::ipvlan_rs_core_stats_rx_dropped_inc(self.as_ptr()) };
    }

    /// Adds a VLAN to the device's receive filter.
    pub(crate) fn vlan_add(&self, proto: u16, vid: u16, _rtnl: &Rtnl) -> Result {
        // SAFETY: RTNL is held.
        to_result(unsafe { sys::ipvlan_rs_vlan_vid_add(self.as_ptr(), proto.to_be(), vid) })
    }

    /// Takes a VLAN from the device's receive filter.
    pub(crate) fn vlan_del(&self, proto: u16, vid: u16, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held.
        unsafe { sys::ipvlan_rs_vlan_vid_del(self.as_ptr(), proto.to_be(), vid) };
    }

    /// Takes back all unicast and multicast filter entries that `upper` has put into this device.
    pub(crate) fn unsync_filters(&self, upper: &NetDevice, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held; both devices are alive.
        unsafe {
            sys::dev_uc_unsync(self.as_ptr(), upper.as_ptr());
            sys::dev_mc_unsync(self.as_ptr(), upper.as_ptr());
        }
    }
}

const IFNAMSIZ: usize = sys::IFNAMSIZ as usize;

/// A device's name, copied.
pub(crate) struct Name([u8; IFNAMSIZ]);

impl kernel::fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0.iter().take_while(|&&byte| byte != 0) {
            f.write_char(char::from(byte))?;
        }
        Ok(())
    }
}

/// Events that come with nothing but their device, so that they can be sent on for others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relay {
    /// Its address changed.
    ChangeAddress,
    /// Peers should be told of its addresses again.
    NotifyPeers,
    /// A bond has changed its active port.
    BondingFailover,
    /// Multicast memberships should be reported again.
    ResendIgmp,
}

impl Relay {
    pub(super) fn to_raw(self) -> usize {
        // CAST: A small positive number.
        (match self {
            Self::ChangeAddress => sys::netdev_cmd_NETDEV_CHANGEADDR,
            Self::NotifyPeers => sys::netdev_cmd_NETDEV_NOTIFY_PEERS,
            Self::BondingFailover => sys::netdev_cmd_NETDEV_BONDING_FAILOVER,
            Self::ResendIgmp => sys::netdev_cmd_NETDEV_RESEND_IGMP,
        }) as usize
    }
}

impl Net {
    /// The device with this index, if there is one.
    pub(crate) fn device<'a>(&'a self, index: u32, _rtnl: &'a Rtnl) -> Option<&'a NetDevice> {
        let index = i32::try_from(index).ok()?;
        // SAFETY: RTNL is held, which the look-up asks for.
        let dev = unsafe { sys::__dev_get_by_index(self.as_ptr(), index) };
        // SAFETY: A registered device stays so while RTNL is held.
        (!dev.is_null()).then(|| unsafe { NetDevice::from_ptr(dev) })
    }

    /// Its devices, of which none comes or goes meanwhile.
    pub(crate) fn devices<'a>(
        &'a self,
        _rtnl: &'a Rtnl,
    ) -> impl Iterator<Item = &'a NetDevice> + 'a {
        let mut last = ptr::null_mut();
        core::iter::from_fn(move || {
            // SAFETY: RTNL is held, under which the list changes; what is in it is a registered device, and null ends it.
            unsafe {
                last = sys::ipvlan_rs_device_after(self.as_ptr(), last);
                (!last.is_null()).then(|| NetDevice::from_ptr(last))
            }
        })
        .fuse()
    }
}
