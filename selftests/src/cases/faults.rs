// SPDX-License-Identifier: GPL-2.0
//! Every allocation of a request fails once, one after another: the request is refused and leaves nothing behind, or it
//! succeeds all the same, which of the module's own steps only those may do that a request names; the next try works.

use super::address::{arrives, extra};
use crate::cases;
use crate::cx::{Cx, Suite, ANY, EACH, V46};
use crate::evidence;
use crate::fault::Whose;
use crate::lan::{Lan, Mode, Slave, PRIVATE};
use crate::nl::{flags, granted, AddrSpec, Answer, Link, LinkSpec, Nl, QUEUE_BYTES};
use crate::ping::ping;
use anyhow::{bail, ensure, Context, Result};
use std::cell::Cell;
use std::net::IpAddr;

cases! {
    "faults", Suite::Debug;
    creating: EACH, ANY, 200;
    changing: EACH, ANY, 200;
    addresses: EACH, V46, 200;
    master: EACH, ANY, 200;
}

/// A request: how to make it, what shows that it took effect, and how to take it back.
pub(super) struct Request<'a> {
    pub nl: &'a Nl,
    pub send: &'a dyn Fn() -> Result<Answer>,
    pub there: &'a dyn Fn() -> Result<bool>,
    pub undo: &'a dyn Fn() -> Result<()>,
    /// Of the module's own steps those that may fail without the request being refused. Who lists one says why.
    pub survives: &'a [&'a str],
}

/// ndo_set_rx_mode() has no result, and the core calls it before its answer to whoever changes flags. What the master's
/// filter lacks the next call puts in.
pub(super) const FILTERS: &[&str] = &["dev_uc_sync", "dev_mc_sync"];

/// What came of the faults.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub faults: u32,
    refused: u32,
    survived: u32,
    unanswered: u32,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.refused += other.refused;
        self.survived += other.survived;
        self.unanswered += other.unanswered;
    }

    /// Prints a row.
    pub fn report(self, cx: Cx, what: &str, whose: Whose) {
        let whose = match whose {
            Whose::Ours => "the module's own steps",
            Whose::Anybodys => "anybody's allocations",
        };
        let Count {
            faults,
            refused,
            survived,
            unanswered,
        } = self;
        evidence::row(
            &format!("fault injection: {what}, {whose} ({cx})"),
            &format!("{faults} faults"),
            &format!(
                "{refused} refused cleanly, {survived} survived, {unanswered} not answered; next try worked"
            ),
        );
    }
}

/// Anybody's are many: a short run takes a sample of them.
fn stride(whose: Whose) -> usize {
    match whose {
        Whose::Ours => 1,
        Whose::Anybodys => evidence::amount(1).max(1) as usize,
    }
}

/// How a lack of memory may be told.
const MEMORY: [i32; 2] = [libc::ENOMEM, libc::ENOBUFS];

/// No request has so many.
const ENDLESS: u32 = 3000;

