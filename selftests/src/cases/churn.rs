// SPDX-License-Identifier: GPL-2.0
//! Churn on every CPU ([`crate::churn`]), and what must be as it was when it is over.

use crate::cases;
use crate::churn::traffic::{Passed, Traffic};
use crate::churn::worker::{Shared, Worker, SPACES};
use crate::churn::Tally;
use crate::cx::{Cx, Family, Master, Suite, ANY, VETH};
use crate::debug;
use crate::evidence;
use crate::lan::{Lan, Mode};
use crate::memory::{bounded, Memory, Objects};
use crate::modules;
use crate::nl::nft::{self, Chain, Hook, Policy};
use crate::ping::ping;
use anyhow::{ensure, Context, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

cases! {
    "churn", Suite::Debug;
    everything: VETH, ANY, 7200;
}

/// Threads that operate.
const WORKERS: usize = 3;

/// How much more may be held afterwards, in KiB. It is what the kernel's own caches grow by. The module's objects are
/// counted apart: by kmemleak in the end, or else by kmalloc's caches.
const SLAB: i64 = 6 << 10;
const PERCPU: i64 = 1 << 10;
const AVAILABLE: i64 = 48 << 10;

async fn everything(cx: Cx) -> Result<()> {
    let (all, seed) = (evidence::amount(2000), evidence::seed());
    println!("# churn: seed {seed}; to replay: st.suite=debug st.filter=churn. st.seed={seed} st.amount={all}");
    // L3S comes and goes thousands of times, and the kernel patches the hooks' branch in ip6_input() and its like each
    // time. Under QEMU's emulation a processor has met the patching's breakpoint after its end, and the guest died (with
    // in-tree ipvlan as well): as long as this has hooks of its own, the branch stays as it is.
    let hooked = cx.netns()?;
    for family in [Family::V4, Family::V6] {
        let chain = Chain {
            hook: Hook::Input,
            policy: Policy::Accept,
            tracks: false,
        };
        nft::install(&hooked, family, &chain)?;
    }
    // What the kernel allocates once and keeps is not to be taken for a leak.
    let warm = (all / 10).clamp(200, 2000);
    round(cx, warm, seed ^ 1, "warming up").await?;
    modules::unload(cx.kind())?;
    let (before, objects) = (Memory::now()?, Objects::now()?);
    modules::load(cx.kind())?;
    let start = Instant::now();
    let (tally, passed) = round(cx, all, seed, "churn").await?;
    let took = start.elapsed();
    // It only goes if nobody holds it.
    modules::unload(cx.kind()).context("after the churn")?;
    let more = Memory::now()?.since(before);
    let grown = Objects::now()?.since(&objects);
    modules::load(cx.kind())?;
    // Lockdep forgets the locks of a module that goes, and is asked for them in the end.
    let lan = Lan::new(cx, Mode::L2)?;
    ping(&lan.slave()?.ns, lan.ext_ip()).await?;
    drop(lan);
    println!("# carried out: {}", tally.describe());
    println!("# refused: {}", tally.describe_refused());
    println!("# packets: {passed:?}");
    println!("# memory, in KiB more than before: {more:?}; objects: {grown:?}");
    let left = bounded(grown)?;
    ensure!(
        more.slab <= SLAB && more.percpu <= PERCPU && more.available <= AVAILABLE,
        "the kernel holds more memory than before (KiB): {more:?}"
    );
    let (done, refusals) = (tally.carried_out(), tally.refusals());
    // An operation is refused when another has just taken away what it is about, or has the name or the address: about
    // one of ten.
    ensure!(
        done + refusals >= all && done * 5 > (done + refusals) * 4,
        "{done} operations were carried out and {refusals} refused"
    );
    let never = tally.never();
    ensure!(all < 2000 || never.is_empty(), "never: {never:?}");
    let reloads = tally.done.get("unload and load").copied().unwrap_or(0);
    ensure!(reloads > 0, "the module was never unloaded");
    let [wire, slaves, at_wire, at_slaves, at_siblings] = passed;
    // A third or less of what was seen on the slower of the kernels.
    ensure!(
        at_slaves >= done && at_wire * 4 >= done && at_siblings * 10 >= done,
        "too few packets arrived for {done} operations: {at_slaves} at slaves from the wire, {at_wire} at the wire, \
         {at_siblings} at siblings"
    );
    let kernel = debug::which();
    evidence::row(
        &format!("churn on {kernel}: operations carried out while packets pass both ways"),
        &format!("{done}, {reloads} of them unloads; {refusals} more refused"),
        &format!(
            "seed {seed}, {} s; no report, all references gone, slab {:+} KiB, per-CPU {:+} KiB, {left}",
            took.as_secs(),
            more.slab,
            more.percpu
        ),
    );
    evidence::row(
        &format!("churn on {kernel}: packets meanwhile"),
        &format!("{} sent", wire + slaves),
        &format!(
            "{wire} by the wire, of which slaves' namespaces got {at_slaves}; {slaves} by those, of which the wire got \
             {at_wire} and others of them {at_siblings}"
        ),
    );
    Ok(())
}

/// `count` operations in a world of their own, which is gone afterwards, and what passed, in the order of [`Passed`].
async fn round(cx: Cx, count: u64, seed: u64, name: &'static str) -> Result<(Tally, [u64; 5])> {
    let lans = [
        Lan::new(cx, Mode::L2)?,
        Lan::new(
            Cx {
                master: Master::Dummy,
                ..cx
            },
            Mode::L2,
        )?,
    ];
    let traffic = Traffic::start(&lans, (WORKERS * SPACES) as u8)?;
    let (left, reload) = (Arc::new(AtomicU64::new(count)), Arc::new(Mutex::new(0)));
    let mut threads = Vec::new();
    for number in 0..WORKERS {
        let shared = lans
            .iter()
            .map(|lan| {
                Ok(Shared {
                    host: lan.host.file()?,
                    master: lan.master,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let (left, reload, kind) = (left.clone(), reload.clone(), cx.kind());
        let seen = traffic.spaces(number, SPACES);
        threads.push(std::thread::spawn(move || -> Result<Tally> {
            let mut worker = Worker::new(number, seed, kind, &shared, seen, reload)?;
            // A worker's share is fixed, so that its operations follow from the seed.
            for n in 0..count.div_ceil(WORKERS as u64) {
                worker
                    .step()
                    .with_context(|| format!("operation {n} of thread {number}, seed {seed}"))?;
                let left = left.fetch_sub(1, Ordering::Relaxed);
                let done = count.saturating_sub(left);
                if done > 0 && done % (count / 10).max(100) == 0 {
                    evidence::progress(name, done, count);
                }
            }
            Ok(std::mem::take(&mut worker.tally))
        }));
    }
    let mut tally = Tally::default();
    for thread in threads {
        while !thread.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        tally.add(
            &thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??,
        );
    }
    let passed = traffic.end()?;
    // After all that, slaves work as ever.
    for lan in &lans {
        let nl = lan.host.nl();
        nl.set_mtu(lan.master, 1500)?;
        lan.set_master_mac(lan.mac)?;
        let slave = lan.slave()?;
        ping(&slave.ns, lan.ext_ip()).await.context("afterwards")?;
    }
    drop(lans);
    crate::lan::namespaces_gone().await?;
    let Passed {
        from_wire,
        from_slaves,
        at_wire,
        at_slaves,
        at_siblings,
    } = &*passed;
    let passed = [from_wire, from_slaves, at_wire, at_slaves, at_siblings];
    Ok((tally, passed.map(|n| n.load(Ordering::Relaxed))))
}
