// SPDX-License-Identifier: GPL-2.0
//! Running the cases: order, time limits, the kernel log after each, totals.

use crate::cx::{Case, Cx, Family, Kind, Skip, Suite};
use crate::fuzz::{self, Fuzz};
use crate::kmsg::Kmsg;
use crate::ktap::{Ktap, Outcome};
use crate::options::Options;
use crate::walk::tally::Tally;
use crate::walk::{self, Walk};
use crate::{cases, debug, evidence, init, modules, regressions, rows, wait};
use anyhow::Result;
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Modules that are there from the start; others are loaded by the cases that need them.
const BASE: &[&str] = &["veth", "dummy", "act_mirred", "cls_matchall", "sch_ingress"];

/// One case on one kind, master and family.
struct Run {
    case: &'static Case,
    cx: Cx,
    name: String,
}

/// Where [`State::totals`] counts what takes both kinds.
const BOTH: usize = 2;

/// Milliseconds since the start at which the current case is hopelessly late; 0 when there is none.
static DEADLINE: AtomicU64 = AtomicU64::new(0);
static CURRENT: Mutex<String> = Mutex::new(String::new());

/// Runs everything that `options` asks for; whether all passed.
pub fn run(options: Options) -> Result<bool> {
    let mut runs = Vec::new();
    for (suite, word) in [
        (Suite::Bare, "bare"),
        (Suite::Own, "own"),
        (Suite::Both, "both"),
        (Suite::Debug, "debug"),
    ] {
        if options.suites.iter().any(|s| s == word) {
            for kind in &options.kinds {
                runs.extend(expand(suite, *kind, &options));
            }
        }
    }
    let mut walks = Vec::new();
    // A walk compares the kinds, so it takes both, the in-tree driver with what a debug kernel may have to say of it.
    if options.kinds.contains(&Kind::IpvlanRs) && (!options.debug || options.walk.is_some()) {
        walks = walk::plan(options.walk.as_ref());
        walks.retain(|w| options.wants(&w.name()));
    }
    if options.walk.is_some() || options.fuzz.is_some() {
        runs.clear();
    }
    if options.fuzz.is_some() {
        walks.clear();
    }
    let (nth, of) = options.share;
    let runs: Vec<Run> = runs.into_iter().skip(nth - 1).step_by(of).collect();
    let walks: Vec<Walk> = walks.into_iter().skip(nth - 1).step_by(of).collect();
    if options.list {
        runs.iter().for_each(|r| println!("{}", r.name));
        walks.iter().for_each(|w| println!("{}", w.name()));
        return Ok(true);
    }
    rows::check()?;
    regressions::check()?;
    evidence::choose(&options);
    init::tune();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let last = if options.debug {
        debug::tune();
        debug::CHECKS
    } else {
        &[]
    };
    let both = if walks.is_empty() { 0 } else { walks.len() + 1 };
    let fuzz = options.fuzz.as_ref().map_or(0, Fuzz::parts);
    let count = (runs.len() + both + fuzz) * options.repeat as usize + last.len();
    let mut state = State::new(count)?;
    watchdog();
    for _ in 0..options.repeat {
        for (i, run) in runs.iter().enumerate() {
            let first = i == 0
                || runs[i - 1].case.suite != run.case.suite
                || runs[i - 1].cx.kind != run.cx.kind;
            if first {
                state.prepare(run.case.suite, run.cx.kind);
            }
            state.one(&runtime, run);
        }
        if !walks.is_empty() {
            state.walk(&runtime, &walks);
        }
        if let Some(fuzz) = &options.fuzz {
            state.fuzz(&runtime, fuzz);
        }
    }
    state.namespaces_gone(&runtime);
    for (name, run) in last {
        let begin = Instant::now();
        let outcome = debug::check(*run);
        state.result(Kind::IpvlanRs as usize, name, outcome, begin);
    }
    Ok(state.finish())
}

/// All runs of a suite on a kind, in the order of the case lists.
fn expand(suite: Suite, kind: Kind, options: &Options) -> Vec<Run> {
    let mut runs = Vec::new();
    if suite == Suite::Debug && kind == Kind::Ipvlan {
        return runs;
    }
    // The cases of `own` are not for the in-tree driver, except by hand.
    if suite == Suite::Own && kind == Kind::Ipvlan && !options.risky {
        return runs;
    }
    // Without IPv6, in-tree has an open bug that ends the kernel, and what is not about IPv4 alone cannot run.
    let bare = !crate::netns::ipv6();
    if (suite == Suite::Bare && !bare) || (kind == Kind::Ipvlan && bare) {
        return runs;
    }
    for (n, case) in cases::all().filter(|c| c.suite == suite).enumerate() {
        let masters = match case.masters {
            all if options.once => &all[n % all.len()..][..1],
            all => all,
        };
        for master in masters {
            for family in case.families {
                if bare && *family != Family::V4 {
                    continue;
                }
                let cx = Cx {
                    kind,
                    master: *master,
                    family: *family,
                };
                let name = format!("{}:{}:{cx}", kind.name(), case.name);
                if options.wants(&name) {
                    runs.push(Run { case, cx, name });
                }
            }
        }
    }
    runs
}

