// SPDX-License-Identifier: GPL-2.0
//! Up, down, carrier, operational state: the master's and the slave's.

use crate::cases;
use crate::cx::{Cx, Kind, Master, Suite, ANY, EACH, V46, VETH};
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::nl::{flags, granted};
use crate::ping::ping;
use crate::wait;
use anyhow::{ensure, Result};

cases! {
    "state", Suite::Both;
    carrier_follows_the_master: EACH, ANY;
    dormant_follows_the_master: VETH, ANY;
    master_down_and_up: VETH, V46;
    down_slave_gets_nothing: EACH, V46;
    down_slave_sends_nothing: EACH, V46;
    up_and_down_again: EACH, V46;
    own_address_while_down: EACH, V46;
    protodown: EACH, ANY;
}

async fn carrier_follows_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let set = |on: bool| match cx.master {
        // A veth has carrier while its peer is up.
        Master::Veth if on => lan.ext.nl().up(lan.wire),
        Master::Veth => lan.ext.nl().down(lan.wire),
        Master::Dummy => granted(lan.host.nl().set_link(lan.master, |l| l.carrier(on))?),
    };
    for _ in 0..2 {
        set(false)?;
        wait::until("no carrier on the slave", || {
            Ok(!a.link()?.carrier && !a.link()?.has(flags::RUNNING))
        })
        .await?;
        ensure!(
            a.link()?.has(flags::UP),
            "the slave went down with the carrier"
        );
        set(true)?;
        wait::until("carrier on the slave", || {
            Ok(a.link()?.carrier && a.link()?.has(flags::RUNNING))
        })
        .await?;
    }
    Ok(())
}

async fn dormant_follows_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    lan.host.nl().add_link(&lan.spec("x"))?;
    lan.host.nl().up(lan.host.nl().link("x")?.index)?;
    for (state, dormant) in [(5, "1"), (6, "0")] {
        granted(lan.host.nl().set_link(lan.master, |l| l.operstate(state))?)?;
        wait::until("dormant on the slave", || {
            Ok(lan.host.sysfs("x/dormant")? == dormant)
        })
        .await?;
    }
    Ok(())
}

async fn master_down_and_up(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    ping(&a.ns, lan.ext_ip()).await?;
    lan.host.nl().down(lan.master)?;
    wait::until("no carrier on the slave", || Ok(!a.link()?.carrier)).await?;
    ensure!(
        a.link()?.has(flags::UP),
        "the slave went down with its master"
    );
    lan.host.nl().up(lan.master)?;
    lan.settled().await?;
    wait::until("carrier on the slave", || Ok(a.link()?.carrier)).await?;
    ping(&a.ns, lan.ext_ip()).await
}

/// What is addressed to a slave that is down goes to the host instead, as if nobody had the address; up again, the slave
/// gets it.
async fn down_slave_gets_nothing(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        let (wire, tap) = (lan.wire_tap()?, b.tap()?);
        let datagram =
            |text: &[u8]| frames::udp(lan.wire_mac, lan.mac, lan.ext_ip(), b.ip(), (5, 7), text);
        wire.send(&datagram(b"up"))?;
        tap.expect("the first", |f| frames::is_udp(&f.bytes, 7, b"up"))
            .await?;
        b.ns.nl().down(b.index)?;
        let before = b.link()?.stats;
        let host = lan.master_tap()?;
        wire.send(&datagram(b"down"))?;
        // From a sibling too: it leaves for the wire (L2, another MAC) or the host's routing.
        let _ = a.tap()?.try_send(&frames::udp(
            a.mac,
            a.mac,
            a.ip(),
            b.ip(),
            (5, 7),
            b"sibling",
        ));
        host.expect("the datagram at the master", |f| {
            frames::is_udp(&f.bytes, 7, b"down")
        })
        .await?;
        let after = b.link()?.stats;
        ensure!(
            before.rx_packets == after.rx_packets,
            "the slave that is down counts a packet"
        );
        b.ns.nl().up(b.index)?;
        lan.address_again(&b)?;
        wire.send(&datagram(b"again"))?;
        let seen = tap
            .until("the last", |f| frames::is_udp(&f.bytes, 7, b"again"))
            .await?;
        for word in [&b"down"[..], b"sibling"] {
            ensure!(
                !seen.iter().any(|f| frames::is_udp(&f.bytes, 7, word)),
                "the slave got {word:?} while down"
            );
        }
    }
    Ok(())
}

async fn down_slave_sends_nothing(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let tap = a.tap()?;
    a.ns.nl().down(a.index)?;
    let frame = frames::udp(a.mac, lan.wire_mac, a.ip(), lan.ext_ip(), (5, 7), b"x");
    let sent = tap.try_send(&frame);
    ensure!(sent == Err(nix::Error::ENETDOWN), "{sent:?}");
    Ok(())
}

async fn up_and_down_again(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    for _ in 0..4 {
        ping(&a.ns, b.ip()).await?;
        b.ns.nl().down(b.index)?;
        b.ns.nl().up(b.index)?;
        lan.address_again(&b)?;
    }
    ping(&lan.ext, b.ip()).await
}

/// The address of a slave that is down stays taken, and its owner may take it away and give it back.
async fn own_address_while_down(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.bare()?);
    // IPv6 addresses of a link that goes down are lost, so they come while it is down.
    let prefix = cx.host_prefix();
    b.ns.nl().add_addr(b.index, b.ip(), prefix)?;
    let spec = crate::nl::AddrSpec::new(a.index, b.ip(), prefix);
    cx.refused(a.ns.nl().try_add_addr(&spec)?, libc::EADDRINUSE, "already")?;
    b.ns.nl().del_addr(b.index, b.ip(), prefix)?;
    granted(a.ns.nl().try_add_addr(&spec)?)?;
    granted(a.ns.nl().try_del_addr(&spec)?)?;
    b.ns.nl().add_addr(b.index, b.ip(), prefix)?;
    b.ns.nl().up(b.index)?;
    wait::until("the address is usable", || b.ns.nl().is_local(b.ip())).await?;
    let tap = b.tap()?;
    let frame = frames::udp(
        lan.wire_mac,
        lan.mac,
        lan.ext_ip(),
        b.ip(),
        (5, 7),
        b"hello",
    );
    lan.wire_tap()?.send(&frame)?;
    tap.expect("the datagram", |f| frames::is_udp(&f.bytes, 7, b"hello"))
        .await
        .map(drop)
}

/// The carrier taken away by hand stays away, whatever the master does, until it is given back.
async fn protodown(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let set = |down| a.ns.nl().try_set_proto_down(a.index, down);
    if cx.kind == Kind::Ipvlan {
        let answer = set(true)?;
        ensure!(
            answer.as_ref().is_err_and(|r| r.errno == libc::EOPNOTSUPP),
            "{answer:?}"
        );
        return Ok(());
    }
    granted(set(true)?)?;
    ensure!(!a.link()?.carrier, "the carrier stays");
    lan.host.nl().down(lan.master)?;
    lan.host.nl().up(lan.master)?;
    lan.settled().await?;
    ensure!(
        !a.link()?.carrier,
        "the carrier came back with the master's"
    );
    granted(set(false)?)?;
    ensure!(a.link()?.carrier, "the carrier is not given back");
    wait::until("the slave runs", || Ok(a.link()?.has(flags::RUNNING))).await
}
