// SPDX-License-Identifier: GPL-2.0
//! Walks two worlds in step and compares them.

use super::apply::Outcome;
use super::compare::Record;
use super::rules::{self, Asked};
use super::step::{Op, Step};
use super::tally::Tally;
use super::view::{differences, View};
use super::world::World;
use crate::cx::{Decision, Kind, Master};
use crate::wait::patience;
use anyhow::{bail, ensure, Result};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long two worlds may take to look alike. The kernel tells carrier from a work item, at most once a second.
/// How long is waited for work items of the kernel that may have nothing to do.
const SETTLING: Duration = Duration::from_millis(600);

pub struct Walker {
    /// The in-tree driver's, and ours.
    pub worlds: [World; 2],
    /// What both look like.
    pub(super) view: View,
    sort: Master,
    /// The slaves whose MTU somebody chose (D5).
    chosen: BTreeMap<u8, bool>,
    /// What the master's own allmulticast setting adds to its count, and what deleted slaves left behind in-tree (D6).
    master_allmulti: u32,
    leaked: u32,
    pub(super) next: u32,
    pub(super) records: VecDeque<Record>,
}

impl Walker {
    pub fn new(sort: Master) -> Result<Walker> {
        let mut worlds = [
            World::new(Kind::Ipvlan, sort)?,
            World::new(Kind::IpvlanRs, sort)?,
        ];
        let view = worlds[0].view()?;
        Ok(Walker {
            worlds,
            view,
            sort,
            chosen: BTreeMap::new(),
            master_allmulti: 0,
            leaked: 0,
            next: 1,
            records: VecDeque::new(),
        })
    }

    /// Takes one step. An error is a finding, or something that went wrong around it.
    pub async fn step(&mut self, step: &Step, tally: &mut Tally) -> Result<()> {
        tally.steps += 1;
        if let Op::Peer { slot, local, peer } = step.op {
            self.peer(slot, local, peer, tally).await?;
        } else {
            self.operate(&step.op, tally).await?;
        }
        self.agree(tally).await?;
        if step.op == Op::MasterGone {
            ensure!(
                self.view.slaves.is_empty(),
                "slaves are left without a master"
            );
            *self = Walker::new(self.sort)?;
            return self.agree(tally).await;
        }
        self.probe(&step.probes, tally).await
    }

    async fn operate(&mut self, op: &Op, tally: &mut Tally) -> Result<()> {
        let before = self.view.clone();
        let theirs = self.worlds[0].apply(op).await?;
        let ours = self.worlds[1].apply(op).await?;
        tally.count(&ours);
        let explained = self.judge(op, &before, &theirs, &ours, tally)?;
        let granted = matches!(ours, Outcome::Answered(Ok(_)));
        match (op, explained) {
            (Op::Create { .. }, Some(Decision::D5)) => self.create_anyway(op).await?,
            (Op::Create { slot, mtu, .. }, None) if granted => {
                self.chosen.insert(*slot, mtu.is_some());
            }
            (Op::Mtu(slot, _), Some(Decision::D5)) => {
                let mtu = before.slaves[slot].mtu;
                self.must(0, &Op::Mtu(*slot, mtu)).await?;
            }
            (Op::Mtu(slot, mtu), None) if granted && before.slaves[slot].mtu != *mtu => {
                self.chosen.insert(*slot, true);
            }
            (Op::AddAddr { slot, ip, prefix }, Some(decision)) => {
                let undo = Op::DelAddr {
                    slot: *slot,
                    ip: *ip,
                    prefix: *prefix,
                };
                self.must(usize::from(decision == Decision::D3), &undo)
                    .await?;
            }
            (Op::MasterMtu(_), None) if granted => self.follow_mtu(tally).await?,
            (Op::MasterAllMulti(on), None) if granted => self.master_allmulti = u32::from(*on),
            _ => {}
        }
        if let Op::Create {
            slot, mode: None, ..
        } = op
        {
            self.mode_unsaid(*slot, &before, tally).await?;
        }
        Ok(())
    }

