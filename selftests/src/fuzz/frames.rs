// SPDX-License-Identifier: GPL-2.0
//! The run of frames: a network whose master is a tap, three slaves that send, settings that change on the way, and after
//! every portion a good packet each way.

use super::corpus::Corpus;
use super::frame::{From, Pool, Shot, EXT_MAC, HEADER};
use super::tally::Tally;
use super::tap::Wire;
use crate::debug;
use crate::evidence;
use crate::frames;
use crate::kmsg::Kmsg;
use crate::netns::Netns;
use crate::nl::{LinkSpec, Via};
use crate::packet::{raw_socket, set};
use crate::wait;
use anyhow::{ensure, Context, Result};
use rand::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Frames between two checks, and in one network.
const PORTION: u64 = 500;
const NETWORK: u64 = 25_000;
/// Slaves that send; a network has these alone, or so many that group frames wait for the worker.
const SENDERS: usize = 3;
const MANY: usize = 12;
/// Good frames each way in a check.
const FENCES: u64 = 2;
/// Frames between two lines that say how far it is.
const SAID_EVERY: u64 = 100_000;
/// How the tap and the packet socket themselves refuse a frame, which the module then never sees: such a one does not
/// count.
const NOT_SENT: [i32; 4] = [libc::EINVAL, libc::EMSGSIZE, libc::ENOMEM, libc::EAGAIN];
const EXT: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 1, 0, 254),
    Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0xfe),
);

struct Slave {
    ns: Netns,
    index: u32,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

struct World {
    /// Kept for as long as the network.
    _host: Netns,
    wire: Wire,
    slaves: Vec<Slave>,
    senders: Vec<OwnedFd>,
    pool: Pool,
    mac: frames::Mac,
}

impl World {
    fn new(number: usize) -> Result<World> {
        let host = Netns::new()?;
        for key in [
            "ipv6/conf/default/accept_ra",
            "ipv6/conf/default/accept_redirects",
            "ipv4/conf/default/accept_redirects",
            "ipv4/conf/all/accept_redirects",
        ] {
            host.sysctl(key, "0")?;
        }
        let wire = Wire::new(&host, "t0")?;
        let master = host.nl().link("t0")?;
        host.nl().up(master.index)?;
        let ips = |n: u8| {
            let v6 = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, n.into());
            (Ipv4Addr::new(10, 1, 0, n), v6)
        };
        host.nl().add_addr(master.index, ips(1).0, 24)?;
        host.nl().add_addr(master.index, ips(1).1, 64)?;
        host.nl().add_neigh(master.index, EXT.0.into(), EXT_MAC)?;
        host.nl().add_neigh(master.index, EXT.1.into(), EXT_MAC)?;
        let mut slaves = Vec::new();
        for n in 0..number as u8 {
            let ns = Netns::new()?;
            let name = format!("s{n}");
            host.nl().add_link(&LinkSpec {
                link: Some(master.index),
                ns: Some(ns.fd()),
                mode: Some(0),
                ..LinkSpec::new("ipvlan_rs", &name)
            })?;
            let index = ns.nl().link(&name)?.index;
            ns.nl().up(index)?;
            let (v4, v6) = ips(10 + n);
            ns.nl().add_addr(index, v4, 24)?;
            ns.nl().add_addr(index, v6, 64)?;
            ns.nl()
                .add_route(Ipv4Addr::UNSPECIFIED.into(), 0, Via::Link(index))?;
            slaves.push(Slave { ns, index, v4, v6 });
        }
        let senders = slaves[..SENDERS]
            .iter()
            .map(|slave| {
                let index = slave.index;
                let fd = slave.ns.enter(|| raw_socket(index))?;
                set(&fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
                Ok(fd)
            })
            .collect::<Result<Vec<_>>>()?;
        let pool = pool(master.mac, &slaves);
        Ok(World {
            _host: host,
            wire,
            slaves,
            senders,
            pool,
            mac: master.mac,
        })
    }

    /// Puts a frame in; the errno.
    fn shoot(&self, shot: &Shot) -> i32 {
        match shot.from {
            From::Wire => self.wire.write(&shot.message),
            From::Slave(n) => send(&self.senders[n], &shot.message),
        }
    }

    fn configure(&self, mode: u16, flags: u16) -> Result<()> {
        let slave = &self.slaves[0];
        let spec = LinkSpec {
            mode: Some(mode),
            flags: Some(flags),
            ..LinkSpec::new("ipvlan_rs", "")
        };
        // The master's namespace is the one that may: it is ours, so is the slave's.
        let answer = slave.ns.nl().change_link(slave.index, &spec)?;
        ensure!(answer.is_ok(), "mode {mode}, flags {flags}: {answer:?}");
        Ok(())
    }

