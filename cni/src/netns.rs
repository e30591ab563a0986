// SPDX-License-Identifier: GPL-2.0-or-later
//! Network namespaces: a netlink socket belongs to the one it was made in, so each operation runs on a thread of its own.

use anyhow::{Context, Result};
use nix::sched::{setns, CloneFlags};
use nix::sys::statfs::{fstatfs, NSFS_MAGIC};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::Handle;
use std::fs::File;
use std::path::Path;

/// A namespace, by the file that stands for it; or the one that the plugin was started in.
pub struct Netns(Option<File>);

impl Netns {
    /// The namespace that the runtime names.
    pub fn open(path: &Path) -> std::io::Result<Netns> {
        File::open(path).map(|file| Netns(Some(file)))
    }

    /// The host's.
    pub fn host() -> Netns {
        Netns(None)
    }

    /// Whether the file is a namespace's: the plain file below its mount stays behind when only that is gone.
    pub fn is_namespace(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|file| fstatfs(file).map_or(true, |fs| fs.filesystem_type() == NSFS_MAGIC))
    }

    /// The open file, if it is another namespace than the host's.
    pub fn file(&self) -> Option<&File> {
        self.0.as_ref()
    }

    /// Runs `work` inside, with a netlink connection of that namespace.
    pub fn run<T: Send>(&self, work: impl AsyncFnOnce(Handle) -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if let Some(file) = &self.0 {
                    setns(file, CloneFlags::CLONE_NEWNET)
                        .context("cannot enter the container's network namespace")?;
                }
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build()?;
                runtime.block_on(async {
                    let (mut connection, handle, _) = rtnetlink::new_connection()?;
                    // The kernel's words for a refusal, without the request repeated.
                    let socket = connection.socket_mut().socket_mut();
                    socket.set_ext_ack(true)?;
                    socket.set_cap_ack(true)?;
                    tokio::spawn(connection);
                    work(handle).await
                })
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_left_over_file_is_no_namespace() {
        assert!(Netns::open(Path::new("/proc/self/ns/net"))
            .unwrap()
            .is_namespace());
        assert!(!Netns::open(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/Cargo.toml"
        )))
        .unwrap()
        .is_namespace());
        assert!(Netns::host().is_namespace());
    }
}
