// SPDX-License-Identifier: GPL-2.0
//! Failures that no request's own allocations reach: loading the module, listeners that veto, names that are taken, and what
//! runs in a worker or in softirq. `unheard` has more of them.

use super::address::{arrives, extra};
use super::faults::free;
use super::unload::Load;
use crate::cases;
use crate::cx::{Cx, Suite, ANY, EACH, V4, VETH};
use crate::evidence;
use crate::fault::{self, Contexts, Every};
use crate::frames;
use crate::kmsg::Kmsg;
use crate::lan::{namespaces_gone, Lan, Mode};
use crate::modules;
use crate::nl::{granted, Answer, LinkSpec};
use crate::ping::ping;
use crate::vnet::{Vnet, PAGED};
use anyhow::{bail, ensure, Context, Result};
use std::ffi::CString;
use std::fs::{self, File};

/// Of a frame, what a driver may count on to be linear.
const ETHERNET: u16 = 14;

cases! {
    "failures", Suite::Debug;
    loading: VETH, ANY, 120;
    vetoes: EACH, ANY, 120;
    taken_names: EACH, ANY;
    in_the_background: EACH, V4, 300;
    packets: EACH, V4;
}

/// Every registration and allocation of the module's init fails once: it is not loaded then, and has left nothing behind.
async fn loading(cx: Cx) -> Result<()> {
    let name = cx.kind();
    let file = File::open(modules::path(name).context("no module")?)?;
    let mut log = Kmsg::open()?;
    let mut faults = 0;
    loop {
        modules::unload(name)?;
        let n = faults + 1;
        log.read();
        let inserted = modules::insert(&file, &CString::new(format!("fail_nth={n}"))?);
        let step = log
            .read()
            .iter()
            .find_map(|l| Some(l.0.split_once("made to fail: ")?.1.to_string()));
        let Some(step) = step else {
            inserted.context("without a fault")?;
            break;
        };
        let Err(e) = inserted else {
            bail!("{step} failed, and the module was loaded all the same");
        };
        let memory = e.raw_os_error() == Some(libc::ENOMEM);
        ensure!(memory, "{step} failed: {e}");
        ensure!(
            !modules::is_loaded(name),
            "{step} failed: it is still there"
        );
        modules::load(name).with_context(|| format!("after {step} failed"))?;
        fault::remember_of_init(&step);
        faults = n;
    }
    ensure!(faults >= 7, "only {faults} of what registers failed");
    // What is left of the count would fail something later.
    modules::unload(name)?;
    modules::load(name)?;
    evidence::row(
        "fault injection: loading the module, its own steps",
        &format!("{faults} faults"),
        "each refused cleanly; next try worked",
    );
    let lan = Lan::new(cx, Mode::L3s)?;
    let slaves = [lan.slave()?, lan.slave()?];
    ping(&slaves[0].ns, slaves[1].ip()).await
}

const VETO: &str = "/sys/module/veto/parameters";

/// Events of linux/netdevice.h, by number.
const REGISTER: (&str, u32) = ("NETDEV_REGISTER", 5);
const CHANGEMTU: (&str, u32) = ("NETDEV_CHANGEMTU", 7);
const PRE_UP: (&str, u32) = ("NETDEV_PRE_UP", 14);
const POST_INIT: (&str, u32) = ("NETDEV_POST_INIT", 17);
const CHANGEUPPER: (&str, u32) = ("NETDEV_CHANGEUPPER", 22);
const PRECHANGEMTU: (&str, u32) = ("NETDEV_PRECHANGEMTU", 24);
const PRECHANGEUPPER: (&str, u32) = ("NETDEV_PRECHANGEUPPER", 27);

/// A listener that vetoes one event of devices (selftests/faulty/veto.c).
struct Veto(u64);

impl Veto {
    fn new(event: u32, errno: i32) -> Result<Veto> {
        let veto = Veto(Veto::count()?);
        fs::write(format!("{VETO}/veto"), format!("{event} {errno}"))?;
        Ok(veto)
    }

    fn count() -> Result<u64> {
        Ok(fs::read_to_string(format!("{VETO}/vetoes"))?
            .trim()
            .parse()?)
    }

    /// Ends it; it must have been heard.
    fn end(self) -> Result<()> {
        ensure!(Veto::count()? > self.0, "there was no such event");
        Ok(())
    }
}

impl Drop for Veto {
    fn drop(&mut self) {
        let _ = fs::write(format!("{VETO}/veto"), "0 0");
    }
}

