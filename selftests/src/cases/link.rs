// SPDX-License-Identifier: GPL-2.0
//! Links: creation, names, refusals, what a dump shows.

use crate::cases;
use crate::cx::{Cx, Decision, Kind, Master, Suite, ANY, EACH, VETH};
use crate::ethtool::Ethtool;
use crate::lan::{Lan, Mode, PRIVATE, VEPA};
use crate::nl::{flags, LinkSpec, QUEUE_BYTES};
use anyhow::{ensure, Context, Result};

cases! {
    "link", Suite::Both;
    defaults: EACH, ANY;
    names: VETH, ANY;
    modes_and_flags_are_dumped: EACH, ANY;
    short_dump_has_no_link_info: VETH, ANY;
    link_in_link_netns: EACH, ANY;
    iflink_and_link_netnsid: EACH, ANY;
    upper_of_the_master: EACH, ANY;
    dev_id_counts: EACH, ANY;
    queues_and_qdisc: EACH, ANY;
    driver_information: EACH, ANY;
    link_settings_are_the_masters: VETH, ANY;
    address_at_creation: EACH, ANY;
    created_down_then_up: EACH, ANY;
    create_and_delete_many: EACH, ANY;
    promisc_stays_on_the_slave: EACH, ANY;
    allmulti_is_undone: EACH, ANY;
    queue_bytes_belong_to_the_port: EACH, ANY;
}
async fn defaults(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L3)?;
    lan.host.nl().add_link(&LinkSpec {
        mode: None,
        ..lan.spec("x")
    })?;
    let link = lan.host.nl().link("x")?;
    ensure!(
        link.kind.as_deref() == Some(cx.kind()),
        "kind {:?}",
        link.kind
    );
    ensure!(
        link.mode == Some(Mode::L3 as u16),
        "mode {:?} without IFLA_IPVLAN_MODE",
        link.mode
    );
    ensure!(
        link.port_flags == Some(0),
        "flags {:?} without IFLA_IPVLAN_FLAGS",
        link.port_flags
    );
    ensure!(link.link == Some(lan.master), "link {:?}", link.link);
    ensure!(link.mac == lan.mac, "the slave's MAC is not the master's");
    ensure!(link.mtu == 1500, "MTU {}", link.mtu);
    ensure!(!link.has(flags::UP), "created up");
    ensure!(
        link.has(flags::NOARP) || !link.has(flags::UP),
        "an L3 slave resolves neighbours"
    );
    Ok(())
}

/// Without IFLA_IFNAME the core makes the name from the kind.
async fn names(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    for _ in 0..2 {
        lan.host.nl().add_link(&lan.spec(""))?;
    }
    for n in 0..2 {
        lan.host.nl().link(&format!("{}{n}", cx.kind()))?;
    }
    Ok(())
}

async fn modes_and_flags_are_dumped(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        for port_flags in [0, PRIVATE, VEPA] {
            let lan = Lan::new(cx, mode)?;
            let slave = lan.slave_with(|spec| LinkSpec {
                flags: Some(port_flags),
                ..spec
            })?;
            let dump = slave.ns.nl().links(false)?;
            let link = dump
                .iter()
                .find(|l| l.name == slave.name)
                .context("not in the dump")?;
            ensure!(
                link.mode == Some(mode as u16),
                "mode {:?}, not {mode:?}",
                link.mode
            );
            ensure!(
                link.port_flags == Some(port_flags),
                "flags {:?}, not {port_flags}",
                link.port_flags
            );
            // Mode and flags; `ipvlan_rs` also shows how much its multicast queue may hold, and how many addresses a
            // slave.
            let attributes = match cx.kind {
                Kind::Ipvlan => 2,
                Kind::IpvlanRs => 4,
            };
            ensure!(
                link.data_attributes == attributes,
                "{} attributes in IFLA_INFO_DATA",
                link.data_attributes
            );
            ensure!(
                link.has(flags::NOARP) == (mode == Mode::L3),
                "NOARP in {mode:?}: {:#x}",
                link.flags
            );
        }
    }
    Ok(())
}

async fn short_dump_has_no_link_info(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slave = lan.slave()?;
    let dump = slave.ns.nl().links(true)?;
    let link = dump
        .iter()
        .find(|l| l.name == slave.name)
        .context("not in the dump")?;
    ensure!(
        link.kind.is_none() && link.mode.is_none(),
        "RTEXT_FILTER_NAME_ONLY shows {:?}",
        link.kind
    );
    Ok(())
}

/// With IFLA_LINK_NETNSID the master's index is looked up in that namespace.
async fn link_in_link_netns(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    // A first slave gives the host's namespace an id in the slave's. There the master's index is another link's.
    let ns = cx.netns()?;
    for n in 0..lan.master {
        ns.nl()
            .add_link(&LinkSpec::new("dummy", &format!("other{n}")))?;
    }
    let slave = lan.slave_in(ns, |s| s)?;
    let id = slave.link()?.link_netnsid.context("no IFLA_LINK_NETNSID")?;
    let spec = LinkSpec {
        link_netnsid: Some(id),
        ..lan.spec("second")
    };
    slave.ns.nl().add_link(&spec)?;
    let second = slave.ns.nl().link("second")?;
    ensure!(
        second.link == Some(lan.master) && second.link_netnsid == Some(id),
        "{:?}",
        second.link
    );
    // Without it the index means a link of the request's own namespace: here the loopback.
    cx.refused(
        slave.ns.nl().try_add_link(&LinkSpec {
            link: Some(1),
            ..lan.spec("third")
        })?,
        libc::EINVAL,
        "loopback",
    )
}

