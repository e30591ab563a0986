// SPDX-License-Identifier: GPL-2.0

//! Notifier chains: what happens to network devices and their addresses.

use super::{
    device::{
        Mac,
        NetDevice,
        Relay, //
    },
    extack::ExtAck,
    inet::{
        Address4Event,
        Address6Event,
        Validate4Event,
        Validate6Event, //
    },
    rtnl::Rtnl, //
};
use crate::{
    sync::rcu::RcuRead,
    sys, //
};
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A notifier chain of the kernel.
///
/// # Safety
///
/// `event` must be right about what the chain passes to its members, for as long as the call lasts.
pub(crate) unsafe trait Chain: 'static {
    /// What a member is told.
    type Event<'a>;

    /// Joins the chain.
    ///
    /// # Safety
    ///
    /// As the C function: `nb` is not a member, and stays where it is until it has left.
    unsafe fn join(nb: *mut sys::notifier_block) -> i32;

    /// Leaves the chain; waits for members that run.
    ///
    /// # Safety
    ///
    /// `nb` is a member.
    unsafe fn leave(nb: *mut sys::notifier_block) -> i32;

    /// Makes the event of what the chain passed, and calls `f` with it; `None` if it is not one that matters.
    ///
    /// # Safety
    ///
    /// Called from within a call of the chain, with its arguments.
    unsafe fn event(
        code: usize,
        data: *mut c_void,
        f: impl FnOnce(Self::Event<'_>) -> Answer,
    ) -> Option<Answer>;
}

/// What a member answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not interested.
    Done,
    /// Noted.
    Ok,
    /// Vetoed; the rest of the chain is not asked.
    Bad,
    /// Vetoed with an errno.
    Error(Error),
}

impl Answer {
    /// The value that C expects (`notifier_from_errno()` for errors, include/linux/notifier.h).
    fn to_raw(self) -> i32 {
        match self {
            Self::Done => sys::NOTIFY_DONE as i32,
            Self::Ok => sys::NOTIFY_OK as i32,
            Self::Bad => (sys::NOTIFY_STOP_MASK | 0x0002) as i32,
            Self::Error(error) => {
                sys::NOTIFY_STOP_MASK as i32
                    | (sys::NOTIFY_OK as i32).wrapping_sub(error.to_errno())
            }
        }
    }
}

/// A member of a chain.
pub(crate) trait Listener<C: Chain>: 'static {
    /// Is told.
    fn notify(event: C::Event<'_>) -> Answer;
}

/// Membership of a chain. Dropping it leaves, and waits for calls that run.
///
/// # Invariants
///
/// `nb` is a member of chain `C`.
pub(crate) struct Membership<C: Chain, L: Listener<C>> {
    nb: KBox<Opaque<sys::notifier_block>>,
    _listener: PhantomData<fn(C, L)>,
}

// SAFETY: The block belongs to the chain, which has its own locks.
unsafe impl<C: Chain, L: Listener<C>> Send for Membership<C, L> {}
// SAFETY: As above.
unsafe impl<C: Chain, L: Listener<C>> Sync for Membership<C, L> {}

impl<C: Chain, L: Listener<C>> Membership<C, L> {
    /// Joins the chain. Process context.
    ///
    /// # Errors
    ///
    /// What the chain says, or no memory.
    pub(crate) fn new() -> Result<Self> {
        let nb = KBox::new(
            Opaque::new(sys::notifier_block {
                notifier_call: Some(call::<C, L>),
                ..pin_init::zeroed()
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The block is new and stays in its allocation.
        to_result(unsafe { C::join(nb.get()) })?;
        // INVARIANT: Joined above.
        Ok(Self {
            nb,
            _listener: PhantomData,
        })
    }
}

impl<C: Chain, L: Listener<C>> Drop for Membership<C, L> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { C::leave(self.nb.get()) };
    }
}

unsafe extern "C" fn call<C: Chain, L: Listener<C>>(
    _nb: *mut sys::notifier_block,
    code: usize,
    data: *mut c_void,
) -> i32 {
    // SAFETY: This is a call of the chain.
    unsafe { C::event(code, data, L::notify) }
        .unwrap_or(Answer::Done)
        .to_raw()
}

/// The chain of network device events.
pub(crate) struct Devices;

/// What happened, or is about to happen, to a device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceEventKind {
    /// It is up.
    Up,
    /// It is down.
    Down,
    /// Its state or flags changed.
    Change,
    /// It was registered, or has come to another namespace.
    Register,
    /// It goes, or leaves its namespace.
    Unregister,
    /// Its features changed.
    FeatureChange,
    /// Its MTU is about to change.
    PreChangeMtu,
    /// Its MTU changed.
    ChangeMtu,
    /// Its name changed.
    ChangeName,
    /// Its address is about to change, to this.
    PreChangeAddress(Mac),
    /// Its link-layer type is about to change.
    PreTypeChange,
    /// What the devices above it may want to hear too.
    Relayed(Relay),
}

