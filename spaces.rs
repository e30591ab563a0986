// SPDX-License-Identifier: GPL-2.0

//! Which running slaves of a port are in one network namespace.
//!
//! An address is its namespace's rather than its link's (the weak host model, RFC 1122, 3.3.4.2): Linux answers for it
//! through whichever link the routes name. Where that is another slave than the address's, that slave must have heard the
//! question too, from which it learns the asker's link-layer address: the answer to a question of its own would be
//! steered to the owner of the address.

#![forbid(unsafe_code)]

use crate::{
    device::{
        Ipvlan,
        Slave, //
    },
    net::{
        list::DeviceList,
        netns::Net,
        rtnl::{
            Rtnl,
            RtnlCell, //
        }, //
    },
    sync::marked::Marked, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree, //
};

/// Where a slave runs. Written under RTNL.
pub(crate) struct Place {
    /// The namespace's identity; 0 while the slave does not run. A device that runs does not change namespaces.
    space: Marked<usize>,
    /// Whether other slaves of the port run there.
    is_shared: Marked<bool>,
}

impl Place {
    /// Of a slave that does not run.
    pub(crate) const fn new() -> Self {
        Self {
            space: Marked::new(0),
            is_shared: Marked::new(false),
        }
    }

    /// Whether other slaves of the port run in the same namespace. Any context.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.read()
    }

    /// Whether both run in the same namespace. Any context.
    pub(crate) fn is_with(&self, other: &Self) -> bool {
        let space = self.space.read();
        space != 0 && space == other.space.read()
    }
}

/// How many running slaves of a port each namespace has; none has 0.
pub(crate) struct Spaces(RtnlCell<RBTree<usize, usize>>);

impl Spaces {
    /// None runs.
    pub(crate) fn new() -> Self {
        Self(RtnlCell::new(RBTree::new()))
    }

    /// Notes that a slave begins to run in a namespace. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn enter(
        &self,
        slave: &Slave,
        net: &Net,
        slaves: &DeviceList<Ipvlan>,
        rtnl: &Rtnl,
    ) -> Result {
        let space = net.id();
        let mut counts = self.0.take(rtnl);
        let count = match counts.get_mut(&space) {
            Some(count) => {
                *count = count.saturating_add(1);
                Ok(*count)
            }
            None => counts
                .try_create_and_insert(space, 1, GFP_KERNEL)
                .map(|_| 1),
        };
        self.0.set(counts, rtnl);
        let count = count?;
        slave.place.space.write(space);
        match count {
            1 => {}
            2 => mark(space, true, slaves, rtnl),
            _ => slave.place.is_shared.write(true),
        }
        Ok(())
    }

    /// Notes that a slave no longer runs.
    pub(crate) fn leave(&self, slave: &Slave, slaves: &DeviceList<Ipvlan>, rtnl: &Rtnl) {
        let space = slave.place.space.read();
        slave.place.space.write(0);
        slave.place.is_shared.write(false);
        let mut counts = self.0.take(rtnl);
        let left = counts
            .get(&space)
            .map_or(0, |count| count.saturating_sub(1));
        match counts.get_mut(&space) {
            Some(count) if left > 0 => *count = left,
            _ => drop(counts.remove(&space)),
        }
        self.0.set(counts, rtnl);
        if left == 1 {
            mark(space, false, slaves, rtnl);
        }
    }
}

/// Tells all slaves that run in a namespace whether there are several.
fn mark(space: usize, is_shared: bool, slaves: &DeviceList<Ipvlan>, rtnl: &Rtnl) {
    slaves.for_each(rtnl, |slave| {
        if slave.place.space.read() == space {
            slave.place.is_shared.write(is_shared);
        }
    });
}
