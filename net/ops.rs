// SPDX-License-Identifier: GPL-2.0

//! The operation tables of a driver's devices: shells that turn what C calls into the methods of [`Driver`].
//!
//! Each shell rests on the core's promise for its callback: the device is alive, it is one of the driver whose table
//! this is, `ndo_init` has succeeded, and the locks that Documentation/networking/netdevices.rst names are held.

use super::{
    device::NetDevice,
    driver::{
        AddressLists,
        Driver,
        PrivCell,
        Stats64, //
    },
    rtnl::Rtnl,
    skbuff::Skb,
    softirq::Softirq, //
};
use crate::sys;
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    error::from_result,
    prelude::*, //
};

/// `net_device_ops`, `header_ops` and `ethtool_ops` of driver `D`. For one `static` a driver.
pub(crate) struct Tables<D: Driver> {
    netdev: sys::net_device_ops,
    header: sys::header_ops,
    ethtool: sys::ethtool_ops,
    _driver: PhantomData<fn(D)>,
}

// SAFETY: Constant function pointers.
unsafe impl<D: Driver> Sync for Tables<D> {}

impl<D: Driver> Tables<D> {
    /// The tables.
    pub(crate) const fn new() -> Self {
        Self {
            netdev: sys::net_device_ops {
                ndo_init: Some(init::<D>),
                ndo_uninit: Some(uninit::<D>),
                ndo_open: Some(open::<D>),
                ndo_stop: Some(stop::<D>),
                ndo_start_xmit: Some(start_xmit::<D>),
                ndo_features_check: Some(sys::passthru_features_check),
                ndo_fix_features: Some(fix_features::<D>),
                ndo_change_mtu: Some(change_mtu::<D>),
                ndo_change_rx_flags: Some(change_rx_flags::<D>),
                ndo_set_rx_mode: Some(set_rx_mode::<D>),
                ndo_get_stats64: Some(get_stats64::<D>),
                ndo_vlan_rx_add_vid: Some(vlan_rx_add_vid::<D>),
                ndo_vlan_rx_kill_vid: Some(vlan_rx_kill_vid::<D>),
                ndo_get_iflink: Some(get_iflink::<D>),
                ndo_hwtstamp_get: Some(hwtstamp_get::<D>),
                ndo_hwtstamp_set: Some(hwtstamp_set::<D>),
                ..pin_init::zeroed()
            },
            header: sys::header_ops {
                create: Some(header_create::<D>),
                parse: Some(sys::eth_header_parse),
                cache: Some(sys::eth_header_cache),
                cache_update: Some(sys::eth_header_cache_update),
                parse_protocol: Some(sys::eth_header_parse_protocol),
                ..pin_init::zeroed()
            },
            ethtool: sys::ethtool_ops {
                get_drvinfo: Some(get_drvinfo::<D>),
                get_link: Some(sys::ethtool_op_get_link),
                get_link_ksettings: Some(get_link_ksettings::<D>),
                get_ts_info: Some(get_ts_info::<D>),
                get_msglevel: Some(get_msglevel::<D>),
                set_msglevel: Some(set_msglevel::<D>),
                ..pin_init::zeroed()
            },
            _driver: PhantomData,
        }
    }

    /// By whose address the devices of the driver are known.
    #[inline]
    pub(super) fn netdev_ops(&'static self) -> *const sys::net_device_ops {
        &raw const self.netdev
    }

    /// Puts the tables into a device.
    ///
    /// # Safety
    ///
    /// `dev` is a device of this driver that nobody but the caller has seen.
    pub(super) unsafe fn install(&'static self, dev: *mut sys::net_device) {
        // SAFETY: By the safety requirements; the tables are static.
        unsafe {
            (*dev).netdev_ops = &raw const self.netdev;
            (*dev).header_ops = &raw const self.header;
            (*dev).ethtool_ops = &raw const self.ethtool;
            (*dev).priv_destructor = Some(destroy::<D>);
        }
    }
}

/// Makes `$dev` (of the shell `$name`) and its private data available to `$body`, in a shell that runs under RTNL.
macro_rules! under_rtnl {
    ($dev:ident, $private:ident, $rtnl:ident, $body:expr) => {{
        // SAFETY: The core calls this with RTNL held.
        let rtnl = unsafe { Rtnl::assume() };
        let $rtnl = &rtnl;
        // SAFETY: See the module's documentation.
        let $private = unsafe { PrivCell::<D>::get($dev) };
        // SAFETY: As above.
        let $dev = unsafe { NetDevice::from_ptr($dev) };
        $body
    }};
}

