// SPDX-License-Identifier: GPL-2.0

//! Mode l3s in a kernel that lacks what it takes: refused, with the reason.

#![forbid(unsafe_code)]

use crate::net::{
    device::NetDevice,
    extack::ExtAck,
    rtnl::Rtnl, //
};
use core::convert::Infallible;
use kernel::prelude::*;

/// For the module's registrations, of which this is none.
pub(crate) struct Registration;

/// In place of the hooks.
pub(crate) struct NoHooks;

/// In place of the hooks.
pub(crate) static HOOKS: NoHooks = NoHooks;

impl NoHooks {
    /// Registers nothing.
    pub(crate) fn register(&self) -> Result<Registration> {
        Ok(Registration)
    }
}

/// That a port is in mode l3s, which none is.
pub(crate) struct L3s(Infallible);

impl L3s {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`.
    pub(crate) fn begin(_master: &NetDevice, extack: ExtAck<'_>, _rtnl: &Rtnl) -> Result<Self> {
        Err(extack.refuse(
            EOPNOTSUPP,
            c"Mode l3s needs a kernel with NETFILTER and NET_L3_MASTER_DEV: use l2 or l3",
        ))
    }

    /// Never called.
    pub(crate) fn end(self, _master: &NetDevice, _rtnl: &Rtnl) {
        match self.0 {}
    }
}
