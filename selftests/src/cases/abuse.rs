// SPDX-License-Identifier: GPL-2.0
//! What a tenant, root of its own user namespace only, may try with a slave to the harm of others.

use super::address::arrives;
use super::slaac;
use crate::cases;
use crate::cx::{Cx, Kind, Skip, Suite, EACH, V4, V46, V6, VETH};
use crate::debug;
use crate::evidence;
use crate::frames;
use crate::kmsg::Kmsg;
use crate::lan::{Lan, Mode, Slave};
use crate::mounts;
use crate::nl::{granted, AddrSpec, LinkSpec, MAX_ADDRS};
use crate::packet::Tap;
use crate::tenant::Tenant;
use crate::wait;
use anyhow::{bail, ensure, Context, Result};
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

cases! {
    "abuse", Suite::Own;
    addresses_are_limited: EACH, V46;
    limit_is_not_the_tenants: VETH, V46;
    limit_holds_for_autoconfiguration: VETH, V6;
    addresses_are_charged_to_the_tenant: VETH, V6, 120;
    addresses_of_others_stay_theirs: EACH, V46;
    flood_leaves_room_for_others: VETH, V4, 120;
    many_addresses_slow_nobody: VETH, V6, 240;
}

fn limited(number: u32) -> Vec<(u16, Vec<u8>)> {
    vec![(MAX_ADDRS, number.to_ne_bytes().to_vec())]
}

fn set_limit(cx: Cx, slave: &Slave, number: u32) -> Result<()> {
    let spec = LinkSpec {
        data: limited(number),
        ..LinkSpec::new(cx.kind(), "")
    };
    let answer = slave.ns.nl().change_link(slave.index, &spec)?;
    ensure!(answer.is_ok(), "{answer:?}");
    Ok(())
}

fn nth(cx: Cx, n: u8) -> IpAddr {
    cx.pick([10, 1, 0, 100 + n], [0xfd01, 0, 0, 0, 0, 0, 7, n.into()])
}

/// How many addresses there are, the link-local one too.
fn count(slave: &Slave) -> Result<usize> {
    Ok(slave.ns.nl().addrs(slave.index)?.len())
}

/// The limit holds for each slave alone; the same address with another prefix is none more, one that is taken away makes
/// room, and what is there when the limit is set stays.
async fn addresses_are_limited(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    for slave in [&a, &b] {
        ensure!(slave.link()?.max_addrs == Some(0), "not unlimited");
    }
    let has = count(&a)?;
    set_limit(cx, &a, has as u32 + 2)?;
    ensure!(b.link()?.max_addrs == Some(has as u32 + 2), "a sibling's");
    for slave in [&a, &b] {
        let first = if slave.name == a.name { 0 } else { 10 };
        let prefix = cx.link_prefix();
        let add = |n| {
            slave
                .ns
                .nl()
                .try_add_addr(&AddrSpec::new(slave.index, nth(cx, first + n), prefix))
        };
        for n in 0..2 {
            let answer = add(n)?;
            ensure!(answer.is_ok(), "address {n}: {answer:?}");
        }
        cx.refused(add(2)?, libc::ENOSPC, "max_addrs")?;
        if prefix == 24 {
            let again = AddrSpec::new(slave.index, nth(cx, first), 25);
            let answer = slave.ns.nl().try_add_addr(&again)?;
            ensure!(answer.is_ok(), "the same with another prefix: {answer:?}");
            slave.ns.nl().del_addr(slave.index, nth(cx, first), 25)?;
            cx.refused(add(2)?, libc::ENOSPC, "max_addrs")?;
        }
        slave
            .ns
            .nl()
            .del_addr(slave.index, nth(cx, first), prefix)?;
        let answer = add(2)?;
        ensure!(answer.is_ok(), "in the place of another: {answer:?}");
        let tap = slave.tap()?;
        for n in [1, 2] {
            let ip = nth(cx, first + n);
            ensure!(
                arrives(&lan, &tap, ip, slave.ip()).await?,
                "{ip} is not steered"
            );
        }
    }
    set_limit(cx, &a, 1)?;
    ensure!(
        arrives(&lan, &a.tap()?, nth(cx, 1), a.ip()).await?,
        "lost to a lower limit"
    );
    set_limit(cx, &a, 0)?;
    a.ns.nl().add_addr(a.index, nth(cx, 5), 24)?;
    Ok(())
}