impl DeviceEventKind {
    /// # Safety
    ///
    /// `info` is what the chain passed with `code`.
    unsafe fn from_raw(code: usize, info: *const sys::netdev_notifier_info) -> Option<Self> {
        Some(match u32::try_from(code).ok()? {
            sys::netdev_cmd_NETDEV_UP => Self::Up,
            sys::netdev_cmd_NETDEV_DOWN => Self::Down,
            sys::netdev_cmd_NETDEV_CHANGE => Self::Change,
            sys::netdev_cmd_NETDEV_REGISTER => Self::Register,
            sys::netdev_cmd_NETDEV_UNREGISTER => Self::Unregister,
            sys::netdev_cmd_NETDEV_FEAT_CHANGE => Self::FeatureChange,
            sys::netdev_cmd_NETDEV_PRECHANGEMTU => Self::PreChangeMtu,
            sys::netdev_cmd_NETDEV_CHANGEMTU => Self::ChangeMtu,
            sys::netdev_cmd_NETDEV_CHANGENAME => Self::ChangeName,
            sys::netdev_cmd_NETDEV_CHANGEADDR => Self::Relayed(Relay::ChangeAddress),
            sys::netdev_cmd_NETDEV_PRE_CHANGEADDR => {
                let info = info.cast::<sys::netdev_notifier_pre_changeaddr_info>();
                // SAFETY: This event comes with this structure. All who send it pass at least ETH_ALEN bytes, whatever the
                // device's type (dev_set_mac_address(), __hw_addr_*, bond, bridge; relays pass an Ethernet address).
                Self::PreChangeAddress(unsafe { (*info).dev_addr.cast::<Mac>().read() })
            }
            sys::netdev_cmd_NETDEV_PRE_TYPE_CHANGE => Self::PreTypeChange,
            sys::netdev_cmd_NETDEV_NOTIFY_PEERS => Self::Relayed(Relay::NotifyPeers),
            sys::netdev_cmd_NETDEV_BONDING_FAILOVER => Self::Relayed(Relay::BondingFailover),
            sys::netdev_cmd_NETDEV_RESEND_IGMP => Self::Relayed(Relay::ResendIgmp),
            _ => return None,
        })
    }
}

/// An event of [`Devices`].
pub(crate) struct DeviceEvent<'a> {
    /// What happens.
    pub(crate) kind: DeviceEventKind,
    /// To whom.
    pub(crate) dev: &'a NetDevice,
    /// Where a veto's reason goes.
    pub(crate) extack: ExtAck<'a>,
    /// The chain is called with RTNL held.
    pub(crate) rtnl: &'a Rtnl,
}

// SAFETY: register_netdevice_notifier()'s chain is called with RTNL held, and passes a `netdev_notifier_info`, or what
// begins with one (include/linux/netdevice.h).
unsafe impl Chain for Devices {
    type Event<'a> = DeviceEvent<'a>;

    unsafe fn join(nb: *mut sys::notifier_block) -> i32 {
        // SAFETY: Passed on.
        unsafe { sys::register_netdevice_notifier(nb) }
    }

    unsafe fn leave(nb: *mut sys::notifier_block) -> i32 {
        // SAFETY: Passed on.
        unsafe { sys::unregister_netdevice_notifier(nb) }
    }

    unsafe fn event(
        code: usize,
        data: *mut c_void,
        f: impl FnOnce(DeviceEvent<'_>) -> Answer,
    ) -> Option<Answer> {
        let info = data.cast::<sys::netdev_notifier_info>();
        // SAFETY: See above; the device and the acknowledgement live as long as the call.
        unsafe {
            let rtnl = Rtnl::assume();
            Some(f(DeviceEvent {
                kind: DeviceEventKind::from_raw(code, info)?,
                dev: NetDevice::from_ptr((*info).dev),
                extack: ExtAck::from_ptr((*info).extack),
                rtnl: &rtnl,
            }))
        }
    }
}

/// Makes a chain of one of the address notifiers.
macro_rules! address_chain {
    ($(#[$doc:meta])* $name:ident, $event:ident, $join:ident, $leave:ident, $witness:ty, $safety:literal) => {
        $(#[$doc])*
        pub(crate) struct $name;

        #[doc = $safety]
        // SAFETY: The text above, from net/ipv4/devinet.c and net/ipv6/addrconf_core.c.
        unsafe impl Chain for $name {
            type Event<'a> = $event<'a>;

            unsafe fn join(nb: *mut sys::notifier_block) -> i32 {
                // SAFETY: Passed on.
                unsafe { sys::$join(nb) }
            }

            unsafe fn leave(nb: *mut sys::notifier_block) -> i32 {
                // SAFETY: Passed on.
                unsafe { sys::$leave(nb) }
            }

            unsafe fn event(
                code: usize,
                data: *mut c_void,
                f: impl FnOnce($event<'_>) -> Answer,
            ) -> Option<Answer> {
                let up = match u32::try_from(code).ok()? {
                    sys::netdev_cmd_NETDEV_UP => true,
                    sys::netdev_cmd_NETDEV_DOWN => false,
                    _ => return None,
                };
                // SAFETY: See above.
                unsafe {
                    let witness = <$witness>::assume();
                    Some(f($event::from_raw(data, up, &witness)))
                }
            }
        }
    };
}

address_chain!(
    /// IPv4 addresses, after they came and after they went.
    Addresses4,
    Address4Event,
    register_inetaddr_notifier,
    unregister_inetaddr_notifier,
    Rtnl,
    "A blocking chain, called with RTNL held; it passes a `struct in_ifaddr`."
);
address_chain!(
    /// IPv4 addresses that somebody wants to add.
    Validators4,
    Validate4Event,
    register_inetaddr_validator_notifier,
    unregister_inetaddr_validator_notifier,
    Rtnl,
    "A blocking chain, called with RTNL held; it passes a `struct in_validator_info`."
);
address_chain!(
    /// IPv6 addresses, after they came and after they went.
    Addresses6,
    Address6Event,
    register_inet6addr_notifier,
    unregister_inet6addr_notifier,
    RcuRead,
    "An atomic chain, possibly in softirq, inside rcu_read_lock(); it passes a `struct inet6_ifaddr`."
);
address_chain!(
    /// IPv6 addresses that somebody wants to add; not those that the kernel makes itself.
    Validators6,
    Validate6Event,
    register_inet6addr_validator_notifier,
    unregister_inet6addr_validator_notifier,
    Rtnl,
    "A blocking chain, called with RTNL held; it passes a `struct in6_validator_info`."
);