/// Registration of the device, its link to the master, coming up and changes are refused by somebody else: nothing is
/// left half done.
async fn vetoes(cx: Cx) -> Result<()> {
    modules::load("veto")?;
    let mut count = 0;
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        let lan = Lan::new(cx, mode)?;
        let to = cx.netns()?;
        let spec = LinkSpec {
            ns: Some(to.fd()),
            up: true,
            ..lan.spec("v0")
        };
        let add = || lan.host.nl().try_add_link(&spec);
        for siblings in [false, true] {
            let _sibling = siblings.then(|| lan.slave()).transpose()?;
            for (event, number) in [POST_INIT, REGISTER, PRECHANGEUPPER, CHANGEUPPER, PRE_UP] {
                let veto = Veto::new(number, libc::EXDEV)?;
                refused(add()?).with_context(|| format!("{event}, {mode:?}"))?;
                veto.end().context(event)?;
                ensure!(
                    to.nl().find_link("v0")?.is_none(),
                    "{event}: a link is left"
                );
                if !siblings {
                    free(&lan).context(event)?;
                }
                granted(add()?).with_context(|| format!("after {event}"))?;
                let index = to.nl().link("v0")?.index;
                to.nl().del_link(index)?;
                count += 1;
            }
        }
        for (event, number) in [PRECHANGEMTU, CHANGEMTU] {
            let slave = lan.slave()?;
            let follows = |what: &str| -> Result<()> {
                for mtu in [1600, 1500] {
                    lan.host.nl().set_mtu(lan.master, mtu)?;
                    let is = slave.link()?.mtu;
                    ensure!(is == mtu, "{event}, {what}: {is} under {mtu}");
                }
                Ok(())
            };
            // What is vetoed nobody has chosen (D5): neither the slave's own MTU, nor one that would follow the master's.
            for (nl, index, mtu, what) in [
                (slave.ns.nl(), slave.index, 1300, "the slave's vetoed"),
                (lan.host.nl(), lan.master, 1600, "the master's vetoed"),
            ] {
                let veto = Veto::new(number, libc::EXDEV)?;
                refused(nl.try_set_mtu(index, mtu)?).context(event)?;
                veto.end().context(event)?;
                let is = slave.link()?.mtu;
                ensure!(is == 1500, "{event}, {what}: changed to {is} all the same");
                follows(what)?;
                count += 1;
            }
            slave.ns.nl().set_mtu(slave.index, 1300)?;
            slave.ns.nl().set_mtu(slave.index, 1500)?;
        }
        let (slave, sibling) = (lan.slave()?, lan.slave()?);
        ping(&slave.ns, sibling.ip()).await?;
    }
    evidence::row(
        &format!("vetoes: registration, upper link, up, MTU ({cx})"),
        &format!("{count} vetoes"),
        "each refused with the listener's errno, nothing left, the next try worked",
    );
    modules::unload("veto")
}

fn refused(answer: Answer) -> Result<()> {
    let refusal = answer.err().context("granted")?;
    ensure!(
        refusal.errno == libc::EXDEV,
        "refused for another reason: {refusal}"
    );
    Ok(())
}

/// A name is refused by register_netdevice() before the driver has made anything of its own (`ndo_init`), and an index
/// after that: of neither anything is left.
async fn taken_names(cx: Cx) -> Result<()> {
    const INDEX: u32 = 77;
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        let lan = Lan::new(cx, mode)?;
        let to = cx.netns()?;
        let nl = to.nl();
        nl.add_link(&LinkSpec {
            index: Some(INDEX),
            ..LinkSpec::new("dummy", "n0")
        })?;
        let add = |index, name| {
            lan.host.nl().try_replace_link(&LinkSpec {
                index,
                ns: Some(to.fd()),
                ..lan.spec(name)
            })
        };
        for _ in 0..3 {
            for (index, name, errno) in
                [(None, "n0", libc::EEXIST), (Some(INDEX), "n1", libc::EBUSY)]
            {
                let refusal = add(index, name)?.err().context("granted")?;
                ensure!(refusal.errno == errno, "{name}: {refusal}");
                free(&lan)?;
            }
        }
        nl.del_link(INDEX)?;
        granted(add(Some(INDEX), "n0")?).context("both are free again")?;
    }
    Ok(())
}