struct State {
    ktap: Ktap,
    kmsg: Kmsg,
    /// Passed, failed, skipped; per kind, and of what takes both.
    totals: [[usize; 3]; 3],
    complaints: usize,
    start: Instant,
    /// Why the cases of the current kind cannot run.
    missing: Option<String>,
}

impl State {
    fn new(cases: usize) -> Result<State> {
        let mut kmsg = Kmsg::open()?;
        let mut complaints = 0;
        for line in kmsg.read().iter().filter(|l| l.is_complaint()) {
            println!("# kernel log before the first case: {}", line.0);
            complaints += 1;
        }
        let missing = BASE
            .iter()
            .try_for_each(|m| modules::load(m))
            .err()
            .map(|e| format!("{e:#}"));
        let start = Instant::now();
        Ok(State {
            ktap: Ktap::start(cases),
            kmsg,
            totals: [[0; 3]; 3],
            complaints,
            start,
            missing,
        })
    }

    /// Loads what a suite needs on a kind, and unloads what it must not see.
    fn prepare(&mut self, suite: Suite, kind: Kind) {
        let load = || -> Result<()> {
            if suite != Suite::Both && kind == Kind::IpvlanRs && modules::is_loaded("ipvlan") {
                modules::unload("ipvlan")?;
            }
            modules::load(kind.name())
        };
        self.missing = load().err().map(|e| format!("{e:#}"));
    }

    fn one(&mut self, runtime: &tokio::runtime::Runtime, run: &Run) {
        let limit = Duration::from_secs(run.case.limit);
        let total = run.cx.kind as usize;
        self.measure(runtime, total, &run.name, limit, (run.case.run)(run.cx));
    }

    /// Takes walks, then judges all of them together.
    fn walk(&mut self, runtime: &tokio::runtime::Runtime, walks: &[Walk]) {
        let load = || -> Result<()> {
            modules::load(Kind::Ipvlan.name())?;
            modules::load(Kind::IpvlanRs.name())
        };
        self.missing = load().err().map(|e| format!("{e:#}"));
        let tally = std::cell::RefCell::new(Tally::default());
        for walk in walks {
            let future = async {
                let mut own = Tally::default();
                let result = walk::run(walk.clone(), &mut own).await;
                tally.borrow_mut().add(&own);
                result
            };
            self.measure(runtime, BOTH, &walk.name(), walk::LIMIT, future);
        }
        let sum = async { walk::conclude(&tally.borrow()) };
        self.measure(runtime, BOTH, "guest:walk:sum", walk::LIMIT, sum);
    }

    /// Puts mutated frames in, and makes mutated requests.
    fn fuzz(&mut self, runtime: &tokio::runtime::Runtime, fuzz: &Fuzz) {
        self.prepare(Suite::Own, Kind::IpvlanRs);
        let (seed, own) = (fuzz.seed, Kind::IpvlanRs as usize);
        let name = |what, number| format!("ipvlan_rs:fuzz.{what}:{seed}:{number}");
        if fuzz.frames > 0 {
            let frames = name("frames", fuzz.frames);
            let run = fuzz::frames(seed, fuzz.frames);
            self.measure(runtime, own, &frames, fuzz::LIMIT, run);
        }
        if fuzz.requests > 0 {
            let requests = name("requests", fuzz.requests);
            let run = fuzz::requests(seed, fuzz.requests);
            self.measure(runtime, own, &requests, fuzz::LIMIT, run);
        }
    }

    fn measure(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        total: usize,
        name: &str,
        limit: Duration,
        future: impl Future<Output = Result<()>>,
    ) {
        let begin = Instant::now();
        let limit = limit * debug::slowness();
        let outcome = match &self.missing {
            Some(why) => Outcome::Failed(why.clone()),
            None => {
                *CURRENT.lock().unwrap() = name.to_string();
                DEADLINE.store(
                    (uptime() + limit + limit / 2).as_millis() as u64,
                    Ordering::Relaxed,
                );
                let outcome = attempt(runtime, future, limit);
                DEADLINE.store(0, Ordering::Relaxed);
                outcome
            }
        };
        self.result(total, name, outcome, begin);
    }