/// The limit is the port's, as the mode is.
async fn limit_is_not_the_tenants(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    set_limit(cx, &lan.slave()?, count(&slave)? as u32)?;
    let (kind, name) = (cx.kind(), &slave.name);
    cx.refused(
        tenant.ask(&format!("limit {kind} {name} 0"))?,
        libc::EPERM,
        "CAP_NET_ADMIN",
    )?;
    let answer = tenant.ask(&format!(
        "addr {kind} {name} {} {}",
        nth(cx, 0),
        cx.host_prefix()
    ))?;
    cx.refused(answer, libc::ENOSPC, "max_addrs")
}

/// The seconds in which the kernel's rate limit for messages of the network lets ten through; 0: all.
const MESSAGE_COST: &str = "/proc/sys/net/core/message_cost";

/// What a router's advertisement adds cannot be refused: it is not steered, and the log says so.
async fn limit_holds_for_autoconfiguration(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    set_limit(cx, &a, count(&a)? as u32)?;
    let mut log = Kmsg::open()?;
    // What earlier cases had logged must not silence this one (net_ratelimit()).
    fs::write(MESSAGE_COST, "0")?;
    let wire = lan.wire_tap()?;
    wire.send(&slaac::advertisement(&lan, slaac::PREFIX))?;
    let ip = slaac::made(&a).await?;
    let told = wait::until("a word in the log", || {
        let lines = log.read();
        Ok(lines.iter().any(|l| l.0.contains("more than max_addrs")))
    })
    .await;
    fs::write(MESSAGE_COST, "5")?;
    told?;
    ensure!(
        !arrives(&lan, &a.tap()?, ip, a.ip()).await?,
        "steered all the same"
    );
    // Told again, when there is room.
    set_limit(cx, &b, 0)?;
    a.ns.nl().del_addr(a.index, ip, 64)?;
    a.ns.nl().add_addr(a.index, ip, 64)?;
    ensure!(
        arrives(&lan, &a.tap()?, ip, a.ip()).await?,
        "not steered with room for it"
    );
    Ok(())
}

/// The bytes that a cgroup's tasks hold in the slabs.
/// Each CPU adds up for itself; the kernel collects that every two seconds (FLUSH_TIME in mm/memcontrol.c).
async fn slab_of(group: &str) -> Result<i64> {
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let stat = fs::read_to_string(format!("{group}/memory.stat"))?;
    let line = stat.lines().find_map(|l| l.strip_prefix("slab "));
    Ok(line.context("no slab in memory.stat")?.parse()?)
}

/// The core charges an address to the memory cgroup of who adds it; on a slave, its place in the table is charged too.
async fn addresses_are_charged_to_the_tenant(cx: Cx) -> Result<()> {
    const NUMBER: i64 = 500;
    // All have one solicited-node group, so that what groups cost is not counted.
    const STEP: u32 = 1 << 24;
    const ROOT: &str = "/tmp/cgroup";
    if let Err(e) = mounts::put("cgroup2", ROOT) {
        return Err(Skip(format!("no cgroup2 in this kernel: {e}")).into());
    }
    if fs::write(format!("{ROOT}/cgroup.subtree_control"), "+memory").is_err() {
        return Err(Skip("no memory cgroups in this kernel".into()).into());
    }
    let group = format!("{ROOT}/tenant{}", std::process::id());
    fs::create_dir_all(&group)?;
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let slave = lan.slave_in(tenant.ns.clone(), |s| s)?;
    slave.ns.nl().add_link(&LinkSpec::new("dummy", "d0"))?;
    fs::write(format!("{group}/cgroup.procs"), tenant.pid().to_string())?;
    let mut cost = async |name: &str, from: &str| -> Result<i64> {
        let before = slab_of(&group).await?;
        let answer = tenant.ask(&format!("fill {} {name} {from} {NUMBER} {STEP}", cx.kind()))?;
        ensure!(answer == Ok(NUMBER.to_string()), "{answer:?}");
        // A busy machine's kernel may be late with collecting it: there must be something, and no more to come.
        let mut last = before;
        for _ in 0..10 {
            let now = slab_of(&group).await?;
            if now == last && now > before {
                break;
            }
            last = now;
        }
        Ok(last - before)
    };
    // The first addresses of a namespace grow what all later ones use.
    cost("d0", "fd71::1").await?;
    let core = cost("d0", "fd72::1").await?;
    let ours = cost(&slave.name, "fd73::1").await?;
    let each = (ours - core) / NUMBER;
    evidence::row(
        &format!(
            "addresses that are charged to the tenant ({cx}, {})",
            debug::which()
        ),
        &format!("{NUMBER} addresses"),
        &format!("each {each} bytes on top of the core's {}", core / NUMBER),
    );
    // An entry has a key of 16 bytes, the slave and what a grace period takes; lines of the table come on top of that,
    // until it has grown.
    ensure!((40..=512).contains(&each), "{each} bytes for an entry");
    drop((tenant, slave));
    Ok(())
}

