// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether the kernel has a kind of links, or would load it when it is asked for one.

use std::path::Path;
use std::process::Command;

/// # Errors
///
/// Words that say what is missing.
pub fn available(kind: &str) -> Result<(), String> {
    let alias = format!("rtnl-link-{kind}");
    let would = run("/sbin/modprobe", &["--quiet", "--show-depends", &alias]).unwrap_or_default();
    if loaded(kind) || sources(&would).iter().any(Source::exists) {
        return Ok(());
    }
    Err(format!(
        "no module for links of kind {kind}: is ipvlan_rs installed for this kernel?"
    ))
}

/// Where a module comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    Kernel,
    File(&'a str),
    /// Something that a command names, perhaps a module.
    Named(&'a str),
}

impl Source<'_> {
    fn exists(&self) -> bool {
        match self {
            Source::Kernel => true,
            Source::File(path) => Path::new(path).is_file(),
            Source::Named(name) => {
                loaded(name) || run("/sbin/modinfo", &["--field", "filename", name]).is_some()
            }
        }
    }
}

/// What modprobe says that it would do: load files, nothing as it is in the kernel, or carry out a command of its
/// configuration, as the drop-in has one for the kind `ipvlan`. That ends well in a rehearsal whatever it names.
fn sources(would: &str) -> Vec<Source<'_>> {
    let mut sources = Vec::new();
    for line in would.lines() {
        match line.trim().split_once(' ') {
            Some(("insmod", file)) => {
                sources.extend(file.split_whitespace().next().map(Source::File));
            }
            Some(("builtin", _)) => sources.push(Source::Kernel),
            Some(("install", command)) => {
                let words = command.split_whitespace();
                let is_name = |w: &&str| w.starts_with(char::is_alphabetic) && !w.contains('/');
                sources.extend(words.filter(is_name).map(Source::Named));
            }
            _ => {}
        }
    }
    sources
}

fn loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// What the program prints, if it ends well.
fn run(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).output().ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_modprobe_would_do_names_the_modules() {
        assert_eq!(
            sources("insmod /lib/modules/7.3/ipvlan.ko.xz mode=1\n"),
            [Source::File("/lib/modules/7.3/ipvlan.ko.xz")]
        );
        assert_eq!(sources("builtin ipvlan\n"), [Source::Kernel]);
        assert_eq!(sources(""), []);
        // What the drop-in package says.
        let conf = include_str!("../../dropin/ipvlan-rs.conf");
        let (_, command) = conf.split_once("\ninstall rtnl-link-ipvlan ").unwrap();
        let line = format!("install {}\n", command.lines().next().unwrap());
        assert_eq!(
            sources(&line),
            [Source::Named("ipvlan_rs"), Source::Named("ipvlan")]
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_no_module() {
        assert!(!Source::File("/nowhere/ipvlan.ko").exists());
        assert!(!Source::Named("no_such_module").exists());
        assert!(available("no_such_kind")
            .unwrap_err()
            .contains("no_such_kind"));
    }
}