    /// Counts and prints an outcome.
    fn result(&mut self, total: usize, name: &str, outcome: Outcome, begin: Instant) {
        let outcome = self.judge(outcome);
        let which = match outcome {
            Outcome::Passed => 0,
            Outcome::Failed(_) => 1,
            Outcome::Skipped(_) => 2,
        };
        self.totals[total][which] += 1;
        self.ktap.result(name, &outcome, begin.elapsed());
    }

    /// A complaint in the kernel log turns any outcome into a failure; a failure shows the log's last lines.
    fn judge(&mut self, outcome: Outcome) -> Outcome {
        let log = self.kmsg.read();
        let complained = log.iter().any(|l| l.is_complaint());
        self.complaints += usize::from(complained);
        let mut text = match outcome {
            Outcome::Failed(why) => why,
            Outcome::Passed | Outcome::Skipped(_) if !complained => return outcome,
            _ => String::new(),
        };
        if complained {
            text = format!("the kernel complained, during this case or when the last one's namespaces went\n{text}");
        }
        let first = log.iter().position(|l| l.is_complaint());
        let tail = log
            .iter()
            .skip(first.unwrap_or(log.len().saturating_sub(6)));
        for line in tail.filter(|l| !l.is_dump_detail()).take(30) {
            text += &format!("\n  log: {}", line.0);
        }
        Outcome::Failed(text)
    }

    /// Namespaces die in the background: whatever still holds a device shows up here.
    fn namespaces_gone(&mut self, runtime: &tokio::runtime::Runtime) {
        if let Err(e) = runtime.block_on(crate::lan::namespaces_gone()) {
            println!("# after the last case: {e:#}");
            self.complaints += 1;
        }
    }

    fn finish(mut self) -> bool {
        for line in self.kmsg.read().iter().filter(|l| l.is_complaint()) {
            println!("# kernel log after the last case: {}", line.0);
            self.complaints += 1;
        }
        let mut sum = [0; 3];
        let names = [Kind::Ipvlan.name(), Kind::IpvlanRs.name(), "both"];
        for (name, t) in names.into_iter().zip(self.totals) {
            sum.iter_mut().zip(t).for_each(|(s, n)| *s += n);
            if t != [0; 3] {
                println!(
                    "# {name}: {} passed, {} failed, {} skipped",
                    t[0], t[1], t[2]
                );
            }
        }
        for (row, why) in rows::skipped() {
            println!("# no case for {row:?}: {why}");
        }
        for (number, what, why) in regressions::skipped() {
            println!("# no case for regression {number}, {what}: {why}");
        }
        for name in &self.ktap.failed {
            println!("# failed: {name}");
        }
        if self.complaints > 0 {
            println!("# the kernel complained {} times", self.complaints);
        }
        println!("# took {} s", self.start.elapsed().as_secs());
        println!("{} passed, {} failed, {} skipped", sum[0], sum[1], sum[2]);
        sum[1] == 0 && self.complaints == 0 && sum[0] > 0
    }
}

/// Runs a case to its end, its limit, or its panic.
fn attempt(
    runtime: &tokio::runtime::Runtime,
    future: impl Future<Output = Result<()>>,
    limit: Duration,
) -> Outcome {
    let local = tokio::task::LocalSet::new();
    let future = AssertUnwindSafe(future).catch_unwind();
    let result = local.block_on(runtime, async { tokio::time::timeout(limit, future).await });
    match result {
        Err(_) => Outcome::Failed(format!("still not done after {limit:?}")),
        Ok(Err(panic)) => Outcome::Failed(
            panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()))
                .unwrap_or_else(|| "panicked".into()),
        ),
        Ok(Ok(Ok(()))) => Outcome::Passed,
        Ok(Ok(Err(e))) => match e.downcast_ref::<Skip>() {
            Some(skip) => Outcome::Skipped(skip.0.clone()),
            None => Outcome::Failed(format!("{e:#}")),
        },
    }
}

fn uptime() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// A system call that never returns blocks the runtime, and with it every time limit: another thread ends the run then,
/// with the stacks of the blocked tasks.
fn watchdog() {
    uptime();
    std::thread::spawn(|| loop {
        std::thread::sleep(Duration::from_secs(1));
        let deadline = DEADLINE.load(Ordering::Relaxed);
        if deadline != 0 && uptime() > Duration::from_millis(deadline) {
            let name = CURRENT.lock().map(|n| n.clone()).unwrap_or_default();
            let _ = std::fs::write("/proc/sys/kernel/printk", "8");
            let _ = std::fs::write("/proc/sysrq-trigger", "w");
            std::thread::sleep(wait::patience() / 10);
            println!("Bail out! {name} hangs in the kernel");
            println!("0 passed, 1 failed, 0 skipped");
            if std::process::id() == 1 {
                crate::init::power_off();
            }
            std::process::exit(1);
        }
    });
}
