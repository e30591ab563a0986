// SPDX-License-Identifier: GPL-2.0
//! L3: after each change that routes depend on, the very next packet takes the new way. A route that the driver
//! remembered for too long would show as the old one.

use crate::cases;
use crate::cx::{Cx, Suite, EACH, V46, V6, VETH};
use crate::far::{far, gateway, neighbours, Path, EARLIER, MARK, NEW, OLD, OLD_WAY};
use crate::frames;
use crate::lan::{namespaces_gone, Lan};
use crate::modules;
use crate::nl::{granted, nexthop, AddrSpec, LinkSpec, Via};
use crate::packet::Captured;
use crate::wait;
use anyhow::{ensure, Result};
use std::time::Duration;

cases! {
    "stale", Suite::Both;
    rule_added: EACH, V46;
    route_in_an_earlier_table: EACH, V46;
    route_gone_from_an_earlier_table: EACH, V46;
    more_specific_route: EACH, V46;
    local_table: EACH, V46;
    throw_in_the_local_table: EACH, V46;
    master_renamed: EACH, V46;
    loopback_renamed: EACH, V46;
    vrf_renamed: VETH, V46;
    master_of_another_group: EACH, V46;
    gateway_does_not_answer: EACH, V6;
    mark: EACH, V46;
    service: EACH, V46;
    addresses: EACH, V46;
    device_down: EACH, V46;
    namespace_move: VETH, V46;
    namespace_goes: VETH, V46;
    next_hop_replaced: EACH, V46;
    member_replaced: EACH, V46;
}

async fn rule_added(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    path.route((EARLIER, 2))?;
    path.all(OLD, "before the rule").await?;
    path.lan.host.nl().add_rule(!cx.is_v6(), EARLIER)?;
    path.all(NEW, "after the rule").await
}

async fn route_in_an_earlier_table(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    path.lan.host.nl().add_rule(!cx.is_v6(), EARLIER)?;
    path.all(OLD, "before the route").await?;
    path.route((EARLIER, 2))?;
    path.all(NEW, "after the route").await
}

/// A route that led on to the next table: in IPv6 no number moves when it goes.
async fn route_gone_from_an_earlier_table(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let nl = path.lan.host.nl();
    nl.add_rule(!cx.is_v6(), EARLIER)?;
    path.route((EARLIER, 2))?;
    let (to, len) = (far(cx), cx.host_prefix());
    nl.add_route_in(EARLIER, to, len, Via::Throw)?;
    path.flips(
        || nl.del_route_in(EARLIER, to, len),
        || nl.add_route_in(EARLIER, to, len, Via::Throw),
    )
    .await
}

async fn more_specific_route(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    path.all(OLD, "before the route").await?;
    let nl = path.lan.host.nl();
    let via = Via::Gateway(gateway(cx, 2));
    let (to, len) = (far(cx), cx.host_prefix());
    path.flips(
        || nl.add_route(to, len, via),
        || nl.del_route_in(OLD_WAY.0, to, len),
    )
    .await
}

/// Of IPv6, the main table does not notice.
async fn local_table(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let nl = path.lan.host.nl();
    let via = Via::Gateway(gateway(cx, 2));
    let (to, len) = (far(cx), cx.host_prefix());
    path.flips(
        || nl.add_route_in(LOCAL, to, len, via),
        || nl.del_route_in(LOCAL, to, len),
    )
    .await
}

/// As in [`route_gone_from_an_earlier_table`], without a rule.
async fn throw_in_the_local_table(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let nl = path.lan.host.nl();
    let (to, len) = (far(cx), cx.host_prefix());
    let network = cx.pick([192, 0, 2, 0], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]);
    nl.add_route_in(LOCAL, to, len, Via::Throw)?;
    nl.add_route_in(
        LOCAL,
        network,
        cx.link_prefix(),
        Via::Gateway(gateway(cx, 2)),
    )?;
    path.flips(
        || nl.del_route_in(LOCAL, to, len),
        || nl.add_route_in(LOCAL, to, len, Via::Throw),
    )
    .await
}

/// A rule that asks for the master's name.
async fn master_renamed(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let (nl, master) = (path.lan.host.nl(), path.lan.master);
    path.route((EARLIER, 2))?;
    nl.add_oif_rule(!cx.is_v6(), "m1", EARLIER)?;
    let name = |name| granted(nl.set_link(master, |l| l.name(name))?);
    path.flips(|| name("m1"), || name("m0")).await
}

/// One that asks for the loopback's, by which rules mean packets of the host.
async fn loopback_renamed(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let nl = path.lan.host.nl();
    path.route((EARLIER, 2))?;
    nl.add_iif_rule(!cx.is_v6(), "l1", EARLIER)?;
    let name = |name| granted(nl.set_link(1, |l| l.name(name))?);
    path.flips(|| name("l1"), || name("lo")).await
}

