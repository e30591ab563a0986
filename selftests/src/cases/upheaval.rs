// SPDX-License-Identifier: GPL-2.0
//! Several things at once: creation, deletion, moves, readers and full queues, on every CPU.

use super::address::{arrives, extra};
use super::unload::Load;
use crate::cases;
use crate::cx::{Cx, Suite, ANY, EACH, V4, V46};
use crate::debug;
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::modules;
use crate::mounts;
use crate::netns::Netns;
use crate::nl::{AddrSpec, LinkSpec, Nl};
use crate::ping::ping;
use anyhow::{ensure, Context, Result};
use nix::sched::{setns, CloneFlags};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

cases! {
    "upheaval", Suite::Both;
    master_deleted_with_a_full_queue: EACH, V4, 120;
    group_frames_from_every_cpu: EACH, V4, 120;
    slaves_come_and_go_at_once: EACH, ANY, 120;
    iflink_read_while_both_go: EACH, ANY, 120;
    one_address_on_two_slaves_at_once: EACH, V46, 120;
    master_deleted_below_vxlan_and_vrf: EACH, ANY;
}

/// A thread in a namespace that does one thing again and again until it is stopped.
struct Worker {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Worker {
    /// `prepare` runs once, in the namespace; what it returns is called until the end.
    fn start<W: FnMut() -> Result<()>>(
        ns: &Netns,
        prepare: impl FnOnce() -> Result<W> + Send + 'static,
    ) -> Result<Worker> {
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ended, count, file) = (stop.clone(), rounds.clone(), ns.file()?);
        let thread = std::thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).context("setns")?;
            drop(file);
            let mut work = prepare()?;
            while !ended.load(Ordering::Relaxed) {
                work()?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Ok(Worker {
            stop,
            rounds,
            thread: Some(thread),
        })
    }

    /// Waits until it has done its thing `n` times, or ended early.
    async fn done(&self, n: u64) -> Result<()> {
        crate::wait::until("a busy thread", || {
            Ok(self.rounds.load(Ordering::Relaxed) >= n
                || self.thread.as_ref().is_none_or(JoinHandle::is_finished))
        })
        .await
    }

    fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread.join().map_err(|_| anyhow::anyhow!("it panicked"))?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn broadcast(lan: &Lan) -> Vec<u8> {
    frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, &[7; 1000])
}

/// What waits to be distributed holds references to the master and to slaves: it goes with them.
async fn master_deleted_with_a_full_queue(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let ns = cx.netns()?;
    let slaves = (0..30)
        .map(|_| lan.slave_in(ns.clone(), |s| s))
        .collect::<Result<Vec<_>>>()?;
    let (wire, slave, frame) = (lan.wire_tap()?, slaves[0].tap()?, broadcast(&lan));
    for _ in 0..1500 {
        wire.send(&frame)?;
        // Its share of the queue may be used up.
        let _ = slave.try_send(&frame);
    }
    lan.host.nl().del_link(lan.master)?;
    for slave in &slaves {
        ensure!(!slave.exists()?, "{} outlived its master", slave.name);
    }
    Ok(())
}

