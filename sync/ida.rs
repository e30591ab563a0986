// SPDX-License-Identifier: GPL-2.0

//! Small unique numbers.

use crate::sys;
use kernel::{
    alloc::AllocError,
    bindings,
    prelude::*,
    types::Opaque, //
};

/// A set of numbers in use (`struct ida`).
///
/// # Invariants
///
/// `ida` is initialised.
pub(crate) struct Ida {
    ida: KBox<Opaque<sys::ida>>,
}

// SAFETY: `struct ida` has its own lock.
unsafe impl Send for Ida {}
// SAFETY: As above.
unsafe impl Sync for Ida {}

impl Ida {
    /// An empty set. Process context.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    pub(crate) fn new() -> Result<Self, AllocError> {
        let ida = KBox::new(Opaque::uninit(), GFP_KERNEL)?;
        // SAFETY: Memory for an ida at its final address.
        unsafe { sys::ipvlan_rs_ida_init(ida.get()) };
        // INVARIANT: Initialised above.
        Ok(Self { ida })
    }

    /// Takes the smallest free number of `min..=max`. Process context.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if all are taken, `ENOMEM`.
    pub(crate) fn take(&self, min: u16, max: u16) -> Result<u16> {
        // SAFETY: By the type invariant.
        let id = unsafe {
            sys::ida_alloc_range(
                self.ida.get(),
                u32::from(min),
                u32::from(max),
                bindings::GFP_KERNEL,
            )
        };
        if id < 0 {
            return Err(Error::from_errno(id));
        }
        u16::try_from(id).map_err(|_| EINVAL)
    }

    /// Gives a number back that [`take`](Self::take) returned.
    pub(crate) fn give(&self, id: u16) {
        // SAFETY: By the type invariant.
        unsafe { sys::ida_free(self.ida.get(), u32::from(id)) };
    }
}

impl Drop for Ida {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody uses it any more.
        unsafe { sys::ida_destroy(self.ida.get()) };
    }
}