async fn iflink_and_link_netnsid(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    lan.host.nl().add_link(&lan.spec("here"))?;
    let here = lan.host.nl().link("here")?;
    ensure!(
        here.link == Some(lan.master) && here.link_netnsid.is_none(),
        "in the master's namespace: {here:?}"
    );
    ensure!(
        lan.host.sysfs("here/iflink")? == lan.master.to_string(),
        "sysfs iflink"
    );
    let there = lan.slave()?.link()?;
    ensure!(
        there.link == Some(lan.master) && there.link_netnsid.is_some(),
        "in another namespace: {there:?}"
    );
    Ok(())
}

async fn upper_of_the_master(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    lan.host.nl().add_link(&lan.spec("x"))?;
    ensure!(
        lan.host.sysfs("m0/upper_x/ifindex")? == lan.host.nl().link("x")?.index.to_string(),
        "no upper link"
    );
    ensure!(
        lan.host.sysfs("x/lower_m0/ifindex")? == lan.master.to_string(),
        "no lower link"
    );
    lan.host.nl().del_link(lan.host.nl().link("x")?.index)?;
    ensure!(
        lan.host.sysfs("m0/upper_x/ifindex").is_err(),
        "the upper link stays"
    );
    Ok(())
}

/// Every slave of a master has a dev_id of its own: IPv6 makes link-local addresses from it.
async fn dev_id_counts(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    for (name, id) in [("a", "0x1"), ("b", "0x2"), ("c", "0x3")] {
        lan.host.nl().add_link(&lan.spec(name))?;
        ensure!(
            lan.host.sysfs(&format!("{name}/dev_id"))? == id,
            "{name} has not {id}"
        );
    }
    // A freed id is not given out again at once.
    lan.host.nl().del_link(lan.host.nl().link("b")?.index)?;
    lan.host.nl().add_link(&lan.spec("d"))?;
    ensure!(
        lan.host.sysfs("d/dev_id")? == "0x4",
        "d has {}",
        lan.host.sysfs("d/dev_id")?
    );
    Ok(())
}

async fn queues_and_qdisc(cx: Cx) -> Result<()> {
    let link = Lan::new(cx, Mode::L2)?.slave()?.link()?;
    ensure!(
        link.tx_queues == 1 && link.rx_queues == 1,
        "{} and {} queues",
        link.tx_queues,
        link.rx_queues
    );
    ensure!(link.qdisc == "noqueue", "qdisc {}", link.qdisc);
    Ok(())
}

async fn driver_information(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slave = lan.slave()?;
    let ethtool = Ethtool::new(&slave.ns, &slave.name)?;
    let (driver, version) = ethtool.driver()?;
    let expected = match cx.kind {
        Kind::Ipvlan => "0.1".into(),
        // The core's word for a driver that has no version of its own.
        Kind::IpvlanRs => std::fs::read_to_string("/proc/sys/kernel/osrelease")?,
    };
    ensure!(
        driver == cx.kind() && version == expected.trim_end(),
        "driver {driver:?} {version:?}"
    );
    ensure!(ethtool.link()?, "ethtool sees no link");
    slave.ns.nl().down(slave.index)?;
    Ok(())
}

async fn link_settings_are_the_masters(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let slave = lan.slave()?;
    let master = Ethtool::new(&lan.host, "m0")?.speed()?;
    let own = Ethtool::new(&slave.ns, &slave.name)?.speed()?;
    ensure!(
        own == master && own.0 > 0,
        "{own:?}, the master has {master:?}"
    );
    Ok(())
}

/// The slave's MAC is the master's: another one at creation is ignored, which D8 says in a warning; a later change is
/// refused.
async fn address_at_creation(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let nl = lan.host.nl();
    let other = [2, 0, 0, 0, 0, 0x77];
    let warning = nl.try_add_link(&LinkSpec {
        address: Some(other),
        ..lan.spec("x")
    })??;
    if cx.decision(Decision::D8) {
        ensure!(
            warning.to_lowercase().contains("address"),
            "the warning is {warning:?}"
        );
    } else {
        ensure!(warning.is_empty(), "a warning: {warning:?}");
    }
    let x = nl.link("x")?;
    ensure!(x.mac == lan.mac, "the MAC {:02x?} was taken", x.mac);
    // The master's own address is no contradiction.
    nl.add_link(&LinkSpec {
        address: Some(lan.mac),
        ..lan.spec("y")
    })?;
    let answer = nl.try_set_mac(x.index, other)?;
    ensure!(
        answer.as_ref().is_err_and(|r| r.errno == libc::EOPNOTSUPP),
        "setting the MAC: {answer:?}"
    );
    ensure!(nl.link("x")?.mac == lan.mac, "the MAC changed");
    Ok(())
}