/// Another's address, the master's, and both by way of a peer.
async fn addresses_of_others_stay_theirs(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let (theirs, victim) = (lan.slave_in(tenant.ns.clone(), |s| s)?, lan.slave()?);
    let (kind, name, prefix) = (cx.kind(), &theirs.name, cx.host_prefix());
    for (ip, word) in [(victim.ip(), "already"), (lan.master_ip(), "master")] {
        let answer = tenant.ask(&format!("addr {kind} {name} {ip} {prefix}"))?;
        cx.refused(answer, libc::EADDRINUSE, word)?;
        if ip.is_ipv4() {
            // Not to be refused, see D3; its packets are for its owner all the same.
            let answer = tenant.ask(&format!("peer {kind} {name} {ip} 198.51.100.1"))?;
            ensure!(answer.is_ok(), "{answer:?}");
        }
        let tap = theirs.tap()?;
        ensure!(
            !arrives(&lan, &tap, ip, theirs.ip()).await?,
            "the tenant gets what is for {ip}"
        );
    }
    ensure!(
        arrives(&lan, &victim.tap()?, victim.ip(), victim.ip()).await?,
        "the victim does not get its packets"
    );
    crate::ping::ping(&lan.ext, lan.master_ip())
        .await
        .context("the master")?;
    Ok(())
}

const GROUP: frames::Mac = [0x01, 0, 0x5e, 0, 0, 7];

