/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads for ipvlan_rs. `kernel::bindings` keeps net_device opaque and lacks the rtnetlink, address and
 * routing types a network driver needs, so the module generates its own view.
 *
 * hrtimer_types.h comes first: it declares an enum that later headers use before its definition, which bindgen would
 * otherwise give an unusable type.
 */
#include <linux/hrtimer_types.h>

#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/etherdevice.h>
#include <linux/idr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/inetdevice.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/addrconf.h>
#include <net/dropreason.h>
#include <net/dst.h>
#include <net/flow.h>
#include <net/if_inet6.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/route.h>
#include <net/rtnetlink.h>

#include "helpers.h"

/* Macros with casts, which bindgen gives no constant for. */
const netdev_features_t RUST_NETIF_F_SG = NETIF_F_SG;
const netdev_features_t RUST_NETIF_F_HW_CSUM = NETIF_F_HW_CSUM;
const netdev_features_t RUST_NETIF_F_GSO_ROBUST = NETIF_F_GSO_ROBUST;
const netdev_features_t RUST_NETIF_F_GSO_SOFTWARE = NETIF_F_GSO_SOFTWARE;
const netdev_features_t RUST_NETIF_F_GSO_ENCAP_ALL = NETIF_F_GSO_ENCAP_ALL;
const netdev_features_t RUST_NETIF_F_VLAN_CHALLENGED = NETIF_F_VLAN_CHALLENGED;
const netdev_features_t RUST_NETIF_F_HIGHDMA = NETIF_F_HIGHDMA;
const netdev_features_t RUST_NETIF_F_FRAGLIST = NETIF_F_FRAGLIST;
const netdev_features_t RUST_NETIF_F_GSO = NETIF_F_GSO;
const netdev_features_t RUST_NETIF_F_ALL_TSO = NETIF_F_ALL_TSO;
const netdev_features_t RUST_NETIF_F_GRO = NETIF_F_GRO;
const netdev_features_t RUST_NETIF_F_RXCSUM = NETIF_F_RXCSUM;
const netdev_features_t RUST_NETIF_F_HW_VLAN_CTAG_FILTER = NETIF_F_HW_VLAN_CTAG_FILTER;
const netdev_features_t RUST_NETIF_F_HW_VLAN_STAG_FILTER = NETIF_F_HW_VLAN_STAG_FILTER;
const netdev_features_t RUST_NETIF_F_ALL_FOR_ALL = NETIF_F_ALL_FOR_ALL;
