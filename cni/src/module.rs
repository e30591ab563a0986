// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether the kernel has a kind of links, or would load it when it is asked for one.

use std::path::Path;
use std::process::Command;

/// # Errors
///
/// Words that say what is missing, and what to do about it.
pub fn available(kind: &str) -> Result<(), String> {
    if loaded(kind) || would_load(&format!("rtnl-link-{kind}"), &modprobe) {
        return Ok(());
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Err(missing(kind, release.trim()))
}

fn missing(kind: &str, release: &str) -> String {
    let what = format!("kernel {release} has no module for links of kind {kind}");
    let install = match kind {
        "ipvlan_rs" => "ipvlan-rs-dkms",
        "ipvlan" => "ipvlan-rs-dkms and ipvlan-rs-dropin",
        _ => return format!("{what}: is \"kind\" right?"),
    };
    format!(
        "{what}: install {install}; if that is done, `ipvlan-rs-kdir check` says what this kernel lacks for them"
    )
}

/// Whether modprobe has something to load for the name or alias. It says what it would do without looking whether the
/// files are there: dependencies, then the module, as they were when depmod ran; or a command of its configuration, as
/// the drop-in has one for the kind `ipvlan`, that ends well in a rehearsal whatever it names.
fn would_load(alias: &str, modprobe: Modprobe<'_>) -> bool {
    let plan = modprobe("--show-depends", alias).unwrap_or_default();
    in_plan(alias, &plan, modprobe)
        || named(&plan).any(|name| {
            loaded(name)
                || modprobe("--show-depends", name).is_some_and(|p| in_plan(name, &p, modprobe))
        })
}

/// Asks modprobe of a name; None if it fails.
type Modprobe<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

/// Whether the plan has the module itself, and its file is there. One that others of the plan only depend on says
/// nothing.
fn in_plan(alias: &str, plan: &str, modprobe: Modprobe<'_>) -> bool {
    let own = modprobe("--resolve-alias", alias).unwrap_or_default();
    let is_own = |name: &str| own.lines().any(|o| o.trim() == name.replace('-', "_"));
    plan.lines().any(|line| match line.trim().split_once(' ') {
        Some(("insmod", rest)) => {
            let file = Path::new(rest.split(' ').next().unwrap_or_default());
            let name = file.file_name().and_then(|n| n.to_str()).unwrap_or("");
            is_own(name.split('.').next().unwrap_or("")) && file.is_file()
        }
        Some(("builtin", name)) => is_own(name),
        _ => false,
    })
}

/// The words of a plan's commands that may be modules.
fn named(plan: &str) -> impl Iterator<Item = &str> {
    plan.lines()
        .filter_map(|line| line.trim().strip_prefix("install "))
        .flat_map(str::split_whitespace)
        .filter(|w| w.starts_with(char::is_alphabetic) && !w.contains('/'))
}

fn loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// What modprobe prints, if it ends well.
fn modprobe(question: &str, name: &str) -> Option<String> {
    let out = Command::new("/sbin/modprobe")
        .args(["--quiet", question, name])
        .output()
        .ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What modprobe would say of modules in a directory of which a file is there only if named, with the texts of kmod
    /// 34: `outer` depends on `inner`; `rtnl-link-dropped` is a command.
    fn would(alias: &str, present: &str) -> bool {
        let name = format!("ipvlan-rs-{}-{alias}-{present}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{present}.ko.xz")), "").unwrap();
        let file = |name: &str| format!("insmod {}/{name}.ko.xz \n", dir.display());
        let said = would_load(alias, &|question, name| match (question, name) {
            ("--show-depends", "rtnl-link-no-outer") => Some(file("no-inner") + &file("no-outer")),
            ("--resolve-alias", "rtnl-link-no-outer") => Some("no_outer\n".into()),
            ("--show-depends", "rtnl-link-no_dropped") => {
                // What the drop-in package says.
                let conf = include_str!("../../dropin/ipvlan-rs.conf");
                let (_, command) = conf.split_once("\ninstall rtnl-link-ipvlan ").unwrap();
                let command = command.lines().next().unwrap();
                Some(format!(
                    "install {}\n",
                    command.replace("ipvlan", "no-ipvlan")
                ))
            }
            ("--resolve-alias", "rtnl-link-no_dropped") => Some("rtnl_link_no_dropped\n".into()),
            ("--show-depends", "no-ipvlan" | "no-ipvlan_rs") => {
                Some(file("no-inner") + &file(name))
            }
            ("--resolve-alias", "no-ipvlan" | "no-ipvlan_rs") => Some(name.replace('-', "_")),
            ("--show-depends", "rtnl-link-no-builtin") => Some("builtin no_builtin\n".into()),
            ("--resolve-alias", "rtnl-link-no-builtin") => Some("no_builtin\n".into()),
            _ => None,
        });
        std::fs::remove_dir_all(&dir).unwrap();
        said
    }

    #[test]
    fn only_a_modules_own_file_counts() {
        assert!(would("rtnl-link-no-outer", "no-outer"));
        // modules.dep still names what is gone.
        assert!(!would("rtnl-link-no-outer", "no-inner"));
        assert!(!would("rtnl-link-no-outer", "no-other"));
        assert!(would("rtnl-link-no-builtin", "no-other"));
        assert!(!would("rtnl-link-no_such", "no-other"));
    }

    #[test]
    fn a_command_needs_one_of_the_modules_that_it_names() {
        assert!(would("rtnl-link-no_dropped", "no-ipvlan_rs"));
        assert!(would("rtnl-link-no_dropped", "no-ipvlan"));
        assert!(!would("rtnl-link-no_dropped", "no-inner"));
        assert!(!would("rtnl-link-no_dropped", "no-other"));
    }

    #[test]
    fn words_say_what_to_do() {
        for (kind, words) in [
            ("ipvlan_rs", "install ipvlan-rs-dkms;"),
            ("ipvlan", "ipvlan-rs-dropin"),
            ("no_such", "is \"kind\" right?"),
        ] {
            let all = missing(kind, "7.3.4");
            assert!(all.contains(words) && all.contains("7.3.4"), "{all}");
        }
        assert!(available("no_such_kind")
            .unwrap_err()
            .contains("no_such_kind"));
    }
}
