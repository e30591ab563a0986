// SPDX-License-Identifier: GPL-2.0

//! Netfilter's LOCAL_IN hook: the last thing that happens to a packet before a socket of this namespace gets it.

use super::{
    device::NetDevice,
    netns::Net,
    rtnl::Rtnl,
    rx_handler::RxHandler,
    softirq::Softirq,
    view::SkbView, //
};
use crate::{
    sync::{
        marked::Marked,
        rcu::wait_for_readers, //
    },
    sys, //
};
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    marker::PhantomData,
    mem::{
        size_of,
        MaybeUninit, //
    }, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A receive handler that may have packets, which its device received and which passed the filters, delivered as if
/// another device had received them.
pub(crate) trait LocalIn: RxHandler {
    /// The hooks: one `static`.
    fn hooks() -> &'static LocalInHooks<Self>;

    /// The device that is to receive the packet; `None`: its own. Bottom halves are off; the packet's data begins with
    /// its network header.
    fn delivered_to<'a>(
        &'a self,
        packet: &mut SkbView<'_>,
        cx: &'a Softirq,
    ) -> Option<&'a NetDevice>;
}

/// What a namespace knows of the hooks: how many devices in it use them. Zeroed when the namespace is made.
#[repr(C)]
struct InNet {
    /// Changed under RTNL.
    users: Marked<u32>,
}

/// The hooks of both families. They are in a namespace while devices in it [use](HookUse) them.
///
/// # Invariants
///
/// While `id` is not zero, each namespace has an `InNet` under that number.
pub(crate) struct LocalInHooks<H: LocalIn> {
    pernet: Opaque<sys::pernet_operations>,
    id: UnsafeCell<u32>,
    ops: [Opaque<sys::nf_hook_ops>; 2],
    _handler: PhantomData<fn(H)>,
}

// SAFETY: `ops` are never written; the others only by the core, under its own locks, and by `PernetRegistration`.
unsafe impl<H: LocalIn> Sync for LocalInHooks<H> {}

impl<H: LocalIn> LocalInHooks<H> {
    /// To be put in a `static`.
    pub(crate) const fn new() -> Self {
        const fn op<H: LocalIn>(family: u32) -> Opaque<sys::nf_hook_ops> {
            let mut op: MaybeUninit<sys::nf_hook_ops> = MaybeUninit::zeroed();
            let raw = op.as_mut_ptr();
            // SAFETY: The fields lie inside the structure.
            unsafe {
                (&raw mut (*raw).hook).write(Some(shell::<H>));
                // CAST: protocol families are below 256.
                (&raw mut (*raw).pf).write(family as u8);
                (&raw mut (*raw).hooknum).write(sys::nf_inet_hooks_NF_INET_LOCAL_IN);
                // Behind all others, which see the packet as the namespace's own: all but connection tracking's last
                // step, which has this priority too, may come after, and does not ask for the device.
                (&raw mut (*raw).priority).write(i32::MAX);
                // SAFETY: All bytes are set, and zero is valid for the rest.
                Opaque::new(op.assume_init())
            }
        }
        Self {
            pernet: Opaque::zeroed(),
            id: UnsafeCell::new(0),
            ops: [op::<H>(sys::NFPROTO_IPV4), op::<H>(sys::NFPROTO_IPV6)],
            _handler: PhantomData,
        }
    }

    /// Makes room in each namespace for the count of users. Process context; once at a time.
    ///
    /// # Errors
    ///
    /// `EBUSY` if that has been done, `ENOMEM`.
    pub(crate) fn register(&'static self) -> Result<PernetRegistration<H>> {
        PernetRegistration::new(self)
    }

    /// What a namespace knows; `None` while not registered.
    fn in_net<'a>(&self, net: &'a Net) -> Option<&'a InNet> {
        // SAFETY: Written by register_pernet_subsys() and the registration's end, which nothing runs beside: the first
        // comes before any user, the second after the last.
        let id = unsafe { self.id.get().read() };
        if id == 0 {
            return None;
        }
        // SAFETY: By the type invariant there is an `InNet`, which lives as long as its namespace is referred to.
        unsafe {
            sys::ipvlan_rs_net_generic(net.as_ptr(), id)
                .cast::<InNet>()
                .as_ref()
        }
    }

    fn hook(&self, net: &Net) -> Result {
        // SAFETY: There are two, and they are static.
        to_result(unsafe { sys::nf_register_net_hooks(net.as_ptr(), self.ops.as_ptr().cast(), 2) })
    }

    fn unhook(&self, net: &Net) {
        // SAFETY: They are registered. Hooks that run go on; the function stays until the module goes, which waits.
        unsafe { sys::nf_unregister_net_hooks(net.as_ptr(), self.ops.as_ptr().cast(), 2) };
    }
}

/// That a device uses the hooks in the namespace it is in.
#[must_use = "the hooks stay until the use is ended"]
pub(crate) struct HookUse<H: LocalIn>(PhantomData<fn(H)>);

