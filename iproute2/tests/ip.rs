// SPDX-License-Identifier: GPL-2.0

//! The plugin inside real `ip` programs: the bytes they send and the text and JSON they print,
//! against the kind `ipvlan` that is built into them wherever there is something to compare.
//!
//! `IPVLAN_RS_IP_TREES` names, separated by colons, the root directories of the systems whose
//! `ip` is tried, each with its own C library; `/` alone if it is not set. Nothing reaches the
//! kernel (see probe/rtnl_probe.rs), so neither privileges nor the module are needed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, panic};

const MODES: [&str; 3] = ["l2", "l3", "l3s"];
const FLAGS: [&str; 3] = ["bridge", "private", "vepa"];
const USAGE: &str = "Usage: ... ipvlan_rs [ mode { l2 | l3 | l3s } ] [ private | vepa | bridge ] \
                     [ queue_bytes BYTES ] [ max_addrs NUMBER ]\n";

/// The `ip` of one system, the plugin, and the probe around it.
struct Ip {
    program: Vec<PathBuf>,
    preload: bool,
    probe: PathBuf,
    plugins: PathBuf,
    scratch: PathBuf,
}

/// What a run of `ip` left.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
    /// The requests to create or change a link.
    sent: Vec<u8>,
}

impl Ip {
    /// Looks for `ip` below `tree`, and for the dynamic linker to start it with.
    fn of(tree: &Path, build: &Build) -> Option<Ip> {
        let find = |names: &[&str]| names.iter().map(|n| tree.join(n)).find(|p| p.is_file());
        let ip = find(&["usr/bin/ip", "bin/ip", "usr/sbin/ip", "sbin/ip"])?;
        let preload = tree == Path::new("/");
        let mut program = vec![ip];
        if !preload {
            let name = "x86_64-linux-gnu/ld-linux-x86-64.so.2";
            let ld = find(&[&format!("usr/lib/{name}"), &format!("lib/{name}")])?;
            let lib = |top: &str| {
                tree.join(top)
                    .join("x86_64-linux-gnu")
                    .display()
                    .to_string()
            };
            let path = [lib("usr/lib"), lib("lib")].join(":");
            let ld = [ld, "--library-path".into(), path.into(), "--preload".into()];
            program.splice(0..0, ld.into_iter().chain([build.probe.clone()]));
        }
        let (probe, plugins) = (build.probe.clone(), build.plugins.clone());
        Some(Ip {
            program,
            preload,
            probe,
            plugins,
            scratch: build.scratch.clone(),
        })
    }

    fn run(&self, args: &str, link: &[u8], plugins: &Path) -> Run {
        let (link_file, sent_file) = (self.scratch.join("link"), self.scratch.join("sent"));
        fs::write(&link_file, link).unwrap();
        fs::write(&sent_file, []).unwrap();
        let mut command = Command::new(&self.program[0]);
        command
            .args(&self.program[1..])
            .args(args.split_whitespace());
        command.env("IP_LIB_DIR", plugins);
        command
            .env("RTNL_PROBE_LINK", &link_file)
            .env("RTNL_PROBE_SENT", &sent_file);
        if self.preload {
            command.env("LD_PRELOAD", &self.probe);
        }
        let output = command.output().unwrap();
        Run {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            sent: fs::read(&sent_file).unwrap(),
        }
    }

    /// Runs `ip link add … type OPTIONS`.
    fn add(&self, options: &str) -> Run {
        let args = format!("link add link eth0 name ipvl0 type {options}");
        self.run(&args, &link("eth0", None, &[]), &self.plugins)
    }

    /// Runs `ip OPTIONS link show` where the kernel reports a link of `kind` with `data`.
    fn show(&self, options: &str, kind: &str, data: &[u8]) -> String {
        let link = link("ipvl0", Some(kind), data);
        let run = self.run(
            &format!("{options} link show dev ipvl0"),
            &link,
            &self.plugins,
        );
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
        run.out
    }