/// One that asks for the VRF's that the master is in.
async fn vrf_renamed(cx: Cx) -> Result<()> {
    const TABLE: u32 = 101;
    modules::load("vrf")?;
    let path = Path::without_route(cx)?;
    let (lan, nl) = (&path.lan, path.lan.host.nl());
    nl.add_link(&LinkSpec {
        // IFLA_VRF_TABLE
        data: vec![(1, TABLE.to_ne_bytes().to_vec())],
        up: true,
        ..LinkSpec::new("vrf", "v0")
    })?;
    let vrf = nl.link("v0")?.index;
    granted(nl.set_link(lan.master, |l| l.controller(vrf))?)?;
    // It went down and up on the way.
    if cx.is_v6() {
        granted(nl.try_add_addr(&AddrSpec::new(lan.master, lan.master_ip(), 64))?)?;
    }
    let master = || nl.link_at(lan.master);
    wait::until("it has its carrier again", || Ok(master()?.carrier)).await?;
    neighbours(lan, &lan.host)?;
    for (table, n) in [(TABLE, 1), (EARLIER, 2)] {
        nl.add_route_in(
            table,
            cx.any(),
            0,
            Via::GatewayOn(gateway(cx, n), lan.master),
        )?;
    }
    // Before the rule that leads to the VRF's table, which came with it.
    nl.add_oif_rule(!cx.is_v6(), "v1", EARLIER)?;
    let name = |name| granted(nl.set_link(vrf, |l| l.name(name))?);
    path.flips(|| name("v1"), || name("v0")).await
}

/// A rule that asks for its group.
async fn master_of_another_group(cx: Cx) -> Result<()> {
    const GROUP: u32 = 7;
    let path = Path::new(cx)?;
    let lan = &path.lan;
    let (nl, master) = (lan.host.nl(), lan.master);
    path.route((EARLIER, 2))?;
    nl.add_group_rule(!cx.is_v6(), GROUP, EARLIER)?;
    let set = |group| granted(nl.set_link(master, |l| l.link_group(group))?);
    set(GROUP)?;
    path.flips(|| set(0), || set(GROUP)).await?;
    // Of which nobody is told.
    let write = |group: u32| lan.host.set_sysfs("m0/netdev_group", &group.to_string());
    path.flips(|| write(0), || write(GROUP)).await
}

/// A host that does not forward prefers gateways that answer (RFC 4861, 6.3.6), and nothing announces that they do not.
async fn gateway_does_not_answer(cx: Cx) -> Result<()> {
    let path = Path::without_route(cx)?;
    let (nl, master) = (path.lan.host.nl(), path.lan.master);
    for n in [1, 2] {
        nl.add_route_metric(
            cx.any(),
            0,
            Via::Gateway(gateway(cx, n)),
            100 * u32::from(n),
        )?;
    }
    // A remembered route is good for the rest of a clock tick.
    let tick = || tokio::time::sleep(Duration::from_millis(30));
    for round in 0..3 {
        path.all(OLD, &format!("{round}: it answers")).await?;
        nl.fail_neigh(master, gateway(cx, 1))?;
        tick().await;
        path.all(NEW, &format!("{round}: it does not")).await?;
        nl.add_neigh(master, gateway(cx, 1), OLD)?;
        tick().await;
    }
    Ok(())
}

/// The mark of one packet does not choose the way of the next, within the namespace where marks count.
async fn mark(cx: Cx) -> Result<()> {
    let path = Path::of_the_host(cx)?;
    path.route((EARLIER, 2))?;
    let nl = path.lan.host.nl();
    nl.add_mark_rule(!cx.is_v6(), MARK, EARLIER)?;
    path.all(OLD, "unmarked").await?;
    path.tap.set_option(libc::SO_MARK, MARK as i32)?;
    path.all(NEW, "marked").await?;
    path.tap.set_option(libc::SO_MARK, 0)?;
    path.all(OLD, "unmarked again").await
}

/// Nor does the service that it asks for (DSCP; IPv6: the traffic class).
async fn service(cx: Cx) -> Result<()> {
    const SERVICE: u8 = 0x10;
    let path = Path::new(cx)?;
    path.route((EARLIER, 2))?;
    let nl = path.lan.host.nl();
    nl.add_tos_rule(!cx.is_v6(), SERVICE, EARLIER)?;
    let ask = |frame: &mut [u8]| {
        if cx.is_v6() {
            frame[14] |= SERVICE >> 4;
            frame[15] |= SERVICE << 4;
        } else {
            frame[15] = SERVICE;
            frames::header_checksum(frame);
        }
    };
    path.all(OLD, "plain").await?;
    path.go(NEW, "special", ask).await?;
    path.all(OLD, "plain again").await
}

