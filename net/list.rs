// SPDX-License-Identifier: GPL-2.0

//! A list of a driver's devices: changed under RTNL, walked under RCU or RTNL.

use super::{
    driver::{
        Driver,
        DriverRef, //
    },
    rtnl::{
        Rtnl,
        RtnlCell, //
    },
};
use crate::sync::rcu::{
    RcuBox,
    RcuPointer,
    RcuRead, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// The list. Entries hold a counted reference to their device.
///
/// # Invariants
///
/// - `head` and the `next` fields chain the nodes in order of insertion; each node in the chain is an [`RcuBox`] that
///   the list owns. `tail` is the last node or null, `prev` the node before or null.
/// - While `walkers` is not zero, nodes taken off the list are not dropped but chained in `retired`.
/// - `id` is like no other list's, so that a ticket fits its own list only.
pub(crate) struct DeviceList<D: Driver> {
    head: RcuPointer<Node<D>>,
    tail: RtnlCell<*mut Node<D>>,
    walkers: RtnlCell<usize>,
    retired: RtnlCell<*mut Node<D>>,
    id: u64,
}

/// The last list's number. They do not come around: at a list a nanosecond that takes centuries.
static LISTS: Atomic<u64> = Atomic::new(0);

struct Node<D: Driver> {
    dev: DriverRef<D>,
    next: RcuPointer<Node<D>>,
    prev: RtnlCell<*mut Node<D>>,
    retired: RtnlCell<*mut Node<D>>,
}

// SAFETY: The list owns its nodes, which hold references that may be used and dropped anywhere.
unsafe impl<D: Driver> Send for DeviceList<D> {}
// SAFETY: Readers use RCU; everything else is behind the RTNL witness.
unsafe impl<D: Driver> Sync for DeviceList<D> {}
// SAFETY: As for the list.
unsafe impl<D: Driver> Send for Node<D> {}
// SAFETY: As for the list.
unsafe impl<D: Driver> Sync for Node<D> {}

/// An entry that is not on a list yet.
pub(crate) struct NewEntry<D: Driver>(RcuBox<Node<D>>);

/// A device's place on a [`DeviceList`]: what [`DeviceList::remove`] takes back.
///
/// # Invariants
///
/// `node` is on the list whose `id` is `list`, while that exists.
#[must_use = "a device stays on the list until its ticket is given back"]
pub(crate) struct Ticket<D: Driver> {
    node: NonNull<Node<D>>,
    list: u64,
}

// SAFETY: Only ever used through the list, under RTNL.
unsafe impl<D: Driver> Send for Ticket<D> {}

impl<D: Driver> DeviceList<D> {
    /// An empty list.
    pub(crate) fn new() -> Self {
        Self {
            // INVARIANT: Counted up.
            id: LISTS.fetch_add(1, Relaxed).wrapping_add(1),
            head: RcuPointer::null(),
            tail: RtnlCell::new(ptr::null_mut()),
            walkers: RtnlCell::new(0),
            retired: RtnlCell::new(ptr::null_mut()),
        }
    }

    /// Makes an entry for a device, so that [`push`](Self::push) cannot fail. Process context.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory.
    pub(crate) fn entry(dev: DriverRef<D>) -> Result<NewEntry<D>, AllocError> {
        Ok(NewEntry(RcuBox::new(
            Node {
                dev,
                next: RcuPointer::null(),
                prev: RtnlCell::new(ptr::null_mut()),
                retired: RtnlCell::new(ptr::null_mut()),
            },
            GFP_KERNEL,
        )?))
    }

    /// Appends an entry.
    pub(crate) fn push(&self, entry: NewEntry<D>, rtnl: &Rtnl) -> Ticket<D> {
        let tail = self.tail.get(rtnl);
        entry.0.prev.set(tail, rtnl);
        let node = entry.0.into_raw();
        // SAFETY: By the type invariant `tail` is null or on the list, hence alive.
        match unsafe { tail.as_ref() } {
            Some(last) => last.next.assign(node.as_ptr()),
            None => self.head.assign(node.as_ptr()),
        }
        // INVARIANT: The node is chained last, and the list owns it.
        self.tail.set(node.as_ptr(), rtnl);
        // INVARIANT: On this list.
        Ticket {
            node,
            list: self.id,
        }
    }

    /// Takes a device off the list. Readers may still see it until a grace period has passed. A ticket of another list
    /// is ignored.
    pub(crate) fn remove(&self, ticket: Ticket<D>, rtnl: &Rtnl) {
        if ticket.list != self.id {
            return;
        }
        // SAFETY: By the invariant of the ticket the node is on this list, hence alive.
        let node = unsafe { ticket.node.as_ref() };
        let (prev, next) = (node.prev.get(rtnl), node.next.load_exclusive());
        // SAFETY: By the type invariant the neighbours are null or alive.
        let (before, after) = unsafe { (prev.as_ref(), next.as_ref()) };
        match before {
            Some(before) => before.next.assign(next),
            None => self.head.assign(next),
        }
        match after {
            Some(after) => after.prev.set(prev, rtnl),
            None => self.tail.set(prev, rtnl),
        }
        // `node.next` stays: a reader that stands on the node goes on from there.
        if self.walkers.get(rtnl) == 0 {
            // SAFETY: The node came from `into_raw`, is off the list, and the ticket is gone.
            drop(unsafe { RcuBox::from_raw(ticket.node) });
        } else {
            // INVARIANT: A walker may stand on it, so it is kept until the last one has gone.
            let chain = self.retired.replace(ticket.node.as_ptr(), rtnl);
            node.retired.set(chain, rtnl);
        }
    }

    /// Walks the list as a reader.
    #[inline]
    pub(crate) fn iter<'a>(&'a self, rcu: &'a RcuRead) -> Iter<'a, D> {
        Iter {
            next: &self.head,
            rcu,
        }
    }

    /// Calls `f` with each device, under RTNL alone, so that `f` may sleep. It may also change the list: a device that
    /// it removes is not visited later; one that it appends may be.
    pub(crate) fn for_each(&self, rtnl: &Rtnl, mut f: impl FnMut(&DriverRef<D>)) {
        self.walkers
            .set(self.walkers.get(rtnl).wrapping_add(1), rtnl);
        let mut at = self.head.load_exclusive();
        // SAFETY: By the type invariant a node on the list is alive; one that is taken off during the walk is kept
        // until the walk ends, and its `next` leads back to the list or to another such node.
        while let Some(node) = unsafe { at.as_ref() } {
            if !self.is_retired(node, rtnl) {
                f(&node.dev);
            }
            at = node.next.load_exclusive();
        }
        let left = self.walkers.get(rtnl).wrapping_sub(1);
        self.walkers.set(left, rtnl);
        if left == 0 {
            self.free_retired(rtnl);
        }
    }

    /// Whether a node was taken off the list during a walk.
    fn is_retired(&self, node: &Node<D>, rtnl: &Rtnl) -> bool {
        let mut at = self.retired.get(rtnl);
        // SAFETY: Nodes in the chain are kept while there are walkers, of which the caller is one.
        while let Some(retired) = unsafe { at.as_ref() } {
            if ptr::eq(retired, node) {
                return true;
            }
            at = retired.retired.get(rtnl);
        }
        false
    }

    fn free_retired(&self, rtnl: &Rtnl) {
        let mut at = self.retired.replace(ptr::null_mut(), rtnl);
        while let Some(node) = NonNull::new(at) {
            // SAFETY: The node is off the list and no walker is left; it came from `into_raw`.
            let node = unsafe { RcuBox::from_raw(node) };
            at = node.retired.get(rtnl);
        }
    }
}

impl<D: Driver> Drop for DeviceList<D> {
    fn drop(&mut self) {
        // Whoever made a list empties it, as its devices go; this is for the error paths.
        let mut at = self.head.load_exclusive();
        while let Some(node) = NonNull::new(at) {
            // SAFETY: By the type invariant the list owns the node, and nobody uses the list any more.
            let node = unsafe { RcuBox::from_raw(node) };
            at = node.next.load_exclusive();
        }
    }
}

/// See [`DeviceList::iter`].
pub(crate) struct Iter<'a, D: Driver> {
    next: &'a RcuPointer<Node<D>>,
    rcu: &'a RcuRead,
}

impl<'a, D: Driver> Iterator for Iter<'a, D> {
    type Item = &'a DriverRef<D>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: What is reachable from the list under RCU is not freed while the witness lasts.
        let node = unsafe { self.next.load(self.rcu).as_ref() }?;
        self.next = &node.next;
        Some(&node.dev)
    }
}
