// SPDX-License-Identifier: GPL-2.0

//! The parts of `sync/` that the kernel's primitives can be replaced under: so far the RCU hash table.

#[path = "platform.rs"]
pub mod platform;
#[path = "../sync/table.rs"]
pub mod table;

#[path = "rcu.rs"]
mod rcu;