    /// A good datagram of either family reaches a slave from the wire, and the wire from a slave.
    async fn sound(&self, n: u64) -> Result<()> {
        for v4 in [true, false] {
            let to: IpAddr = if v4 {
                self.slaves[1].v4.into()
            } else {
                self.slaves[1].v6.into()
            };
            let ext: IpAddr = if v4 { EXT.0.into() } else { EXT.1.into() };
            let text = format!("fence {n}");
            let slave = &self.slaves[1];
            let received =
                || Ok::<_, anyhow::Error>(slave.ns.nl().link_at(slave.index)?.stats.rx_packets);
            let before = received()?;
            let frame = frames::udp(EXT_MAC, self.mac, ext, to, (5, 7), text.as_bytes());
            let errno = self.wire.write(&[&[0; HEADER][..], &frame].concat());
            ensure!(errno == 0, "the wire does not take a good frame: {errno}");
            // Not by a capture: in mode L3S there is none on slaves.
            wait::until("a good frame from the wire is received", || {
                Ok(received()? > before)
            })
            .await?;
            self.wire.drain(|_| false);
            let frame = frames::udp(self.mac, EXT_MAC, to, ext, (5, 7), text.as_bytes());
            let errno = send(&self.senders[1], &[&[0; HEADER][..], &frame].concat());
            ensure!(errno == 0, "a slave does not send a good frame: {errno}");
            // Not at once, where another CPU is about to send what it finds in the master's queue.
            wait::until("a good frame of a slave comes to the wire", || {
                let (_, found) = self.wire.drain(|f| frames::is_udp(f, 7, text.as_bytes()));
                Ok(found)
            })
            .await
            .with_context(|| format!("to {ext}"))?;
        }
        Ok(())
    }

    /// What the slaves have counted.
    fn counters(&self, tally: &mut Tally) -> Result<()> {
        for slave in &self.slaves {
            let stats = slave.ns.nl().link_at(slave.index)?.stats;
            tally.add("delivered to slaves", stats.rx_packets);
            tally.add("sent by slaves", stats.tx_packets);
            tally.add("lost on receiving", stats.rx_dropped);
            tally.add("dropped on sending", stats.tx_dropped);
            tally.add("neither routed nor sent", stats.tx_errors);
        }
        Ok(())
    }
}

fn send(socket: &OwnedFd, message: &[u8]) -> i32 {
    // SAFETY: the buffer is valid for its length.
    let rc = unsafe {
        libc::send(
            socket.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
            libc::MSG_DONTWAIT,
        )
    };
    nix::Error::result(rc).err().map_or(0, |e| e as i32)
}

fn pool(mac: frames::Mac, slaves: &[Slave]) -> Pool {
    let mut v4 = vec![
        Ipv4Addr::new(10, 1, 0, 1),
        EXT.0,
        Ipv4Addr::new(10, 1, 0, 200),
        Ipv4Addr::new(10, 1, 0, 255),
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(239, 1, 2, 3),
        Ipv4Addr::BROADCAST,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
    ];
    let mut v6 = vec![
        Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1),
        EXT.1,
        Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0xc8),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 3),
        Ipv6Addr::UNSPECIFIED,
        Ipv6Addr::LOCALHOST,
        Ipv4Addr::new(10, 1, 0, 11).to_ipv6_mapped(),
    ];
    // Twice: the slaves' own are what matters.
    for _ in 0..2 {
        v4.extend(slaves.iter().take(SENDERS + 1).map(|s| s.v4));
        v6.extend(slaves.iter().take(SENDERS + 1).map(|s| s.v6));
    }
    let macs = vec![
        mac,
        mac,
        mac,
        EXT_MAC,
        frames::BROADCAST,
        [1, 0, 0x5e, 0, 0, 1],
        [0x33, 0x33, 0, 0, 0, 1],
        [2, 0, 0, 0, 9, 9],
        [0; 6],
    ];
    Pool {
        macs,
        v4,
        v6,
        senders: SENDERS,
    }
}

