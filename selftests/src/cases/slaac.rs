// SPDX-License-Identifier: GPL-2.0
//! IPv6 addresses that the kernel makes itself, which nobody can refuse.

use super::address::arrives;
use crate::cases;
use crate::cx::{Cx, Suite, EACH, V6};
use crate::frames;
use crate::lan::{Lan, Mode, Slave};
use crate::wait;
use anyhow::{ensure, Context, Result};
use std::net::{IpAddr, Ipv6Addr};

cases! {
    "slaac", Suite::Both;
    router_gives_each_slave_its_own: EACH, V6;
    duplicate_stays_with_the_first: EACH, V6;
}

/// A router advertisement (RFC 4861 4.2) with one autonomous prefix of 64 bits.
pub fn advertisement(lan: &Lan, prefix: Ipv6Addr) -> Vec<u8> {
    let src = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // Hop limit, flags, router lifetime 0 (no default route), reachable and retransmission time.
    let mut body = vec![64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Prefix information: 64 bits, on-link and autonomous, valid and preferred for an hour.
    body.extend([3, 4, 64, 0xc0]);
    body.extend(3600u32.to_be_bytes());
    body.extend(3600u32.to_be_bytes());
    body.extend([0; 4]);
    body.extend(prefix.octets());
    let to = frames::group_mac(all.into());
    frames::icmp6(lan.wire_mac, to, src, all, 255, 134, 0, &body)
}

pub const PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd55, 0, 0, 0, 0, 0, 0, 0);

/// Waits for the address that the slave makes of [`PREFIX`].
pub async fn made(slave: &Slave) -> Result<IpAddr> {
    let mut found = None;
    wait::until("an address of the router's prefix", || {
        found = slave.ns.nl().addrs(slave.index)?.into_iter().find_map(|a| {
            let of_prefix = matches!(a.ip, IpAddr::V6(ip) if ip.segments()[0] == 0xfd55);
            (of_prefix && !a.tentative).then_some(a.ip)
        });
        Ok(found.is_some())
    })
    .await?;
    found.context("none")
}

/// One MAC, but as many identifiers as slaves.
async fn router_gives_each_slave_its_own(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    lan.wire_tap()?.send(&advertisement(&lan, PREFIX))?;
    let ips = [made(&a).await?, made(&b).await?];
    ensure!(ips[0] != ips[1], "both have {}", ips[0]);
    for (slave, ip) in [&a, &b].into_iter().zip(ips) {
        ensure!(
            arrives(&lan, &slave.tap()?, ip, slave.ip()).await?,
            "{ip} of {} is not delivered",
            slave.name
        );
    }
    Ok(())
}

/// With one secret for both (RFC 7217) two slaves make the same address, which no validator sees: it is steered to the
/// one that had it first, and deleting the other's does not change that.
async fn duplicate_stays_with_the_first(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    for slave in [&a, &b] {
        let key = format!("ipv6/conf/{}/stable_secret", slave.name);
        slave.ns.sysctl(&key, "2001:db8::1")?;
    }
    // b does not listen to the first advertisement.
    let accept = format!("ipv6/conf/{}/accept_ra", b.name);
    b.ns.sysctl(&accept, "0")?;
    let wire = lan.wire_tap()?;
    wire.send(&advertisement(&lan, PREFIX))?;
    let ip = made(&a).await?;
    b.ns.sysctl(&accept, "1")?;
    wire.send(&advertisement(&lan, PREFIX))?;
    ensure!(made(&b).await? == ip, "no duplicate");
    for _ in 0..2 {
        ensure!(
            arrives(&lan, &a.tap()?, ip, a.ip()).await?,
            "the first owner lost it"
        );
        ensure!(
            !arrives(&lan, &b.tap()?, ip, b.ip()).await?,
            "the second owner got it"
        );
        let _ = b.ns.nl().del_addr(b.index, ip, 64);
    }
    Ok(())
}
