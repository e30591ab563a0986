// SPDX-License-Identifier: GPL-2.0
//! Which case covers which behaviour of the in-tree driver, row by row, and which rows have none and why.
//!
//! The harness checks this table before it runs anything: every case that is named must exist, every row must have a
//! case or a reason, and no row may be missing or named twice.

use crate::cases;
use anyhow::{ensure, Result};
use std::collections::BTreeSet;

/// How a row is covered.
enum Row {
    Cases(&'static [&'static str]),
    Skipped(&'static str),
}

use Row::{Cases, Skipped};

/// Rows of the control plane.
const CONTROL: &[(&str, Row)] = &[
    (
        "kind, default name",
        Cases(&["link.defaults", "link.names"]),
    ),
    (
        "IFLA_LINK",
        Cases(&["link.missing_master_is_refused", "link.link_in_link_netns"]),
    ),
    (
        "master type",
        Cases(&[
            "master.loopback_is_refused",
            "master.other_hardware_is_refused",
        ]),
    ),
    (
        "master busy",
        Cases(&[
            "master.bridge_port_is_busy",
            "master.macvlan_master_is_busy",
            "master.bond_port_is_busy",
            "master.other_kind_is_busy",
            "master.macvlan_on_our_master_is_refused",
            "master.bridge_takes_no_busy_master",
            "master.master_is_free_again",
            "master.bridge_as_master",
            "master.vlan_as_master",
            "master.bond_as_master",
        ]),
    ),
    (
        "nested ipvlan",
        Cases(&[
            "mode.slave_as_link_makes_a_sibling",
            "permission.nested_slave_of_a_tenant",
        ]),
    ),
    (
        "create permission",
        Cases(&["permission.create_without_capability"]),
    ),
    (
        "change permission",
        Cases(&["permission.change_by_a_tenant"]),
    ),
    (
        "mode attr",
        Cases(&[
            "link.bad_modes_are_refused",
            "link.defaults",
            "link.malformed_attributes_are_refused",
        ]),
    ),
    (
        "flags attr",
        Cases(&[
            "link.bad_flags_are_refused",
            "link.defaults",
            "link.malformed_attributes_are_refused",
        ]),
    ),
    (
        "mode is per port",
        Cases(&[
            "mode.sibling_without_mode",
            "mode.sibling_without_flags",
            "mode.sibling_with_mode_changes_all",
        ]),
    ),
    (
        "mode change",
        Cases(&[
            "mode.change_announces_noarp",
            "mode.change_under_traffic",
            "mode.l3s_until_parity",
        ]),
    ),
    (
        "flag change",
        Cases(&[
            "mode.flags_change_for_all",
            "mode.change_keeps_what_is_not_given",
        ]),
    ),
    (
        "dump",
        Cases(&[
            "link.modes_and_flags_are_dumped",
            "link.short_dump_has_no_link_info",
        ]),
    ),
    (
        "YNL spec",
        Skipped("about a description in the kernel's tree, not about the module"),
    ),
    ("IFLA_ADDRESS", Cases(&["link.address_at_creation"])),
    (
        "MAC follows master",
        Cases(&["mac.follows_the_master", "mac.change_is_announced"]),
    ),
    (
        "MTU create",
        Cases(&[
            "mtu.inherited_at_creation",
            "mtu.given_at_creation",
            "mtu.too_large_at_creation",
        ]),
    ),
    (
        "MTU change",
        Cases(&[
            "mtu.bounds_of_a_change",
            "mtu.follows_the_master",
            "mtu.chosen_one_is_only_lowered",
            "mtu.changes_are_announced",
        ]),
    ),
    ("dev_id", Cases(&["link.dev_id_counts"])),
    ("IPv6 EUI-64", Cases(&["mac.link_local_from_dev_id"])),
    (
        "feature init",
        Cases(&[
            "mac.features_always_on",
            "mac.features_follow_the_master",
            "mac.tso_limits_are_the_masters",
        ]),
    ),
    (
        "feature toggles",
        Cases(&["mac.features_always_on", "mac.features_follow_the_master"]),
    ),
    (
        "no VLAN on top",
        Cases(&["master.vlan_on_a_slave_is_refused"]),
    ),
    (
        "VLAN filter ops",
        Skipped(
            "no VLAN can sit on a slave, so only vid 0 ever passes, which no master here filters",
        ),
    ),
    ("priv flags", Cases(&["link.queues_and_qdisc"])),
    (
        "slave as lower",
        Cases(&[
            "master.bridge_on_a_slave_is_refused",
            "master.macvlan_on_a_slave_is_refused",
            "master.vrf_takes_a_slave",
        ]),
    ),
    ("upper link", Cases(&["link.upper_of_the_master"])),
    (
        "iflink / link-netns",
        Cases(&["link.iflink_and_link_netnsid"]),
    ),
    (
        "operstate",
        Cases(&[
            "state.carrier_follows_the_master",
            "state.dormant_follows_the_master",
            "state.master_down_and_up",
        ]),
    ),
    (
        "open / stop",
        Cases(&[
            "state.up_and_down_again",
            "state.down_slave_gets_nothing",
            "link.created_down_then_up",
        ]),
    ),
    (
        "ethtool",
        Cases(&[
            "link.driver_information",
            "link.link_settings_are_the_masters",
        ]),
    ),
    ("allmulti", Cases(&["link.allmulti_is_undone"])),
    (
        "promisc",
        Cases(&[
            "link.promisc_stays_on_the_slave",
            "multicast.promiscuous_slave_gets_all",
        ]),
    ),
    (
        "mc filter",
        Cases(&[
            "multicast.filtered_by_membership",
            "mac.groups_reach_the_masters_list",
        ]),
    ),
    (
        "notifiers",
        Cases(&[
            "state.carrier_follows_the_master",
            "mac.follows_the_master",
            "mtu.follows_the_master",
            "namespace.master_moves",
        ]),
    ),
    (
        "v4/v6 validator",
        Cases(&[
            "address.duplicate_is_refused",
            "address.duplicate_of_a_down_slave_is_refused",
            "address.duplicate_in_the_same_namespace_is_refused",
            "address.masters_address_is_refused",
        ]),
    ),
    (
        "v4 address used",
        Cases(&[
            "address.local_part_counts_with_a_peer",
            "address.two_slaves_one_peer",
            "address.duplicate_behind_a_peer",
        ]),
    ),
    (
        "self duplicate",
        Cases(&[
            "address.two_prefixes_on_one_slave",
            "address.two_prefixes_of_v6_are_one_address",
        ]),
    ),
    (
        "v6 without validator",
        Skipped(
            "a SLAAC duplicate takes two interfaces with one identifier, which dev_id prevents",
        ),
    ),
    (
        "address lists",
        Cases(&[
            "state.own_address_while_down",
            "address.free_after_delete",
            "address.many_are_all_delivered",
        ]),
    ),
    ("slave netns move", Cases(&["namespace.slave_moves"])),
    ("master netns move", Cases(&["namespace.master_moves"])),
    (
        "master deleted",
        Cases(&[
            "namespace.master_deleted",
            "namespace.master_deleted_under_load",
        ]),
    ),
    (
        "slave netns deleted",
        Cases(&["namespace.slave_of_a_deleted_namespace"]),
    ),
    (
        "module unload",
        Cases(&[
            "unload.with_live_slaves",
            "unload.under_load",
            "unload.repeated",
        ]),
    ),
    (
        "stats64",
        Cases(&[
            "counters.sibling",
            "counters.from_the_wire",
            "counters.every_cpu_counts",
        ]),
    ),
    (
        "locking",
        Cases(&[
            "namespace.slave_deleted_under_load",
            "namespace.all_deleted_at_once",
            "unload.under_load",
        ]),
    ),
];