/// How many socket buffers there are, where that is counted and means something: KASAN keeps what is freed for a while,
/// and a kernel with it has kmemleak, which is asked at the end.
fn buffers() -> Option<u64> {
    if std::fs::exists("/sys/kernel/debug/kmemleak").unwrap_or(false) {
        return None;
    }
    let slabs = std::fs::read_to_string("/proc/slabinfo").ok()?;
    let line = slabs
        .lines()
        .find(|l| l.starts_with("skbuff_head_cache "))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Puts `count` frames in, those not counted that do not reach the module; the evidence goes to the log. A debug kernel must see the module's code and the drops' reasons.
pub async fn frames(seed: u64, count: u64) -> Result<()> {
    let mut rng = XorShiftRng::seed_from_u64(seed);
    let mut corpus = Corpus::new()?;
    let (mut sides, mut counters, mut errors) =
        (Tally::default(), Tally::default(), Tally::default());
    let drops = super::drops::Drops::begin()?;
    let mut kmsg = Kmsg::from_now_on()?;
    let mut fences = 0;
    let before = buffers();
    let (mut done, mut said, mut refused) = (0, 0, 0u64);
    let begin = std::time::Instant::now();
    while done < count {
        let number = if rng.random() { SENDERS + 1 } else { MANY };
        let world = World::new(number)?;
        let end = (done + NETWORK).min(count);
        while done < end {
            let (mode, flags) = (rng.random_range(0..3), rng.random_range(0..3));
            let what =
                format!("seed {seed}, frame {done}, mode {mode}, flags {flags}, {number} slaves");
            world.configure(mode, flags).context(what.clone())?;
            for _ in 0..PORTION.min(end - done) {
                let shot = world.pool.shot(&mut rng, &corpus);
                let errno = corpus.run(&shot, |shot| world.shoot(shot));
                let (side, good) = match shot.from {
                    From::Wire => ("from the wire", "taken from the wire"),
                    From::Slave(_) => ("from slaves", "taken from slaves"),
                };
                errors.answer(good, errno);
                if NOT_SENT.contains(&errno) {
                    refused += 1;
                    continue;
                }
                sides.count(side);
                done += 1;
            }
            world.wire.drain(|_| false);
            // At once: a report after hours would not say which frames to look at.
            kmsg.calm().context(what.clone())?;
            world.sound(done).await.context(what)?;
            fences += FENCES;
        }
        world.counters(&mut counters)?;
        drop(world);
        if done >= said + SAID_EVERY || done == count {
            said = done;
            println!(
                "# fuzz: {done} frames in {} s, {}",
                begin.elapsed().as_secs(),
                corpus.describe()
            );
        }
    }
    println!(
        "# fuzz frames, seed {seed}: {sides}; {refused} more that the tap or the socket refused"
    );
    println!("# fuzz frames, answers: {errors}");
    println!("# fuzz frames, counters: {counters}");
    let reasons = drops.end()?;
    match &reasons {
        Some(reasons) => println!("# fuzz frames, drop reasons: {reasons}"),
        None => {
            println!("# fuzz frames, drop reasons: this kernel has no histograms of trace events")
        }
    }
    println!("# fuzz frames, {}", corpus.describe());
    // The slaves' stacks have sent and received a little of their own too: neighbour discovery, answers to the frames.
    let (delivered, sent) = (
        counters.get("delivered to slaves").saturating_sub(fences),
        counters.get("sent by slaves").saturating_sub(fences),
    );
    evidence::row(
        &format!("frames put in from the wire, mutated (seed {seed})"),
        &sides.get("from the wire").to_string(),
        &format!(
            "{} taken, {delivered} received by slaves, their stacks' own included; {fences} good ones between them, each received",
            errors.get("taken from the wire")
        ),
    );
    evidence::row(
        &format!("frames sent by slaves, mutated (seed {seed})"),
        &sides.get("from slaves").to_string(),
        &format!(
            "{} taken, {sent} sent, their stacks' own included, {} dropped on sending; {fences} good ones between them, each sent",
            errors.get("taken from slaves"),
            counters.get("dropped on sending")
        ),
    );
    if debug::kernel() {
        let reasons = reasons.context("the debug kernel counts no drop reasons")?;
        evidence::row(
            "packets dropped in the whole guest meanwhile, by reason",
            &reasons.sum().to_string(),
            &reasons.to_string(),
        );
        ensure!(reasons.sum() > 0, "no reason of a drop was seen");
    }
    for what in ["taken from the wire", "taken from slaves"] {
        ensure!(errors.get(what) > 0, "no frame was {what}");
    }
    ensure!(
        delivered > 0 && sent > 0 && counters.get("dropped on sending") > 0,
        "{counters}, of which {fences} each were the checks' own"
    );
    ensure!(
        corpus.alive(),
        "KCOV sees nothing of the module: {}",
        corpus.describe()
    );
    crate::lan::namespaces_gone().await?;
    if let (Some(before), Some(after)) = (before, buffers()) {
        println!("# fuzz frames: {before} socket buffers before, {after} after");
        // Caches keep some; one frame in a hundred that nobody frees is more.
        ensure!(
            after < before + 2000 + count / 200,
            "{before} socket buffers before, {after} after"
        );
    }
    Ok(())
}
