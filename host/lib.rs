// SPDX-License-Identifier: GPL-2.0

//! The parts of ipvlan_rs that need no kernel, compiled for the host from the module's own files.
//!
//! Cargo builds this crate to test them; nothing of it ends up in the module. What the kernel gives
//! to a shared file, a module of `host/` gives it here.

#[path = "../logic/mod.rs"]
pub mod logic;

/// Pure, as `logic/` is, but of `net/`, which knows nothing of that.
#[path = "../net/route_key.rs"]
pub mod route_key;
pub mod sync;
