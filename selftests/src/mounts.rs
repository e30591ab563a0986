// SPDX-License-Identifier: GPL-2.0
//! File systems of the kernel's, and where the harness has them.

use anyhow::{Context, Result};
use nix::mount::{mount, MsFlags};
use nix::sched::{unshare, CloneFlags};

/// Mounts one where it belongs; that it is there already is no error.
pub fn put(fstype: &str, target: &str) -> nix::Result<()> {
    let _ = std::fs::create_dir_all(target);
    match mount(
        Some(fstype),
        target,
        Some(fstype),
        MsFlags::empty(),
        None::<&str>,
    ) {
        Err(nix::Error::EBUSY) => Ok(()),
        other => other,
    }
}

/// The directory of the trace events, mounted if it was not. On a kernel without, what is looked for is not found there.
pub fn tracefs() -> &'static str {
    const TRACEFS: &str = "/sys/kernel/tracing";
    let _ = put("tracefs", TRACEFS);
    TRACEFS
}

/// The path of `/sys/class/net/<rest>` of the calling thread's network namespace, mounted for this thread alone.
pub fn class_net(rest: &str) -> Result<String> {
    const SYS: &str = "/tmp/sys";
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)?;
    let none = None::<&str>;
    match mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none) {
        // The root of an initramfs cannot be made private, and need not be.
        Ok(()) | Err(nix::Error::EINVAL) => {}
        Err(e) => return Err(e).context("cannot make the mounts private"),
    }
    put("sysfs", SYS).context("cannot mount sysfs")?;
    Ok(format!("{SYS}/class/net/{rest}"))
}