    /// A refused command: nothing sent, code 1, nothing on standard output; its message.
    fn refused(&self, options: &str) -> String {
        let run = self.add(options);
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.sent.is_empty(), "{run:?}");
        run.err
    }

    fn version(&self) -> String {
        let run = self.run("-V", &[], &self.plugins);
        let version = run.out.split("iproute2-").nth(1).unwrap();
        version
            .split(|c: char| c == ',' || c.is_whitespace())
            .next()
            .unwrap()
            .to_owned()
    }
}

fn attr(kind: u16, payload: &[u8]) -> Vec<u8> {
    let len = 4 + payload.len();
    let mut bytes = [(len as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(payload);
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

fn mode_and_flags(mode: u16, flags: u16) -> Vec<u8> {
    [attr(1, &mode.to_ne_bytes()), attr(2, &flags.to_ne_bytes())].concat()
}

/// The module's own attributes, which in-tree ipvlan has not.
fn queue_bytes(bytes: u32) -> Vec<u8> {
    attr(32, &bytes.to_ne_bytes())
}

fn max_addrs(number: u32) -> Vec<u8> {
    attr(33, &number.to_ne_bytes())
}

/// A kernel's RTM_NEWLINK message about one device.
fn link(name: &str, kind: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut body = [0u8; 16]; // struct ifinfomsg
    body[2..4].copy_from_slice(&1u16.to_ne_bytes()); // ARPHRD_ETHER
    body[4..8].copy_from_slice(&7u32.to_ne_bytes());
    body[8..12].copy_from_slice(&0x1043u32.to_ne_bytes()); // UP, BROADCAST, RUNNING, MULTICAST
    let mut body = body.to_vec();
    body.extend(attr(3, format!("{name}\0").as_bytes())); // IFLA_IFNAME
    body.extend(attr(4, &1500u32.to_ne_bytes())); // IFLA_MTU
    body.extend(attr(13, &1000u32.to_ne_bytes())); // IFLA_TXQLEN
    body.extend(attr(1, &[2, 0, 0, 0, 0, 1])); // IFLA_ADDRESS
    body.extend(attr(2, &[0xff; 6])); // IFLA_BROADCAST
    if let Some(kind) = kind {
        let mut info = attr(1, format!("{kind}\0").as_bytes()); // IFLA_INFO_KIND
        if !data.is_empty() {
            info.extend(attr(2, data)); // IFLA_INFO_DATA
        }
        body.extend(attr(18, &info)); // IFLA_LINKINFO
    }
    [vec![0; 16], body].concat()
}

/// The payload of the attribute in `bytes`, if there is exactly one of that kind.
fn find(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut found = None;
    while bytes.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        if u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff == kind {
            assert!(
                found.replace(&bytes[4..len]).is_none(),
                "attribute {kind} twice"
            );
        }
        bytes = &bytes[len.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

/// IFLA_INFO_KIND without its terminating zero, and IFLA_INFO_DATA, of a request.
fn linkinfo(run: &Run) -> (&str, Option<&[u8]>) {
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let len = u32::from_ne_bytes(run.sent[..4].try_into().unwrap());
    assert_eq!(len as usize, run.sent.len(), "exactly one request");
    let info = find(&run.sent[32..], 18).expect("IFLA_LINKINFO");
    let kind = std::str::from_utf8(find(info, 1).expect("IFLA_INFO_KIND")).unwrap();
    (kind.trim_end_matches('\0'), find(info, 2))
}

type Case = (&'static str, fn(&Ip));

const CASES: &[Case] = &[
    ("without the plugin, options are garbage", |ip| {
        let link = link("eth0", None, &[]);
        let args = "link add link eth0 name ipvl0 type ipvlan_rs mode l2";
        let run = ip.run(args, &link, &ip.scratch.join("none"));
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.err.contains("Garbage instead of arguments"), "{run:?}");
        assert!(run.sent.is_empty(), "{run:?}");
    }),
    ("without options, only the kind is sent", |ip| {
        assert_eq!(linkinfo(&ip.add("ipvlan_rs")), ("ipvlan_rs", None));
    }),
    ("mode and flags are sent byte by byte", |ip| {
        let run = ip.add("ipvlan_rs mode l3s vepa");
        let bytes = [6, 0, 1, 0, 2, 0, 0, 0, 6, 0, 2, 0, 2, 0, 0, 0];
        assert_eq!(linkinfo(&run), ("ipvlan_rs", Some(&bytes[..])));
    }),
    ("what is not given is not sent", |ip| {
        for (value, mode) in (0u16..).zip(MODES) {
            let run = ip.add(&format!("ipvlan_rs mode {mode}"));
            assert_eq!(linkinfo(&run).1, Some(&attr(1, &value.to_ne_bytes())[..]));
        }
        for (value, flag) in (0u16..).zip(FLAGS) {
            let run = ip.add(&format!("ipvlan_rs {flag}"));
            assert_eq!(linkinfo(&run).1, Some(&attr(2, &value.to_ne_bytes())[..]));
        }
    }),
    (
        "every mode and flag is sent as the built-in ipvlan sends it",
        |ip| {
            for options in MODES
                .map(|m| FLAGS.map(|f| format!("mode {m} {f}")))
                .as_flattened()
            {
                let ours = ip.add(&format!("ipvlan_rs {options}"));
                let theirs = ip.add(&format!("ipvlan {options}"));
                assert!(linkinfo(&ours).1.is_some());
                assert_eq!(linkinfo(&ours).1, linkinfo(&theirs).1, "{options}");
            }
        },
    ),
    (
        "queue_bytes is sent as a u32, alone or after the others",
        |ip| {
            let run = ip.add("ipvlan_rs queue_bytes 1048577");
            let bytes = [8, 0, 32, 0, 1, 0, 16, 0];
            assert_eq!(linkinfo(&run), ("ipvlan_rs", Some(&bytes[..])));
            let run = ip.add("ipvlan_rs max_addrs 9 queue_bytes 4294967295 private mode l2");
            let data = [mode_and_flags(0, 1), queue_bytes(u32::MAX), max_addrs(9)].concat();
            assert_eq!(linkinfo(&run), ("ipvlan_rs", Some(&data[..])));
        },
    ),
    ("the order of options does not matter", |ip| {
        let (a, b) = (
            ip.add("ipvlan_rs vepa mode l2"),
            ip.add("ipvlan_rs mode l2 vepa"),
        );
        assert_eq!(linkinfo(&a), linkinfo(&b));
    }),
    ("a live link is changed", |ip| {
        let link = link("ipvl0", Some("ipvlan_rs"), &mode_and_flags(0, 1));
        let run = ip.run("link set ipvl0 type ipvlan_rs mode l3", &link, &ip.plugins);
        assert_eq!(linkinfo(&run), ("ipvlan_rs", Some(&attr(1, &[1, 0])[..])));
        assert_eq!(run.sent[4..6], 16u16.to_ne_bytes(), "RTM_NEWLINK");
        assert_eq!(run.sent[20..24], 7u32.to_ne_bytes(), "ifi_index");
    }),
    ("text is printed as for the built-in ipvlan", |ip| {
        for (m, mode) in (0..).zip(MODES) {
            for (f, flag) in (0..).zip(FLAGS) {
                let data = mode_and_flags(m, f);
                let ours = ip.show("-d", "ipvlan_rs", &data);
                assert!(
                    ours.contains(&format!("ipvlan_rs  mode {mode} {flag} ")),
                    "{ours}"
                );
                let theirs = ip.show("-d", "ipvlan", &data);
                assert_eq!(ours.replace("ipvlan_rs", "ipvlan"), theirs);
            }
        }
    }),
    ("JSON is printed as for the built-in ipvlan", |ip| {
        for (m, mode) in (0..).zip(MODES) {
            for (f, flag) in (0..).zip(FLAGS) {
                let data = mode_and_flags(m, f);
                let ours = ip.show("-j -d", "ipvlan_rs", &data);
                let info = format!(
                    r#""linkinfo":{{"info_kind":"ipvlan_rs","info_data":{{"mode":"{mode}","{flag}":true}}}}"#
                );
                assert!(ours.contains(&info), "{ours}");
                let theirs = ip.show("-j -d", "ipvlan", &data);
                assert_eq!(ours.replace("ipvlan_rs", "ipvlan"), theirs);
            }
        }
    }),
    (
        "queue_bytes is in the text unless it is the default",
        |ip| {
            let show = |bytes| {
                let data = [mode_and_flags(0, 0), queue_bytes(bytes)].concat();
                ip.show("-d", "ipvlan_rs", &data)
            };
            let plain = ip.show("-d", "ipvlan_rs", &mode_and_flags(0, 0));
            assert_eq!(show(8_388_608), plain);
            let data = [mode_and_flags(0, 0), max_addrs(9)].concat();
            let limited = ip.show("-d", "ipvlan_rs", &data);
            let text = "mode l2 bridge max_addrs 9 ";
            assert_eq!(limited, plain.replace("mode l2 bridge ", text));
            for bytes in [262_144, 8_388_607, u32::MAX] {
                let text = format!("mode l2 bridge queue_bytes {bytes} ");
                assert_eq!(show(bytes), plain.replace("mode l2 bridge ", &text));
                assert_ne!(show(bytes), plain);
            }
        },
    ),
    ("queue_bytes is in the JSON always", |ip| {
        for bytes in [262_144, 8_388_608, u32::MAX] {
            let data = [mode_and_flags(1, 2), queue_bytes(bytes)].concat();
            let json = ip.show("-j -d", "ipvlan_rs", &data);
            let info = format!(r#""info_data":{{"mode":"l3","vepa":true,"queue_bytes":{bytes}}}"#);
            assert!(json.contains(&info), "{json}");
        }
    }),
    (
        "values of a newer kernel print as for the built-in ipvlan",
        |ip| {
            for data in [mode_and_flags(3, 4), mode_and_flags(0xffff, 0xffff)] {
                for options in ["-d", "-j -d"] {
                    let ours = ip.show(options, "ipvlan_rs", &data);
                    assert!(ours.contains("unknown"), "{ours}");
                    let theirs = ip.show(options, "ipvlan", &data);
                    assert_eq!(ours.replace("ipvlan_rs", "ipvlan"), theirs);
                }
            }
        },
    ),
    (
        "missing, short, long and unknown attributes are not printed",
        |ip| {
            let none: &[u8] = &[];
            let odd = [
                attr(1, &[1]),
                attr(2, &[0, 0, 0, 0]),
                attr(32, &[1, 0]),
                attr(33, &[1, 0]),
                attr(34, &[1, 0, 0, 0]),
                attr(40, &[1, 0]),
            ]
            .concat();
            for data in [none, &odd] {
                let text = ip.show("-d", "ipvlan_rs", data);
                assert!(
                    text.contains("ipvlan_rs")
                        && !text.contains(" mode l")
                        && !text.contains("queue_bytes"),
                    "{text}"
                );
                let json = ip.show("-j -d", "ipvlan_rs", data);
                assert!(json.contains(r#""info_kind":"ipvlan_rs""#), "{json}");
                let keys = [
                    "\"mode\":\"l",
                    "bridge\":",
                    "private\":",
                    "vepa\":",
                    "queue_bytes",
                ];
                for key in keys {
                    assert!(!json.contains(key), "{json}");
                }
            }
        },
    ),
    ("a link is listed by its kind", |ip| {
        let link = link("ipvl0", Some("ipvlan_rs"), &mode_and_flags(0, 0));
        let run = ip.run("link show dev ipvl0 type ipvlan_rs", &link, &ip.plugins);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.out.contains("ipvl0"), "{run:?}");
    }),
    ("help goes to standard output", |ip| {
        let run = ip.run("link help ipvlan_rs", &[], &ip.plugins);
        assert!(run.out.starts_with(USAGE), "{run:?}");
        assert_eq!(run.err, "");
    }),
    ("help among the options gives the usage", |ip| {
        assert!(ip.refused("ipvlan_rs help").starts_with(USAGE));
        assert!(ip.refused("ipvlan_rs mode l2 help").starts_with(USAGE));
    }),
    ("an unknown option is refused by name", |ip| {
        let text = ip.refused("ipvlan_rs mode l2 foo");
        assert!(
            text.starts_with("ipvlan_rs: unknown option \"foo\"\nUsage: "),
            "{text}"
        );
    }),
    ("a wrong mode is refused with the modes there are", |ip| {
        let text = ip.refused("ipvlan_rs mode l9");
        assert_eq!(
            text,
            "ipvlan_rs: \"mode\" cannot be \"l9\", only one of: l2 | l3 | l3s\n"
        );
    }),
    ("a missing mode is refused", |ip| {
        let text = ip.refused("ipvlan_rs mode");
        assert_eq!(text, "ipvlan_rs: \"mode\" needs one of: l2 | l3 | l3s\n");
    }),
    ("a second mode is refused", |ip| {
        let text = ip.refused("ipvlan_rs mode l2 mode l3");
        assert_eq!(text, "ipvlan_rs: \"l3\": only one \"mode\" can be given\n");
    }),
    ("what is no number of bytes is refused", |ip| {
        for word in ["8M", "-1", "4294967296"] {
            let text = ip.refused(&format!("ipvlan_rs queue_bytes {word}"));
            let want = format!("ipvlan_rs: \"queue_bytes\" cannot be \"{word}\", only a number");
            assert!(text.starts_with(&want), "{text}");
        }
        let text = ip.refused("ipvlan_rs mode l2 queue_bytes");
        assert!(
            text.starts_with("ipvlan_rs: \"queue_bytes\" needs a number"),
            "{text}"
        );
    }),
    ("a second flag is refused", |ip| {
        let text = ip.refused("ipvlan_rs private vepa");
        let want = "ipvlan_rs: \"vepa\": only one of private | vepa | bridge can be given\n";
        assert_eq!(text, want);
    }),
];

/// The libraries as they are shipped, and a directory for what the runs leave.
struct Build {
    plugins: PathBuf,
    probe: PathBuf,
    scratch: PathBuf,
}

fn build() -> Build {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ip");
    let plugins = scratch.join("plugins");
    fs::create_dir_all(&plugins).unwrap();
    fs::create_dir_all(scratch.join("none")).unwrap();
    let build = |output: &Path, source: &[&str]| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/build");
        let status = Command::new(script)
            .arg(output)
            .args(source)
            .status()
            .unwrap();
        assert!(status.success(), "{} does not build", output.display());
    };
    build(&plugins.join("link_ipvlan_rs.so"), &[]);
    let probe = scratch.join("rtnl_probe.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probe/rtnl_probe.rs");
    build(&probe, &[source]);
    Build {
        plugins,
        probe,
        scratch,
    }
}

fn main() -> ExitCode {
    let build = build();
    let (mut passed, mut failed) = (0, 0);
    let mut test = |name: String, case: &dyn Fn()| {
        let ok = panic::catch_unwind(panic::AssertUnwindSafe(case)).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        *(if ok { &mut passed } else { &mut failed }) += 1;
    };

    test("the plugin is small".into(), &|| {
        let size = fs::metadata(build.plugins.join("link_ipvlan_rs.so"))
            .unwrap()
            .len();
        assert!(size <= 16 * 1024, "{size} bytes");
    });
    let trees = env::var("IPVLAN_RS_IP_TREES").unwrap_or_else(|_| "/".into());
    for tree in trees.split(':') {
        match Ip::of(Path::new(tree), &build) {
            Some(ip) => {
                let version = ip.version();
                for (name, case) in CASES {
                    test(format!("ip {version}: {name}"), &|| case(&ip));
                }
            }
            None => test(format!("{tree}: has an ip"), &|| {
                panic!("no ip below {tree}")
            }),
        }
    }

    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    ExitCode::from(u8::from(failed != 0))
}