/// Nor do the addresses.
async fn addresses(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let other = cx.pick([192, 0, 2, 2], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
    let via = Via::Gateway(gateway(cx, 2));
    let nl = path.lan.host.nl();
    nl.add_route(other, cx.host_prefix(), via)?;
    for round in 0..3 {
        path.all(OLD, "to the one").await?;
        let frame = frames::udp(path.mac, path.mac, path.ip, other, (5, 7), b"other");
        path.tap.send(&frame)?;
        let ours = |f: &Captured| frames::is_udp(&f.bytes, 7, b"other");
        let seen = path.wire.expect("the other datagram", ours).await?;
        ensure!(seen.bytes[..6] == NEW, "round {round}: sent the one's way");
    }
    Ok(())
}

const LOCAL: u32 = libc::RT_TABLE_LOCAL as u32;

/// The routes over a device go when it does; they do not come back with it.
async fn device_down(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let (lan, nl) = (&path.lan, path.lan.host.nl());
    path.all(OLD, "before").await?;
    nl.down(lan.master)?;
    // Refused or lost, but not sent.
    let _ = path.tap.try_send(&path.frame(b"while it is down"));
    nl.up(lan.master)?;
    if cx.is_v6() {
        // Its addresses went too.
        nl.add_addr(lan.master, lan.master_ip(), 64)?;
    }
    lan.settled().await?;
    neighbours(lan, &lan.host)?;
    // The way is there again, but no route: it went when the device did, and nobody adds one until the end.
    let lost = b"without a route";
    for _ in 0..4 {
        let _ = path.tap.try_send(&path.frame(lost));
    }
    path.route((OLD_WAY.0, 2))?;
    path.tap.send(&path.frame(b"after"))?;
    let after = |f: &Captured| frames::is_udp(&f.bytes, 7, b"after");
    let seen = path.wire.until("the first one after", after).await?;
    ensure!(
        !seen.iter().any(|f| frames::is_udp(&f.bytes, 7, lost)),
        "sent without a route"
    );
    path.all(NEW, "after").await
}

/// The master goes to a namespace that has other routes.
async fn namespace_move(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    let lan = &path.lan;
    path.all(OLD, "before").await?;
    let there = cx.netns()?;
    lan.host.nl().move_link(lan.master, there.fd())?;
    let nl = there.nl();
    let master = nl.link("m0")?.index;
    nl.up(master)?;
    nl.add_addr(master, lan.master_ip(), cx.link_prefix())?;
    nl.add_neigh(master, gateway(cx, 1), NEW)?;
    nl.add_route(cx.any(), 0, Via::Gateway(gateway(cx, 1)))?;
    path.all(NEW, "after").await
}

/// The master goes, and then the namespace that its routes were of: a route of IPv6 must not be held beyond. A kernel that
/// watches its memory sees whether it is (`make check-debug`).
async fn namespace_goes(cx: Cx) -> Result<()> {
    let path = Path::new(cx)?;
    path.all(OLD, "before").await?;
    let there = cx.netns()?;
    path.lan.host.nl().move_link(path.lan.master, there.fd())?;
    let (frame, last) = (path.frame(b"after"), path.frame(b"last"));
    let Path { lan, tap, wire, .. } = path;
    let ip = lan.master_ip();
    let Lan {
        host, ext: _ext, ..
    } = lan;
    drop(host);
    namespaces_gone().await?;
    let nl = there.nl();
    let master = nl.link("m0")?.index;
    nl.up(master)?;
    nl.add_addr(master, ip, cx.link_prefix())?;
    nl.add_neigh(master, gateway(cx, 1), NEW)?;
    nl.add_route(cx.any(), 0, Via::Gateway(gateway(cx, 1)))?;
    // A slave sends again when the kernel has noticed that its master has a carrier, some time after that is up.
    wait::until("a datagram after the move", || {
        tap.send(&frame)?;
        let mut seen = false;
        while let Some(f) = wire.poll()? {
            seen |= frames::is_udp(&f.bytes, 7, b"after");
        }
        Ok(seen)
    })
    .await?;
    for _ in 0..4 {
        tap.send(&frame)?;
    }
    tap.send(&last)?;
    let is_last = |f: &Captured| frames::is_udp(&f.bytes, 7, b"last");
    let seen = wire.expect("the last datagram", is_last).await?;
    ensure!(seen.bytes[..6] == NEW, "sent the old way");
    Ok(())
}

async fn next_hop_replaced(cx: Cx) -> Result<()> {
    let path = Path::without_route(cx)?;
    let lan = &path.lan;
    nexthop::set(&lan.host, 1, lan.master, gateway(cx, 1))?;
    lan.host.nl().add_route_by(cx.any(), 0, 1)?;
    path.all(OLD, "before").await?;
    let set = |n| nexthop::set(&lan.host, 1, lan.master, gateway(cx, n));
    path.flips(|| set(2), || set(1)).await
}

/// The same of a group's only member, of which the group's routes are not told.
async fn member_replaced(cx: Cx) -> Result<()> {
    let path = Path::without_route(cx)?;
    let lan = &path.lan;
    let set = |n| nexthop::set(&lan.host, 1, lan.master, gateway(cx, n));
    set(1)?;
    nexthop::group(&lan.host, 2, 1)?;
    lan.host.nl().add_route_by(cx.any(), 0, 2)?;
    path.flips(|| set(2), || set(1)).await
}
