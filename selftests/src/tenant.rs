// SPDX-License-Identifier: GPL-2.0
//! A tenant: a process that is root of a user namespace which owns its network namespace, and nobody elsewhere.

use crate::ethtool::Ethtool;
use crate::netns::Netns;
use crate::nl::{AddrSpec, Answer, LinkSpec, Nl, Refusal, MAX_ADDRS};
use crate::packet;
use anyhow::{bail, ensure, Context, Result};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};

/// The argument that makes this program a tenant; see [`tenant_main`].
pub const TENANT: &str = "tenant";

/// A process of its own, since only a process with a single thread can make a user namespace.
pub struct Tenant {
    child: Child,
    pub ns: Netns,
}

impl Tenant {
    pub fn new() -> Result<Tenant> {
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

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has the tenant do one thing; its answer as the kernel gave it.
    pub fn ask(&mut self, words: &str) -> Result<Answer> {
        self.begin(words)?;
        self.answer()
    }

    /// Has the tenant begin with one thing.
    pub fn begin(&mut self, words: &str) -> Result<()> {
        Ok(writeln!(
            self.child.stdin.as_mut().context("no pipe")?,
            "{words}"
        )?)
    }

    /// Whether the answer is yet to come.
    pub fn busy(&self) -> Result<bool> {
        let stdout = self.child.stdout.as_ref().context("no pipe")?;
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, PollTimeout::ZERO)? == 0)
    }

    /// Waits for the answer.
    pub fn answer(&mut self) -> Result<Answer> {
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
            ["stamps", _, name] => match Ethtool::here(name)?.hardware_stamps(true) {
                Ok(()) => Ok(String::new()),
                Err(e) => Err(Refusal {
                    errno: e.raw_os_error().unwrap_or(0),
                    text: String::new(),
                }),
            },
            ["limit", _, name, number] => {
                let number: u32 = number.parse()?;
                nl.change_link(
                    nl.link(name)?.index,
                    &LinkSpec {
                        data: vec![(MAX_ADDRS, number.to_ne_bytes().to_vec())],
                        ..LinkSpec::new(kind, "")
                    },
                )?
            }
            ["addr", _, name, ip, prefix] => {
                let ip: IpAddr = ip.parse()?;
                let index = nl.link(name)?.index;
                nl.try_add_addr(&AddrSpec::new(index, ip, prefix.parse()?))?
            }
            ["peer", _, name, local, peer] => {
                let local: IpAddr = local.parse()?;
                let index = nl.link(name)?.index;
                nl.try_add_addr(&AddrSpec {
                    peer: Some(peer.parse()?),
                    ..AddrSpec::new(index, local, 32)
                })?
            }
            ["fill", _, name, from, count, step] => {
                fill(&nl, name, from.parse()?, count.parse()?, step.parse()?)?
            }
            ["flood", _, name, frame, count] => flood(&nl, name, frame, count.parse()?)?,
            _ => bail!("the tenant does not understand {line:?}"),
        };
        match answer {
            Ok(text) => println!("0 {text}"),
            Err(refusal) => println!("{} {}", refusal.errno, refusal.text),
        }
    }
    Ok(())
}

/// Adds IPv6 addresses `step` apart until one is refused; the answer's text is how many it got.
fn fill(nl: &Nl, name: &str, from: Ipv6Addr, count: u32, step: u128) -> Result<Answer> {
    let index = nl.link(name)?.index;
    for n in 0..count {
        let ip = Ipv6Addr::from(u128::from(from).wrapping_add(step.wrapping_mul(n.into())));
        if let Err(mut refusal) = nl.try_add_addr(&AddrSpec::new(index, ip, 128))? {
            refusal.text = format!("{n} {}", refusal.text);
            return Ok(Err(refusal));
        }
    }
    Ok(Ok(count.to_string()))
}

/// Sends one frame, in hexadecimal, many times as fast as it goes; the answer's text is how many the link took.
fn flood(nl: &Nl, name: &str, frame: &str, count: u32) -> Result<Answer> {
    let bytes = frame
        .as_bytes()
        .chunks(2)
        .map(|digits| Ok(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?))
        .collect::<Result<Vec<u8>>>()?;
    let socket = packet::raw_socket(nl.link(name)?.index)?;
    let mut taken = 0;
    for _ in 0..count {
        // SAFETY: the buffer is valid for its length.
        let rc = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        taken += u32::from(rc >= 0);
    }
    Ok(Ok(taken.to_string()))
}
