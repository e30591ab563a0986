// SPDX-License-Identifier: GPL-2.0

//! What the kernel's crate has in one of the series that this is built for and not in another: 7.2 and 7.3.
//!
//! The same for C is `sys/compat.h`; nothing else looks at versions.

use core::borrow::Borrow;
use kernel::{
    bindings,
    prelude::*, //
};

/// `EADDRINUSE`, which `kernel::error::code` names since 7.3.
pub(crate) fn eaddrinuse() -> Error {
    Error::from_errno(-(bindings::EADDRINUSE as i32))
}

/// `EAFNOSUPPORT`, which `kernel::error::code` names since 7.3.
pub(super) fn eafnosupport() -> Error {
    Error::from_errno(-(bindings::EAFNOSUPPORT as i32))
}

/// Whether a parameter of the module that is 0 or 1 is on. Its value is a reference in 7.2, which has no parameters of
/// type bool either, and the number itself since 7.3.
pub(crate) fn is_on(value: impl Borrow<u8>) -> bool {
    *value.borrow() != 0
}
