// SPDX-License-Identifier: GPL-2.0-or-later
//! A chain's result, and this plugin's part of it: plugins are called one after another, and each hands the next what all
//! before it did (`prevResult`).

use rscni_plugin::types::{CNIResult, Interface};

/// What the chain has after this plugin: what was there before, as it was, and this plugin's link and addresses.
pub fn joined(before: Option<&CNIResult>, ours: CNIResult, link: Interface) -> CNIResult {
    let mut all = before.cloned().unwrap_or_default();
    let index = u32::try_from(all.interfaces.len()).ok();
    all.interfaces.push(link);
    all.ips.extend(ours.ips.into_iter().map(|mut ip| {
        ip.interface = index;
        ip
    }));
    all.routes.extend(ours.routes);
    all.dns = ours.dns.or(all.dns);
    all
}

/// What of a chain's result is about the link of that name in the container: its addresses, and the routes. No route says
/// whose it is: if there are other links in the container, whether this is the only one tells who may look for them here.
pub struct Part {
    pub result: CNIResult,
    pub alone: bool,
}

/// None if the result does not know the link.
pub fn part(all: &CNIResult, name: &str) -> Option<Part> {
    // What is in no sandbox is the host's.
    let inside = |i: &Interface| i.sandbox.as_ref().is_some_and(|s| !s.is_empty());
    let index = all
        .interfaces
        .iter()
        .position(|i| inside(i) && i.name == name)?;
    let own = |ip: Option<u32>| ip.is_some_and(|i| usize::try_from(i).ok() == Some(index));
    Some(Part {
        result: CNIResult {
            ips: all
                .ips
                .iter()
                .filter(|ip| own(ip.interface))
                .cloned()
                .collect(),
            routes: all.routes.clone(),
            ..CNIResult::default()
        },
        alone: all.interfaces.iter().filter(|i| inside(i)).count() == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"{"interfaces":[{"name":"veth0","mac":"02:00:00:00:00:01"},
            {"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/run/netns/p"}],
        "ips":[{"interface":1,"address":"198.51.100.2/24","gateway":"198.51.100.1"}],
        "routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["198.51.100.53"]}}"#;
    const OURS: &str =
        r#"{"ips":[{"interface":0,"address":"192.0.2.7/24"}],"routes":[{"dst":"203.0.113.0/24"}]}"#;

    fn read(text: &str) -> CNIResult {
        serde_json::from_str(text).unwrap()
    }

    fn net1() -> Interface {
        serde_json::from_str(r#"{"name":"net1","sandbox":"/run/netns/p"}"#).unwrap()
    }

    #[test]
    fn a_chains_result_is_kept_and_added_to() {
        let before = read(BEFORE);
        let all = joined(Some(&before), read(OURS), net1());
        assert_eq!(all.interfaces[..2], before.interfaces);
        assert_eq!(all.interfaces[2].name, "net1");
        assert_eq!(all.ips[0], before.ips[0]);
        assert_eq!(all.ips[1].interface, Some(2));
        assert_eq!(all.routes.len(), 2);
        assert_eq!(all.dns, before.dns);
        let alone = joined(None, read(OURS), net1());
        assert_eq!(alone.ips[0].interface, Some(0));
        assert_eq!(alone.interfaces.len(), 1);
    }

    #[test]
    fn the_part_of_a_link_is_its_own_addresses() {
        let all = joined(Some(&read(BEFORE)), read(OURS), net1());
        let part = part(&all, "net1").unwrap();
        let ips: Vec<_> = part.result.ips.iter().map(|ip| ip.address).collect();
        assert_eq!(ips, ["192.0.2.7/24".parse().unwrap()]);
        assert!(!part.alone);
    }

    #[test]
    fn what_the_result_does_not_know_has_no_part() {
        let before = read(BEFORE);
        // On the host there is one of the name, but not in the container.
        assert!(part(&before, "veth0").is_none());
        assert!(part(&before, "net1").is_none());
        assert!(
            part(&joined(None, read(OURS), net1()), "net1")
                .unwrap()
                .alone
        );
    }
}
