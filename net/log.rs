// SPDX-License-Identifier: GPL-2.0

//! Messages that somebody else can cause.

use crate::sys;

/// Whether one more message is all right (`net_ratelimit()`): ask before logging what others can cause at will.
pub(crate) fn ratelimit() -> bool {
    // SAFETY: May be called in any context.
    unsafe { sys::net_ratelimit() != 0 }
}
