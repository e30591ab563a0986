// SPDX-License-Identifier: GPL-2.0
//! The run of requests: first every attribute of every good request wrong in each way, then at random. After every
//! portion the links are dumped, and their settings must be possible ones.

use super::corpus::Corpus;
use super::request::{Pool, Request, Wrong, WRONGS};
use super::tally::Tally;
use crate::evidence;
use crate::kmsg::Kmsg;
use crate::netns::Netns;
use crate::nl::LinkSpec;
use anyhow::{bail, ensure, Context, Result};
use nix::sys::socket::{
    bind, socket, AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;
use std::os::fd::{AsRawFd, OwnedFd};

/// Requests between two looks at the links, and in one network.
const PORTION: u64 = 100;
const NETWORK: u64 = 3000;
/// Requests between two lines that say how far it is.
const SAID_EVERY: u64 = 2500;
/// With more links the master goes, and all of them with it, for another: they take memory and time.
const CROWD: usize = 40;
/// The same in each network, so that what was kept of one is about something in the next; and far from the indices that
/// the kernel counts up for what a request creates without one.
const MASTER: u32 = 1_000_000;
const SLAVE: u32 = 1_000_001;

struct World {
    host: Netns,
    /// Where links may go to.
    _other: Netns,
    socket: OwnedFd,
    pool: Pool,
    sequence: u32,
    /// How many masters there were before this one.
    masters: u32,
    /// Whether the master and the first slave are there still.
    usable: bool,
}

/// A master and its first slave.
fn furnish(host: &Netns, dummy: bool, nth: u32) -> Result<()> {
    let kind = if dummy { "dummy" } else { "veth" };
    host.nl().add_link(&LinkSpec {
        index: Some(MASTER),
        ..LinkSpec::new(kind, &format!("m{nth}"))
    })?;
    host.nl().up(MASTER)?;
    host.nl().add_link(&LinkSpec {
        index: Some(SLAVE),
        link: Some(MASTER),
        mode: Some(0),
        ..LinkSpec::new("ipvlan_rs", &format!("keep{nth}"))
    })?;
    host.nl().up(SLAVE)
}

/// What became of a request.
enum Outcome {
    Errno(i32, bool),
    /// With a message, whether or not an acknowledgement followed it.
    Answered,
    Silent,
    NotSent(i32),
}

impl World {
    fn new(dummy: bool) -> Result<World> {
        let (host, other) = (Netns::new()?, Netns::new()?);
        furnish(&host, dummy, 0)?;
        let socket = host.enter(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                flags,
                SockProtocol::NetlinkRoute,
            )?;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            // NETLINK_EXT_ACK: whether a refusal has a text.
            crate::packet::set(&fd, libc::SOL_NETLINK, 11, 1)?;
            Ok(fd)
        })?;
        let pool = Pool {
            master: MASTER,
            slave: SLAVE,
            indices: vec![SLAVE],
            ns: other.fd(),
        };
        Ok(World {
            host,
            _other: other,
            socket,
            pool,
            sequence: 0,
            masters: 0,
            usable: true,
        })
    }

    /// Puts another master in the place of this one, which all slaves go with: much less work for the kernel than another
    /// network. False if something is left, as when the master itself was sent elsewhere.
    fn renew(&mut self, dummy: bool) -> Result<bool> {
        // It may be gone already.
        let _ = self.host.nl().try_del_link(MASTER)?;
        if self.judge()? > 0 {
            return Ok(false);
        }
        self.masters += 1;
        furnish(&self.host, dummy, self.masters)?;
        self.judge()?;
        Ok(self.usable)
    }

    /// Sends a request, which the kernel carries out at once, and reads its answer.
    fn ask(&mut self, request: &Request) -> Outcome {
        self.sequence += 1;
        let bytes = request.emit(self.sequence);
        let fd = self.socket.as_raw_fd();
        // SAFETY: the buffer is valid for its length.
        let rc = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), 0) };
        if let Err(errno) = nix::Error::result(rc) {
            return Outcome::NotSent(errno as i32);
        }
        let mut outcome = Outcome::Silent;
        let mut buffer = [0u8; 32 << 10];
        loop {
            // SAFETY: the buffer is valid for its length.
            let rc = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if rc <= 0 {
                return outcome;
            }
            let seen = &buffer[..rc as usize];
            let number = |at: usize| {
                seen.get(at..at + 4)
                    .map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
            };
            let kind = seen.get(4..6).map(|b| u16::from_ne_bytes([b[0], b[1]]));
            // NLMSG_ERROR; NLM_F_ACK_TLVS says that a text follows.
            match (kind, number(16)) {
                (Some(2), Some(0)) if matches!(outcome, Outcome::Answered) => {}
                (Some(2), Some(errno)) => {
                    let text = seen.get(6..8).is_some_and(|f| f[1] & 2 != 0);
                    outcome = Outcome::Errno(-errno, text);
                }
                (Some(_), _) => outcome = Outcome::Answered,
                _ => {}
            }
        }
    }

    /// Dumps all links and judges the settings of ours; how many there are of those. The dump is read here, since names
    /// may be any bytes by now.
    fn judge(&mut self) -> Result<usize> {
        let mut ours = Vec::new();
        let mut all = Vec::new();
        for message in self.dump()? {
            let index = u32::from_ne_bytes(message[4..8].try_into()?);
            all.push(index);
            let info = attribute(&message[16..], 18).unwrap_or_default();
            if attribute(&info, 1).as_deref() != Some(b"ipvlan_rs\0") {
                continue;
            }
            ours.push(index);
            let data = attribute(&info, 2).unwrap_or_default();
            let number = |kind| {
                attribute(&data, kind)
                    .map(|v| v.iter().rev().fold(0u32, |n, b| (n << 8) | u32::from(*b)))
            };
            let [mode, flags, queue, limit] = [1, 2, 32, 33].map(number);
            ensure!(
                mode.is_some_and(|m| m <= 2) && flags.is_some_and(|f| f <= 2),
                "impossible settings: mode {mode:?}, flags {flags:?}"
            );
            ensure!(
                queue.is_some_and(|b| b >= 262_144) && limit.is_some(),
                "impossible limits: {queue:?}, {limit:?}"
            );
        }
        self.usable = all.contains(&self.pool.master) && ours.contains(&self.pool.slave);
        let number = ours.len();
        ours.extend([self.pool.slave, self.pool.master, 1, 0, 9999]);
        self.pool.indices = ours;
        Ok(number)
    }

    /// The links of the namespace, each from its struct ifinfomsg on.
    fn dump(&mut self) -> Result<Vec<Vec<u8>>> {
        const DUMP: u16 = 0x300;
        self.sequence += 1;
        let mut request = 32u32.to_ne_bytes().to_vec();
        request.extend([18, 0]);
        request.extend((1 | DUMP).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.resize(32, 0);
        let fd = self.socket.as_raw_fd();
        // SAFETY: the buffer is valid for its length.
        nix::Error::result(unsafe { libc::send(fd, request.as_ptr().cast(), request.len(), 0) })?;
        let mut links = Vec::new();
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            // SAFETY: the buffer is valid for its length.
            let rc = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            nix::Error::result(rc).context("the dump of links ends too soon")?;
            let mut rest = &buffer[..rc as usize];
            while rest.len() >= 16 {
                let length = u32::from_ne_bytes(rest[..4].try_into()?) as usize;
                ensure!(
                    (16..=rest.len()).contains(&length),
                    "a message of {length} bytes"
                );
                match u16::from_ne_bytes(rest[4..6].try_into()?) {
                    16 if length >= 32 => links.push(rest[16..length].to_vec()),
                    3 => return Ok(links),
                    kind => bail!("message {kind} in a dump of links"),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
            }
        }
    }
}

