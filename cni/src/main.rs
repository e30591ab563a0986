// SPDX-License-Identifier: GPL-2.0-or-later
//! CNI plugin: gives containers links of the kind `ipvlan_rs`. doc/ipvlan-rs-cni.8 is its reference.
//!
//! Executed by a container runtime for each command, by the CNI specification 1.1.

mod chain;
mod check;
mod config;
mod ipam;
mod link;
mod module;
mod netns;

use config::Config;
use ipam::Ipam;
use link::Link;
use netns::Netns;
use rscni_plugin::cni::{Cni, Plugin};
use rscni_plugin::error::Error;
use rscni_plugin::types::{Args, CNIResult, Interface};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let about = concat!(
        "CNI plugin ipvlan-rs ",
        env!("CARGO_PKG_VERSION"),
        ", see ipvlan-rs-cni(8)"
    );
    match Plugin::default().msg(about).run(&IpvlanRs) {
        Ok(()) => ExitCode::SUCCESS,
        // The words are on standard output, as the specification wants it.
        Err(_) => ExitCode::FAILURE,
    }
}

struct IpvlanRs;

/// An error of the kernel's or the system's.
fn failed(error: anyhow::Error) -> Error {
    Error::IOFailure(format!("{error:#}"))
}

/// The link's name in the container.
fn ifname(args: &Args) -> Result<&str, Error> {
    let name = args.ifname();
    Ok(name.ok_or_else(|| Error::InvalidEnvValue("CNI_IFNAME is not set".into()))?)
}

/// The container's namespace and the link's name in it.
fn container(args: &Args) -> Result<(Netns, &str), Error> {
    let path = args
        .netns()
        .ok_or_else(|| Error::InvalidEnvValue("CNI_NETNS is not set".into()))?;
    let name = ifname(args)?;
    let ns = Netns::open(path).map_err(|e| unopened(path, &e))?;
    Ok((ns, name))
}

fn unopened(path: &Path, error: &io::Error) -> Error {
    Error::InvalidNetNS(format!("cannot open {}: {error}", path.display()))
}

