// SPDX-License-Identifier: GPL-2.0

//! The decisions of the driver, free of the kernel.
//!
//! Nothing here touches a device, allocates, locks or can panic; there is no `unsafe`. The module is
//! compiled twice from these files: into the kernel module, and as a Cargo crate whose tests run on
//! any machine in milliseconds. Hence `super::` paths instead of `crate::`, and `core` only.
//!
//! A packet's way through it: [`frame`] finds the addresses in the bytes, [`verdict`] chooses the one
//! to look up and says what becomes of the packet, [`addr`] hashes it for the table. For a broadcast
//! or multicast frame [`audience`] says which slaves get a copy. [`config`] and [`mtu`] hold the rules
//! of the control plane, [`filter`] the multicast filter of a slave.

// A binary crate (the module) and a library crate (the host) share these files, and only the latter
// has anybody to export to.
#![allow(unreachable_pub)]
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod addr;
pub mod audience;
pub mod config;
pub mod filter;
pub mod frame;
pub mod mtu;
pub mod numbers;
pub mod verdict;
