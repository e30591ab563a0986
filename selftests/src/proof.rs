// SPDX-License-Identifier: GPL-2.0
//! What the host can check of the tables and the mutants without a guest.
//!
//! A case counts as proven when a mutant names it in its `Cases:` line, because `make mutants` (scripts/mutants) calls a
//! mutant caught only if each case that it names has failed.

use crate::cases;
use crate::cx::{Cx, Kind};
use crate::{debug, regressions, rows};
use anyhow::{ensure, Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A patch of selftests/mutants/.
struct Mutant {
    name: String,
    suite: String,
    cases: Vec<String>,
}

fn directory(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn mutants() -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(directory("mutants"))? {
        let path = entry?.path();
        let name = path.file_name().context("no name")?.to_string_lossy();
        let text = fs::read_to_string(&path)?;
        let head: Vec<&str> = text
            .lines()
            .take_while(|l| !l.starts_with("--- "))
            .collect();
        let field = |key: &str| {
            head.iter()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix(": "))
        };
        let suite = field("Suite").with_context(|| format!("{name} has no Suite:"))?;
        ensure!(
            name.starts_with(&format!("{suite}-")),
            "{name} is for {suite}"
        );
        ensure!(field("Breaks").is_some(), "{name} has no Breaks:");
        mutants.push(Mutant {
            name: name.into(),
            suite: suite.into(),
            cases: field("Cases").map_or(Vec::new(), |c| c.split(',').map(Into::into).collect()),
        });
    }
    ensure!(mutants.len() > 50, "only {} mutants found", mutants.len());
    Ok(mutants)
}

/// The full names of a case's runs, as the harness prints them.
fn runs(case: &crate::cx::Case) -> Vec<String> {
    let mut names = Vec::new();
    for master in case.masters {
        for family in case.families {
            let cx = Cx {
                kind: Kind::IpvlanRs,
                master: *master,
                family: *family,
            };
            names.push(format!("{}:{cx}", case.name));
        }
    }
    names
}

/// The name of the one case that a `Cases:` entry means: `topic.case`, or the beginning of the name of one of its runs
/// (`topic.case:master/family`).
fn meant(entry: &str) -> Option<&'static str> {
    let name = entry.split(':').next()?;
    let case = cases::all().find(|c| c.name == name)?;
    let run = runs(case).iter().any(|run| run.starts_with(entry));
    (run || entry == name).then_some(case.name)
}

#[test]
fn tables_name_what_exists() -> Result<()> {
    rows::check()?;
    regressions::check()
}

/// Lockdep must have seen each lock that the module makes: the list of them has all.
#[test]
fn lockdep_is_to_see_every_lock() -> Result<()> {
    let mut names = BTreeSet::new();
    for place in ["..", "../net", "../sync", "../sync/table"] {
        for entry in fs::read_dir(directory(place))? {
            let path = entry?.path();
            if path.extension() != Some("rs".as_ref()) {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            let code = code.collect::<Vec<_>>().join("\n");
            let mut locks: Vec<&str> = code.split("static_lock_class!()").collect();
            locks.pop();
            for before in locks {
                let name = before.trim_end().strip_suffix("\",");
                let name = name.and_then(|b| Some(b.rsplit_once("c\"")?.1));
                let name = name.with_context(|| format!("{}: a nameless lock", path.display()))?;
                names.insert(name.to_string());
            }
        }
    }
    let list: BTreeSet<String> = debug::LOCKS.map(Into::into).into();
    ensure!(names == list, "the module's locks are {names:?}");
    Ok(())
}

/// A mutant whose case is gone would pass the filter of the harness, run nothing and look caught by an empty run.
#[test]
fn mutants_name_what_exists() -> Result<()> {
    let mut host = fs::read_to_string(directory("../host/tests/loom.rs"))?;
    for file in ["../host/tests/logic", "../host/tests/table"] {
        for entry in fs::read_dir(directory(file))? {
            let path = entry?.path();
            // A filter may be a module's name, which is its file's.
            let module = path.file_stem().context("no name")?.to_string_lossy();
            host += &format!("fn {module}\n");
            host += &fs::read_to_string(&path)?;
        }
    }
    for mutant in mutants()? {
        for entry in &mutant.cases {
            let known = match mutant.suite.as_str() {
                // A walk is no case: it is named by its seed.
                "guest" | "debug" | "long" => {
                    meant(entry).is_some() || entry.starts_with("walk:seed-")
                }
                _ => host.contains(&format!("fn {entry}")),
            };
            ensure!(known, "{} names {entry}, which does not exist", mutant.name);
        }
        ensure!(
            mutant.suite == "host" || !mutant.cases.is_empty(),
            "{} names no case",
            mutant.name
        );
    }
    Ok(())
}

/// A case that nothing has ever failed proves nothing.
#[test]
fn every_case_of_the_tables_has_failed_once() -> Result<()> {
    let seen: BTreeSet<&str> = mutants()?
        .iter()
        .filter(|m| m.suite == "guest")
        .flat_map(|m| &m.cases)
        .filter_map(|entry| meant(entry))
        .collect();
    let named: BTreeSet<&str> = rows::cases().chain(regressions::cases()).collect();
    let mut unseen: Vec<_> = named.difference(&seen).copied().collect();
    unseen.retain(|case| !rows::OF_THE_CORE.iter().any(|(c, _)| c == case));
    ensure!(
        unseen.is_empty(),
        "no mutant fails these {} cases: {unseen:#?}",
        unseen.len()
    );
    for (case, _) in rows::OF_THE_CORE {
        ensure!(named.contains(case), "{case} is in no table");
        ensure!(!seen.contains(case), "{case} has a mutant");
    }
    Ok(())
}
