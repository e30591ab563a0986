// SPDX-License-Identifier: GPL-2.0

//! The MTU of a slave: between [`MIN`] and the master's.
//!
//! All slaves share the master's wire, so an MTU beyond the master's only promises what would be
//! dropped. In-tree ipvlan does not check; macvlan does. All sizes are in bytes, without the
//! link-layer header, as `net_device.mtu` counts.

#![forbid(unsafe_code)]

/// The smallest MTU of an Ethernet device: `ETH_MIN_MTU`, from RFC 791's smallest IPv4 MTU.
pub const MIN: u32 = 68;

/// Why an MTU is refused (`-EINVAL`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MtuError {
    /// Below [`MIN`].
    TooSmall,
    /// Above the master's MTU.
    TooLarge,
}

/// A new slave's MTU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Initial {
    /// The MTU to start with.
    pub mtu: u32,
    /// Whether somebody chose it: then it no longer follows the master up.
    pub user_set: bool,
}

/// The MTU of a new slave: the requested one (`IFLA_MTU`), or else the master's.
#[inline]
pub const fn at_creation(requested: Option<u32>, master: u32) -> Result<Initial, MtuError> {
    match requested {
        Some(requested) => match on_change(requested, master) {
            Ok(mtu) => Ok(Initial {
                mtu,
                user_set: true,
            }),
            Err(error) => Err(error),
        },
        None => Ok(Initial {
            mtu: at_least_min(master),
            user_set: false,
        }),
    }
}

/// Checks a change of a slave's MTU; `Ok` holds the requested value.
#[inline]
pub const fn on_change(requested: u32, master: u32) -> Result<u32, MtuError> {
    if requested < MIN {
        Err(MtuError::TooSmall)
    } else if requested > master {
        Err(MtuError::TooLarge)
    } else {
        Ok(requested)
    }
}

/// What the MTU of a slave becomes when the master's becomes `master`: `None` if it stays `slave`.
///
/// One that nobody set follows the master up and down, one that was set is only lowered.
#[inline]
pub const fn on_master_change(slave: u32, user_set: bool, master: u32) -> Option<u32> {
    let master = at_least_min(master);
    if slave > master || (slave < master && !user_set) {
        Some(master)
    } else {
        None
    }
}

/// Whether somebody chose a slave's MTU, told from what the core does in `netif_set_mtu_ext()`
/// (net/core/dev.c): it announces a change (`NETDEV_PRECHANGEMTU`), has the driver carry it out,
/// and if a listener vetoes what was done, has the driver put the old MTU back, unannounced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    chosen: bool,
    /// What `chosen` was before the last change.
    before: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Rest,
    Announced,
    Following,
}

impl Choice {
    /// Of a new slave.
    pub const fn new(chosen: bool) -> Self {
        Self {
            chosen,
            before: chosen,
            stage: Stage::Rest,
        }
    }

    /// Whether somebody chose the MTU.
    #[inline]
    pub const fn chosen(self) -> bool {
        self.chosen
    }

    /// After a change was announced.
    #[must_use]
    pub const fn announced(self) -> Self {
        match self.stage {
            Stage::Following => self,
            Stage::Rest | Stage::Announced => Self {
                stage: Stage::Announced,
                ..self
            },
        }
    }

    /// After the driver changed the MTU: as announced, or back.
    #[must_use]
    pub const fn changed(self) -> Self {
        match self.stage {
            Stage::Following => self,
            Stage::Announced => Self {
                chosen: true,
                before: self.chosen,
                stage: Stage::Rest,
            },
            Stage::Rest => Self {
                chosen: self.before,
                ..self
            },
        }
    }

    /// While the slave follows its master, whatever changes is nobody's choice.
    #[must_use]
    pub const fn following(self) -> Self {
        Self {
            stage: Stage::Following,
            ..self
        }
    }

    /// After the slave followed its master.
    #[must_use]
    pub const fn followed(self) -> Self {
        Self {
            stage: Stage::Rest,
            ..self
        }
    }
}

/// A master may go lower than an Ethernet device can (dummy has no limit); its slaves stop at
/// [`MIN`].
#[inline]
const fn at_least_min(mtu: u32) -> u32 {
    if mtu < MIN {
        MIN
    } else {
        mtu
    }
}
