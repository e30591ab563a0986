// SPDX-License-Identifier: GPL-2.0
//! Network namespaces without names, mounts or forks: a throw-away thread makes or enters one, and whatever it opens
//! there (a socket stays in the namespace it was made in) is used from the main thread.

use crate::mounts;
use crate::nl::Nl;
use anyhow::{Context, Result};
use nix::sched::{setns, unshare, CloneFlags};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

/// A network namespace; it goes when the last clone of this value and everything that was opened in it are gone.
#[derive(Clone)]
pub struct Netns(Rc<Inner>);

struct Inner {
    file: File,
    nl: Nl,
}

/// What every new namespace starts with. The values take away traffic that the kernel would send on its own and at a
/// random time (duplicate address detection, router solicitations, repeated MLD reports): byte counts need silence.
const QUIET: &[(&str, &str)] = &[
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    // Up to so late does a link that is not NOARP any more begin anew with its addresses (addrconf_dad_kick).
    ("ipv6/conf/default/router_solicitation_delay", "0"),
    ("ipv6/conf/default/mldv2_unsolicited_report_interval", "1"),
    ("ipv4/ping_group_range", "0 0"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/icmp/ratelimit", "0"),
];

/// Whether this kernel has IPv6, and was not told to leave it alone (`ipv6.disable=1`).
pub fn ipv6() -> bool {
    fs::exists("/proc/self/net/if_inet6").unwrap_or(false)
}

impl Netns {
    /// A new namespace with its loopback up and quiet defaults.
    pub fn new() -> Result<Netns> {
        let inside = || -> Result<(File, Nl)> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            let file = File::open("/proc/thread-self/ns/net")?;
            let nl = Nl::new()?;
            for (key, value) in QUIET {
                if key.starts_with("ipv6/") && !ipv6() {
                    continue;
                }
                fs::write(format!("/proc/sys/net/{key}"), value)
                    .with_context(|| format!("sysctl net/{key}"))?;
            }
            Ok((file, nl))
        };
        let (file, nl) = on_thread(inside)?;
        nl.up(1)?;
        Ok(Netns(Rc::new(Inner { file, nl })))
    }

    /// The namespace this process lives in.
    pub fn init() -> Result<Netns> {
        let file = File::open("/proc/self/ns/net")?;
        Ok(Netns(Rc::new(Inner {
            file,
            nl: Nl::new()?,
        })))
    }

    /// A namespace that somebody else made.
    pub fn at(file: File) -> Result<Netns> {
        let nl = on_thread(|| {
            setns(&file, CloneFlags::CLONE_NEWNET).context("setns")?;
            Nl::new()
        })?;
        Ok(Netns(Rc::new(Inner { file, nl })))
    }

    /// Runs `f` on a thread of its own inside the namespace.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = &self.0.file;
        on_thread(move || {
            setns(file, CloneFlags::CLONE_NEWNET).context("setns")?;
            f()
        })
    }

    /// A handle that can enter the namespace from another thread.
    pub fn file(&self) -> Result<File> {
        Ok(self.0.file.try_clone()?)
    }

    /// The namespace's own netlink socket.
    pub fn nl(&self) -> &Nl {
        &self.0.nl
    }

    /// For `IFLA_NET_NS_FD`.
    pub fn fd(&self) -> RawFd {
        self.0.file.as_raw_fd()
    }

    /// Writes `/proc/sys/net/<key>` of the namespace.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.enter(|| {
            fs::write(format!("/proc/sys/net/{key}"), value)
                .with_context(|| format!("sysctl net/{key}"))
        })
    }

    /// Reads a file as a thread of the namespace sees it: `/proc/net/...`, or `/proc/sys/net/...`.
    pub fn read(&self, path: &str) -> Result<String> {
        self.enter(|| fs::read_to_string(path).with_context(|| path.to_string()))
    }

    /// Reads `/sys/class/net/<rest>` of the namespace.
    pub fn sysfs(&self, rest: &str) -> Result<String> {
        self.in_sysfs(rest, |path| {
            Ok(fs::read_to_string(path)
                .context(path.to_string())?
                .trim()
                .to_string())
        })
    }

    /// Writes it.
    pub fn set_sysfs(&self, rest: &str, value: &str) -> Result<()> {
        self.in_sysfs(rest, |path| {
            fs::write(path, value).context(path.to_string())
        })
    }

    /// Calls `f` with the path of `/sys/class/net/<rest>`, which takes a sysfs mounted in the namespace.
    fn in_sysfs<T: Send>(&self, rest: &str, f: impl FnOnce(&str) -> Result<T> + Send) -> Result<T> {
        self.enter(|| f(&mounts::class_net(rest)?))
    }
}

/// Runs `f` on a new thread and hands its result over.
fn on_thread<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|s| {
        s.spawn(f)
            .join()
            .unwrap_or_else(|_| anyhow::bail!("the thread panicked"))
    })
}
