// SPDX-License-Identifier: GPL-2.0

//! Work in process context that can be cancelled.
//!
//! `kernel::workqueue` has no way to cancel, which a module that can be unloaded needs.

use crate::sys;
use core::ops::Deref;
use kernel::{
    alloc::AllocError,
    container_of,
    prelude::*,
    types::Opaque, //
};

/// Lets others run on a kernel that does not preempt. Process context, with no spinlock held: for workers.
pub(crate) fn cond_resched() {
    // SAFETY: Called in process context with no spinlock held, see above.
    unsafe { sys::ipvlan_rs_cond_resched() };
}

/// What a [`Work`] does.
pub(crate) trait Worker: Send + Sync {
    /// Runs in process context on the system workqueue, never twice at a time for one [`Work`]. May sleep.
    fn run(&self);
}

/// A value and the work that is done on it. Dropping it waits for the work first, so that must happen in process
/// context, and without a lock that the work takes.
///
/// # Invariants
///
/// `inner.work` is an initialised work item; it is only ever queued while `inner` is alive.
pub(crate) struct Work<T: Worker> {
    inner: KBox<Inner<T>>,
}

struct Inner<T> {
    work: Opaque<sys::work_struct>,
    value: T,
}

// SAFETY: `T: Worker` is `Send + Sync`, and the workqueue synchronises itself.
unsafe impl<T: Worker> Send for Work<T> {}
// SAFETY: As above.
unsafe impl<T: Worker> Sync for Work<T> {}

impl<T: Worker> Work<T> {
    /// Makes the work, not queued.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory; `value` is then dropped.
    pub(crate) fn new(value: T) -> Result<Self, AllocError> {
        let inner = KBox::new(
            Inner {
                work: Opaque::uninit(),
                value,
            },
            GFP_KERNEL,
        )?;
        // SAFETY: Memory of a work item at its final address, not queued.
        unsafe { sys::ipvlan_rs_work_init(inner.work.get(), Some(run::<T>)) };
        // INVARIANT: Initialised above.
        Ok(Self { inner })
    }

    /// Queues the work, unless it waits to run already. Any context.
    pub(crate) fn queue(&self) {
        // SAFETY: By the type invariant the item is initialised; `Drop` cancels it before the memory goes.
        unsafe { sys::ipvlan_rs_work_queue(self.inner.work.get()) };
    }

    /// Takes the work off the queue and waits for it if it runs (`cancel_work_sync()`).
    ///
    /// Process context; the caller holds no lock that the work takes.
    pub(crate) fn cancel(&self) {
        // SAFETY: By the type invariant the item is initialised.
        unsafe { sys::cancel_work_sync(self.inner.work.get()) };
    }
}

impl<T: Worker> Deref for Work<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner.value
    }
}

impl<T: Worker> Drop for Work<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The workqueue's entry.
///
/// # Safety
///
/// Called by the workqueue only, with the `work` of a live [`Inner<T>`].
unsafe extern "C" fn run<T: Worker>(work: *mut sys::work_struct) {
    // SAFETY: By the safety requirements; `Work::drop` waits for this function before it frees `Inner`.
    let inner = unsafe { &*container_of!(Opaque::cast_from(work), Inner<T>, work) };
    inner.value.run();
}
