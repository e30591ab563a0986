// SPDX-License-Identifier: GPL-2.0
//! What init does before and after the cases: mounts, the console, power-off.

use crate::mounts;
use anyhow::{Context, Result};
use nix::sys::reboot::{reboot, RebootMode};
use std::fs;
use std::io::Write;

/// Mounts proc, sysfs, devtmpfs and debugfs. The console is already standard output.
pub fn set_up() -> Result<()> {
    for (fstype, target) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("debugfs", "/sys/kernel/debug"),
        ("tmpfs", "/tmp"),
    ] {
        match mounts::put(fstype, target) {
            Ok(()) => {}
            // Not every kernel has debugfs; nothing depends on it.
            Err(_) if fstype == "debugfs" => {}
            Err(e) => return Err(e).with_context(|| format!("cannot mount {fstype} on {target}")),
        }
    }
    Ok(())
}

/// Settings of the whole guest that the cases count on.
pub fn tune() {
    // A missing modprobe costs a fork and an exec per unknown kind; an empty path makes request_module() return at once.
    let _ = fs::write("/proc/sys/kernel/modprobe", "\n");
    // Grace periods take most of the time in which namespaces and links come and go.
    let _ = fs::write("/sys/kernel/rcu_expedited", "1");
    // MLD reports once instead of twice, for byte counts (see netns::QUIET).
    let _ = fs::write("/proc/sys/net/ipv6/mld_qrv", "1");
}

/// Ends the guest. The result line is already out: it is what the runner on the host judges by.
pub fn power_off() -> ! {
    let _ = std::io::stdout().flush();
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    loop {
        std::thread::park();
    }
}
