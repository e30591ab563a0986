// SPDX-License-Identifier: GPL-2.0

//! The RTNL lock as a witness, and data that it protects.

use crate::sys;
use core::cell::UnsafeCell;
use kernel::types::NotThreadSafe;

/// Proof that this task holds the RTNL lock. Process context; may sleep.
pub(crate) struct Rtnl(NotThreadSafe);

impl Rtnl {
    /// Takes the word of the caller that the lock is held. A kernel with `CONFIG_PROVE_RCU` checks it.
    ///
    /// # Safety
    ///
    /// This task must hold it until the witness is gone. Lend it to safe code by reference only.
    #[inline]
    pub(crate) unsafe fn assume() -> Self {
        #[cfg(CONFIG_PROVE_RCU)]
        // SAFETY: Looks at this task only.
        unsafe {
            sys::ipvlan_rs_assert_rtnl()
        };
        Self(NotThreadSafe)
    }

    /// Runs `f` with the lock, which must not be held. Process context; sleeps.
    pub(crate) fn with<R>(f: impl FnOnce(&Rtnl) -> R) -> R {
        // SAFETY: May be called in process context; unlocked below.
        unsafe { sys::rtnl_lock() };
        // SAFETY: Held until this function returns.
        let result = f(&unsafe { Self::assume() });
        // SAFETY: Taken above.
        unsafe { sys::rtnl_unlock() };
        result
    }
}

/// A value that only the holder of the RTNL lock touches.
///
/// It is moved in and out whole: a callback may re-enter the driver with the lock still held, so no reference into the
/// cell is ever given out.
pub(crate) struct RtnlCell<T>(UnsafeCell<T>);

// SAFETY: The witness proves that one task at a time gets here; the value may be moved to it.
unsafe impl<T: Send> Sync for RtnlCell<T> {}

impl<T> RtnlCell<T> {
    /// A cell with this value.
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Stores a value and returns the one before.
    pub(crate) fn replace(&self, value: T, _rtnl: &Rtnl) -> T {
        // SAFETY: Only the holder of the lock gets here, and no reference to the value outlives a call.
        core::mem::replace(unsafe { &mut *self.0.get() }, value)
    }

    /// Stores a value and drops the one before.
    pub(crate) fn set(&self, value: T, rtnl: &Rtnl) {
        drop(self.replace(value, rtnl));
    }

    /// Takes the value out and leaves the default.
    pub(crate) fn take(&self, rtnl: &Rtnl) -> T
    where
        T: Default,
    {
        self.replace(T::default(), rtnl)
    }

    /// A copy of the value.
    pub(crate) fn get(&self, _rtnl: &Rtnl) -> T
    where
        T: Copy,
    {
        // SAFETY: As in `replace`.
        unsafe { *self.0.get() }
    }
}
