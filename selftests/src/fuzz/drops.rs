// SPDX-License-Identifier: GPL-2.0
//! Why the kernel drops packets: the reasons of its tracepoint, counted by itself (a histogram of tracefs).

use super::tally::Tally;
use crate::mounts;
use anyhow::Result;
use std::collections::HashMap;
use std::fs;

const COUNT: &str = "hist:keys=reason:size=1024";

/// Counts from here on, where there is a tracefs with histograms.
pub struct Drops(Option<String>);

impl Drops {
    pub fn begin() -> Result<Drops> {
        let event = format!("{}/events/skb/kfree_skb", mounts::tracefs());
        let counts = fs::write(format!("{event}/trigger"), COUNT).is_ok();
        Ok(Drops(counts.then_some(event)))
    }

    /// What was counted, by name; none where the kernel cannot count it.
    pub fn end(self) -> Result<Option<Tally>> {
        let Some(event) = self.0 else {
            return Ok(None);
        };
        // print fmt: "... reason: %s", ..., __print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, ...
        let format = fs::read_to_string(format!("{event}/format"))?;
        let names: HashMap<&str, &str> = format
            .split('{')
            .filter_map(|part| {
                let (number, rest) = part.split_once(',')?;
                Some((number.trim(), rest.split('"').nth(1)?))
            })
            .collect();
        let mut tally = Tally::default();
        // { reason:          2 } hitcount:         17
        for line in fs::read_to_string(format!("{event}/hist"))?.lines() {
            let Some((key, count)) = line.split_once("} hitcount:") else {
                continue;
            };
            let number = key.trim_start_matches("{ reason:").trim();
            let name = names.get(number).copied().unwrap_or(number);
            tally.add(name, count.trim().parse()?);
        }
        fs::write(format!("{event}/trigger"), format!("!{COUNT}"))?;
        Ok(Some(tally))
    }
}
