// SPDX-License-Identifier: GPL-2.0
//! L2: who reaches whom.

use crate::cases;
use crate::cx::{Cx, Suite, EACH, V46};
use crate::lan::{Lan, Mode};
use crate::ping::ping;
use anyhow::Result;

cases! {
    "l2", Suite::Both;
    ping_sibling: EACH, V46;
    ping_external: EACH, V46;
}

async fn ping_sibling(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    ping(&a.ns, b.ip()).await?;
    ping(&b.ns, a.ip()).await
}

async fn ping_external(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    ping(&a.ns, lan.ext_ip()).await?;
    let b = lan.slave()?;
    ping(&lan.ext, b.ip()).await
}
