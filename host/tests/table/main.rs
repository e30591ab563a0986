// SPDX-License-Identifier: GPL-2.0

//! The RCU hash table on the host: against a naive model, with several threads, and at sizes that a machine will not see.
//! `host/tests/loom.rs` goes through the interleavings that a few threads can have.

// loom's types do not work outside a model.
#![cfg(not(loom))]

mod flat;
mod item;
mod model;
mod rogue;
mod sizes;
mod tenant;
mod threads;
