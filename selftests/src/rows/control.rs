// SPDX-License-Identifier: GPL-2.0
//! The control plane: links, attributes, addresses, namespaces.

use super::Row::{self, Cases, Skipped};

/// Rows of the control plane.
pub const ROWS: &[(&str, Row)] = &[
    (
        "kind, default name",
        Cases(&["link.defaults", "link.names"]),
    ),
    (
        "IFLA_LINK",
        Cases(&[
            "refusal.missing_master_is_refused",
            "link.link_in_link_netns",
        ]),
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
            "refusal.bad_modes_are_refused",
            "link.defaults",
            "refusal.malformed_attributes_are_refused",
        ]),
    ),
    (
        "flags attr",
        Cases(&[
            "refusal.bad_flags_are_refused",
            "link.defaults",
            "refusal.malformed_attributes_are_refused",
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
            "mode.l3s",
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
        Skipped("a description in the kernel's tree, which knows neither kind: nothing of the module's"),
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
            "offload.limits_follow_the_master",
            "offload.large_segments",
            "offload.tunnel",
            "offload.tunnel_without_offload",
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
            "no VLAN can sit on a slave, so only vid 0 ever passes, and nothing shows what a master's filter holds",
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
        Cases(&[
            "link.iflink_and_link_netnsid",
            "upheaval.iflink_read_while_both_go",
        ]),
    ),
    (
        "operstate",
        Cases(&[
            "state.carrier_follows_the_master",
            "state.dormant_follows_the_master",
            "state.master_down_and_up",
            "state.protodown",
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
            "offload.time_stamping_is_the_masters",
            "permission.time_stamps_of_the_hardware",
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
            "failover.slaves_announce_themselves",
            "mac.change_under_traffic",
        ]),
    ),
    (
        "v4/v6 validator",
        Cases(&[
            "address.duplicate_is_refused",
            "address.duplicate_of_a_down_slave_is_refused",
            "address.duplicate_in_the_same_namespace_is_refused",
            "address.masters_address_is_refused",
            "parameter.master_addr_restores_in_tree",
        ]),
    ),
    (
        "v4 address used",
        Cases(&[
            "peer.local_part_counts_with_a_peer",
            "peer.two_slaves_one_peer",
            "peer.duplicate_behind_a_peer",
        ]),
    ),
    (
        "self duplicate",
        Cases(&[
            "peer.two_prefixes_on_one_slave",
            "peer.two_prefixes_of_v6_are_one_address",
        ]),
    ),
    (
        "v6 without validator",
        Cases(&[
            "slaac.router_gives_each_slave_its_own",
            "slaac.duplicate_stays_with_the_first",
        ]),
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
            "upheaval.master_deleted_with_a_full_queue",
            "upheaval.master_deleted_below_vxlan_and_vrf",
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
            "upheaval.slaves_come_and_go_at_once",
            "upheaval.one_address_on_two_slaves_at_once",
        ]),
    ),
];