/// The payload of the first attribute of a kind.
fn attribute(mut bytes: &[u8], kind: u16) -> Option<Vec<u8>> {
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        if u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff == kind {
            return bytes.get(4..length).map(<[u8]>::to_vec);
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

/// Every attribute of every good request, wrong in each way, in any order.
fn sweep(pool: &Pool, rng: &mut XorShiftRng) -> Vec<(Request, &'static str)> {
    let mut all = Vec::new();
    for (kind, good) in pool.good(rng).into_iter().enumerate() {
        for nth in 0..good.attributes() {
            for wrong in WRONGS {
                for _ in 0..if wrong == Wrong::Missing { 1 } else { 4 } {
                    // Made anew: names and addresses are there once.
                    let mut request = pool.good(rng).swap_remove(kind);
                    request.spoil(nth, wrong, rng);
                    all.push((request, name(wrong)));
                }
            }
        }
        all.push((good, "good"));
    }
    all.shuffle(rng);
    all
}

fn name(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Missing => "missing",
        Wrong::Short => "short",
        Wrong::Long => "long",
        Wrong::Twice => "twice",
        Wrong::Nested => "nested wrong",
        Wrong::Flag => "flags wrong",
        Wrong::Unknown => "unknown",
        Wrong::Value => "another value",
    }
}

/// One request at random.
fn random(pool: &Pool, rng: &mut XorShiftRng, corpus: &Corpus<Request>) -> (Request, &'static str) {
    let mut request = corpus.pick(rng).unwrap_or_else(|| {
        let mut good = pool.good(rng);
        let nth = rng.random_range(0..good.len());
        good.swap_remove(nth)
    });
    let mut what = "good";
    for _ in 0..rng.random_range(0..4) {
        let number = request.attributes();
        if number == 0 || rng.random_range(0..8) == 0 {
            request.spoil_header(rng);
            what = "header wrong";
        } else {
            let wrong = WRONGS[rng.random_range(0..WRONGS.len())];
            request.spoil(rng.random_range(0..number), wrong, rng);
            what = name(wrong);
        }
    }
    (request, what)
}

/// Makes `count` requests; the evidence goes to the log.
pub async fn requests(seed: u64, count: u64) -> Result<()> {
    let mut rng = XorShiftRng::seed_from_u64(seed);
    let mut corpus = Corpus::new()?;
    let (mut made, mut answers, mut texts) = (Tally::default(), Tally::default(), Tally::default());
    let (mut done, mut said, mut most, mut worlds) = (0, 0, 0, 0u64);
    let mut renewals = 0u64;
    let begin = std::time::Instant::now();
    let mut kmsg = Kmsg::from_now_on()?;
    let (mut waiting, mut swept) = (Vec::new(), 0);
    while done < count {
        let mut world = World::new(rng.random())?;
        worlds += 1;
        if worlds == 1 {
            waiting = sweep(&world.pool, &mut rng);
            swept = waiting.len() as u64;
        }
        let end = (done + NETWORK).min(count);
        while done < end {
            let what = format!("seed {seed}, request {done}");
            for _ in 0..PORTION.min(end - done) {
                let (request, wrong) = waiting
                    .pop()
                    .unwrap_or_else(|| random(&world.pool, &mut rng, &corpus));
                made.count(wrong);
                match corpus.run(&request, |request| world.ask(request)) {
                    Outcome::Errno(errno, text) => {
                        answers.answer("granted", errno);
                        if errno != 0 {
                            texts.count(if text { "with a text" } else { "without" });
                        }
                    }
                    Outcome::Answered => answers.count("answered"),
                    Outcome::Silent => answers.count("no answer (no length)"),
                    Outcome::NotSent(errno) => answers.answer("", errno),
                }
                done += 1;
            }
            kmsg.calm().context(what.clone())?;
            let links = world.judge().context(what)?;
            most = most.max(links);
            if links > CROWD || !world.usable {
                renewals += 1;
                if !world.renew(rng.random())? {
                    break;
                }
            }
        }
        if done >= said + SAID_EVERY || done == count {
            said = done;
            println!(
                "# fuzz: {done} requests in {} s, {}",
                begin.elapsed().as_secs(),
                corpus.describe()
            );
        }
    }
    println!("# fuzz requests, seed {seed}: {made}");
    println!("# fuzz requests, answers: {answers}");
    println!("# fuzz requests, refusals: {texts}");
    println!(
        "# fuzz requests, {}; {worlds} networks, {renewals} masters more, at most {most} links in one",
        corpus.describe()
    );
    let [granted, answered] = ["granted", "answered"].map(|what| answers.get(what));
    evidence::row(
        &format!("rtnetlink requests, mutated (seed {seed})"),
        &done.to_string(),
        &format!("{granted} granted, {answered} answered, the others refused: {answers}"),
    );
    for what in ["granted", "answered", "EINVAL", "ERANGE"] {
        ensure!(answers.get(what) > 0, "none was {what}: {answers}");
    }
    ensure!(
        made.get("nested wrong") > 0 && made.get("missing") > 0,
        "{made}"
    );
    ensure!(
        corpus.alive(),
        "KCOV sees nothing of the module: {}",
        corpus.describe()
    );
    // A run of a few has not the time for all of the sweep.
    ensure!(
        waiting.is_empty() || count < swept,
        "{} requests of the sweep were not made",
        waiting.len()
    );
    crate::lan::namespaces_gone().await
}
