// SPDX-License-Identifier: GPL-2.0
//! Who may: a tenant is root of a user namespace that owns its network namespace, not the master's.

use crate::cases;
use crate::cx::{Cx, Kind, Suite, ANY, EACH};
use crate::lan::{Lan, Mode, PRIVATE};
use crate::netns::Netns;
use crate::nl::{LinkSpec, Nl, Refusal};
use anyhow::{bail, ensure, Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

cases! {
    "permission", Suite::Both;
    change_by_a_tenant: EACH, ANY;
    nested_slave_of_a_tenant: EACH, ANY;
    create_without_capability: EACH, ANY;
    time_stamps_of_the_hardware: EACH, ANY;
}

/// The argument that makes this program a tenant; see [`tenant_main`].
pub const TENANT: &str = "tenant";

/// A process of its own, since only a process with a single thread can make a user namespace.
struct Tenant {
    child: Child,
    ns: Netns,
}

impl Tenant {
    fn new() -> Result<Tenant> {
        let mut child = Command::new("/proc/self/exe")
            .arg(TENANT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the tenant")?;
        let mut tenant_says = String::new();
        BufReader::new(child.stdout.as_mut().context("no pipe")?).read_line(&mut tenant_says)?;
        ensure!(tenant_says == "ready\n", "the tenant said {tenant_says:?}");
        let ns = Netns::at(File::open(format!("/proc/{}/ns/net", child.id()))?)?;
        Ok(Tenant { child, ns })
    }

    /// Has the tenant do one thing; its answer as the kernel gave it.
    fn ask(&mut self, words: &str) -> Result<crate::nl::Answer> {
        writeln!(self.child.stdin.as_mut().context("no pipe")?, "{words}")?;
        let mut line = String::new();
        BufReader::new(self.child.stdout.as_mut().context("no pipe")?).read_line(&mut line)?;
        let (errno, text) = line
            .trim_end_matches('\n')
            .split_once(' ')
            .with_context(|| format!("the tenant said {line:?}"))?;
        let errno: i32 = errno.parse()?;
        Ok(if errno == 0 {
            Ok(text.into())
        } else {
            Err(Refusal {
                errno,
                text: text.into(),
            })
        })
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The tenant's side: makes its namespaces, says "ready", then carries out one request per line.
pub fn tenant_main() -> Result<()> {
    use nix::sched::{unshare, CloneFlags};
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    let nl = Nl::new()?;
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let kind: &'static str = match words.get(1) {
            Some(&"ipvlan") => "ipvlan",
            Some(&"ipvlan_rs") => "ipvlan_rs",
            _ => bail!("the tenant does not understand {line:?}"),
        };
        let answer = match words[..] {
            ["mode", _, name, mode] => {
                let index = nl.link(name)?.index;
                nl.change_link(
                    index,
                    &LinkSpec {
                        mode: Some(mode.parse()?),
                        ..LinkSpec::new(kind, "")
                    },
                )?
            }
            ["flags", _, name, bits] => {
                let index = nl.link(name)?.index;
                nl.change_link(
                    index,
                    &LinkSpec {
                        flags: Some(bits.parse()?),
                        ..LinkSpec::new(kind, "")
                    },
                )?
            }
            ["nest", _, name] => {
                let link = Some(nl.link(name)?.index);
                nl.try_add_link(&LinkSpec {
                    link,
                    mode: Some(1),
                    ..LinkSpec::new(kind, "nested")
                })?
            }
            ["netnsid", _, link, id] => nl.try_add_link(&LinkSpec {
                link: Some(link.parse()?),
                link_netnsid: Some(id.parse()?),
                mode: Some(0),
                ..LinkSpec::new(kind, "stolen")
            })?,
            ["stamps", _, name] => {
                match crate::ethtool::Ethtool::here(name)?.hardware_stamps(true) {
                    Ok(()) => Ok(String::new()),
                    Err(e) => Err(Refusal {
                        errno: e.raw_os_error().unwrap_or(0),
                        text: String::new(),
                    }),
                }
            }
            _ => bail!("the tenant does not understand {line:?}"),
        };
        match answer {
            Ok(text) => println!("0 {text}"),
            Err(refusal) => println!("{} {}", refusal.errno, refusal.text),
        }
    }
    Ok(())
}

/// Mode and flags are the port's, so that it takes the right over the master's namespace to change them.
async fn change_by_a_tenant(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    let (kind, name) = (cx.kind(), slave.name.clone());
    cx.refused(
        tenant.ask(&format!("mode {kind} {name} 1"))?,
        libc::EPERM,
        "CAP_NET_ADMIN",
    )?;
    cx.refused(
        tenant.ask(&format!("flags {kind} {name} {PRIVATE}"))?,
        libc::EPERM,
        "CAP_NET_ADMIN",
    )?;
    let link = slave.link()?;
    ensure!(
        link.mode == Some(Mode::L2 as u16) && link.port_flags == Some(0),
        "{link:?}"
    );
    Ok(())
}

/// A sibling made through a slave is the master's business too.
async fn nested_slave_of_a_tenant(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    cx.refused(
        tenant.ask(&format!("nest {} {}", cx.kind(), slave.name))?,
        libc::EPERM,
        "CAP_NET_ADMIN",
    )?;
    ensure!(
        slave.ns.nl().find_link("nested")?.is_none(),
        "a refused link exists"
    );
    ensure!(
        slave.link()?.mode == Some(Mode::L2 as u16),
        "the mode changed"
    );
    Ok(())
}

/// A link in another namespace as the master: the core asks for the right over that one.
async fn create_without_capability(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    let id = slave.link()?.link_netnsid.context("no IFLA_LINK_NETNSID")?;
    let answer = tenant.ask(&format!("netnsid {} {} {id}", cx.kind(), lan.master))?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EPERM),
        "{answer:?}"
    );
    Ok(())
}

/// How the card takes time stamps concerns all who use it. In-tree slaves have no say in it; neither has a card here that
/// could, so whoever may gets the card's own refusal.
async fn time_stamps_of_the_hardware(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let theirs = lan.slave_in(tenant.ns.clone(), |s| s)?;
    let own = lan.slave()?;
    let errno = |r: std::io::Result<()>| r.err().and_then(|e| e.raw_os_error());
    let ethtool = crate::ethtool::Ethtool::new(&own.ns, &own.name)?;
    for set in [false, true] {
        let refused = errno(ethtool.hardware_stamps(set));
        ensure!(refused == Some(libc::EOPNOTSUPP), "{set}: {refused:?}");
    }
    let answer = tenant.ask(&format!("stamps {} {}", cx.kind(), theirs.name))?;
    let expected = match cx.kind {
        Kind::Ipvlan => libc::EOPNOTSUPP,
        Kind::IpvlanRs => libc::EPERM,
    };
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == expected),
        "{answer:?}"
    );
    // What a tenant tries does not fill the host's log.
    let mut log = crate::kmsg::Kmsg::open()?;
    for _ in 0..20 {
        let _ = tenant.ask(&format!("stamps {} {}", cx.kind(), theirs.name))?;
    }
    let lines = log.read();
    ensure!(
        !lines.iter().any(|l| l.0.contains("hardware is the master")),
        "the log has the refusals"
    );
    Ok(())
}
