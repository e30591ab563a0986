// SPDX-License-Identifier: GPL-2.0
//! The kind `ipvlan`, served by `ipvlan_rs`: the parameter `dropin`.

use super::parameter::Loaded;
use crate::cases;
use crate::cx::{Cx, Kind, Skip, Suite, EACH, V4, V46, VETH};
use crate::debug;
use crate::kmsg::Kmsg;
use crate::lan::{Lan, Mode};
use crate::modules;
use crate::nl::LinkSpec;
use crate::ping::ping;
use anyhow::{ensure, Result};

// In the suite that runs without the in-tree module, which holds the kind otherwise.
cases! {
    "dropin", Suite::Own;
    serves_ipvlan: EACH, V46;
    kind_taken: VETH, V4;
    off_by_default: VETH, V4;
}

/// What tools that know only in-tree ipvlan ask for.
fn as_ipvlan(spec: LinkSpec) -> LinkSpec {
    LinkSpec {
        kind: Kind::Ipvlan.name(),
        ..spec
    }
}

/// Links of both names are siblings on one master, and go with the module.
async fn serves_ipvlan(cx: Cx) -> Result<()> {
    let loaded = Loaded::with(cx, "dropin=1")?;
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave_with(as_ipvlan)?, lan.slave()?);
    ensure!(
        !modules::is_loaded(Kind::Ipvlan.name()),
        "the in-tree module is loaded"
    );
    for (slave, kind) in [(&a, Kind::Ipvlan), (&b, Kind::IpvlanRs)] {
        let link = slave.link()?;
        ensure!(
            link.kind.as_deref() == Some(kind.name()),
            "{} is of kind {:?}",
            slave.name,
            link.kind
        );
    }
    ping(&a.ns, b.ip()).await?;
    ping(&lan.ext, a.ip()).await?;
    drop(loaded);
    for slave in [&a, &b] {
        ensure!(!slave.exists()?, "{} outlived its module", slave.name);
    }
    let refused = lan.slave_with(as_ipvlan);
    ensure!(refused.is_err(), "the kind ipvlan outlived the parameter");
    lan.slave()?;
    Ok(())
}

/// With in-tree ipvlan loaded before, the module says that it serves its own kind only, and does.
async fn kind_taken(cx: Cx) -> Result<()> {
    if debug::kernel() {
        return Err(Skip("in-tree ipvlan is never loaded into the debug kernel".into()).into());
    }
    modules::load(Kind::Ipvlan.name())?;
    let mut log = Kmsg::open()?;
    let result = async {
        let _loaded = Loaded::with(cx, "dropin=1")?;
        let said = log.read();
        ensure!(
            said.iter()
                .any(|line| line.0.contains("the kind ipvlan is taken")),
            "the log does not say that the kind is taken"
        );
        let lan = Lan::new(cx, Mode::L2)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        ping(&a.ns, b.ip()).await?;
        let other = Lan::new(cx, Mode::L2)?;
        let link = other.slave_with(as_ipvlan)?.link()?;
        ensure!(
            link.queue_bytes.is_none(),
            "the kind ipvlan is not the in-tree driver's"
        );
        Ok(())
    }
    .await;
    modules::unload(Kind::Ipvlan.name())?;
    result
}

/// Without the parameter the kind is left to whoever has it.
async fn off_by_default(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    ensure!(
        lan.slave_with(as_ipvlan).is_err(),
        "the kind ipvlan is served without dropin=1"
    );
    Ok(())
}
