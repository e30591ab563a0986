// SPDX-License-Identifier: GPL-2.0
//! What a master's bonding does concerns its slaves: they announce themselves at the new port.

use super::multicast::{group, join};
use crate::cases;
use crate::cx::{Cx, Suite, V46, VETH};
use crate::frames;
use crate::lan::{Lan, Mode};
use crate::modules;
use crate::nl::{granted, LinkSpec, VethEnd};
use crate::packet::Tap;
use crate::ping::ping;
use crate::wait;
use anyhow::Result;
use std::net::IpAddr;

cases! {
    "failover", Suite::Both;
    slaves_announce_themselves: VETH, V46;
}

/// Of two ports the active one loses its carrier: at the other the slave's neighbours hear who it is (NETDEV_NOTIFY_PEERS)
/// and which groups it listens to (NETDEV_RESEND_IGMP), without the slave doing anything.
async fn slaves_announce_themselves(cx: Cx) -> Result<()> {
    modules::load("bonding")?;
    let lan = Lan::new(cx, Mode::L2)?;
    let nl = lan.host.nl();
    // IFLA_BOND_MODE 1 (active-backup), IFLA_BOND_MIIMON 10 ms.
    let data = vec![(1, vec![1]), (3, 10u32.to_ne_bytes().to_vec())];
    nl.add_link(&LinkSpec {
        data,
        ..LinkSpec::new("bond", "bond0")
    })?;
    let end = VethEnd {
        name: "e1".into(),
        ns: lan.ext.fd(),
        mtu: 1500,
    };
    nl.add_link(&LinkSpec {
        peer: Some(end),
        ..LinkSpec::new("veth", "m1")
    })?;
    let bond = nl.link("bond0")?.index;
    let other = lan.ext.nl().link("e1")?.index;
    lan.ext.nl().up(other)?;
    for port in [lan.master, nl.link("m1")?.index] {
        nl.down(port)?;
        granted(nl.set_link(port, |l| l.controller(bond))?)?;
    }
    nl.up(bond)?;
    let a = lan.slave_with(|s| LinkSpec {
        link: Some(bond),
        ..s
    })?;
    wait::until("carrier", || Ok(a.link()?.carrier)).await?;
    ping(&a.ns, lan.ext_ip()).await?;
    let _member = join(&a, group(cx, 1), 4000)?;
    let tap = Tap::new(&lan.ext, other)?;
    lan.ext.nl().down(lan.wire)?;
    let (mut announced, mut reported) = (false, false);
    wait::until("the slave's announcement and its report of groups", || {
        while let Some(f) = tap.poll()? {
            announced |= match a.ip() {
                IpAddr::V4(ip) => frames::arp_of(&f.bytes)
                    .is_some_and(|(_, sender, target)| sender == ip && target == ip),
                IpAddr::V6(ip) => frames::nd_of(&f.bytes) == Some((136, ip)),
            };
            // IGMPv3 and MLDv2 reports go to groups of their own.
            let routers = cx.pick([224, 0, 0, 22], [0xff02, 0, 0, 0, 0, 0, 0, 0x16]);
            reported |= frames::addresses(&f.bytes)
                .is_some_and(|(from, to)| to == routers && is_of(&a, from));
        }
        Ok(announced && reported)
    })
    .await
}

/// MLD reports come from the link-local address, which is the slave's by its dev_id.
fn is_of(a: &crate::lan::Slave, from: IpAddr) -> bool {
    match from {
        IpAddr::V4(_) => from == a.ip(),
        IpAddr::V6(from) => {
            a.ns.nl()
                .link_local(a.index)
                .is_ok_and(|own| own == Some(from))
        }
    }
}
