// SPDX-License-Identifier: GPL-2.0-or-later
//! The plugin's own keys of a network's configuration.

use rscni_plugin::error::Error;
use rscni_plugin::types::NetConf;
use rtnetlink::packet_route::link::{IpVlanFlags, IpVlanMode};
use serde::Deserialize;
use std::fmt::Debug;

/// What the configuration says of the link, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The card; without one, that of the default route.
    pub master: Option<String>,
    pub mode: IpVlanMode,
    /// Left as it is if not given: it belongs to the master, and so to all of its links.
    pub flag: Option<IpVlanFlags>,
    /// The master's, if not given.
    pub mtu: Option<u32>,
    /// The master is in the container's namespace.
    pub in_container: bool,
    pub kind: String,
}

/// The keys as they are written. Unknown ones are other plugins' or the runtime's business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    master: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    flag: String,
    mtu: Option<i64>,
    #[serde(default)]
    link_in_container: bool,
    #[serde(default)]
    kind: String,
}

/// The modes, and the flags, as they are written.
const MODES: [(&str, IpVlanMode); 3] = [
    ("l2", IpVlanMode::L2),
    ("l3", IpVlanMode::L3),
    ("l3s", IpVlanMode::L3S),
];
const FLAGS: [(&str, IpVlanFlags); 3] = [
    ("bridge", IpVlanFlags::empty()),
    ("private", IpVlanFlags::Private),
    ("vepa", IpVlanFlags::Vepa),
];

fn read<T: Copy>(names: &[(&str, T)], word: &str) -> Option<T> {
    names.iter().find(|(n, _)| *n == word).map(|(_, is)| *is)
}

fn written<T: PartialEq + Debug>(names: &[(&str, T)], is: Option<T>) -> String {
    let Some(is) = is else { return "none".into() };
    let name = names.iter().find(|(_, other)| *other == is);
    name.map_or_else(|| format!("{is:?}"), |(name, _)| (*name).into())
}

/// The mode in a user's word, or "none" of a link that has no modes.
pub fn mode_word(mode: Option<IpVlanMode>) -> String {
    written(&MODES, mode)
}

/// The same of the flag.
pub fn flag_word(flag: Option<IpVlanFlags>) -> String {
    written(&FLAGS, flag)
}

impl Config {
    /// Reads them from a network's configuration.
    pub fn new(conf: &NetConf) -> Result<Config, Error> {
        let bad = Error::InvalidNetworkConfig;
        let raw: Raw = serde_json::to_value(&conf.custom)
            .and_then(serde_json::from_value)
            .map_err(|e| bad(format!("a key of ipvlan-rs has the wrong type: {e}")))?;
        let mode = match raw.mode.as_str() {
            "" => IpVlanMode::L2,
            word => read(&MODES, word)
                .ok_or_else(|| bad(format!("\"mode\" cannot be {word:?}, only l2, l3 or l3s")))?,
        };
        let flag = match raw.flag.as_str() {
            "" => None,
            word => Some(read(&FLAGS, word).ok_or_else(|| {
                bad(format!(
                    "\"flag\" cannot be {word:?}, only bridge, private or vepa"
                ))
            })?),
        };
        let mtu = match raw.mtu {
            // The reference plugin takes zero for the master's.
            None | Some(0) => None,
            Some(mtu) => Some(
                u32::try_from(mtu)
                    .ok()
                    .filter(|m| *m >= 68)
                    .ok_or_else(|| bad(format!("\"mtu\" must be 68 or more, not {mtu}")))?,
            ),
        };
        Ok(Config {
            master: Some(raw.master).filter(|m| !m.is_empty()),
            mode,
            flag,
            mtu,
            in_container: raw.link_in_container,
            kind: Some(raw.kind)
                .filter(|k| !k.is_empty())
                .unwrap_or_else(|| "ipvlan_rs".into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &str) -> Result<Config, Error> {
        let text = format!(r#"{{"cniVersion":"1.1.0","name":"n","type":"ipvlan-rs"{keys}}}"#);
        Config::new(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn defaults_are_the_reference_plugins() {
        let config = parse("").unwrap();
        assert_eq!(
            config,
            Config {
                master: None,
                mode: IpVlanMode::L2,
                flag: None,
                mtu: None,
                in_container: false,
                kind: "ipvlan_rs".into()
            }
        );
    }

    #[test]
    fn every_key_counts() {
        let keys = r#","master":"eth1","mode":"l3s","flag":"vepa","mtu":1400,"linkInContainer":true,"kind":"ipvlan""#;
        assert_eq!(
            parse(keys).unwrap(),
            Config {
                master: Some("eth1".into()),
                mode: IpVlanMode::L3S,
                flag: Some(IpVlanFlags::Vepa),
                mtu: Some(1400),
                in_container: true,
                kind: "ipvlan".into()
            }
        );
        for (flag, bits) in [
            ("bridge", IpVlanFlags::empty()),
            ("private", IpVlanFlags::Private),
        ] {
            assert_eq!(
                parse(&format!(r#","flag":"{flag}""#)).unwrap().flag,
                Some(bits)
            );
        }
        assert_eq!(parse(r#","mtu":0"#).unwrap().mtu, None);
    }

    /// Reads one example's configuration, as the runtime would hand it to the plugin.
    fn example(text: &str) -> Config {
        Config::new(&serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn examples_are_understood() {
        let list: serde_json::Value =
            serde_json::from_str(include_str!("../examples/10-ipvlan-rs.conflist")).unwrap();
        // A runtime adds the list's name and version to each plugin's part.
        let mut part = list["plugins"][0].clone();
        part["name"] = list["name"].clone();
        part["cniVersion"] = list["cniVersion"].clone();
        let yaml = include_str!("../examples/network-attachment-definition.yaml");
        let (_, block) = yaml.split_once("config: |\n").unwrap();
        for (config, master) in [
            (example(&part.to_string()), "eth0"),
            (example(block), "eth1"),
        ] {
            assert_eq!(config.master.as_deref(), Some(master));
            assert_eq!(config.flag, Some(IpVlanFlags::Private));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (keys, word) in [
            (r#","mode":"l4""#, "l4"),
            (r#","flag":"privat""#, "privat"),
            (r#","mtu":67"#, "67"),
            (r#","mtu":-1"#, "-1"),
            (r#","mtu":4294967296"#, "4294967296"),
            (r#","master":5"#, "type"),
        ] {
            let error = parse(keys).unwrap_err().to_string();
            assert!(error.contains(word), "{keys}: {error}");
        }
    }

    #[test]
    fn a_word_is_written_as_it_is_read() {
        for word in ["l2", "l3", "l3s"] {
            let mode = parse(&format!(r#","mode":"{word}""#)).unwrap().mode;
            assert_eq!(mode_word(Some(mode)), word);
        }
        for word in ["bridge", "private", "vepa"] {
            let flag = parse(&format!(r#","flag":"{word}""#)).unwrap().flag;
            assert_eq!(flag_word(flag), word);
        }
        assert_eq!(
            (mode_word(None), flag_word(None)),
            ("none".into(), "none".into())
        );
        // What a later kernel may have.
        assert!(mode_word(Some(IpVlanMode::Other(9))).contains('9'));
    }
}