/// Rows of the data plane.
const DATA: &[(&str, Row)] = &[
    (
        "entry tx",
        Cases(&[
            "counters.to_the_wire",
            "malformed.short_frames_past_the_qdisc",
        ]),
    ),
    (
        "L2 tx unicast local",
        Cases(&[
            "l2.ping_sibling",
            "l2.private_siblings_do_not_meet",
            "l2.vepa_siblings_meet_on_the_wire",
        ]),
    ),
    (
        "L2 tx unicast, own MAC, unknown IP",
        Cases(&[
            "l2.own_mac_unknown_address_goes_to_the_host",
            "l2.own_mac_any_protocol_goes_to_the_host",
        ]),
    ),
    (
        "L2 tx unicast other MAC",
        Cases(&["l2.other_mac_goes_to_the_wire", "l2.ping_external"]),
    ),
    (
        "L2 tx mcast/bcast",
        Cases(&[
            "multicast.from_a_slave",
            "multicast.broadcast_from_a_slave",
            "multicast.masters_stack_gets_none_of_the_slaves",
        ]),
    ),
    ("private + mcast", Cases(&["multicast.flags_and_groups"])),
    (
        "L3 tx local",
        Cases(&[
            "l3.ping_sibling",
            "l2.private_siblings_do_not_meet",
            "l3.vepa_sibling_goes_out",
        ]),
    ),
    (
        "L3 tx remote v4",
        Cases(&[
            "l3.ping_external",
            "l3.routed_with_the_masters_mac",
            "l3.broadcast_destination_is_an_error",
        ]),
    ),
    (
        "L3 v4 routing semantics",
        Cases(&[
            "l3.prohibited_destination",
            "l3.no_route",
            "l3.routed_through_a_gateway",
        ]),
    ),
    (
        "L3 tx remote v6",
        Cases(&[
            "l3.ping_external",
            "l3.no_route",
            "l3.prohibited_destination",
        ]),
    ),
    (
        "L3 tx mcast/bcast",
        Cases(&[
            "multicast.l3_slaves_groups_are_dropped",
            "l3.other_protocols_are_dropped",
        ]),
    ),
    (
        "L3/L2 slave↔host ping",
        Cases(&[
            "l2.host_is_out_of_reach",
            "l3.host_is_out_of_reach",
            "l2.host_through_a_slave_of_its_own",
        ]),
    ),
    ("L3 PMTU", Cases(&["l3.path_mtu"])),
    (
        "tx_errors",
        Cases(&["l3.no_route", "l3.broadcast_destination_is_an_error"]),
    ),
    (
        "L2/L3 rx unicast",
        Cases(&[
            "l2.received_on_the_slave",
            "counters.from_the_wire",
            "l2.icmp_error_reaches_its_slave",
        ]),
    ),
    (
        "unknown dst",
        Cases(&["l2.unknown_address_from_the_wire_is_the_hosts"]),
    ),
    (
        "L2 rx mcast",
        Cases(&[
            "multicast.from_the_wire",
            "multicast.master_gets_its_own_copy_from_the_wire",
        ]),
    ),
    (
        "external frame",
        Cases(&[
            "l2.reflected_frame_of_a_slave_is_not_distributed",
            "l2.own_mac_with_a_foreign_source_is_distributed",
        ]),
    ),
    ("L3 rx mcast", Cases(&["multicast.l3_never_distributes"])),
    (
        "ARP in L2",
        Cases(&[
            "l2.arp_request_from_the_wire_goes_to_all",
            "l2.arp_reply_goes_to_its_target",
        ]),
    ),
    (
        "ARP in L3",
        Cases(&[
            "l3.arp_for_a_slave",
            "l3.proxy_arp_answers_for_a_slave",
            "l3.arp_from_a_slave_is_dropped",
        ]),
    ),
    (
        "ARP in L3S",
        Skipped("L3S comes later; until then it is refused (mode.l3s_until_parity)"),
    ),
    (
        "DAD NS",
        Cases(&[
            "l2.solicitation_from_unspecified_goes_to_the_target",
            "l2.solicitation_goes_to_all",
            "l3.probe_for_a_slave",
            "address.dad_in_l3_asks_nobody",
            "address.dad_finds_the_external_host",
        ]),
    ),
    (
        "v6 dup vs host",
        Cases(&[
            "address.masters_address_is_refused",
            "address.master_takes_a_slaves_address",
        ]),
    ),
    (
        "embedded ICMP headers",
        Cases(&[
            "l2.icmp_error_reaches_its_slave",
            "l2.fragments_reach_their_slave",
        ]),
    ),
    (
        "L3S rx",
        Skipped("L3S comes later; until then it is refused (mode.l3s_until_parity)"),
    ),
    (
        "L3S visibility",
        Skipped("L3S comes later; until then it is refused (mode.l3s_until_parity)"),
    ),
    (
        "L3S hooks",
        Skipped("L3S comes later; until then it is refused (mode.l3s_until_parity)"),
    ),
    (
        "multicast queue",
        Cases(&[
            "multicast.queue_overflow_is_counted",
            "multicast.pause_frames_are_not_distributed",
            "multicast.flood_keeps_the_rest_alive",
        ]),
    ),
    (
        "worker delivery",
        Cases(&[
            "multicast.many_slaves_get_one_copy_each",
            "multicast.order_is_kept",
        ]),
    ),
    (
        "rx bytes",
        Cases(&[
            "counters.sibling",
            "counters.broadcast_from_a_slave",
            "counters.bulk_sizes",
        ]),
    ),
    ("header build", Cases(&["mac.header_has_the_masters_mac"])),
    ("src spoofing", Cases(&["l2.any_source_mac_leaves"])),
    (
        "dst address theft",
        Cases(&["address.masters_address_is_refused"]),
    ),
    (
        "netns scrub",
        Cases(&[
            "l3.mark_does_not_leak",
            "l3.mark_and_priority_stay_behind",
            "l3.mark_counts_within_the_namespace",
        ]),
    ),
    (
        "GSO/GRO",
        Cases(&[
            "stream.l2",
            "stream.l3",
            "stream.segments_of_a_large_send",
            "stream.checksums_on_the_wire",
        ]),
    ),
    (
        "route cost",
        Skipped("a cost, not a behaviour: for the benchmarks"),
    ),
    (
        "tagged frames",
        Cases(&["l2.tagged_frame_without_a_vlan_is_dropped"]),
    ),
    (
        "ipvtap",
        Skipped("another driver, which this module does not replace"),
    ),
];

