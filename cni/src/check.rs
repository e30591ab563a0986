// SPDX-License-Identifier: GPL-2.0-or-later
//! `CHECK`: whether the link still is as `ADD` left it.

use crate::chain::Part;
use crate::config::{flag_word, mode_word, Config};
use crate::link::{gateway, routes, table, Link, MAIN};
use anyhow::{bail, Result};
use futures_util::TryStreamExt;
use rscni_plugin::types::Route;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::Handle;
use std::net::IpAddr;

/// Compares the link with the configuration, with its master if the configuration names one, and with its part of what
/// `ADD` returned.
pub async fn check(
    handle: &Handle,
    link: &Link,
    config: &Config,
    master: Option<&Link>,
    part: &Part,
) -> Result<()> {
    settings(link, config)?;
    if let Some(master) = master.filter(|m| link.lower != Some(m.index)) {
        bail!("{} does not lie on {}", link.name, master.name);
    }
    let addresses = link.addresses(handle).await?;
    for ip in &part.result.ips {
        if !addresses.iter().any(|(has, _)| *has == ip.address) {
            bail!("{} has lost its address {}", link.name, ip.address);
        }
    }
    for route in &part.result.routes {
        let wanted = Wanted {
            route,
            link: part.alone.then_some(link.index),
            gateway: if part.alone {
                Some(gateway(route, &part.result))
            } else {
                route.gw.map(Some)
            },
        };
        let all: Vec<_> = routes(handle, route.dst.addr().is_ipv4())
            .try_collect()
            .await?;
        if !all.iter().any(|r| wanted.is(r)) {
            bail!("the route to {} is gone, or leads elsewhere", route.dst);
        }
    }
    Ok(())
}

/// What the configuration says of the link itself.
fn settings(link: &Link, config: &Config) -> Result<()> {
    if link.kind.as_deref() != Some(config.kind.as_str()) {
        bail!(
            "{} is of kind {}, not {}",
            link.name,
            link.kind.as_deref().unwrap_or("none"),
            config.kind
        );
    }
    if link.mode != Some(config.mode) {
        bail!(
            "{} has mode {}, not {}",
            link.name,
            mode_word(link.mode),
            mode_word(Some(config.mode))
        );
    }
    if config.flag.is_some() && link.flag != config.flag {
        bail!(
            "{} has flag {}, not {}",
            link.name,
            flag_word(link.flag),
            flag_word(config.flag)
        );
    }
    if config.mtu.is_some_and(|mtu| mtu != link.mtu) {
        bail!("{} has another MTU than asked for: {}", link.name, link.mtu);
    }
    Ok(())
}

/// A route that must be there: through the link, and through the gateway or none, unless other links of the container may
/// have it. What else leads to the same place is not asked for: later plugins of the chain, or a router's advertisements,
/// may have added it. (The reference plugin looks at destination and gateway of any link's, but of a default route's not at
/// the gateway.)
struct Wanted<'a> {
    route: &'a Route,
    link: Option<u32>,
    gateway: Option<Option<IpAddr>>,
}

impl Wanted<'_> {
    fn is(&self, seen: &RouteMessage) -> bool {
        let dst = &self.route.dst;
        let to = seen.attributes.iter().find_map(|a| match a {
            RouteAttribute::Destination(to) => Some(to),
            _ => None,
        });
        let has = |a: RouteAttribute| seen.attributes.contains(&a);
        seen.header.destination_prefix_length == dst.prefix_len()
            && to.map_or(dst.prefix_len() == 0, |to| *to == dst.network().into())
            && table(seen) == self.route.table.unwrap_or(MAIN)
            && self.link.is_none_or(|link| has(RouteAttribute::Oif(link)))
            && match self.gateway {
                None => true,
                Some(Some(ip)) => has(RouteAttribute::Gateway(ip.into())),
                Some(None) => !seen
                    .attributes
                    .iter()
                    .any(|a| matches!(a, RouteAttribute::Gateway(_) | RouteAttribute::Via(_))),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::link::{IpVlanFlags, IpVlanMode, LinkMessage};
    use rtnetlink::RouteMessageBuilder;

    fn link() -> Link {
        Link {
            name: "eth0".into(),
            mtu: 1500,
            kind: Some("ipvlan_rs".into()),
            mode: Some(IpVlanMode::L2),
            flag: Some(IpVlanFlags::empty()),
            ..Link::from(LinkMessage::default())
        }
    }

    fn config(keys: &str) -> Config {
        let text = format!(r#"{{"cniVersion":"1.1.0","name":"n","type":"ipvlan-rs"{keys}}}"#);
        Config::new(&serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn a_setting_that_is_not_the_configurations_is_named() {
        for keys in [
            "",
            r#","flag":"bridge""#,
            r#","mtu":1500"#,
            r#","mode":"l2""#,
        ] {
            settings(&link(), &config(keys)).unwrap();
        }
        for (keys, words) in [
            (r#","mode":"l3""#, "mode l2, not l3"),
            (r#","flag":"private""#, "flag bridge, not private"),
            (r#","mtu":1400"#, "MTU"),
            (r#","kind":"ipvlan""#, "kind"),
        ] {
            let error = settings(&link(), &config(keys)).unwrap_err().to_string();
            assert!(error.contains(words), "{keys}: {error}");
        }
        // As a kind without modes is shown.
        let bare = Link {
            mode: None,
            flag: None,
            ..link()
        };
        let error = settings(&bare, &config(r#","mode":"l3s""#)).unwrap_err();
        assert!(error.to_string().contains("mode none, not l3s"), "{error}");
    }

    #[test]
    fn a_route_is_the_same_by_destination_table_link_and_gateway() {
        let seen = |to: &str, gw: &str, link: u32, table: u32| {
            RouteMessageBuilder::<IpAddr>::new()
                .destination_prefix(to.parse().unwrap(), 24)
                .unwrap()
                .gateway(gw.parse().unwrap())
                .unwrap()
                .output_interface(link)
                .table_id(table)
                .build()
        };
        let route: Route = serde_json::from_str(r#"{"dst":"203.0.113.0/24"}"#).unwrap();
        let wanted = Wanted {
            route: &route,
            link: Some(7),
            gateway: Some(Some([192, 0, 2, 1].into())),
        };
        assert!(wanted.is(&seen("203.0.113.0", "192.0.2.1", 7, MAIN)));
        assert!(!wanted.is(&seen("203.0.112.0", "192.0.2.1", 7, MAIN)));
        assert!(!wanted.is(&seen("203.0.113.0", "192.0.2.2", 7, MAIN)));
        assert!(!wanted.is(&seen("203.0.113.0", "192.0.2.1", 8, MAIN)));
        assert!(!wanted.is(&seen("203.0.113.0", "192.0.2.1", 7, 1000)));
        // Asked for without a gateway: one that has one now leads elsewhere.
        let on_link = Wanted {
            gateway: Some(None),
            ..wanted
        };
        assert!(!on_link.is(&seen("203.0.113.0", "192.0.2.1", 7, MAIN)));
        let mut bare = seen("203.0.113.0", "192.0.2.1", 7, MAIN);
        bare.attributes
            .retain(|a| !matches!(a, RouteAttribute::Gateway(_)));
        assert!(on_link.is(&bare));
        assert!(!wanted.is(&bare));
        let of_the_chain = Wanted {
            link: None,
            gateway: None,
            ..wanted
        };
        assert!(of_the_chain.is(&seen("203.0.113.0", "192.0.2.9", 8, MAIN)));
    }
}
