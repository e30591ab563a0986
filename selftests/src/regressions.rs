// SPDX-License-Identifier: GPL-2.0
//! What has broken in-tree ipvlan before, by the number of the scenario, and which case shows that it does not break
//! this: or why it cannot happen here, with the type or the check that rules it out.

use crate::rows::{
    self,
    Row::{self, Cases, Skipped},
};
use anyhow::{ensure, Context, Result};

/// Number, what broke (with the commit or CVE where it has one), what covers it.
const SCENARIOS: &[(u32, &str, Row)] = &[
    (
        1,
        "address list corrupted by an address that comes and goes (6640e673c6f3)",
        Cases(&[
            "address.add_and_delete_under_traffic",
            "state.own_address_while_down",
            "state.up_and_down_again",
        ]),
    ),
    (
        2,
        "stale MAC after the master's changed (32c10bbfe914)",
        Cases(&["mac.follows_the_master", "mac.change_under_traffic"]),
    ),
    (
        3,
        "broadcast storm stalls softirq (ba35f8588f47)",
        Cases(&["flood.flood_keeps_the_rest_alive"]),
    ),
    (
        4,
        "one link-local address on all slaves, dev_id wrap (019ec0032e82)",
        // That the numbers wrap at 0xfffd is shown on the host (host/tests/logic/numbers.rs): 65533 links take minutes.
        Cases(&["link.dev_id_counts", "mac.link_local_from_dev_id"]),
    ),
    (
        5,
        "mark, route or conntrack entry leak into another namespace (c3aaa06d5a63)",
        Cases(&["l3.mark_does_not_leak", "l3.mark_and_priority_stay_behind"]),
    ),
    (
        6,
        "queued frames outlive the port (b1227d019fa9)",
        Cases(&["upheaval.master_deleted_with_a_full_queue"]),
    ),
    (
        7,
        "hairpin: reflected frames heard twice (e252536068ef)",
        Cases(&[
            "l2.reflected_frame_of_a_slave_is_not_distributed",
            "hairpin.group_frames_arrive_once",
            "hairpin.vepa_siblings_meet",
        ]),
    ),
    (
        8,
        "ARP and ND headers read beyond the linear part",
        Cases(&[
            "paged.arp_outside_the_linear_part",
            "paged.solicitation_outside_the_linear_part",
        ]),
    ),
    (
        9,
        "duplicate address accepted in silence (3ad7d2468f79)",
        Cases(&["address.duplicate_is_refused"]),
    ),
    (
        10,
        "NULL dereference when the master goes with an L3S slave (92ff42645028)",
        Cases(&["namespace.master_deleted", "l3s.ports_of_one_namespace_count"]),
    ),
    (
        11,
        "addresses of foreign devices; IPv6 off at boot (a98a4ebc8c61, 94333fac44d1)",
        Cases(&["address.unrelated_devices", "bare.raw_ipv6_frames"]),
    ),
    (
        12,
        "mark not in the route's key; wrong IPv6 device (57fb346cc7d0, ca29fd7cce5a)",
        Cases(&[
            "l3.mark_counts_within_the_namespace",
            "upkeep.type_of_service_chooses_the_route",
            "l3.routed_through_a_gateway",
        ]),
    ),
    (
        13,
        "IFLA_MTU ignored, max_mtu wrong (296d48568042, 548feb33c598, 30877961b1cd)",
        Cases(&[
            "mtu.given_at_creation",
            "mtu.chosen_one_is_only_lowered",
            "mtu.follows_the_master",
        ]),
    ),
    (
        14,
        "nobody hears of NOARP when the mode changes (5dc2d3996a8b)",
        Cases(&["mode.change_announces_noarp"]),
    ),
    (
        15,
        "VLAN devices on slaves; sending to a group is an error (cccc200fccae)",
        Cases(&["master.vlan_on_a_slave_is_refused", "multicast.from_a_slave"]),
    ),
    (
        16,
        "L3S broke the host's own routes (d5256083f62e)",
        Cases(&["l3s.hosts_own_traffic"]),
    ),
    (
        17,
        "L3 needed NETFILTER to build (c675e06a98a4)",
        Skipped("a matter of the build, which is checked with such a configuration"),
    ),
    (
        18,
        "root of a user namespace changed the port (7cc9f7003a96)",
        Cases(&[
            "permission.change_by_a_tenant",
            "permission.nested_slave_of_a_tenant",
        ]),
    ),
    (
        19,
        "segmentation lost where the master has weaker checksums (ceae266bf0ae)",
        Cases(&["mac.features_always_on", "stream.checksums_on_the_wire"]),
    ),
    (
        20,
        "a change of features took the ones that are always on (d0f5c7076e01)",
        Cases(&["mac.features_follow_the_master", "mac.features_always_on"]),
    ),
    (
        21,
        "the master's own MAC in its filter made it promiscuous (63aae7b17344)",
        Cases(&["link.promisc_stays_on_the_slave"]),
    ),
    (
        22,
        "lockups with many slaves; frames without MAC header (e18b353f102e, afe207d80a61, ad8192767c9f)",
        Cases(&[
            "flood.many_slaves_get_one_copy_each",
            "flood.flood_keeps_the_rest_alive",
            "malformed.short_frames_past_the_qdisc",
        ]),
    ),
    (
        23,
        "no IFLA_LINK_NETNSID",
        Cases(&["link.iflink_and_link_netnsid"]),
    ),
    (
        24,
        "use of the master after it was freed (40b9d1ab63f5)",
        Cases(&[
            "namespace.master_deleted_under_load",
            "upheaval.master_deleted_with_a_full_queue",
        ]),
    ),
    (
        25,
        "reads behind an unset MAC header (CVE-2022-48651)",
        Cases(&["malformed.short_frames_past_the_qdisc"]),
    ),
    (
        26,
        "L3S left skb_iif with the master (59a0b022aa24)",
        Cases(&["l3s.sockets_bound_to_the_slave"]),
    ),
    (
        27,
        "L3S: sockets bound to the slave heard no IPv6 (ce57adc222ab)",
        Cases(&["l3s.sockets_bound_to_the_slave"]),
    ),
    (
        28,
        "control block read as IP options (CVE-2023-3090)",
        Skipped(
            "Route::output() and report_too_big() of net/route.rs are the only ways from a sent packet into the IP layer, and clear it (Skb::clear_cb)",
        ),
    ),
    (
        29,
        "positive results of a qdisc taken for errors (8a9922e7be6d)",
        Skipped(
            "a result is an Xmit, and only Xmit::is_sent() judges it: NET_XMIT_CN (of pfifo_head_drop, say) is sent",
        ),
    ),
    (
        30,
        "hooks of a namespace that was left counted wrong (043d5f68d0cc)",
        Cases(&["l3s.ports_of_one_namespace_count", "namespace.master_moves"]),
    ),
    (
        31,
        "tx_errors counted without a lock (ff672b9ffeb3)",
        Cases(&["counters.every_cpu_counts"]),
    ),
    (
        32,
        "stack used up by stacked devices (CVE-2023-52796)",
        Cases(&["routed.routes_back_into_the_slave"]),
    ),
    (
        33,
        "sending socket of another namespace asked (CVE-2024-33621)",
        Cases(&["routed.group_in_a_unicast_frame"]),
    ),
    (
        34,
        "headers of short frames read (syzbot 2023)",
        Cases(&[
            "malformed.short_frames_past_the_qdisc",
            "malformed.truncated_ip",
        ]),
    ),
    (
        35,
        "the master's going down stayed unheard (229783970838)",
        Cases(&["state.master_down_and_up"]),
    ),
    (
        36,
        "iflink of a master that is gone (CVE-2025-21652)",
        Cases(&["upheaval.iflink_read_while_both_go"]),
    ),
    (
        37,
        "network headers not linear in L3 (CVE-2025-21891)",
        Cases(&["paged.ip_headers_outside_the_linear_part"]),
    ),
    (
        38,
        "L3S operations taken away under readers (CVE-2025-22103)",
        Cases(&["l3s.last_slave_goes_under_load"]),
    ),
    (
        39,
        "no announcement after a bond's failover",
        Cases(&["failover.slaves_announce_themselves"]),
    ),
    (
        40,
        "a host's own group frame, looped back, taken for the wire's (0c57ff008a11)",
        Cases(&["multicast.masters_own_copy_is_the_masters"]),
    ),
    (
        41,
        "address lists raced without RTNL (CVE-2026-23103)",
        Cases(&[
            "upheaval.one_address_on_two_slaves_at_once",
            "slaac.duplicate_stays_with_the_first",
        ]),
    ),
    (
        42,
        "a full queue's lock fought over by all CPUs (6dd82499fa6c, 441ec8b5bdcc)",
        Cases(&["upheaval.group_frames_from_every_cpu"]),
    ),
    (
        43,
        "the worker delivered with bottom halves on (d0273dbe8be1)",
        Skipped("receiving takes a Softirq, which exists only with bottom halves off (Softirq::with in the worker)"),
    ),
    (
        44,
        "ports made and taken down at once (acb351b5a899, aabbdb8c76d7, 35add1093e2f, 00a40d809207)",
        Cases(&["upheaval.slaves_come_and_go_at_once"]),
    ),
    (
        45,
        "deadlock of nested notifiers when slaves carry links (a8455260b2e9)",
        Cases(&["upheaval.master_deleted_below_vxlan_and_vrf"]),
    ),
    (
        46,
        "open in 7.3.4: transmit recursion without end",
        Cases(&["routed.routes_back_into_the_slave"]),
    ),
    (
        47,
        "open in 7.3.4: checksum that starts before the packet",
        Cases(&["paged.checksum_from_before_the_packet"]),
    ),
    (
        48,
        "open in 7.3.4: pulls counted from the Ethernet header",
        Cases(&["paged.ip_headers_outside_the_linear_part"]),
    ),
    (
        49,
        "header operations borrowed by another device (team_setup_by_port)",
        Skipped("header_create() of net/ops.rs asks the device whether it is ours before it looks at its private data"),
    ),
    (
        50,
        "suspicious RCU usage in the device's init (syzbot 2025)",
        Skipped("what RTNL protects is in a RtnlCell, which only opens with an Rtnl; what RCU protects takes an RcuRead"),
    ),
    (
        51,
        "promoted secondary addresses cut the chain of listeners",
        Cases(&["peer.promoted_secondary"]),
    ),
    (
        52,
        "the worker transmitted without RCU's read lock (2021)",
        Skipped("Skb::queue_xmit() takes a Softirq, which holds RCU and bottom halves for as long as it exists"),
    ),
];

/// How many there are, so that one that is taken out is missed.
const COUNT: u32 = 52;

/// Checks the table against the cases that exist.
pub fn check() -> Result<()> {
    let names = rows::names()?;
    for ((number, _, covered), expected) in SCENARIOS.iter().zip(1..) {
        ensure!(*number == expected, "{number} instead of {expected}");
        covered
            .check(&names)
            .with_context(|| format!("scenario {number}"))?;
    }
    ensure!(SCENARIOS.len() == COUNT as usize, "not {COUNT} scenarios");
    Ok(())
}

/// Every case that covers a scenario.
#[cfg(test)]
pub fn cases() -> impl Iterator<Item = &'static str> {
    SCENARIOS
        .iter()
        .flat_map(|(_, _, row)| row.cases().iter().copied())
}

/// The scenarios without a case, for the report.
pub fn skipped() -> impl Iterator<Item = (u32, &'static str, &'static str)> {
    SCENARIOS
        .iter()
        .filter_map(|(number, what, covered)| match covered {
            Skipped(why) => Some((*number, *what, *why)),
            Cases(_) => None,
        })
}
