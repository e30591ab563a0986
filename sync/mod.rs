// SPDX-License-Identifier: GPL-2.0

//! Safe synchronisation for kernel code that is read far more often than written.
//!
//! Knows nothing of the driver: witnesses and boxes for RCU, a BH-disabling spinlock and a resizable hash table whose
//! lookups neither wait nor write.

pub(crate) mod ida;
pub(crate) mod lock;
pub(crate) mod marked;
pub(crate) mod percpu;
mod platform;
pub(crate) mod rcu;
pub(crate) mod table;
pub(crate) mod work;
