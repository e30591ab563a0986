// SPDX-License-Identifier: GPL-2.0
//! TCP and UDP in every direction.

use crate::cases;
use crate::cx::{Cx, Suite, EACH, V46};
use crate::lan::{Lan, Mode};
use crate::stream::{tcp, udp_echo};
use anyhow::Result;

cases! {
    "stream", Suite::Both;
    tcp_l2: EACH, V46;
    tcp_l3: EACH, V46;
}

async fn tcp_l2(cx: Cx) -> Result<()> {
    tcp_everywhere(cx, Mode::L2).await
}

async fn tcp_l3(cx: Cx) -> Result<()> {
    tcp_everywhere(cx, Mode::L3).await
}

async fn tcp_everywhere(cx: Cx, mode: Mode) -> Result<()> {
    let lan = Lan::new(cx, mode)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    tcp(&a.ns, &b.ns, b.ip(), 1 << 20, 1 << 18).await?;
    tcp(&a.ns, &lan.ext, lan.ext_ip(), 1 << 20, 1 << 18).await?;
    tcp(&lan.ext, &b.ns, b.ip(), 1 << 20, 1 << 18).await?;
    udp_echo(&a.ns, &lan.ext, lan.ext_ip(), 10, 1000).await
}