    /// Compares two answers; the decision by which they differ, if they do.
    fn judge(
        &self,
        op: &Op,
        before: &View,
        theirs: &Outcome,
        ours: &Outcome,
        tally: &mut Tally,
    ) -> Result<Option<Decision>> {
        if let Outcome::Answered(Err(refusal)) = ours {
            ensure!(
                !refusal.text.is_empty() || rules::core_refuses(op, refusal.errno),
                "ipvlan_rs refuses with errno {} and without a text",
                refusal.errno
            );
        }
        match (theirs, ours) {
            (Outcome::Skipped, Outcome::Skipped) => Ok(None),
            (Outcome::Answered(Ok(_)), Outcome::Answered(Ok(text))) => {
                let odd = match op {
                    Op::Create { mac: Some(n), .. } => super::world::mac(*n) != before.master.mac,
                    _ => false,
                };
                ensure!(
                    odd != text.is_empty(),
                    "ipvlan_rs grants with the warning {text:?}"
                );
                if odd {
                    tally.explain(Decision::D8);
                }
                Ok(None)
            }
            (Outcome::Answered(Err(a)), Outcome::Answered(Err(b))) if a.errno == b.errno => {
                if a.text.is_empty() && !b.text.is_empty() {
                    tally.explain(Decision::D16);
                }
                Ok(None)
            }
            _ => match rules::on_answers(&Asked { op, before }, theirs, ours) {
                Some(decision) => {
                    tally.explain(decision);
                    Ok(Some(decision))
                }
                None => bail!("the answers differ: ipvlan {theirs:?}, ipvlan_rs {ours:?}"),
            },
        }
    }

    /// An operation that leads one world to where the other is, and must succeed.
    async fn must(&mut self, world: usize, op: &Op) -> Result<()> {
        match self.worlds[world].apply(op).await? {
            Outcome::Answered(Ok(_)) => Ok(()),
            other => bail!("making the worlds alike: {op}: {other:?}"),
        }
    }

    /// D5: ours is created with the master's MTU, and theirs changed to that.
    async fn create_anyway(&mut self, op: &Op) -> Result<()> {
        let mut op = op.clone();
        let Op::Create { slot, mtu, .. } = &mut op else {
            bail!("not a creation");
        };
        let slot = *slot;
        *mtu = None;
        self.must(1, &op).await?;
        self.chosen.insert(slot, false);
        let mtu = self.view.master.mtu;
        self.worlds[0].view()?;
        self.must(0, &Op::Mtu(slot, mtu)).await
    }

    /// D1: theirs sent the port to L3 because a slave came without a mode. Ours must not have, and is sent there now.
    async fn mode_unsaid(&mut self, slot: u8, before: &View, tally: &mut Tally) -> Result<()> {
        let Some(mode) = before.mode().filter(|mode| *mode != 1) else {
            return Ok(());
        };
        if before.slaves.contains_key(&slot) {
            return Ok(());
        }
        let (theirs, ours) = (self.worlds[0].view()?, self.worlds[1].view()?);
        if !ours.slaves.contains_key(&slot) {
            return Ok(());
        }
        ensure!(
            theirs.mode() == Some(1) && ours.mode() == Some(mode),
            "a slave without a mode: ipvlan is in mode {:?}, ipvlan_rs in {:?}",
            theirs.mode(),
            ours.mode()
        );
        tally.explain(Decision::D1);
        let change = Op::Change {
            slot,
            mode: Some(1),
            flags: None,
        };
        // What IPv6 does when a link comes up depends on the mode.
        let up = ours.slaves[&slot].is_up();
        if up {
            self.must(1, &Op::Down(slot)).await?;
        }
        self.must(1, &change).await?;
        if up {
            return self.must(1, &Op::Up(slot)).await;
        }
        // Theirs was not yet among the port's slaves, so that it becomes NOARP when it comes up.
        for world in [0, 1] {
            self.must(world, &Op::Up(slot)).await?;
            self.must(world, &Op::Down(slot)).await?;
        }
        Ok(())
    }

