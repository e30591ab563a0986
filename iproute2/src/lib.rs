// SPDX-License-Identifier: GPL-2.0

//! The `ipvlan_rs` kind for iproute2.
//!
//! For a link kind that it does not know, `ip` looks for `link_KIND.so` in its plugin directory
//! (`$IP_LIB_DIR`, else `LIBDIR/ip`) and in it for a `struct link_util` of the name
//! `KIND_link_util`. This is that library: with it
//! `ip link add link eth0 name ipvl0 type ipvlan_rs mode l2` parses its options and
//! `ip -d link show` prints them, in text and in JSON, as it does for the kernel's own `ipvlan`.
//!
//! [`options`] is the table of the options with all parsing and choosing of words; it is pure and
//! tested on the host. `plugin` is the thin layer of C callbacks around it, which uses the output
//! and netlink functions that `ip` itself exports.
//!
//! With `panic = "abort"`, as `iproute2/build` makes it, the crate is `no_std` and depends on
//! nothing. Cargo's profiles unwind, which needs the standard library's personality routine:
//! there it builds as an ordinary library, so that `cargo test` works.

#![cfg_attr(all(panic = "abort", not(test)), no_std)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod options;

// A test executable has no `ip` around it to resolve the imports.
#[cfg(not(test))]
mod plugin;

#[cfg(all(panic = "abort", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here panics, and an optimised build does not contain this function; `ip` has no
    // state to save, so stopping is all there would be to do.
    loop {}
}