impl Request<'_> {
    /// Makes the request again and again, with a later step failing each time, until none is left to fail.
    ///
    /// Of many only the first and some others fail; with another seed, others.
    pub fn each_step_fails(&self, whose: Whose) -> Result<Count> {
        let mut count = Count::default();
        let stride = stride(whose);
        let second = 2 + (evidence::seed() % stride as u64) as u32;
        for n in std::iter::once(1).chain((second..ENDLESS).step_by(stride)) {
            self.nl.inject(whose, n);
            let answer = (self.send)();
            let Some(step) = self.nl.injected() else {
                granted(answer?).context("without a fault")?;
                ensure!((self.there)()?, "granted, and without effect");
                (self.undo)()?;
                return Ok(count);
            };
            self.judge(answer, whose, &step, &mut count)
                .with_context(|| format!("step {n} failed, {step} ({whose:?})"))?;
        }
        bail!("no end after {ENDLESS} steps")
    }

    fn judge(
        &self,
        answer: Result<Answer>,
        whose: Whose,
        step: &str,
        count: &mut Count,
    ) -> Result<()> {
        count.faults += 1;
        let there = (self.there)()?;
        match answer {
            Ok(Ok(_)) => {
                ensure!(there, "granted, and without effect");
                // Who ignores what has failed grants what is not so. Of anybody's allocations it is not known whose.
                ensure!(
                    whose == Whose::Anybodys || self.survives.contains(&step),
                    "granted all the same"
                );
                count.survived += 1;
            }
            Ok(Err(refusal)) => {
                // The core says EINVAL of a device whose name it had no memory for (device_add()).
                let core = whose == Whose::Anybodys
                    && refusal.errno == libc::EINVAL
                    && refusal.text.is_empty();
                ensure!(
                    core || MEMORY.contains(&refusal.errno),
                    "refused for another reason: {refusal}"
                );
                ensure!(!there, "refused ({refusal}), and in effect");
                // Who is told of a lack of memory must not look for another reason.
                let text = refusal.text.to_lowercase();
                ensure!(
                    text.is_empty() || text.contains("memory"),
                    "a misleading text: {refusal}"
                );
                count.refused += 1;
            }
            // The request or its answer is what there was no memory for; what became of it shows.
            Err(e) if whose == Whose::Anybodys && lost(&e) => count.unanswered += 1,
            Err(e) => return Err(e),
        }
        if !there {
            granted((self.send)()?).context("the next try")?;
            ensure!((self.there)()?, "the next try has no effect");
        }
        (self.undo)().context("taking it back")
    }
}

fn lost(e: &anyhow::Error) -> bool {
    e.downcast_ref::<std::io::Error>()
        .and_then(|e| e.raw_os_error())
        .is_some_and(|errno| MEMORY.contains(&errno))
}

/// Whichever ways, with a row for each.
pub(super) fn fail_all(cx: Cx, what: &str, ways: &[Whose], request: &Request) -> Result<()> {
    for whose in ways.iter().copied() {
        let count = request
            .each_step_fails(whose)
            .with_context(|| what.to_string())?;
        ensure!(count.faults > 0, "{what}: nothing to fail ({whose:?})");
        count.report(cx, what, whose);
    }
    Ok(())
}

/// A slave is created in another namespace and comes up at once; the first one makes the port.
async fn creating(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3, Mode::L3s] {
        let lan = Lan::new(cx, mode)?;
        let to = cx.netns()?;
        // No address of its own making, for which nobody asks before, so that it takes what is kept ready.
        to.sysctl("ipv6/conf/default/addr_gen_mode", "1")?;
        let spec = LinkSpec {
            ns: Some(to.fd()),
            up: true,
            ..lan.spec("f0")
        };
        let request = Request {
            nl: lan.host.nl(),
            send: &|| lan.host.nl().try_add_link(&spec),
            there: &|| Ok(to.nl().find_link("f0")?.is_some()),
            undo: &|| to.nl().del_link(to.nl().link("f0")?.index),
            survives: &[],
        };
        // The first and the last step are not of one mode, and the hooks are of L3S: that has all there is.
        let ways: &[Whose] = match mode {
            Mode::L3s => &[Whose::Ours, Whose::Anybodys],
            _ => &[Whose::Ours],
        };
        fail_all(cx, &format!("first slave, {mode:?}"), ways, &request)?;
        free(&lan)?;
        let sibling = lan.slave()?;
        fail_all(cx, &format!("another slave, {mode:?}"), ways, &request)?;
        drop(sibling);
        if mode != Mode::L3s {
            continue;
        }
        let last = lan.slave()?;
        // Looked up before the request, which alone is to meet the fault.
        let index = Cell::new(last.index);
        let deleting = Request {
            nl: last.ns.nl(),
            send: &|| last.ns.nl().try_del_link(index.get()),
            there: &|| Ok(!last.exists()?),
            undo: &|| {
                lan.host.nl().add_link(&LinkSpec {
                    ns: Some(last.ns.fd()),
                    ..lan.spec(&last.name)
                })?;
                index.set(last.ns.nl().link(&last.name)?.index);
                Ok(())
            },
            survives: &[],
        };
        // Of the module's own there need be none.
        let count = deleting
            .each_step_fails(Whose::Anybodys)
            .context("deleting")?;
        ensure!(count.faults > 0, "deleting: nothing to fail");
        ensure!(count.refused == 0, "a deletion was refused");
        count.report(cx, &format!("deletion, {mode:?}"), Whose::Anybodys);
    }
    Ok(())
}