async fn created_down_then_up(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    lan.host.nl().add_link(&LinkSpec {
        up: true,
        ..lan.spec("x")
    })?;
    ensure!(
        lan.host.nl().link("x")?.has(flags::UP),
        "IFF_UP at creation is lost"
    );
    // A slave may go up while its master is down; it has no carrier then.
    lan.host.nl().down(lan.master)?;
    lan.host.nl().add_link(&lan.spec("y"))?;
    let y = lan.host.nl().link("y")?.index;
    lan.host.nl().up(y)?;
    let y = lan.host.nl().link_at(y)?;
    // A dummy keeps its carrier when it is down.
    let running = cx.master == Master::Dummy;
    ensure!(
        y.has(flags::UP) && y.has(flags::RUNNING) == running,
        "flags {:#x} over a master that is down",
        y.flags
    );
    Ok(())
}

async fn create_and_delete_many(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let nl = lan.host.nl();
    for round in 0..2 {
        for n in 0..30 {
            nl.add_link(&LinkSpec {
                up: n % 2 == 0,
                ..lan.spec(&format!("x{n}"))
            })?;
        }
        // In another order than they came.
        for n in (0..30).map(|n| (n * 7 + round) % 30) {
            nl.del_link(nl.link(&format!("x{n}"))?.index)?;
        }
    }
    ensure!(
        nl.links(false)?
            .iter()
            .all(|l| l.kind.as_deref() != Some(cx.kind())),
        "links are left"
    );
    Ok(())
}

async fn promisc_stays_on_the_slave(cx: Cx) -> Result<()> {
    use crate::nl::granted;
    let lan = Lan::new(cx, Mode::L2)?;
    let slave = lan.slave()?;
    granted(
        slave
            .ns
            .nl()
            .set_link(slave.index, |l| l.promiscuous(true))?,
    )?;
    ensure!(
        slave.link()?.promiscuity == 1,
        "the slave is not promiscuous"
    );
    ensure!(
        lan.master_link()?.promiscuity == 0,
        "the master became promiscuous"
    );
    Ok(())
}

/// A slave that wants all multicast makes its master want it, up or down; D6 takes the wish back with the slave.
async fn allmulti_is_undone(cx: Cx) -> Result<()> {
    use crate::nl::granted;
    let lan = Lan::new(cx, Mode::L2)?;
    let allmulti = || Ok::<_, anyhow::Error>(lan.master_link()?.allmulti);
    let slave = lan.slave()?;
    let on = |on| {
        granted(
            slave
                .ns
                .nl()
                .set_link(slave.index, |l| l.allmulticast(on))?,
        )
    };
    on(true)?;
    ensure!(allmulti()? == 1, "the master's allmulti is {}", allmulti()?);
    on(false)?;
    ensure!(
        allmulti()? == 0,
        "switched off, the master's allmulti is {}",
        allmulti()?
    );
    on(true)?;
    slave.ns.nl().down(slave.index)?;
    if cx.decision(Decision::D6) {
        ensure!(
            allmulti()? == 0,
            "with the slave down, the master's allmulti is {}",
            allmulti()?
        );
    }
    slave.ns.nl().up(slave.index)?;
    ensure!(
        allmulti()? == 1,
        "up again, the master's allmulti is {}",
        allmulti()?
    );
    slave.ns.nl().del_link(slave.index)?;
    let left = if cx.decision(Decision::D6) { 0 } else { 1 };
    ensure!(
        allmulti()? == left,
        "after the slave, the master's allmulti is {}",
        allmulti()?
    );
    Ok(())
}

/// The limit of the queue for many (D13) is the port's: set at creation or later, kept when not given, and refused below
/// what a few frames take. In-tree has no such attribute and does not look at it.
async fn queue_bytes_belong_to_the_port(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let with = |bytes: u32| vec![(QUEUE_BYTES, bytes.to_ne_bytes().to_vec())];
    let first = lan.slave()?;
    let second = lan.slave_with(|spec| LinkSpec {
        data: with(1 << 20),
        ..spec
    })?;
    let third = lan.slave()?;
    if !cx.decision(Decision::D13) {
        ensure!(first.link()?.queue_bytes.is_none(), "in-tree knows it");
        return Ok(());
    }
    for slave in [&first, &second, &third] {
        let seen = slave.link()?.queue_bytes;
        ensure!(seen == Some(1 << 20), "{}: {seen:?}", slave.name);
    }
    let change = |bytes| LinkSpec {
        data: with(bytes),
        ..LinkSpec::new(cx.kind(), "")
    };
    let granted = first.ns.nl().change_link(first.index, &change(262_144))?;
    ensure!(granted.is_ok(), "{granted:?}");
    let refused = first.ns.nl().change_link(first.index, &change(262_143))?;
    cx.refused(refused, libc::EINVAL, "262144")?;
    ensure!(
        third.link()?.queue_bytes == Some(262_144),
        "the change did not reach a sibling, or the refused one did"
    );
    Ok(())
}
