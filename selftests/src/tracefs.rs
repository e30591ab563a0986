// SPDX-License-Identifier: GPL-2.0
//! Where the kernel's trace events are.

use nix::mount::{mount, MsFlags};

/// The directory of tracefs, mounted if it was not.
pub fn directory() -> &'static str {
    const TRACEFS: &str = "/sys/kernel/tracing";
    // It fails when it is there already, and on a kernel without it, where what is looked for is not found then.
    let _ = mount(
        Some("tracefs"),
        TRACEFS,
        Some("tracefs"),
        MsFlags::empty(),
        None::<&str>,
    );
    TRACEFS
}