unsafe extern "C" fn init<D: Driver>(dev: *mut sys::net_device) -> i32 {
    // SAFETY: register_netdevice() is called with RTNL held.
    let rtnl = unsafe { Rtnl::assume() };
    // SAFETY: This is `ndo_init`.
    from_result(|| unsafe { PrivCell::<D>::init(dev, &rtnl) }.map(|()| 0))
}

unsafe extern "C" fn uninit<D: Driver>(dev: *mut sys::net_device) {
    under_rtnl!(dev, private, rtnl, D::uninit(dev, private, rtnl))
}

unsafe extern "C" fn destroy<D: Driver>(dev: *mut sys::net_device) {
    // SAFETY: This is `priv_destructor`: all references to the device are gone.
    unsafe { PrivCell::<D>::destroy(dev) }
}

unsafe extern "C" fn open<D: Driver>(dev: *mut sys::net_device) -> i32 {
    under_rtnl!(
        dev,
        private,
        rtnl,
        from_result(|| D::open(dev, private, rtnl).map(|()| 0))
    )
}

unsafe extern "C" fn stop<D: Driver>(dev: *mut sys::net_device) -> i32 {
    under_rtnl!(dev, private, rtnl, D::stop(dev, private, rtnl));
    0
}

unsafe extern "C" fn start_xmit<D: Driver>(
    skb: *mut sys::sk_buff,
    dev: *mut sys::net_device,
) -> sys::netdev_tx_t {
    // SAFETY: The core calls this with bottom halves disabled, inside rcu_read_lock_bh().
    let cx = unsafe { Softirq::assume() };
    // SAFETY: The skb is handed over. It and the device are alive.
    let (skb, private, dev) = unsafe {
        (
            Skb::from_ptr(skb),
            PrivCell::<D>::get(dev),
            NetDevice::from_ptr(dev),
        )
    };
    D::start_xmit(private, skb, dev, &cx).to_raw()
}

unsafe extern "C" fn fix_features<D: Driver>(
    dev: *mut sys::net_device,
    features: sys::netdev_features_t,
) -> sys::netdev_features_t {
    under_rtnl!(dev, private, _rtnl, D::fix_features(dev, private, features))
}

unsafe extern "C" fn change_mtu<D: Driver>(dev: *mut sys::net_device, mtu: i32) -> i32 {
    under_rtnl!(
        dev,
        private,
        rtnl,
        from_result(|| {
            let mtu = u32::try_from(mtu).map_err(|_| EINVAL)?;
            D::change_mtu(dev, private, mtu, rtnl).map(|()| 0)
        })
    )
}

unsafe extern "C" fn change_rx_flags<D: Driver>(dev: *mut sys::net_device, changed: i32) {
    // CAST: A set of bits.
    under_rtnl!(
        dev,
        private,
        rtnl,
        D::change_rx_flags(dev, private, changed as u32, rtnl)
    )
}

unsafe extern "C" fn set_rx_mode<D: Driver>(dev: *mut sys::net_device) {
    // SAFETY: See the module's documentation; the core holds the address lists' lock.
    let (private, dev) = unsafe { (PrivCell::<D>::get(dev), NetDevice::from_ptr(dev)) };
    // SAFETY: As above.
    D::set_rx_mode(dev, private, &unsafe { AddressLists::new(dev) });
}

unsafe extern "C" fn get_stats64<D: Driver>(
    dev: *mut sys::net_device,
    stats: *mut sys::rtnl_link_stats64,
) {
    // SAFETY: See the module's documentation; the structure is the caller's own.
    let (private, stats) = unsafe { (PrivCell::<D>::get(dev), Stats64::from_ptr(stats)) };
    D::get_stats64(private, stats);
}

unsafe extern "C" fn vlan_rx_add_vid<D: Driver>(
    dev: *mut sys::net_device,
    proto: sys::__be16,
    vid: u16,
) -> i32 {
    under_rtnl!(dev, private, rtnl, {
        let _ = dev;
        from_result(|| D::vlan_rx_add_vid(private, u16::from_be(proto), vid, rtnl).map(|()| 0))
    })
}

unsafe extern "C" fn vlan_rx_kill_vid<D: Driver>(
    dev: *mut sys::net_device,
    proto: sys::__be16,
    vid: u16,
) -> i32 {
    under_rtnl!(dev, private, rtnl, {
        let _ = dev;
        D::vlan_rx_kill_vid(private, u16::from_be(proto), vid, rtnl)
    });
    0
}