/// How many of the frames that the victim sends arrive at another slave, and how long that takes.
async fn distributed(
    from: &Tap,
    frame: &[u8],
    at: &Tap,
    number: usize,
) -> Result<(usize, Duration)> {
    let begin = Instant::now();
    let mut seen = 0;
    for _ in 0..number {
        from.send(frame)?;
        // What is lost is not waited for.
        for _ in 0..400 {
            if at.poll()?.is_some() {
                seen += 1;
                break;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
    Ok((seen, begin.elapsed()))
}

/// With more than a few slaves group frames wait for a worker. A tenant that sends as many as it can fills no more than
/// its share of the queue, so a sibling's are all distributed, and its datagrams do not wait behind them. A B A B: alone,
/// beside the flood, and both again.
async fn flood_leaves_room_for_others(cx: Cx) -> Result<()> {
    let (number, flooding) = if debug::kernel() {
        (10, 15_000)
    } else {
        (100, 150_000)
    };
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let theirs = lan.slave_in(tenant.ns.clone(), |s| LinkSpec {
        data: super::upkeep::small_queue(cx),
        ..s
    })?;
    let ns = cx.netns()?;
    let others = (0..11)
        .map(|_| lan.slave_in(ns.clone(), |s| s))
        .collect::<Result<Vec<_>>>()?;
    let (from, to) = (&others[0], &others[10]);
    granted(to.ns.nl().set_link(to.index, |l| l.allmulticast(true))?)?;
    let (sender, receiver) = (from.tap()?, Tap::at_the_stack_of(&to.ns, to.index, 0x88b7)?);
    let frame = frames::ethernet(from.mac, GROUP, 0x88b7, &[7; 200]);
    let unicast = frames::udp(from.mac, to.mac, from.ip(), to.ip(), (5, 7), b"unicast");
    let datagrams = Tap::at_the_stack_of(&to.ns, to.index, libc::ETH_P_IP)?;
    let flood = frames::ethernet(theirs.mac, frames::BROADCAST, 0x88b8, &[8; 1400]);
    let words = format!(
        "flood {} {} {}",
        cx.kind(),
        theirs.name,
        frames::hex(&flood)
    );
    let mut figures = Vec::new();
    for round in 0..4 {
        let attack = round % 2 == 1;
        if attack {
            tenant.begin(&format!("{words} {flooding}"))?;
        }
        let (seen, took) = distributed(&sender, &frame, &receiver, number).await?;
        let (came, took_too) = distributed(&sender, &unicast, &datagrams, number).await?;
        let mut taken = String::from("0");
        if attack {
            let still = tenant.busy()?;
            taken = tenant.answer()?.map_err(anyhow::Error::from)?;
            ensure!(still, "the flood of {taken} frames was over too soon");
        }
        figures.push(format!(
            "{seen} and {came} of {number} in {} and {} ms beside {taken}",
            took.as_millis(),
            took_too.as_millis()
        ));
        ensure!(
            seen == number && came == number,
            "lost beside a flood: {figures:?}"
        );
    }
    evidence::row(
        &format!(
            "a victim beside a tenant's flood ({cx}, {})",
            debug::which()
        ),
        &format!("{} frames to a group and datagrams", 8 * number),
        &format!("arrived: {}", figures.join("; ")),
    );
    Ok(())
}

/// The shortest of some rounds in which as many datagrams come to the victim; others use the machine too.
fn delivery(wire: &Tap, frame: &[u8], victim: &Slave) -> Result<Duration> {
    const NUMBER: u64 = 400;
    let mut best = Duration::MAX;
    for _ in 0..12 {
        let before = victim.link()?.stats.rx_packets;
        let begin = Instant::now();
        for _ in 0..NUMBER {
            wire.send(frame)?;
        }
        best = best.min(begin.elapsed());
        let start = Instant::now();
        while victim.link()?.stats.rx_packets < before + NUMBER {
            if start.elapsed() > wait::patience() {
                bail!("the victim does not get its packets");
            }
        }
    }
    Ok(best)
}

/// A tenant gives its slave many addresses, in rows that differ in few bits, as one would choose them who knows
/// the hash but not its seed. What comes to another slave takes no longer. A B A B.
async fn many_addresses_slow_nobody(cx: Cx) -> Result<()> {
    /// One chain of 1800 would take several times as long.
    const LIMIT: f64 = 1.5;
    const ROWS: [(&str, u128); 3] = [
        ("fd74::1", 1 << 24),
        ("fd75::1", 1 << 32),
        ("fd76::1", 1 << 72),
    ];
    if debug::kernel() {
        return Err(Skip("it measures times, which mean nothing on a debug kernel".into()).into());
    }
    let lan = Lan::new(cx, Mode::L2)?;
    let mut tenant = Tenant::new()?;
    let (theirs, victim) = (lan.slave_in(tenant.ns.clone(), |s| s)?, lan.slave()?);
    let wire = lan.wire_tap()?;
    let frame = frames::udp(
        lan.wire_mac,
        lan.mac,
        lan.ext_ip(),
        victim.ip(),
        (5, 7),
        b"timed",
    );
    let mut took: Vec<Duration> = Vec::new();
    let shortest = |took: &[Duration], with: usize| {
        let rounds = took.iter().skip(with).step_by(2).min();
        rounds.map_or(0.0, Duration::as_secs_f64)
    };
    let mut ratio = f64::MAX;
    // Others use the machine too: more rounds until both shortest ones were undisturbed.
    for round in 0..12 {
        if round >= 4 && round % 2 == 0 && ratio < LIMIT {
            break;
        }
        if round % 2 == 1 {
            for (from, step) in ROWS {
                let words = format!("fill {} {} {from} 600 {step}", cx.kind(), theirs.name);
                let answer = tenant.ask(&words)?;
                ensure!(answer == Ok("600".into()), "{answer:?}");
            }
        } else if round > 0 {
            // IPv6 addresses go with a link that goes down.
            theirs.ns.nl().down(theirs.index)?;
            theirs.ns.nl().up(theirs.index)?;
        }
        // The core goes on with each address in its own time.
        wait::until("the addresses are settled", || {
            let addrs = theirs.ns.nl().addrs(theirs.index)?;
            Ok(addrs.iter().all(|a| !a.tentative))
        })
        .await?;
        took.push(delivery(&wire, &frame, &victim)?);
        ratio = shortest(&took, 1) / shortest(&took, 0);
    }
    evidence::row(
        &format!("400 datagrams beside 0 and 1800 addresses of a tenant by turns ({cx})"),
        &format!("{} rounds", took.len()),
        &format!("the shortest with takes {ratio:.2} times the shortest without; {took:.0?}"),
    );
    ensure!(
        cx.kind == Kind::Ipvlan || ratio < LIMIT,
        "{ratio:.2} times as long: {took:?}"
    );
    Ok(())
}