/// In softirq and in workers every nth of the module's steps fails, while frames pass, many listen,
/// the table grows and shrinks, groups are joined, and namespaces end with slaves in them. Afterwards all is well.
async fn in_the_background(cx: Cx) -> Result<()> {
    let mut sum = Contexts::default();
    for every in [1, 3] {
        for mode in [Mode::L2, Mode::L3s] {
            let lan = Lan::new(cx, mode)?;
            let slaves = (0..12).map(|_| lan.slave()).collect::<Result<Vec<_>>>()?;
            let (s, last) = (&slaves[0], &slaves[11]);
            let doomed = (0..3).map(|_| lan.slave()).collect::<Result<Vec<_>>>()?;
            let loads = [
                Load::start(&lan, frames_for(&lan, s.ip(), lan.wire_mac))?,
                Load::on(&last.ns, last.index, frames_for(&lan, s.ip(), last.mac))?,
            ];
            let faults = Every::begin(every)?;
            let addrs = (0..60).map(|n| extra(cx, 100 + n));
            let specs: Vec<_> = addrs
                .map(|ip| crate::nl::AddrSpec::new(s.index, ip, cx.host_prefix()))
                .collect();
            for spec in &specs {
                let _ = s.ns.nl().try_add_addr(spec)?;
            }
            for load in &loads {
                load.running().await?;
            }
            // A group's address, 01:00:5e:1:2:3, by way of the device's list.
            for slave in &slaves[1..4] {
                let _ = slave
                    .ns
                    .nl()
                    .set_link(slave.index, |l| l.allmulticast(true))?;
            }
            for one in &doomed {
                ensure!(one.exists()?, "{} is gone before its namespace", one.name);
            }
            drop(doomed);
            namespaces_gone().await?;
            for spec in &specs {
                let _ = s.ns.nl().try_del_addr(spec)?;
            }
            for load in &loads {
                load.running().await?;
            }
            let failures = faults.by_context()?;
            drop(faults);
            for load in loads {
                load.stop()?;
            }
            println!("# one in {every}, {mode:?}: {failures:?}");
            // In the other modes little is distributed to many.
            ensure!(
                failures.softirq > 0 && (failures.worker > 0 || mode != Mode::L2),
                "one in {every}, {mode:?}: {failures:?}"
            );
            sum.add(failures);
            let ip = extra(cx, 90);
            s.ns.nl().add_addr(s.index, ip, cx.host_prefix())?;
            if mode == Mode::L2 {
                ensure!(
                    arrives(&lan, &s.tap()?, ip, s.ip()).await?,
                    "nothing arrives any more"
                );
                ping(&s.ns, lan.ext_ip()).await?;
            }
            // The queue may still be full of broadcasts, and a question waits its turn.
            let mut answer = ping(&s.ns, last.ip()).await;
            for _ in 0..5 {
                if answer.is_err() {
                    answer = ping(&s.ns, last.ip()).await;
                }
            }
            answer?;
        }
    }
    evidence::row(
        &format!("fault injection: softirq, workers, requests meanwhile ({cx})"),
        &format!(
            "{} faults in softirq, {} in workers, {} in requests",
            sum.softirq, sum.worker, sum.task
        ),
        "each, or every third, of the module's steps; delivers as before",
    );
    Ok(())
}

/// Unicast to a slave and broadcast, which twelve listen to.
fn frames_for(lan: &Lan, to: std::net::IpAddr, from: frames::Mac) -> Vec<Vec<u8>> {
    vec![
        frames::udp(from, lan.mac, lan.ext_ip(), to, (5, 4000), &[3; 300]),
        frames::ethernet(from, frames::BROADCAST, 0x88b5, &[7; 200]),
        frames::ethernet(from, [1, 0, 0x5e, 1, 2, 3], 0x88b5, &[7; 200]),
    ]
}

/// A packet whose headers cannot be made linear, and one that no route is found for, do not arrive; the next ones do. What a
/// slave sends in mode L3 is counted as lost; in L2, what cannot be read is the master's, as in-tree.
async fn packets(cx: Cx) -> Result<()> {
    let text = vec![7; PAGED];
    let mut sum = 0;
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::with_mtu(cx, mode, 9000)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        ping(&a.ns, lan.ext_ip()).await?;
        let (slave, outside) = (Vnet::new(&a.ns, a.index)?, Vnet::new(&lan.ext, lan.wire)?);
        let tap = b.tap()?;
        let sideways = |port| frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, port), &text);
        let inward = |port| {
            frames::udp(
                lan.wire_mac,
                lan.mac,
                lan.ext_ip(),
                b.ip(),
                (5, port),
                &text,
            )
        };
        let out = frames::udp(a.mac, lan.wire_mac, a.ip(), lan.nobody(), (5, 7), b"out");
        let dropped = || -> Result<u64> {
            let stats = a.link()?.stats;
            Ok(stats.tx_dropped + stats.tx_errors)
        };
        let before = dropped()?;
        let faults = Every::begin(1)?;
        // Who sends may be told of the loss.
        let _ = slave.send(&sideways(1000), ETHERNET);
        let _ = slave.send(&out, ETHERNET);
        outside.send(&inward(1001), ETHERNET)?;
        let failures = faults.failures()?;
        drop(faults);
        ensure!(
            failures >= if mode == Mode::L3 { 3 } else { 2 },
            "{mode:?}: only {failures} steps"
        );
        ensure!(
            mode == Mode::L2 || dropped()? > before,
            "{mode:?}: no loss is counted"
        );
        sum += failures;
        slave.send(&sideways(2000), ETHERNET)?;
        outside.send(&inward(2001), ETHERNET)?;
        for port in [2000, 2001] {
            let seen = tap
                .until("what is sent afterwards", |f| {
                    frames::is_udp(&f.bytes, port, &text)
                })
                .await?;
            ensure!(
                !seen
                    .iter()
                    .any(|f| frames::is_udp(&f.bytes, port - 1000, &text)),
                "{mode:?}: it passed all the same"
            );
        }
    }
    evidence::row(
        &format!("fault injection: packets of which headers or a route are missing ({cx})"),
        &format!("{sum} faults"),
        "none of the packets arrived; the next ones do",
    );
    Ok(())
}
