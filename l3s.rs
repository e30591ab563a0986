// SPDX-License-Identifier: GPL-2.0

//! Mode l3s: what slaves receive goes through the master's stack and its netfilter hooks first.
//!
//! Two hooks make it so. Between PREROUTING and routing, a packet for a slave is routed as if the slave had received
//! it, in the slave's namespace; at the end of LOCAL_IN it becomes the slave's, so that sockets there get it. In
//! between, the host's filters and its connection tracking see it on the master.

#![forbid(unsafe_code)]

use crate::{
    device::{
        received_len,
        Ipvlan, //
    },
    facts::parse,
    logic::{
        config::Mode,
        verdict, //
    },
    net::{
        device::NetDevice,
        driver::DriverRef,
        extack::ExtAck,
        l3mdev::{
            L3Ops,
            L3Registration,
            L3Router, //
        },
        netfilter::{
            HookUse,
            LocalIn,
            LocalInHooks,
            PernetRegistration, //
        },
        rtnl::Rtnl,
        softirq::Softirq,
        view::{
            Headers,
            SkbView, //
        }, //
    },
    port::Port, //
};
use kernel::prelude::*;

static L3_OPS: L3Ops<Port> = L3Ops::new();

/// That the hooks can be used: for the module's registrations.
pub(crate) type Registration = PernetRegistration<Port>;

/// The LOCAL_IN hooks.
pub(crate) static HOOKS: LocalInHooks<Port> = LocalInHooks::new();

impl Port {
    /// The slave that a packet in the master's stack is for.
    #[inline]
    fn receiver_above<'a>(
        &'a self,
        packet: &mut SkbView<'_>,
        cx: &'a Softirq,
    ) -> Option<&'a DriverRef<Ipvlan>> {
        let protocol = packet.skb().protocol();
        let to = verdict::receive_above(parse(packet, protocol, 0))?;
        self.addresses.receiver(to, &cx.rcu)
    }
}

impl L3Router for Port {
    fn ops() -> &'static L3Ops<Self> {
        &L3_OPS
    }

    fn routed_by<'a>(&'a self, packet: &mut SkbView<'_>, cx: &'a Softirq) -> Option<&'a NetDevice> {
        if self.settings().mode != Mode::L3s {
            return None;
        }
        Some(self.receiver_above(packet, cx)?.dev())
    }
}

impl LocalIn for Port {
    fn hooks() -> &'static LocalInHooks<Self> {
        &HOOKS
    }

    // Whatever the mode is by now: what was routed to a slave must not end in a socket of the host. In other modes such
    // a packet does not come here.
    fn delivered_to<'a>(
        &'a self,
        packet: &mut SkbView<'_>,
        cx: &'a Softirq,
    ) -> Option<&'a NetDevice> {
        let slave = self.receiver_above(packet, cx)?;
        slave.count_received(received_len(packet.skb()), true, false, cx);
        Some(slave.dev())
    }
}

/// That a port's master has both hooks.
pub(crate) struct L3s {
    router: L3Registration<Port>,
    local_in: HookUse<Port>,
}

impl L3s {
    /// Puts the hooks in.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` if the master is a VRF, which no master can be.
    pub(crate) fn begin(master: &NetDevice, extack: ExtAck<'_>, rtnl: &Rtnl) -> Result<Self> {
        let local_in = HookUse::new(master.net(rtnl), rtnl).map_err(|error| {
            extack.refuse(error, c"Out of memory for the netfilter hooks of mode l3s")
        })?;
        match L3Registration::new(master, extack, rtnl) {
            Ok(router) => Ok(Self { router, local_in }),
            Err(error) => {
                local_in.end(master.net(rtnl), rtnl);
                Err(error)
            }
        }
    }

    /// Takes the hooks out, and waits until none runs. The master must not have changed namespaces since
    /// [`begin`](Self::begin).
    pub(crate) fn end(self, master: &NetDevice, rtnl: &Rtnl) {
        self.router.end(rtnl);
        // Last: this also hands over what was routed before.
        self.local_in.end(master.net(rtnl), rtnl);
    }
}
