// SPDX-License-Identifier: GPL-2.0
//! The module's parameters.

use super::address::{arrives, extra};
use crate::cases;
use crate::cx::{Cx, Kind, Suite, EACH, V46};
use crate::lan::{Lan, Mode};
use crate::modules;
use crate::nl::{granted, AddrSpec};
use anyhow::{ensure, Result};

cases! {
    "parameter", Suite::Both;
    master_addr_restores_in_tree: EACH, V46;
}

/// The module with other parameters than usual, until this is dropped.
pub(super) struct Loaded(Cx);

impl Loaded {
    pub(super) fn with(cx: Cx, parameters: &str) -> Result<Loaded> {
        // In-tree behaves so anyway, and has no parameters.
        if cx.kind == Kind::IpvlanRs {
            modules::unload(cx.kind())?;
            let loaded = Loaded(cx);
            modules::load_with(cx.kind(), parameters)?;
            return Ok(loaded);
        }
        Ok(Loaded(cx))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if self.0.kind == Kind::IpvlanRs {
            let _ = modules::unload(self.0.kind());
            let _ = modules::load(self.0.kind());
        }
    }
}

/// With master_addr=1 a slave may have the master's address, and then gets its packets, before and after the master (D4
/// taken back).
async fn master_addr_restores_in_tree(cx: Cx) -> Result<()> {
    let _loaded = Loaded::with(cx, "master_addr=1")?;
    let lan = Lan::new(cx, Mode::L2)?;
    let a = lan.slave()?;
    let (tap, late) = (a.tap()?, extra(cx, 90));
    let spec = AddrSpec::new(a.index, lan.master_ip(), cx.host_prefix());
    granted(a.ns.nl().try_add_addr(&spec)?)?;
    a.ns.nl().add_addr(a.index, late, cx.host_prefix())?;
    lan.host.nl().add_addr(lan.master, late, cx.host_prefix())?;
    for ip in [lan.master_ip(), late] {
        ensure!(
            arrives(&lan, &tap, ip, a.ip()).await?,
            "the slave does not get what is for {ip}"
        );
    }
    Ok(())
}