/// How many rows there are, so that one that is taken out is missed.
const CONTROL_ROWS: usize = 47;
const DATA_ROWS: usize = 39;

/// Checks the table against the cases that exist.
pub fn check() -> Result<()> {
    let names: BTreeSet<&str> = cases::all().map(|c| c.name).collect();
    ensure!(
        names.len() == cases::all().count(),
        "two cases share a name"
    );
    for (table, rows) in [(CONTROL, CONTROL_ROWS), (DATA, DATA_ROWS)] {
        ensure!(
            table.len() == rows,
            "{} rows instead of {rows}",
            table.len()
        );
        let mut seen = BTreeSet::new();
        for (row, covered) in table {
            ensure!(seen.insert(row), "row {row:?} is there twice");
            match covered {
                Cases(list) => {
                    ensure!(!list.is_empty(), "row {row:?} has no case");
                    for case in *list {
                        ensure!(
                            names.contains(case),
                            "row {row:?} names {case}, which does not exist"
                        );
                    }
                }
                Skipped(why) => ensure!(!why.is_empty(), "row {row:?} is skipped without a reason"),
            }
        }
    }
    Ok(())
}

/// The rows without a case, for the report.
pub fn skipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    CONTROL
        .iter()
        .chain(DATA)
        .filter_map(|(row, covered)| match covered {
            Skipped(why) => Some((*row, *why)),
            Cases(_) => None,
        })
}
