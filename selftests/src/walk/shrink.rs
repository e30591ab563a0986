// SPDX-License-Identifier: GPL-2.0
//! Reducing a failure: delta debugging over the steps, then over the probes of those that are left. Each attempt is
//! replayed in fresh worlds; whatever fails counts, since one difference is as good as another.

use super::step::Step;
use super::tally::Tally;
use crate::cx::Master;
use std::time::{Duration, Instant};

pub struct Reduced {
    pub steps: Vec<(usize, Step)>,
    /// What the last failing replay found.
    pub error: Option<anyhow::Error>,
    /// Whether no step can be left out, as far as tried.
    pub finished: bool,
}

pub async fn reduce(sort: Master, steps: Vec<(usize, Step)>, limit: Duration) -> Reduced {
    let start = Instant::now();
    let mut reduced = Reduced {
        steps,
        error: None,
        finished: false,
    };
    // Halves are left out first, then ever smaller parts, from the front: the last step is the one that fails.
    let mut size = reduced.steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + 1 < reduced.steps.len() {
            if start.elapsed() > limit {
                return reduced;
            }
            let end = (at + size).min(reduced.steps.len() - 1);
            let mut fewer = reduced.steps.clone();
            fewer.drain(at..end);
            if let Err((taken, error)) = super::replay(sort, &fewer, &mut Tally::default()).await {
                fewer.truncate(taken.max(1));
                (reduced.steps, reduced.error) = (fewer, Some(error));
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    let mut at = 0;
    while at < reduced.steps.len() {
        at += 1;
        if reduced.steps[at - 1].1.probes.is_empty() {
            continue;
        }
        if start.elapsed() > limit {
            return reduced;
        }
        let mut quieter = reduced.steps.clone();
        quieter[at - 1].1.probes.clear();
        if let Err((taken, error)) = super::replay(sort, &quieter, &mut Tally::default()).await {
            quieter.truncate(taken.max(1));
            (reduced.steps, reduced.error) = (quieter, Some(error));
        }
    }
    reduced.finished = true;
    reduced
}
