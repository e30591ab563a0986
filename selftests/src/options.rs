// SPDX-License-Identifier: GPL-2.0
//! What to run, from the kernel command line or, outside a guest, from the arguments: both take `st.key=value`.

use crate::cx::Kind;
use crate::fuzz::Fuzz;
use crate::measure::Scale;
use crate::walk::Walk;
use anyhow::{bail, ensure, Context, Result};
use std::fs;

/// The choices of one run.
#[derive(Clone, Debug)]
pub struct Options {
    pub kinds: Vec<Kind>,
    pub filter: Vec<String>,
    pub suites: Vec<String>,
    pub list: bool,
    pub repeat: u32,
    /// Runs the `own` cases on the in-tree driver too.
    pub risky: bool,
    /// The kernel is a debug kernel: slow, and asked for its findings at the end.
    pub debug: bool,
    /// Which of how many shares of the runs, for guests that run side by side: the first of one is all.
    pub share: (usize, usize),
    /// Each case on one kind of master only, the next case on the next.
    pub once: bool,
    /// What is random in the cases of the suite `debug` follows from it.
    pub seed: u64,
    /// How much the cases of the suite `debug` do, if not their default.
    pub amount: Option<u64>,
    /// Takes this random walk and runs no cases.
    pub walk: Option<Walk>,
    /// Does this fuzzing and runs no cases.
    pub fuzz: Option<Fuzz>,
    /// Measures, and runs no cases: how much of it.
    pub bench: Option<Scale>,
}

impl Options {
    /// Reads `/proc/cmdline`, then the arguments.
    pub fn read() -> Result<Options> {
        let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let args: Vec<String> = std::env::args().skip(1).collect();
        Self::parse(
            line.split_whitespace()
                .chain(args.iter().map(String::as_str)),
        )
    }

    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Options> {
        let mut o = Options {
            kinds: vec![Kind::Ipvlan, Kind::IpvlanRs],
            filter: Vec::new(),
            suites: vec!["bare".into(), "own".into(), "both".into()],
            list: false,
            repeat: 1,
            risky: false,
            debug: false,
            share: (1, 1),
            once: false,
            seed: 1,
            amount: None,
            walk: None,
            fuzz: None,
            bench: None,
        };
        let list = |v: &str| {
            v.split(',')
                .filter(|s| !s.is_empty())
                .map(String::from)
                .collect::<Vec<_>>()
        };
        for word in words {
            let Some((key, value)) = word.strip_prefix("st.").and_then(|w| w.split_once('='))
            else {
                continue;
            };
            match key {
                "kinds" => {
                    o.kinds = list(value)
                        .iter()
                        .map(|k| Kind::from_name(k))
                        .collect::<Result<_>>()?
                }
                "filter" => o.filter = list(value),
                "suite" => o.suites = list(value),
                "list" => o.list = value == "1",
                "repeat" => o.repeat = value.parse()?,
                "walk" => o.walk = Some(value.parse()?),
                "once" => o.once = value == "1",
                "seed" => o.seed = value.parse()?,
                "amount" => o.amount = Some(value.parse()?),
                "fuzz" => o.fuzz = Some(value.parse()?),
                "bench" => o.bench = Some(value.parse()?),
                "risky" => o.risky = value == "1",
                "debug" => o.debug = value == "1",
                "share" => {
                    let (nth, of) = value.split_once('/').context("st.share=1/2")?;
                    o.share = (nth.parse()?, of.parse()?);
                    ensure!(1 <= o.share.0 && o.share.0 <= o.share.1, "st.share=1/2");
                }
                _ => bail!("unknown option st.{key}"),
            }
        }
        Ok(o)
    }

    /// Whether the case with this full name was asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|f| name.contains(f.as_str()))
    }
}