/// Three slaves and the wire send to all at once; afterwards everything still passes.
async fn group_frames_from_every_cpu(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    // Not all in one namespace: the answer to a question might leave by another of them (ARP flux).
    let slaves = (0..12).map(|_| lan.slave()).collect::<Result<Vec<_>>>()?;
    let mut loads = vec![Load::start(&lan, vec![broadcast(&lan)])?];
    for slave in &slaves[..3] {
        let frame = frames::ethernet(slave.mac, frames::BROADCAST, 0x88b5, &[7; 100]);
        loads.push(Load::on(&slave.ns, slave.index, vec![frame])?);
    }
    for _ in 0..if debug::kernel() { 1 } else { 5 } {
        for load in &loads {
            load.running().await?;
        }
    }
    for load in loads {
        load.stop()?;
    }
    let (tap, wire) = (slaves[11].tap()?, lan.wire_tap()?);
    let mark = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b6, &[8; 100]);
    crate::wait::until("broadcasts pass again", || {
        wire.send(&mark)?;
        while let Some(f) = tap.poll()? {
            if f.bytes == mark {
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await?;
    ping(&lan.ext, slaves[5].ip()).await
}

/// Three threads make and delete slaves of one master, each for a namespace of its own, while the mode changes; in the
/// end the master is free.
async fn slaves_come_and_go_at_once(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut workers = Vec::new();
    for n in 0..3 {
        let own = cx.netns()?;
        let (to, name) = (own.file()?, format!("t{n}"));
        let spec = lan.spec(&name);
        workers.push(Worker::start(&lan.host, move || {
            use std::os::fd::AsRawFd;
            let here = Nl::new()?;
            let there = Netns::at(to.try_clone()?)?;
            Ok(move || {
                here.add_link(&LinkSpec {
                    ns: Some(to.as_raw_fd()),
                    up: true,
                    ..spec.clone()
                })?;
                let index = there.nl().link(&spec.name)?.index;
                there.nl().add_addr(index, [10, 1, 0, 100 + n], 24)?;
                there.nl().del_link(index)
            })
        })?);
    }
    for worker in &workers {
        worker.done(15).await?;
    }
    for worker in workers {
        worker.stop()?;
    }
    modules::load("macvlan")?;
    lan.host
        .nl()
        .add_link(&LinkSpec {
            link: Some(lan.master),
            ..LinkSpec::new("macvlan", "mv")
        })
        .context("the master is still taken")
}

/// sysfs and netlink ask slaves for their link while slaves and masters go, each by a thread of its own.
async fn iflink_read_while_both_go(cx: Cx) -> Result<()> {
    for _ in 0..6 {
        let lan = Lan::new(cx, Mode::L2)?;
        let a = lan.slave()?;
        let ns = a.ns.clone();
        let readers = [
            Worker::start(&a.ns, || {
                let nl = Nl::new()?;
                // A dump that a deletion interrupts is no answer, and no failure.
                Ok(move || {
                    let _ = nl.links(false);
                    Ok(())
                })
            })?,
            Worker::start(&a.ns, move || {
                let iflink = mounts::class_net("s1/iflink")?;
                std::fs::read_to_string(&iflink).context("no iflink")?;
                Ok(move || {
                    let _ = std::fs::read_to_string(&iflink);
                    Ok(())
                })
            })?,
        ];
        for reader in &readers {
            reader.done(3).await?;
        }
        let delete = |ns: &Netns, index: u32| {
            Worker::start(ns, move || {
                let nl = Nl::new()?;
                Ok(move || nl.try_del_link(index).map(drop))
            })
        };
        let gone = [delete(&lan.host, lan.master)?, delete(&a.ns, a.index)?];
        for one in &gone {
            one.done(1).await?;
        }
        for one in gone.into_iter().chain(readers) {
            one.stop()?;
        }
        ensure!(
            ns.nl().find_link(&a.name)?.is_none(),
            "the slave is still there"
        );
    }
    Ok(())
}

/// Two threads want one address for two slaves: it is never both's, and afterwards anybody's.
async fn one_address_on_two_slaves_at_once(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let ip = extra(cx, 90);
    let both = Arc::new(AtomicU64::new(0));
    let mut workers = Vec::new();
    for slave in [&a, &b] {
        let (index, prefix, held) = (slave.index, cx.host_prefix(), both.clone());
        workers.push(Worker::start(&slave.ns, move || {
            let nl = Nl::new()?;
            let spec = AddrSpec::new(index, ip, prefix);
            Ok(move || {
                if nl.try_add_addr(&spec)?.is_ok() {
                    let others = held.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    held.fetch_sub(1, Ordering::SeqCst);
                    ensure!(others == 0, "both slaves had {ip}");
                    crate::nl::granted(nl.try_del_addr(&spec)?)?;
                }
                Ok(())
            })
        })?);
    }
    let load = Load::start(
        &lan,
        vec![frames::udp(
            lan.wire_mac,
            lan.mac,
            lan.ext_ip(),
            ip,
            (5, 4000),
            b"load",
        )],
    )?;
    for worker in &workers {
        worker.done(200).await?;
    }
    for worker in workers {
        worker.stop()?;
    }
    load.stop()?;
    b.ns.nl().add_addr(b.index, ip, cx.host_prefix())?;
    ensure!(
        arrives(&lan, &b.tap()?, ip, b.ip()).await?,
        "not delivered to its owner"
    );
    Ok(())
}

/// Slaves that carry links of their own go with their master, while the core tells everybody about each.
async fn master_deleted_below_vxlan_and_vrf(cx: Cx) -> Result<()> {
    modules::load("vxlan")?;
    modules::load("vrf")?;
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let slaves = [lan.slave()?, lan.slave()?, lan.slave()?];
        for (n, slave) in slaves.iter().enumerate() {
            // IFLA_VXLAN_ID, IFLA_VXLAN_LINK of linux/if_link.h.
            let data = vec![
                (1, (n as u32 + 1).to_ne_bytes().to_vec()),
                (3, slave.index.to_ne_bytes().to_vec()),
            ];
            slave.ns.nl().add_link(&LinkSpec {
                data,
                up: true,
                ..LinkSpec::new("vxlan", "vx0")
            })?;
            // IFLA_VRF_TABLE.
            let data = vec![(1, 99u32.to_ne_bytes().to_vec())];
            slave.ns.nl().add_link(&LinkSpec {
                data,
                up: true,
                ..LinkSpec::new("vrf", "vrf0")
            })?;
            let vrf = slave.ns.nl().link("vrf0")?.index;
            let answer = slave.ns.nl().set_link(slave.index, |l| l.controller(vrf))?;
            crate::nl::granted(answer)?;
        }
        lan.host.nl().del_link(lan.master)?;
        for slave in &slaves {
            ensure!(!slave.exists()?, "{} outlived its master", slave.name);
            ensure!(
                slave.ns.nl().find_link("vx0")?.is_none(),
                "a vxlan outlived the link below it"
            );
        }
    }
    Ok(())
}
