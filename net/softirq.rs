// SPDX-License-Identifier: GPL-2.0

//! The context of packets on their way.

use crate::sync::{
    percpu::BhOff,
    rcu::RcuRead, //
};

/// What holds while a transmit or a receive callback runs: bottom halves are off, which is also a read-side critical
/// section.
pub(crate) struct Softirq {
    /// Reader of RCU.
    pub(crate) rcu: RcuRead,
    /// Owner of this CPU's softirq data.
    pub(crate) bh: BhOff,
}

impl Softirq {
    /// # Safety
    ///
    /// Bottom halves must be disabled, and a read-side section last, until the witness is gone. Lend it by reference
    /// only.
    #[inline]
    pub(super) unsafe fn assume() -> Self {
        // SAFETY: By the safety requirements.
        unsafe {
            Self {
                rcu: RcuRead::assume(),
                bh: BhOff::assume(),
            }
        }
    }

    /// Runs `f` with bottom halves disabled, as a reader. Process and softirq context.
    pub(crate) fn with<R>(f: impl FnOnce(&Softirq) -> R) -> R {
        let _rcu = RcuRead::lock();
        BhOff::with(|_| {
            // SAFETY: Both hold until this closure returns.
            let cx = unsafe { Self::assume() };
            f(&cx)
        })
    }
}