impl<H: LocalIn> HookUse<H> {
    /// Begins; the first in a namespace registers the hooks there.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` while [`LocalInHooks::register`]'s result is not there.
    pub(crate) fn new(net: &Net, _rtnl: &Rtnl) -> Result<Self> {
        let hooks = H::hooks();
        let users = &hooks.in_net(net).ok_or(ENODEV)?.users;
        if users.read() == 0 {
            hooks.hook(net)?;
        }
        users.write(users.read().saturating_add(1));
        Ok(Self(PhantomData))
    }

    /// Ends; the last in a namespace takes the hooks out. `net` is where the use began. If it is another, hooks stay too
    /// long in the one and go too early from the other, but nothing worse.
    pub(crate) fn end(self, net: &Net, _rtnl: &Rtnl) {
        let hooks = H::hooks();
        let Some(InNet { users }) = hooks.in_net(net) else {
            return;
        };
        match users.read() {
            // Not the namespace where it began.
            0 => pr_err!("a namespace's hooks were ended more often than begun\n"),
            1 => {
                users.write(0);
                hooks.unhook(net);
            }
            more => users.write(more.wrapping_sub(1)),
        }
    }
}

/// That each namespace has room for the count of users. Dropping it takes hooks that are left out of all namespaces,
/// and waits for those that run.
///
/// # Invariants
///
/// `hooks.pernet` is registered.
pub(crate) struct PernetRegistration<H: LocalIn> {
    hooks: &'static LocalInHooks<H>,
}

impl<H: LocalIn> PernetRegistration<H> {
    fn new(hooks: &'static LocalInHooks<H>) -> Result<Self> {
        // SAFETY: Nothing is registered, so nobody else looks; the caller is the only one (see `register`).
        unsafe {
            if hooks.id.get().read() != 0 {
                return Err(EBUSY);
            }
            hooks.pernet.get().write(sys::pernet_operations {
                exit: Some(leave_net::<H>),
                id: hooks.id.get(),
                size: size_of::<InNet>(),
                ..pin_init::zeroed()
            });
        }
        // SAFETY: The operations are static, and stay so until they are taken out.
        to_result(unsafe { sys::register_pernet_subsys(hooks.pernet.get()) })?;
        // INVARIANT: Registered above.
        Ok(Self { hooks })
    }
}

impl<H: LocalIn> Drop for PernetRegistration<H> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. `leave_net` runs for each namespace.
        unsafe {
            sys::unregister_pernet_subsys(self.hooks.pernet.get());
            self.hooks.id.get().write(0);
        }
        // Hooks that were taken out may still run.
        wait_for_readers();
    }
}

/// A namespace goes, or the hooks do. Devices have left, and their uses have ended: this is for what was forgotten.
unsafe extern "C" fn leave_net<H: LocalIn>(net: *mut sys::net) {
    // SAFETY: The core passes a namespace that is alive.
    let net = unsafe { Net::from_ptr(net) };
    // Not under RTNL, which would delay the end of every namespace.
    if let Some(InNet { users }) = H::hooks().in_net(net) {
        if users.read() != 0 {
            pr_err!("a namespace goes with {} uses of its hooks\n", users.read());
            Rtnl::with(|_rtnl| {
                users.write(0);
                H::hooks().unhook(net);
            });
        }
    }
}

/// Sets where IPv6 believes the packet came in (`IP6CB(skb)->iif`), which sockets that are bound to a device go by.
fn set_ip6_iif(packet: &mut SkbView<'_>, dev: &NetDevice) {
    // SAFETY: In LOCAL_IN of IPv6 the control buffer is IPv6's.
    unsafe {
        let cb = (&raw mut (*packet.as_ptr()).cb).cast::<sys::inet6_skb_parm>();
        (&raw mut (*cb).iif).write(dev.ifindex());
    }
}

/// Netfilter's entry: never keeps the packet.
unsafe extern "C" fn shell<H: LocalIn>(
    _priv: *mut c_void,
    skb: *mut sys::sk_buff,
    state: *const sys::nf_hook_state,
) -> u32 {
    // A packet that a queue gave back comes here with bottom halves on.
    Softirq::with(|cx| {
        // SAFETY: A hook may write the packet's header, and nobody else uses it meanwhile. Where LOCAL_IN runs, `in_`
        // is the device that received the packet, which is alive for a reader. `state` is the caller's. Whoever runs
        // LOCAL_IN is a reader itself (the receive path, a queue's verdict) until the packet has been delivered, so the
        // device that the packet gets here is alive until then.
        let (mut packet, dev, family) = unsafe {
            (
                SkbView::new(skb),
                NetDevice::from_ptr((*state).in_),
                u32::from((*state).pf),
            )
        };
        dev.with_rx_handler(&cx.rcu, |handler: &H| {
            let Some(to) = handler.delivered_to(&mut packet, cx) else {
                return;
            };
            packet.set_receiver(to, &cx.rcu);
            if family == sys::NFPROTO_IPV6 {
                set_ip6_iif(&mut packet, to);
            }
        });
    });
    sys::NF_ACCEPT
}