/// Nothing is left on the master: another driver may have it.
pub(super) fn free(lan: &Lan) -> Result<()> {
    crate::modules::load("macvlan")?;
    let nl = lan.host.nl();
    nl.add_link(&LinkSpec {
        link: Some(lan.master),
        ..LinkSpec::new("macvlan", "mv")
    })
    .context("the master is still taken")?;
    nl.del_link(nl.link("mv")?.index)
}

/// A change of the port, asked for through one of its slaves.
struct Change<'a> {
    what: &'a str,
    from: LinkSpec,
    to: LinkSpec,
    done: fn(&Link) -> bool,
}

async fn changing(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slaves = [lan.slave()?, lan.slave()?, lan.slave()?];
    let s = &slaves[1];
    let nl = s.ns.nl();
    let blank = || LinkSpec::new(cx.kind(), "");
    let mode = |mode: Mode| LinkSpec {
        mode: Some(mode as u16),
        ..blank()
    };
    let queue = |bytes: u32| LinkSpec {
        data: vec![(QUEUE_BYTES, bytes.to_ne_bytes().to_vec())],
        ..blank()
    };
    let flag = |flags: u16| LinkSpec {
        flags: Some(flags),
        ..blank()
    };
    let changes = [
        Change {
            what: "mode l2 to l3s",
            from: mode(Mode::L2),
            to: mode(Mode::L3s),
            done: |l| l.mode == Some(Mode::L3s as u16),
        },
        Change {
            what: "mode l2 to l3",
            from: mode(Mode::L2),
            to: mode(Mode::L3),
            done: |l| l.mode == Some(Mode::L3 as u16),
        },
        Change {
            what: "private",
            from: flag(0),
            to: flag(PRIVATE),
            done: |l| l.port_flags == Some(PRIVATE),
        },
        Change {
            what: "queue_bytes",
            from: queue(8 << 20),
            to: queue(1 << 20),
            done: |l| l.queue_bytes == Some(1 << 20),
        },
    ];
    for change in &changes {
        let request = Request {
            nl,
            send: &|| nl.change_link(s.index, &change.to),
            there: &|| {
                let done: Vec<bool> = slaves
                    .iter()
                    .map(|s| Ok((change.done)(&s.link()?)))
                    .collect::<Result<_>>()?;
                // One port: its slaves agree.
                ensure!(done.iter().all(|d| *d == done[0]), "slaves differ");
                Ok(done[0])
            },
            undo: &|| granted(nl.change_link(s.index, &change.from)?),
            survives: FILTERS,
        };
        // Of the module's own a mode takes the slaves' flags, L3S its hooks, and the rest nothing.
        let ours = request
            .each_step_fails(Whose::Ours)
            .with_context(|| change.what.to_string())?;
        if ours.faults > 0 {
            ours.report(cx, change.what, Whose::Ours);
        }
        let least = match change.what {
            "mode l2 to l3s" => slaves.len() + 1,
            "mode l2 to l3" => slaves.len(),
            _ => 0,
        };
        ensure!(
            ours.refused as usize >= least,
            "{}: {} refusals",
            change.what,
            ours.refused
        );
        let all = request
            .each_step_fails(Whose::Anybodys)
            .with_context(|| change.what.to_string())?;
        ensure!(all.faults > 0, "{}: nothing to fail", change.what);
        all.report(cx, change.what, Whose::Anybodys);
    }
    let up = Request {
        nl,
        send: &|| nl.set_link(s.index, |l| l.up()),
        there: &|| Ok(s.link()?.has(flags::UP)),
        undo: &|| nl.down(s.index),
        survives: FILTERS,
    };
    nl.down(s.index)?;
    let count = up.each_step_fails(Whose::Anybodys).context("up")?;
    ensure!(count.faults > 0, "up: nothing to fail");
    count.report(cx, "setting a slave up", Whose::Anybodys);
    ping(&slaves[0].ns, slaves[2].ip()).await
}

