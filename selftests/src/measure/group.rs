// SPDX-License-Identifier: GPL-2.0
//! One packet for many receivers: all the work counts, whichever task does it, and what was lost.

use super::net::{counted, Net, Peer, L2};
use super::pktgen::{Order, Pktgen, Way};
use super::Bench;
use crate::frames::Mac;
use anyhow::{ensure, Context, Result};
use std::net::IpAddr;
use std::time::Duration;

/// Waits until nothing more arrives; how much has.
pub fn settled(net: &Net) -> Result<u64> {
    let mut last = counted(&net.inside, false)?;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = counted(&net.inside, false)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

/// In which so many copies are surely made: a second of an emulated guest's costs nobody anything while it idles, and
/// each instruction of it is a nanosecond.
pub fn patience(b: &Bench<'_>, copies: u64) -> Duration {
    let each = Duration::from_micros(if b.emulated() { 4 } else { 1 });
    Duration::from_millis(200) + each * copies as u32
}

/// How much has arrived since `before`, and that all of it had when the work was read.
pub fn arrived(net: &Net, before: u64) -> Result<u64> {
    let (name, now) = (net.peer.name(), counted(&net.inside, false)?);
    ensure!(now > before, "{name}: no copy arrived");
    ensure!(
        now == settled(net)?,
        "{name}: copies were made after the work was read"
    );
    Ok(now - before)
}

/// What new links and addresses have to say for themselves, to groups and neighbours, they have said after it.
pub fn rest() {
    std::thread::sleep(Duration::from_secs(4));
}

/// Frames for all who listen.
fn gun(net: &Net, mac: Mac, to: impl Into<IpAddr>) -> Pktgen {
    let to = to.into();
    Pktgen {
        ns: net.host.clone(),
        device: "m0".into(),
        way: Way::Receive,
        mac,
        src: [10, 1, 0, 9].into(),
        dst: (to, to),
        order: Order::Random,
        size: 60,
    }
}

/// Networks with so many listening slaves, whose packets end at their ingress.
fn audience(slaves: u64) -> Result<Vec<Net>> {
    let mut nets = Vec::new();
    for peer in [Peer::Ipvlan, Peer::IpvlanRs, Peer::Macvlan] {
        let mut net = Net::new(peer, L2, false)?;
        for n in 0..slaves {
            net.grow()?;
            // ipvlan's slaves listen for broadcasts once they have an IPv4 address.
            net.address(n as u32)?;
        }
        net.cut()?;
        nets.push(net);
    }
    rest();
    Ok(nets)
}

/// Frames from the wire to 1, 10 and more slaves: broadcasts, and a group that every host is in.
pub fn flood(b: &mut Bench<'_>) -> Result<()> {
    const ALL_HOSTS: Mac = [1, 0, 0x5e, 0, 0, 1];
    let rows: [(&str, Mac, [u8; 4]); 2] = [
        ("broadcast", [0xff; 6], [255; 4]),
        ("multicast", ALL_HOSTS, [224, 0, 0, 1]),
    ];
    let burst = "broadcast burst";
    let mut steps: Vec<u64> = match b.full() {
        true => vec![1, 10, 100, 200, 1000],
        false => vec![1, 10, 100],
    };
    // More frames than in-tree ipvlan's queue holds, as fast as they come: for so many slaves.
    let crowd = if b.full() { 200 } else { 100 };
    if !rows.iter().any(|(row, ..)| b.wants(row)) {
        steps.retain(|s| *s == crowd && b.wants(burst));
    }
    for slaves in steps {
        let nets = audience(slaves)?;
        for (row, mac, to) in rows {
            if b.wants(row) {
                let count = (50_000 / slaves).clamp(50, 400);
                volley(b, row, slaves, count, &nets, &|net| gun(net, mac, to))?;
            }
        }
        if b.wants(burst) && slaves == crowd {
            let (mac, to) = (rows[0].1, rows[0].2);
            volley(b, burst, slaves, 5000, &nets, &|net| gun(net, mac, to))?;
        }
    }
    Ok(())
}

fn volley(
    b: &mut Bench<'_>,
    row: &str,
    slaves: u64,
    frames: u64,
    nets: &[Net],
    gun: &dyn Fn(&Net) -> Pktgen,
) -> Result<()> {
    let mut costs = vec![Vec::new(); nets.len()];
    let mut losses = vec![Vec::new(); nets.len()];
    // Instructions of a million copies are the same twice; and most of the time goes into waiting.
    let rounds = match b.emulated() {
        true if frames * slaves > 500_000 => 2,
        true => b.rounds,
        false if b.full() => 7,
        false => 2,
    };
    let guns: Vec<Pktgen> = nets.iter().map(gun).collect();
    let armed = guns.iter().map(Pktgen::arm).collect::<Result<Vec<_>>>()?;
    // Some to warm up, then the rounds.
    for round in 0..=rounds {
        for (n, (net, gun)) in nets.iter().zip(&armed).enumerate() {
            let count = if round == 0 { 20 } else { frames };
            let before = settled(net)?;
            let wait = patience(b, count * slaves);
            // Whoever loses most would pay most for the time in which nothing is left to do.
            let idle = b.meter.idle(wait)?;
            let work = b.meter.during(|meter| {
                gun.fire(count, meter)?;
                std::thread::sleep(wait);
                Ok(())
            })?;
            let copies = arrived(net, before).context(row.to_string())?;
            if round > 0 {
                costs[n].push((work - idle) / copies as f64);
                losses[n].push((count * slaves).saturating_sub(copies) as f64);
            }
        }
    }
    for (n, net) in nets.iter().enumerate() {
        let name = net.peer.name();
        b.report(row, slaves, name, "per copy", &costs[n]);
        b.report(&format!("{row} lost"), slaves, name, "copies", &losses[n]);
    }
    Ok(())
}
