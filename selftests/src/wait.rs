// SPDX-License-Identifier: GPL-2.0
//! Waiting with a deadline. Nothing in the suite sleeps for a fixed time and hopes.

use crate::debug;
use anyhow::{bail, Result};
use std::time::{Duration, Instant};

/// How long something that must happen may take. Generous, because a guest without hardware virtualisation on a busy
/// machine is slow; a passing test never waits for it.
const SOON: Duration = Duration::from_secs(10);

/// [`SOON`], or longer on a debug kernel.
pub fn patience() -> Duration {
    SOON * debug::slowness()
}

/// Polls until `done` says so; `what` names the thing in the failure.
pub async fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(500);
    while !done()? {
        if start.elapsed() > patience() {
            bail!("{what}: did not happen within {:?}", patience());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}
