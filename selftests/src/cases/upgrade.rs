// SPDX-License-Identifier: GPL-2.0
//! Upgrades under full load: the module is unloaded and loaded again and again, while packets pass through slaves of all
//! modes.

use super::unload::{loads, reload};
use crate::cases;
use crate::cx::{Cx, Suite, ANY, EACH};
use crate::debug;
use crate::evidence;
use crate::lan::{Lan, Mode};
use crate::memory::{bounded, Memory, Objects};
use crate::ping::ping;
use crate::wait;
use anyhow::{ensure, Context, Result};

cases! {
    "upgrade", Suite::Debug;
    under_full_load: EACH, ANY, 3600;
}

async fn under_full_load(cx: Cx) -> Result<()> {
    let rounds = evidence::amount(10);
    let lans = [
        Lan::new(cx, Mode::L2)?,
        Lan::new(cx, Mode::L3)?,
        Lan::new(cx, Mode::L3s)?,
    ];
    let mut homes = Vec::new();
    for _ in &lans {
        homes.push([cx.netns()?, cx.netns()?]);
    }
    let (mut sent, mut gone) = (0, 0);
    let mut objects = None;
    // The round before the first is not counted: what the kernel allocates once and keeps is not to be taken for a leak.
    for round in 0..=rounds {
        if round == 1 {
            Memory::now()?;
            objects = Some(Objects::now()?);
            (sent, gone) = (0, 0);
        }
        let mut slaves = Vec::new();
        let mut running = Vec::new();
        for (lan, homes) in lans.iter().zip(&homes) {
            lan.begin_again();
            let pair = homes
                .iter()
                .map(|home| lan.slave_in(home.clone(), |spec| spec))
                .collect::<Result<Vec<_>>>()?;
            running.extend(loads(lan, &pair[0], &pair[1])?);
            slaves.extend(pair);
        }
        for load in &running {
            load.running()
                .await
                .with_context(|| format!("round {round}"))?;
        }
        for slave in &slaves {
            wait::until("packets at every slave", || {
                Ok(slave.link()?.stats.rx_packets > 0)
            })
            .await
            .with_context(|| format!("round {round}, {}", slave.name))?;
        }
        reload(cx).with_context(|| format!("round {round}"))?;
        for slave in &slaves {
            ensure!(
                slave.ns.nl().find_link(&slave.name)?.is_none(),
                "round {round}: {} outlived its module",
                slave.name
            );
        }
        gone += slaves.len();
        for load in running {
            sent += load.sent();
            load.stop()?;
        }
        if round > 0 && round % (rounds / 10).max(10) == 0 {
            evidence::progress("upgrades", round, rounds);
        }
    }
    Memory::now()?;
    let grown = Objects::now()?.since(&objects.context("no round")?);
    println!("# objects more than before: {grown:?}");
    let left = bounded(grown)?;
    lans[0].begin_again();
    let slave = lans[0].slave()?;
    ping(&slave.ns, lans[0].ext_ip()).await?;
    evidence::row(
        &format!(
            "unload under full load, in a row, {} ({cx})",
            debug::which()
        ),
        &format!("{rounds} times"),
        &format!(
            "each went at once with its slaves, {gone} in all; {sent} packets sent meanwhile; {left}"
        ),
    );
    Ok(())
}
