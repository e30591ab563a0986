// SPDX-License-Identifier: GPL-2.0
//! Loading and unloading kernel modules from `/modules`, without a modprobe.

use crate::cx::Kind;
use crate::debug;
use anyhow::{bail, ensure, Context, Result};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// The path of a module's file; the file may be named with `-` where the module has `_`.
pub fn path(name: &str) -> Option<PathBuf> {
    [name.to_string(), name.replace('_', "-")]
        .iter()
        .map(|n| PathBuf::from(format!("/modules/{n}.ko")))
        .find(|p| p.exists())
}

/// Whether the module is loaded, or built in.
pub fn is_loaded(name: &str) -> bool {
    fs::metadata(format!("/sys/module/{name}/initstate")).is_ok()
}

/// Loads a module after those it depends on; one that is already loaded is left alone.
pub fn load(name: &str) -> Result<()> {
    load_with(name, "")
}

/// As [`load`], with parameters as on the kernel's command line.
pub fn load_with(name: &str, parameters: &str) -> Result<()> {
    if is_loaded(name) {
        return Ok(());
    }
    ensure!(
        !(debug::kernel() && name == Kind::Ipvlan.name()),
        "its open bugs would switch lockdep off for all that follows: in-tree ipvlan is not for the debug kernel"
    );
    let path = path(name).with_context(|| format!("there is no /modules/{name}.ko"))?;
    for dependency in dependencies(&fs::read(&path)?) {
        load(&dependency)?;
    }
    match insert(&File::open(&path)?, &CString::new(parameters)?) {
        Err(e) if e.raw_os_error() != Some(libc::EEXIST) => {
            bail!("cannot load {}: {e}", path.display())
        }
        _ => Ok(()),
    }
}

/// finit_module(2), nothing before or after.
pub fn insert(file: &File, parameters: &CStr) -> std::io::Result<()> {
    // SAFETY: finit_module(2) takes a descriptor, a NUL-terminated parameter string and flags.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            parameters.as_ptr(),
            0,
        )
    };
    match rc {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Unloads a module as `rmmod` does: it fails when the module is in use.
pub fn unload(name: &str) -> Result<()> {
    if name == "ipvlan_rs" {
        debug::remember_locks()?;
    }
    let cname = CString::new(name)?;
    // SAFETY: delete_module(2) takes a NUL-terminated name and flags.
    let rc = unsafe { libc::syscall(libc::SYS_delete_module, cname.as_ptr(), libc::O_NONBLOCK) };
    if rc != 0 {
        return Err(std::io::Error::last_os_error()).context(format!("cannot unload {name}"));
    }
    Ok(())
}

/// The names in the `depends=` entry of a module's `.modinfo` section, which is a list of NUL-terminated `key=value`.
fn dependencies(image: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = image.windows(key.len()).position(|w| w == key) else {
        return Vec::new();
    };
    let value = &image[at + key.len()..];
    let end = value.iter().position(|b| *b == 0).unwrap_or(0);
    String::from_utf8_lossy(&value[..end])
        .split(',')
        .filter(|s| !s.is_empty())
        .map(String::from)
        .collect()
}
