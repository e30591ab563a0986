// SPDX-License-Identifier: GPL-2.0

//! Netlink extended acknowledgements: the text that says why a request was refused.

use crate::sys;
use kernel::{
    prelude::*,
    str::CStr, //
};

/// Where a request's message goes, if its sender listens.
#[derive(Clone, Copy)]
pub(crate) struct ExtAck<'a>(Option<&'a core::cell::UnsafeCell<sys::netlink_ext_ack>>);

impl ExtAck<'_> {
    /// Nobody listens.
    pub(crate) const NONE: ExtAck<'static> = ExtAck(None);

    /// # Safety
    ///
    /// `ptr` is null or an extended acknowledgement that lives for `'a` and that no other task touches.
    pub(super) unsafe fn from_ptr(ptr: *mut sys::netlink_ext_ack) -> Self {
        // SAFETY: By the safety requirements; `UnsafeCell` is transparent.
        Self(unsafe { ptr.cast::<core::cell::UnsafeCell<_>>().as_ref() })
    }

    pub(super) fn as_ptr(self) -> *mut sys::netlink_ext_ack {
        self.0
            .map_or(core::ptr::null_mut(), core::cell::UnsafeCell::get)
    }

    /// Sets the message (`NL_SET_ERR_MSG()`). With a request that succeeds it is a warning.
    pub(crate) fn set(self, message: &'static CStr) {
        let ptr = self.as_ptr();
        if !ptr.is_null() {
            // SAFETY: By the construction of `self`; the message is static, as netlink needs.
            unsafe { (*ptr)._msg = message.as_char_ptr() };
        }
    }

    /// Sets the message and returns the error, for `return Err(…)`.
    pub(crate) fn refuse(self, error: Error, message: &'static CStr) -> Error {
        self.set(message);
        error
    }
}
