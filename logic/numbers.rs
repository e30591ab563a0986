// SPDX-License-Identifier: GPL-2.0

//! Numbers that tell the slaves of a port apart, in their IPv6 interface identifiers among others
//! (`dev_id`, `addrconf_ifid_eui48()` of include/net/addrconf.h).

#![forbid(unsafe_code)]

/// Whose turn it is: numbers are handed out in turn, so that one that was just given back is not
/// used again while others remember it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Turn(u16);

impl Turn {
    /// 0 means that there is no number.
    pub const FIRST: u16 = 1;
    /// The last two are not for slaves either: in-tree ipvlan stops here.
    pub const LAST: u16 = 0xfffd;
    /// No number was handed out yet.
    pub const START: Self = Self(Self::FIRST);

    /// Takes a number: the next one that is free, from the beginning again after the last. Returns
    /// it and whose turn it is then. `lowest_free` takes the lowest free one within bounds that are
    /// included, and fails with `full` if there is none.
    ///
    /// # Errors
    ///
    /// `full` if all are taken, and whatever else `lowest_free` says.
    pub fn take<E: PartialEq>(
        self,
        full: E,
        mut lowest_free: impl FnMut(u16, u16) -> Result<u16, E>,
    ) -> Result<(u16, Self), E> {
        let Self(from) = self;
        let taken = match lowest_free(from, Self::LAST) {
            Err(error) if error == full && from > Self::FIRST => {
                lowest_free(Self::FIRST, from.saturating_sub(1))?
            }
            answer => answer?,
        };
        let next = if taken >= Self::LAST {
            Self::FIRST
        } else {
            taken.saturating_add(1)
        };
        Ok((taken, Self(next)))
    }
}