unsafe extern "C" fn get_iflink<D: Driver>(dev: *const sys::net_device) -> i32 {
    // SAFETY: See the module's documentation.
    D::iflink(unsafe { PrivCell::<D>::get(dev.cast_mut()) })
}

unsafe extern "C" fn hwtstamp_get<D: Driver>(
    dev: *mut sys::net_device,
    config: *mut sys::kernel_hwtstamp_config,
) -> i32 {
    under_rtnl!(dev, private, _rtnl, {
        let _ = dev;
        let lower = D::hardware_device(private);
        // SAFETY: RTNL is held; the structure is the caller's own. This takes the lower device's instance lock.
        unsafe { sys::generic_hwtstamp_get_lower(lower.as_ptr(), config) }
    })
}

unsafe extern "C" fn hwtstamp_set<D: Driver>(
    dev: *mut sys::net_device,
    config: *mut sys::kernel_hwtstamp_config,
    extack: *mut sys::netlink_ext_ack,
) -> i32 {
    under_rtnl!(dev, private, rtnl, {
        let _ = dev;
        from_result(|| {
            D::may_set_hwtstamp(private, rtnl)?;
            let lower = D::hardware_device(private);
            // SAFETY: As in `hwtstamp_get`.
            Ok(unsafe { sys::generic_hwtstamp_set_lower(lower.as_ptr(), config, extack) })
        })
    })
}

/// `header_ops.create`. Other drivers copy the table of a device that they enslave (team did), so the device is asked
/// whose it is.
unsafe extern "C" fn header_create<D: Driver>(
    skb: *mut sys::sk_buff,
    dev: *mut sys::net_device,
    proto: u16,
    dest: *const c_void,
    source: *const c_void,
    len: u32,
) -> i32 {
    // SAFETY: The core passes a live device.
    let Some(private) = unsafe { NetDevice::from_ptr(dev) }.driver::<D>() else {
        // SAFETY: An Ethernet header for an Ethernet device; all arguments are the caller's.
        return unsafe { sys::eth_header(skb, dev, proto, dest, source, len) };
    };
    let (lower, address) = D::header_device(private);
    let source = if source.is_null() {
        address.as_ptr().cast()
    } else {
        source
    };
    // SAFETY: The device below is alive; the rest is the caller's, and an Ethernet address is all that is read.
    unsafe { sys::ipvlan_rs_dev_hard_header(skb, lower.as_ptr(), proto, dest, source, len) }
}

unsafe extern "C" fn get_drvinfo<D: Driver>(
    _dev: *mut sys::net_device,
    info: *mut sys::ethtool_drvinfo,
) {
    // SAFETY: The structure is the caller's own and zeroed.
    let driver = unsafe { &mut (*info).driver };
    let last = driver.len().saturating_sub(1);
    for (to, from) in driver.iter_mut().take(last).zip(D::NAME.to_bytes()) {
        *to = *from;
    }
}

unsafe extern "C" fn get_link_ksettings<D: Driver>(
    dev: *mut sys::net_device,
    settings: *mut sys::ethtool_link_ksettings,
) -> i32 {
    under_rtnl!(dev, private, _rtnl, {
        let _ = dev;
        let lower = D::hardware_device(private);
        // SAFETY: RTNL is held; the structure is the caller's own.
        unsafe { sys::__ethtool_get_link_ksettings(lower.as_ptr(), settings) }
    })
}

/// Also called without RTNL, by a reader of RCU, when a socket asks for time stamps: must not sleep.
unsafe extern "C" fn get_ts_info<D: Driver>(
    dev: *mut sys::net_device,
    info: *mut sys::kernel_ethtool_ts_info,
) -> i32 {
    // SAFETY: See the module's documentation.
    let lower = D::hardware_device(unsafe { PrivCell::<D>::get(dev) });
    // SAFETY: The lower device is referred to by the private data; it asks its driver under the same conditions. The
    // structure is the caller's own.
    unsafe { sys::ethtool_get_ts_info_by_layer(lower.as_ptr(), info) }
}

unsafe extern "C" fn get_msglevel<D: Driver>(dev: *mut sys::net_device) -> u32 {
    under_rtnl!(dev, private, _rtnl, {
        let _ = dev;
        D::msglevel(private).read()
    })
}

unsafe extern "C" fn set_msglevel<D: Driver>(dev: *mut sys::net_device, level: u32) {
    under_rtnl!(dev, private, _rtnl, {
        let _ = dev;
        D::msglevel(private).write(level)
    })
}
