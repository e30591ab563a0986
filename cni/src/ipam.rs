// SPDX-License-Identifier: GPL-2.0-or-later
//! Addresses are another plugin's business: it is executed with the same configuration, as the CNI specification has it.

use rscni_plugin::error::Error;
use rscni_plugin::types::{Args, CNIResult, Dns, ErrorResult, NetConf};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The plugin that the configuration delegates to.
pub struct Ipam<'a> {
    program: PathBuf,
    name: &'a str,
    conf: &'a NetConf,
}

impl<'a> Ipam<'a> {
    /// None if the configuration has no `ipam`: the link then gets no addresses.
    pub fn new(args: &'a Args) -> Result<Option<Ipam<'a>>, Error> {
        let Some(ipam) = args.config().ipam.as_ref().filter(|i| !i.r#type.is_empty()) else {
            return Ok(None);
        };
        let program = find(args.path(), &ipam.r#type)?;
        Ok(Some(Ipam {
            program,
            name: &ipam.r#type,
            conf: args.config(),
        }))
    }

    /// Reserves addresses.
    pub fn add(&self) -> Result<CNIResult, Error> {
        let out = self.run("ADD")?;
        let mut result: CNIResult = serde_json::from_slice(&out).map_err(|e| {
            Error::FailedToDecode(format!("the result of the IPAM plugin {}: {e}", self.name))
        })?;
        if result.ips.is_empty() {
            return Err(Error::InvalidNetworkConfig(format!(
                "the IPAM plugin {} gave no address",
                self.name
            )));
        }
        // host-local prints `"dns": {}` if it knows none, which must not hide what others know.
        result.dns = result.dns.filter(|dns| *dns != Dns::default());
        Ok(result)
    }

    /// Any other command, `DEL` also to take back an `ADD`.
    pub fn tell(&self, command: &str) -> Result<(), Error> {
        self.run(command).map(drop)
    }

    fn run(&self, command: &str) -> Result<Vec<u8>, Error> {
        let failed = |what: String| {
            Error::IOFailure(format!(
                "IPAM plugin {} ({command}): {what}",
                self.program.display()
            ))
        };
        let input = serde_json::to_vec(self.conf).map_err(|e| failed(e.to_string()))?;
        // The rest of the environment is what this plugin was called with.
        let mut child = Command::new(&self.program)
            .env("CNI_COMMAND", command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends without reading says why by its exit code.
            let _ = stdin.write_all(&input);
        }
        let out = child
            .wait_with_output()
            .map_err(|e| failed(e.to_string()))?;
        if out.status.success() {
            return Ok(out.stdout);
        }
        Err(refusal(
            &out.stdout,
            &format!("IPAM plugin {} ({command})", self.name),
        )
        .unwrap_or_else(|| failed(out.status.to_string())))
    }
}

/// The error that a failing plugin printed, with its code: runtimes act on some, like 11, try again later.
fn refusal(out: &[u8], who: &str) -> Option<Error> {
    let mut printed: Value = serde_json::from_slice(out).ok()?;
    let mut words = who.to_string();
    for key in ["msg", "details"] {
        if let Some(text) = printed
            .get(key)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
        {
            words.push_str(if key == "msg" { ": " } else { "; " });
            words.push_str(text);
        }
    }
    printed
        .as_object_mut()?
        .insert("details".into(), words.into());
    let result: ErrorResult = serde_json::from_value(printed).ok()?;
    Some(result.into())
}

/// The plugin's file, in the first directory of `CNI_PATH` that has it.
fn find(path: &[PathBuf], name: &str) -> Result<PathBuf, Error> {
    if name.contains('/') {
        return Err(Error::InvalidNetworkConfig(format!(
            "the IPAM plugin {name:?} must be a name without a slash"
        )));
    }
    path.iter()
        .map(|dir| dir.join(name))
        .find(|file| Path::is_file(file))
        .ok_or_else(|| {
            Error::InvalidNetworkConfig(format!("there is no IPAM plugin {name:?} in CNI_PATH"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A directory with a plugin that is this shell script, removed at the end.
    struct Plugin(PathBuf);

    impl Plugin {
        fn new(name: &str, script: &str) -> Plugin {
            let dir = std::env::temp_dir().join(format!("ipvlan-rs-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            let file = dir.join("fake");
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            Plugin(dir)
        }

        fn run<T>(&self, f: impl FnOnce(Ipam<'_>) -> T) -> T {
            let conf: NetConf = serde_json::from_str(
                r#"{"cniVersion":"1.0.0","name":"n","type":"ipvlan-rs","master":"eth7","ipam":{"type":"fake","subnet":"x"}}"#,
            )
            .unwrap();
            let program = find(&[PathBuf::from("/nowhere"), self.0.clone()], "fake").unwrap();
            f(Ipam {
                program,
                name: "fake",
                conf: &conf,
            })
        }
    }

    impl Drop for Plugin {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_configuration_and_the_command_are_passed_on() {
        // Fails unless it is given all that the outer plugin was given.
        let script = r#"input=$(cat)
            case $input in *'"master":"eth7"'*) ;; *) exit 3 ;; esac
            case $input in *'"subnet":"x"'*) ;; *) exit 4 ;; esac
            [ "$CNI_COMMAND" = ADD ] || exit 5
            echo '{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0"}]}'"#;
        let result = Plugin::new("add", script).run(|ipam| ipam.add()).unwrap();
        assert_eq!(result.ips[0].address.to_string(), "192.0.2.7/24");
        assert_eq!(result.routes.len(), 1);
    }

    #[test]
    fn dns_without_content_is_none() {
        let answer = |dns: &str| {
            let script = format!(
                r#"cat >/dev/null; echo '{{"ips":[{{"address":"192.0.2.7/24"}}],"dns":{dns}}}'"#
            );
            Plugin::new("dns", &script).run(|ipam| ipam.add()).unwrap()
        };
        assert_eq!(answer("{}").dns, None);
        let known = answer(r#"{"nameservers":["192.0.2.53"]}"#).dns.unwrap();
        assert_eq!(known.nameservers, ["192.0.2.53"]);
    }

    #[test]
    fn a_failure_is_told_in_its_words() {
        let script = r#"cat >/dev/null; echo '{"code":11,"msg":"range is full","details":"10 of 10"}'; exit 1"#;
        let error = Plugin::new("fail", script)
            .run(|ipam| ipam.add())
            .unwrap_err();
        assert_eq!(u32::from(&error), 11);
        let error = error.to_string();
        assert!(error.contains("range is full; 10 of 10"), "{error}");
        let error = Plugin::new("mute", "exit 9")
            .run(|ipam| ipam.tell("DEL"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("9") && error.contains("DEL"), "{error}");
    }

    #[test]
    fn no_address_is_a_failure() {
        let script = r#"cat >/dev/null; echo '{"cniVersion":"1.0.0","ips":[]}'"#;
        let error = Plugin::new("none", script)
            .run(|ipam| ipam.add())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no address"), "{error}");
    }

    #[test]
    fn a_missing_plugin_is_named() {
        let error = find(&["/nowhere".into()], "host-local")
            .unwrap_err()
            .to_string();
        assert!(error.contains("host-local"), "{error}");
        assert!(find(&["/".into()], "bin/sh").is_err());
    }
}
