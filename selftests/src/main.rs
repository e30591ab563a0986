// SPDX-License-Identifier: GPL-2.0
//! Drives `ipvlan` and `ipvlan_rs` from user space.
//!
//! The binary is the guest's init: it mounts what it needs, loads the modules of `/modules`, runs every case on every
//! link kind, prints KTAP on the console and powers the guest off. Kernel command line:
//!
//! * `st.kinds=ipvlan,ipvlan_rs` which kinds to run (default: both);
//! * `st.suite=own,both` which suites (default: both): `own` are the cases that run while the in-tree module is not loaded,
//!   `bare` those for kernels without IPv6, and `debug`, which must be asked for, long proofs for a debug kernel;
//! * `st.filter=substring` only cases whose full name contains it (several, separated by commas, are alternatives);
//! * `st.list=1` print the names and stop;
//! * `st.repeat=n` run everything n times;
//! * `st.share=2/3` only every third run, from the second on;
//! * `st.once=1` each case on one kind of master only, every other on the other;
//! * `st.debug=1` a debug kernel: time limits times six, and at the end no leak, and lockdep still on;
//! * `st.amount=n` how much a case of `debug` does, `st.seed=n` what its random choices follow from;
//! * `st.fuzz=SEED:FRAMES:REQUESTS` so many mutated frames and requests, only these;
//! * `st.walk=SEED:STEPS` of the random walk, only this; `st.walk=SEED@N,N,...` only those steps of it;
//! * `st.bench=quick|full` measures and runs no cases (scripts/bench does this): `st.filter` then chooses rows.
//!
//! A case is written once and takes the kind from its [`cx::Cx`]; where the two kinds differ on purpose it asks for the
//! [`cx::Decision`] that says so.

#![forbid(unsafe_op_in_unsafe_fn)]

mod cases;
mod churn;
mod cx;
mod debug;
mod ethtool;
mod evidence;
mod far;
mod fault;
mod frames;
mod fuzz;
mod init;
mod kmsg;
mod ktap;
mod lan;
mod lookups;
mod measure;
mod memory;
mod modules;
mod mounts;
mod netns;
mod nl;
mod options;
mod packet;
mod ping;
#[cfg(test)]
mod proof;
mod regressions;
mod rows;
mod run;
mod stream;
mod tenant;
mod vnet;
mod wait;
mod walk;

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some(tenant::TENANT) {
        return match tenant::tenant_main() {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(e) => {
                println!("-1 {e:#}");
                std::process::ExitCode::FAILURE
            }
        };
    }
    let pid1 = std::process::id() == 1;
    if pid1 {
        if let Err(e) = init::set_up() {
            println!("Bail out! {e:#}");
            init::power_off();
        }
    }
    let all = |options: options::Options| match options.bench {
        Some(scale) => measure::run(scale, &options),
        None => run::run(options),
    };
    let ok = match options::Options::read().and_then(all) {
        Ok(ok) => ok,
        Err(e) => {
            println!("Bail out! {e:#}");
            false
        }
    };
    if pid1 {
        init::power_off();
    }
    if ok {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}
