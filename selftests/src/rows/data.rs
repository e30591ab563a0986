// SPDX-License-Identifier: GPL-2.0
//! The data plane: who sends and receives what.

use super::Row::{self, Cases, Skipped};

/// Rows of the data plane.
pub const ROWS: &[(&str, Row)] = &[
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
    (
        "private + mcast",
        Cases(&[
            "multicast.flags_and_groups",
            "question.from_a_slave_with_flags",
            "hairpin.private_stays_private",
            "hairpin.vepa_siblings_meet",
        ]),
    ),
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
    (
        "L3 PMTU",
        Cases(&[
            "pmtu.sender_learns",
            "pmtu.icmp_error",
            "pmtu.tcp_goes_through",
            "pmtu.tcp_goes_through_without_offload",
            "pmtu.fragmented_where_allowed",
            "pmtu.raw_frame_is_only_dropped",
        ]),
    ),
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
            "hairpin.group_frames_arrive_once",
            "hairpin.group_frames_from_nobody_known",
        ]),
    ),
    ("L3 rx mcast", Cases(&["multicast.l3_never_distributes"])),
    (
        "ARP in L2",
        Cases(&[
            "question.from_the_wire_for_a_slave",
            "question.from_the_wire_for_nobody",
            "question.from_a_slave",
            "shared.questions_reach_the_namespace",
            "shared.answered_through_another_slave",
            "neighbour.arp_reply_goes_to_its_target",
        ]),
    ),
    (
        "ARP in L3",
        Cases(&[
            "neighbour.arp_for_a_slave",
            "neighbour.proxy_arp_answers_for_a_slave",
            "l3.arp_from_a_slave_is_dropped",
        ]),
    ),
    ("ARP in L3S", Cases(&["l3s.arp_is_the_masters"])),
    (
        "DAD NS",
        Cases(&[
            "neighbour.solicitation_from_unspecified_goes_to_the_target",
            "neighbour.solicitation_is_answered",
            "neighbour.probe_for_a_slave",
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
        Cases(&[
            "l3s.ping_all_around",
            "l3s.hosts_input_filter_counts",
            "l3s.hosts_prerouting_filter_counts",
            "l3s.hosts_conntrack_sees_it",
            "l3s.sockets_bound_to_the_slave",
            "l3s.received_counts_once",
            "l3s.hosts_own_traffic",
            "l3s.fragments",
        ]),
    ),
    (
        "L3S visibility",
        Cases(&["l3s.taps_on_the_slave_see_no_ingress"]),
    ),
    (
        "L3S hooks",
        Cases(&[
            "l3s.ports_of_one_namespace_count",
            "namespace.master_moves",
            "namespace.master_deleted_under_load",
        ]),
    ),
    (
        "multicast queue",
        Cases(&[
            "flood.queue_overflow_is_counted",
            "flood.pause_frames_are_not_distributed",
            "flood.flood_keeps_the_rest_alive",
        ]),
    ),
    (
        "worker delivery",
        Cases(&["flood.many_slaves_get_one_copy_each", "flood.order_is_kept"]),
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
    (
        "src spoofing",
        Cases(&["l2.any_source_mac_leaves", "hairpin.private_stays_private"]),
    ),
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
        Cases(&[
            "stale.rule_added",
            "stale.route_in_an_earlier_table",
            "stale.more_specific_route",
            "stale.mark",
            "stale.service",
            "exception.mtu_learnt_and_expired",
            "exception.redirect",
            "kept.look_ups_are_saved",
            "stale.device_down",
            "stale.namespace_move",
            "stale.next_hop_replaced",
            "stale.member_replaced",
            "stale.local_table",
            "stale.throw_in_the_local_table",
            "stale.gateway_does_not_answer",
            "stale.master_renamed",
        ]),
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