    /// D5: theirs all have the master's new MTU; ours only those that follow, or had more.
    async fn follow_mtu(&mut self, tally: &mut Tally) -> Result<()> {
        let before = self.view.clone();
        let (theirs, ours) = (self.worlds[0].view()?, self.worlds[1].view()?);
        let master = ours.master.mtu;
        // Nothing is told when it stays as it was.
        if before.master.mtu == master {
            return Ok(());
        }
        for (slot, old) in &before.slaves {
            let chosen = self.chosen.get(slot).copied().unwrap_or(false);
            let due = if chosen { old.mtu.min(master) } else { master };
            let (a, b) = (theirs.slaves[slot].mtu, ours.slaves[slot].mtu);
            ensure!(
                a == master && b == due,
                "the master's MTU is {master}: s{slot} of ipvlan has {a}, of ipvlan_rs {b} instead of {due}"
            );
            if a != b {
                tally.explain(Decision::D5);
                self.must(0, &Op::Mtu(*slot, b)).await?;
            }
        }
        Ok(())
    }

    /// Waits until both worlds look alike.
    async fn agree(&mut self, tally: &mut Tally) -> Result<()> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            let (theirs, ours) = (self.worlds[0].view()?, self.worlds[1].view()?);
            let found = self.compare(&theirs, &ours);
            // Alike is not enough while both are still on their way; but that they get there is nobody's promise.
            let stuck = !self.view.is_settled();
            let settled = (stuck || ours.is_settled()) && !ours.is_joining(&self.view);
            let settled = settled || start.elapsed() > SETTLING;
            if found.is_empty() && settled {
                self.settle(&theirs, &ours, tally);
                self.view = ours;
                return Ok(());
            }
            if start.elapsed() > patience() && !found.is_empty() {
                bail!("the dumps differ: {}", found.join("; "));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn compare(&self, theirs: &View, ours: &View) -> Vec<String> {
        let mut found: Vec<String> = differences(&theirs.master, &ours.master)
            .into_iter()
            .map(|line| format!("m0: {line}"))
            .collect();
        for slot in 0..super::step::SLOTS {
            match (theirs.slaves.get(&slot), ours.slaves.get(&slot)) {
                (None, None) => {}
                (Some(a), Some(b)) => {
                    found.extend(
                        differences(a, b)
                            .into_iter()
                            .map(|line| format!("s{slot}: {line}")),
                    );
                    // D5, and the same in-tree as ever.
                    let due = (65535, ours.master.mtu);
                    if (a.max_mtu, b.max_mtu) != due {
                        found.push(format!(
                            "s{slot}: largest MTU {} and {}, not {due:?}",
                            a.max_mtu, b.max_mtu
                        ));
                    }
                }
                (a, _) => found.push(format!(
                    "s{slot} is there with {} alone",
                    if a.is_some() { "ipvlan" } else { "ipvlan_rs" }
                )),
            }
        }
        let due = self.allmulti(theirs, ours);
        if (theirs.master.allmulti, ours.master.allmulti) != due && !theirs.slaves.is_empty() {
            found.push(format!(
                "m0: allmulti {} and {}, not {due:?}",
                theirs.master.allmulti, ours.master.allmulti
            ));
        }
        found
    }

    /// D6: what the masters' counts should be.
    fn allmulti(&self, theirs: &View, ours: &View) -> (u32, u32) {
        let wants = |flags: u32| flags & libc::IFF_ALLMULTI as u32 != 0;
        let gone = self
            .view
            .slaves
            .iter()
            .filter(|(slot, s)| wants(s.flags) && !theirs.slaves.contains_key(slot));
        let leaked = self.leaked + gone.count() as u32;
        let slaves = |view: &View, down: bool| {
            view.slaves
                .values()
                .filter(|s| wants(s.flags) && (down || s.is_up()))
                .count() as u32
        };
        (
            self.master_allmulti + leaked + slaves(theirs, true),
            self.master_allmulti + slaves(ours, false),
        )
    }

    /// Notes what the agreed views change in the model.
    fn settle(&mut self, theirs: &View, ours: &View, tally: &mut Tally) {
        let (a, b) = self.allmulti(theirs, ours);
        if a != b {
            tally.explain(Decision::D6);
        }
        for (slot, old) in &self.view.slaves {
            if !theirs.slaves.contains_key(slot) {
                self.leaked += u32::from(old.flags & libc::IFF_ALLMULTI as u32 != 0);
                self.chosen.remove(slot);
            }
        }
    }
}
