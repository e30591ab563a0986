// SPDX-License-Identifier: GPL-2.0
//! Several slaves of one master in one namespace. An address is its namespace's rather than its link's (the weak host
//! model, RFC 1122, 3.3.4.2), which D17 must not break.

use super::question::{of, question, EXT};
use crate::cases;
use crate::cx::{Cx, Decision, Suite, EACH, V4, V46};
use crate::frames;
use crate::lan::{Lan, Mode, Slave};
use crate::packet::Class;
use crate::ping::{try_ping, Pong};
use crate::wait;
use anyhow::{ensure, Result};

cases! {
    "shared", Suite::Both;
    questions_reach_the_namespace: EACH, V46;
    answered_through_another_slave: EACH, V4;
}

/// All slaves of the namespace whose address is asked for hear the question, and nobody else.
async fn questions_reach_the_namespace(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let (home, away) = (cx.netns()?, cx.netns()?);
    let in_home = || lan.slave_in(home.clone(), |s| s);
    let at_home = [in_home()?, in_home()?, in_home()?];
    let stranger = lan.slave_in(away.clone(), |s| s)?;
    let asker = lan.slave_in(away, |s| s)?;
    let (owner, wire) = (&at_home[0], lan.wire_tap()?);
    let frames = [
        question(cx, lan.wire_mac, EXT, of(owner)),
        question(cx, lan.mac, of(&asker), of(owner)),
    ];
    let reaches_all = !cx.decision(Decision::D17);
    // The others at home stop one after the other.
    for running in [3, 2, 1] {
        let listening: Vec<&Slave> = at_home[..running].iter().chain([&stranger]).collect();
        let taps = listening
            .iter()
            .map(|s| s.tap())
            .collect::<Result<Vec<_>>>()?;
        wire.send(&frames[0])?;
        asker.tap()?.send(&frames[1])?;
        wire.expect("the slave's question on the wire", |f| {
            f.bytes.starts_with(&frames[1])
        })
        .await?;
        let text = format!("fence fence fence {running}");
        let fence = frames::ethernet(lan.wire_mac, frames::BROADCAST, 0x88b5, text.as_bytes());
        wire.send(&fence)?;
        for (slave, tap) in std::iter::zip(listening, taps) {
            let seen = tap
                .until("the fence", |f| f.bytes.starts_with(&fence))
                .await?;
            let copies = frames.each_ref().map(|frame| {
                seen.iter()
                    .filter(|f| f.class != Class::Outgoing && f.bytes.starts_with(frame))
                    .count()
            });
            let expected = usize::from(reaches_all || slave.name != stranger.name);
            ensure!(
                copies == [expected; 2],
                "with {running} slaves in the owner's namespace {} got {copies:?} copies",
                slave.name
            );
        }
        home.nl().down(at_home[running - 1].index)?;
    }
    Ok(())
}

/// The routes name the first of two slaves, which has to know who asked for the second's address.
async fn answered_through_another_slave(cx: Cx) -> Result<()> {
    let lan = Lan::new(cx, Mode::L2)?;
    let home = cx.netns()?;
    let _first = lan.slave_in(home.clone(), |s| s)?;
    let second = lan.slave_in(home, |s| s)?;
    let pong = try_ping(&lan.ext, None, second.ip(), 100, wait::patience()).await?;
    ensure!(
        pong == Pong::Reply,
        "the ping of {} ended in {pong:?}",
        second.ip()
    );
    Ok(())
}