/// The container's namespace, if there still is one: the runtime may not name it any more, or its file is gone, or only
/// the plain file below its mount is left. Any other failure to open it is one: the link may be there.
fn left(path: Option<&Path>) -> Result<Option<Netns>, Error> {
    let Some(path) = path else {
        return Ok(None);
    };
    match Netns::open(path) {
        Ok(ns) => Ok(Some(ns).filter(Netns::is_namespace)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(unopened(path, &e)),
    }
}

/// The master, in the namespace where it is to be.
fn master(config: &Config, ns: &Netns) -> Result<Link, Error> {
    let found = ns.run(async |handle| match &config.master {
        Some(name) => Link::named(&handle, name).await,
        None => Link::of_default_route(&handle).await,
    });
    found.map_err(failed)?.ok_or_else(|| {
        Error::InvalidNetworkConfig(match &config.master {
            Some(name) => format!("the master {name} does not exist"),
            None => "there is no default route to take the master from: say \"master\"".into(),
        })
    })
}

/// Creates and configures the link. On failure nothing is left, and nothing is touched that was there before: the
/// address is given back only if this call asked for one, as an `ADD` repeated for a live container must not free its.
fn attach(
    args: &Args,
    config: &Config,
    ns: &Netns,
    name: &str,
    ipam: Option<&Ipam<'_>>,
) -> Result<CNIResult, Error> {
    let host = Netns::host();
    let at = if config.in_container { ns } else { &host };
    let master = master(config, at)?;
    let target = if config.in_container {
        None
    } else {
        ns.file().map(AsRawFd::as_raw_fd)
    };
    at.run(async |handle| Link::create(&handle, config, &master, name, target).await)
        .map_err(|e| match module::available(&config.kind) {
            Ok(()) => failed(e),
            Err(why) => failed(e.context(why)),
        })?;
    let configured = ipam
        .map_or_else(|| Ok(CNIResult::default()), Ipam::add)
        .and_then(|mut result| {
            let link = ns
                .run(async |handle| {
                    let link = Link::named(&handle, name).await?;
                    let link = link.ok_or_else(|| anyhow::anyhow!("{name} has vanished"))?;
                    link.configure(&handle, &result).await?;
                    Ok(link)
                })
                .map_err(failed)?;
            let interface = Interface {
                name: name.into(),
                mac: link.mac,
                mtu: Some(link.mtu),
                sandbox: args.netns().map(|path| path.display().to_string()),
                socket_path: None,
                pci_id: None,
            };
            if result.dns.is_none() {
                result.dns = args.config().dns.clone();
            }
            Ok(chain::joined(
                args.config().prev_result.as_ref(),
                result,
                interface,
            ))
        });
    if configured.is_err() {
        // The first error is the one to tell. The link goes first, so that nobody gets an address still in use.
        let _ = detach(ns, name, config);
        if let Some(ipam) = ipam {
            let _ = ipam.tell("DEL");
        }
    }
    configured
}

/// Deletes the link, if it is there and of the plugin's kind.
fn detach(ns: &Netns, name: &str, config: &Config) -> Result<(), Error> {
    ns.run(async |handle| match Link::named(&handle, name).await? {
        Some(link) if link.kind.as_deref() == Some(config.kind.as_str()) => {
            link.delete(&handle).await
        }
        _ => Ok(()),
    })
    .map_err(failed)
}

impl Cni for IpvlanRs {
    fn add(&self, args: Args) -> Result<CNIResult, Error> {
        let config = Config::new(args.config())?;
        let ipam = Ipam::new(&args)?;
        let (ns, name) = container(&args)?;
        attach(&args, &config, &ns, name, ipam.as_ref())
    }

    fn del(&self, args: Args) -> Result<(), Error> {
        let config = Config::new(args.config())?;
        // The namespace, and the link with it, may be gone already.
        let link = left(args.netns().map(PathBuf::as_path)).and_then(|ns| match ns {
            Some(ns) => detach(&ns, ifname(&args)?, &config),
            None => Ok(()),
        });
        // The address after the link that has it, and also if the link cannot be deleted.
        let address = match Ipam::new(&args) {
            Ok(Some(ipam)) => ipam.tell("DEL"),
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        link.and(address)
    }

    fn check(&self, args: Args) -> Result<(), Error> {
        let config = Config::new(args.config())?;
        let Some(result) = &args.config().prev_result else {
            return Err(Error::InvalidNetworkConfig("CHECK needs prevResult".into()));
        };
        if let Some(ipam) = Ipam::new(&args)? {
            ipam.tell("CHECK")?;
        }
        let (ns, name) = container(&args)?;
        let part = chain::part(result, name).ok_or_else(|| {
            Error::InvalidNetworkConfig(format!("prevResult knows no {name} in the container"))
        })?;
        let host = Netns::host();
        // The default route may lead elsewhere today, and the link is none the worse for it.
        let master = match &config.master {
            Some(_) => Some(master(
                &config,
                if config.in_container { &ns } else { &host },
            )?),
            None => None,
        };
        ns.run(async |handle| {
            let link = Link::named(&handle, name).await?;
            let link =
                link.ok_or_else(|| anyhow::anyhow!("there is no {name} in the container"))?;
            check::check(&handle, &link, &config, master.as_ref(), &part).await
        })
        .map_err(failed)
    }

    fn status(&self, args: Args) -> Result<(), Error> {
        let not = |why: String| Error::PluginNotAvailable(why);
        let config = Config::new(args.config())?;
        if !config.in_container {
            master(&config, &Netns::host()).map_err(|e| not(e.to_string()))?;
        }
        module::available(&config.kind).map_err(not)?;
        match Ipam::new(&args).map_err(|e| not(e.to_string()))? {
            Some(ipam) => ipam.tell("STATUS").map_err(|e| match e {
                // 51: the containers that there are may suffer too.
                Error::PluginNotAvailable(_) | Error::PluginNotAvailableLimitedConnectivity(_) => e,
                other => not(other.to_string()),
            }),
            None => Ok(()),
        }
    }

    fn gc(&self, args: Args) -> Result<(), Error> {
        // Links go with their namespaces; addresses are kept by the other plugin.
        match Ipam::new(&args)? {
            Some(ipam) => ipam.tell("GC"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_gone_only_if_its_file_is() {
        assert!(left(None).unwrap().is_none());
        for gone in ["/nowhere/p1", "/proc/version/p1", "/proc/version"] {
            assert!(left(Some(Path::new(gone))).unwrap().is_none(), "{gone}");
        }
        assert!(left(Some(Path::new("/proc/self/ns/net")))
            .unwrap()
            .is_some());
        // Too many links are no proof of anything.
        let dir = std::env::temp_dir().join(format!("ipvlan-rs-{}-loop", std::process::id()));
        std::os::unix::fs::symlink(&dir, &dir).unwrap();
        let answer = left(Some(&dir));
        std::fs::remove_file(&dir).unwrap();
        assert!(answer.is_err());
    }
}