/// Addresses of a slave, so many that the table grows. The core does not ask whether the driver has memory for what it
/// has granted: the driver has it ready before, so that what was granted is steered.
async fn addresses(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let tap = a.tap()?;
    for (count, whose) in [(24, Whose::Ours), (2, Whose::Anybodys)] {
        let mut sum = Count::default();
        for n in 0..count {
            let ip = extra(cx, 100 + n as u8);
            let one = address(&lan, &a, &b, ip, whose);
            let one = one.with_context(|| format!("address {n}"))?;
            sum.add(one);
            a.ns.nl().add_addr(a.index, ip, cx.host_prefix())?;
            ensure!(
                arrives(&lan, &tap, ip, a.ip()).await?,
                "{ip} is not delivered to its slave"
            );
        }
        for n in 0..count {
            let ip = extra(cx, 100 + n as u8);
            a.ns.nl().del_addr(a.index, ip, cx.host_prefix())?;
        }
        ensure!(sum.faults > 0, "nothing to fail");
        ensure!(
            whose == Whose::Anybodys || (sum.refused >= count && sum.survived >= count),
            "{} times refused, {} times helped by what is kept ready",
            sum.refused,
            sum.survived
        );
        sum.report(cx, &format!("{count} addresses"), whose);
    }
    Ok(())
}

/// One address with every step failing once.
fn address(lan: &Lan, a: &Slave, b: &Slave, ip: IpAddr, whose: Whose) -> Result<Count> {
    let prefix = lan.cx.host_prefix();
    let spec = AddrSpec::new(a.index, ip, prefix);
    let other = AddrSpec::new(b.index, ip, prefix);
    let nl = a.ns.nl();
    let request = Request {
        nl,
        send: &|| nl.try_add_addr(&spec),
        there: &|| Ok(nl.addrs(a.index)?.iter().any(|x| x.ip == ip)),
        undo: &|| {
            // Were it in no table, another could have it.
            ensure!(
                b.ns.nl().try_add_addr(&other)?.is_err(),
                "granted, and not steered"
            );
            nl.del_addr(a.index, ip, prefix)
        },
        // What is kept ready takes its place: `undo` sees that the address is in the table.
        survives: &["rust_helper_krealloc_node_align"],
    };
    let mut count = Count::default();
    if whose == Whose::Ours {
        // The entry, which takes the memory that is kept ready. Who asks after that is the first to be refused.
        nl.inject(whose, 1);
        let answer = nl.try_add_addr(&spec)?;
        ensure!(nl.injected().is_some(), "nothing to fail");
        granted(answer).context("with memory kept ready")?;
        nl.del_addr(a.index, ip, prefix)?;
        count.faults += 1;
        count.survived += 1;
    }
    count.add(request.each_step_fails(whose)?);
    Ok(count)
}

/// What changes the master changes its slaves.
async fn master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3s)?;
    let slaves = [lan.slave()?, lan.slave()?];
    let nl = lan.host.nl();
    let at = |mtu: u32| {
        let slaves = &slaves;
        move || -> Result<bool> { Ok(slaves[0].link()?.mtu == mtu && slaves[1].link()?.mtu == mtu) }
    };
    let mtu = Request {
        nl,
        send: &|| nl.try_set_mtu(lan.master, 1400),
        there: &at(1400),
        undo: &|| nl.set_mtu(lan.master, 1500),
        survives: &[],
    };
    let mac = [2, 0, 0, 0, 7, 1];
    let address = Request {
        nl,
        send: &|| nl.try_set_mac(lan.master, mac),
        there: &|| Ok(slaves[0].link()?.mac == mac && slaves[1].link()?.mac == mac),
        undo: &|| granted(nl.try_set_mac(lan.master, lan.mac)?),
        survives: &[],
    };
    fail_all(cx, "the master's MAC", &[Whose::Ours], &address)?;
    for (what, request) in [("the master's MTU", mtu), ("the master's MAC", address)] {
        let count = request.each_step_fails(Whose::Anybodys).context(what)?;
        ensure!(count.faults > 0, "{what}: nothing to fail");
        count.report(cx, what, Whose::Anybodys);
    }
    ping(&slaves[0].ns, slaves[1].ip()).await
}
