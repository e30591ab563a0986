// SPDX-License-Identifier: GPL-2.0
//! Fuzzing of the whole kernel: frames into both ends of the packet path, requests into rtnetlink, generated and mutated
//! from a seed. What is looked for is anything that the kernel complains of, a network that no longer works, packets that
//! nobody frees, and settings that cannot be.
//!
//! On a kernel with KCOV, for which only this module is instrumented (see Kbuild), inputs that reach code which none
//! before them did are kept, and mutated further.

mod corpus;
mod drops;
mod frame;
mod frames;
mod kcov;
mod request;
mod requests;
mod tally;
mod tap;

pub use frames::frames;
pub use requests::requests;

use anyhow::{ensure, Context, Error, Result};
use std::str::FromStr;
use std::time::Duration;

/// Hours: the amount is the limit.
pub const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// `st.fuzz=SEED:FRAMES:REQUESTS`.
#[derive(Clone, Debug)]
pub struct Fuzz {
    pub seed: u64,
    pub frames: u64,
    pub requests: u64,
}

impl Fuzz {
    /// How many runs that makes: of frames, of requests, or of both.
    pub fn parts(&self) -> usize {
        usize::from(self.frames > 0) + usize::from(self.requests > 0)
    }
}

impl FromStr for Fuzz {
    type Err = Error;

    fn from_str(text: &str) -> Result<Fuzz> {
        let mut parts = text.split(':').map(str::parse);
        let mut next = || -> Result<u64> { Ok(parts.next().context("SEED:FRAMES:REQUESTS")??) };
        let fuzz = Fuzz {
            seed: next()?,
            frames: next()?,
            requests: next()?,
        };
        ensure!(
            parts.next().is_none() && fuzz.parts() > 0,
            "SEED:FRAMES:REQUESTS"
        );
        Ok(fuzz)
    }
}
