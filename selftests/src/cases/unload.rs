// SPDX-License-Identifier: GPL-2.0
//! Unloading the module with everything in use; and the load that other topics use too.

use crate::cases;
use crate::cx::{Cx, Suite, EACH, V4, V46};
use crate::lan::{Lan, Mode};
use crate::netns::Netns;
use crate::ping::ping;
use crate::{frames, modules};
use anyhow::{ensure, Context, Result};
use nix::sched::{setns, CloneFlags};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

cases! {
    "unload", Suite::Both;
    with_live_slaves: EACH, V46;
    under_load: EACH, V4, 120;
    repeated: EACH, V46, 120;
}

/// A thread that sends frames round and round until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Sends on the external host's wire.
    pub fn start(lan: &Lan, frames: Vec<Vec<u8>>) -> Result<Load> {
        Self::on(&lan.ext, lan.wire, frames)
    }

    /// Sends on any link; errors of the link (it goes away) do not stop the thread.
    pub fn on(ns: &Netns, index: u32, frames: Vec<Vec<u8>>) -> Result<Load> {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (flag, count, file) = (stop.clone(), sent.clone(), ns.file()?);
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let socket = setns(&file, CloneFlags::CLONE_NEWNET)
                .map_err(anyhow::Error::from)
                .and_then(|()| crate::packet::raw_socket(index));
            // The thread must not keep the namespace alive longer than its socket does.
            drop(file);
            let Ok(socket) = socket else { return };
            let _ = ready.send(());
            while !flag.load(Ordering::Relaxed) {
                for frame in &frames {
                    // SAFETY: the buffer is valid for its length.
                    let rc = unsafe {
                        libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0)
                    };
                    count.fetch_add(u64::from(rc >= 0), Ordering::Relaxed);
                }
                std::thread::yield_now();
            }
        });
        started.recv().context("the load does not start")?;
        Ok(Load {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// Waits until the load is really there.
    pub async fn running(&self) -> Result<()> {
        let start = self.sent.load(Ordering::Relaxed);
        crate::wait::until(
            "load",
            || Ok(self.sent.load(Ordering::Relaxed) > start + 50),
        )
        .await
    }

    /// How many frames it has sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and waits for the thread to end.
    pub fn stop(mut self) -> Result<()> {
        self.end().context("the load panicked")
    }

    fn end(&mut self) -> Option<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// Unloads and loads the module under test. It comes back whatever happens in between.
pub fn reload(cx: Cx) -> Result<()> {
    let unloaded = modules::unload(cx.kind());
    modules::load(cx.kind())?;
    unloaded
}

async fn with_live_slaves(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let other = Lan::new(cx, Mode::L3)?;
    let c = other.slave()?;
    ping(&a.ns, b.ip()).await?;
    reload(cx)?;
    for slave in [&a, &b, &c] {
        ensure!(!slave.exists()?, "{} outlived its module", slave.name);
    }
    // The masters go on as ordinary links.
    ping(&lan.ext, lan.master_ip()).await?;
    ping(&other.ext, other.master_ip()).await?;
    let again = lan.slave()?;
    ping(&again.ns, lan.ext_ip()).await
}

/// What keeps the module busy from all sides: unicast and broadcast from the wire, from a slave to its sibling, to the
/// wire, and to everybody.
pub fn loads(lan: &Lan, a: &crate::lan::Slave, b: &crate::lan::Slave) -> Result<Vec<Load>> {
    let text = [0; 200];
    let ports = (5, 4000);
    let wire = vec![
        frames::udp(lan.wire_mac, lan.mac, lan.ext_ip(), a.ip(), ports, &text),
        frames::udp(lan.wire_mac, lan.mac, lan.ext_ip(), b.ip(), ports, &text),
        frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &text),
    ];
    let slave = vec![
        frames::udp(a.mac, b.mac, a.ip(), b.ip(), ports, &text),
        frames::udp(a.mac, lan.wire_mac, a.ip(), lan.ext_ip(), ports, &text),
        frames::ethernet(a.mac, frames::BROADCAST, 0x88b5, &text),
    ];
    Ok(vec![
        Load::start(lan, wire)?,
        Load::on(&a.ns, a.index, slave)?,
    ])
}

async fn under_load(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        {
            let (a, b) = (lan.slave()?, lan.slave()?);
            let loads = loads(&lan, &a, &b)?;
            for load in &loads {
                load.running().await?;
            }
            reload(cx)?;
            ensure!(!a.exists()? && !b.exists()?, "a slave outlived its module");
            for load in loads {
                load.stop()?;
            }
        }
        ping(&lan.ext, lan.master_ip()).await?;
    }
    Ok(())
}

async fn repeated(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    for _ in 0..8 {
        let (a, b) = (lan.slave()?, lan.slave()?);
        b.ns.nl().down(b.index)?;
        a.send_udp(lan.nobody(), 7, b"waits for its neighbour").ok();
        reload(cx)?;
    }
    let a = lan.slave()?;
    ping(&a.ns, lan.ext_ip()).await
}
