// SPDX-License-Identifier: GPL-2.0

//! A queue of packets between softirq and process context, bounded in bytes.

use super::{
    device_ref::DeviceRef,
    skbuff::Skb, //
};
use crate::{
    sync::{
        lock::SpinLockBh,
        marked::Marked, //
    },
    sys, //
};
use core::{
    mem::{
        align_of,
        size_of, //
    },
    ptr::{
        self,
        addr_of, //
    },
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::static_lock_class, //
};

/// A packet that waits, and what belongs to it: the device that it came by, held because a queued packet outlives the
/// read-side section it was seen in, and a tag of the queue's user.
pub(crate) struct Queued<T: Copy> {
    /// The packet.
    pub(crate) skb: Skb,
    /// The device it came by.
    pub(crate) dev: DeviceRef,
    /// What the queue's user noted.
    pub(crate) tag: T,
    /// What it is charged to the queue, in bytes.
    pub(crate) charge: usize,
}

/// What is kept in the packet's control buffer, which is free between layers.
struct Stash<T> {
    dev: DeviceRef,
    tag: T,
    charge: usize,
}

/// The packets in order. They are chained through `skb->next`, so that queueing allocates nothing.
struct Chain {
    first: *mut sys::sk_buff,
    last: *mut sys::sk_buff,
}

// SAFETY: The chain owns its packets.
unsafe impl Send for Chain {}

/// The queue.
///
/// # Invariants
///
/// Each skb in `chain` is owned by it, has a `Stash<T>` in its control buffer, and the next one or null in its `next`.
/// `bytes` is the sum of the charges of all packets that were pushed and not yet settled.
pub(crate) struct SkbQueue<T: Copy + Send> {
    chain: SpinLockBh<Chain>,
    bytes: Marked<usize>,
    limit: Marked<usize>,
    _tag: core::marker::PhantomData<T>,
}

// SAFETY: The queue owns its packets; tags are `Send`.
unsafe impl<T: Copy + Send> Send for SkbQueue<T> {}
// SAFETY: Everything that changes is behind the lock or a marked word.
unsafe impl<T: Copy + Send> Sync for SkbQueue<T> {}

/// The address of `skb->next`.
fn next(skb: *mut sys::sk_buff) -> *mut *mut sys::sk_buff {
    // SAFETY: The address lies inside the skb.
    unsafe { addr_of!((*skb).__bindgen_anon_1.__bindgen_anon_1.next) }.cast_mut()
}

/// The address of the control buffer.
fn stash<T>(skb: *mut sys::sk_buff) -> *mut Stash<T> {
    const { assert!(size_of::<Stash<T>>() <= 48 && align_of::<Stash<T>>() <= 8) };
    // SAFETY: The address lies inside the skb.
    unsafe { addr_of!((*skb).cb) }.cast_mut().cast()
}

impl<T: Copy + Send> SkbQueue<T> {
    /// An empty queue that takes packets up to `limit` bytes of memory.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    pub(crate) fn new(limit: usize) -> Result<Self, AllocError> {
        Ok(Self {
            chain: SpinLockBh::new(
                Chain {
                    first: ptr::null_mut(),
                    last: ptr::null_mut(),
                },
                c"SkbQueue",
                static_lock_class!(),
            )?,
            bytes: Marked::new(0),
            limit: Marked::new(limit),
            _tag: core::marker::PhantomData,
        })
    }

    /// The bytes that wait or are being worked on. Any context; a snapshot.
    #[inline]
    fn bytes(&self) -> usize {
        self.bytes.read()
    }

    /// The bytes that fit in.
    pub(crate) fn limit(&self) -> usize {
        self.limit.read()
    }

    /// Changes the limit. What waits already stays.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.write(limit);
    }

    /// Whether nothing more fits in. Any context; a snapshot.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.limit()
    }

    /// Whether nothing waits and nothing is being worked on: a packet that is handled at once overtakes nobody.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.bytes() == 0
    }

    /// Appends a packet that came by `dev`; gives it back if the queue is full. Any context but hard interrupts.
    pub(crate) fn push(&self, mut skb: Skb, dev: DeviceRef, tag: T) -> Result<(), Skb> {
        let charge = skb.truesize();
        // Without the lock first: a flood into a full queue must not have all CPUs fight for it.
        if self.is_full() {
            return Err(skb);
        }
        let mut chain = self.chain.lock();
        let bytes = self.bytes().saturating_add(charge);
        if bytes > self.limit() {
            return Err(skb);
        }
        self.bytes.write(bytes);
        // Whatever the packet pointed to may be gone when its turn comes; this will not be.
        skb.set_counted_dev(&dev);
        let skb = skb.into_ptr();
        // INVARIANT: The chain owns the skb, with its stash and no successor.
        // SAFETY: The skb is ours; `stash` checks that its control buffer holds a `Stash`.
        unsafe {
            stash::<T>(skb).write(Stash { dev, tag, charge });
            *next(skb) = ptr::null_mut();
            if chain.last.is_null() {
                chain.first = skb;
            } else {
                *next(chain.last) = skb;
            }
        }
        chain.last = skb;
        Ok(())
    }

    /// Takes all packets that wait. They stay charged until [`settle`](Self::settle).
    pub(crate) fn take_all(&self) -> Batch<T> {
        let mut chain = self.chain.lock();
        chain.last = ptr::null_mut();
        Batch {
            first: core::mem::replace(&mut chain.first, ptr::null_mut()),
            _tag: core::marker::PhantomData,
        }
    }

    /// Gives back the charge of a packet that has been dealt with.
    pub(crate) fn settle(&self, charge: usize) {
        let _chain = self.chain.lock();
        self.bytes.write(self.bytes().saturating_sub(charge));
    }
}

impl<T: Copy + Send> Drop for SkbQueue<T> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

/// Packets that were taken from a queue, in order. Dropping it drops those that are left.
pub(crate) struct Batch<T: Copy + Send> {
    first: *mut sys::sk_buff,
    _tag: core::marker::PhantomData<T>,
}

impl<T: Copy + Send> Iterator for Batch<T> {
    type Item = Queued<T>;

    fn next(&mut self) -> Option<Queued<T>> {
        let skb = self.first;
        if skb.is_null() {
            return None;
        }
        // SAFETY: By the invariant of the queue that this came from: the skb is ours, has a successor and a stash,
        // which is taken out once.
        unsafe {
            self.first = next(skb).replace(ptr::null_mut());
            let Stash { dev, tag, charge } = stash::<T>(skb).read();
            Some(Queued {
                skb: Skb::from_ptr(skb),
                dev,
                tag,
                charge,
            })
        }
    }
}

impl<T: Copy + Send> Drop for Batch<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
