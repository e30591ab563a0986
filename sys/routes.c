// SPDX-License-Identifier: GPL-2.0
/* What a remembered route is known to hold by: see net/route_cache.rs. */
#include <linux/jiffies.h>
#include <linux/netdevice.h>
#include <net/fib_rules.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/nexthop.h>

#include "helpers.h"

/* Does a rule look at the group of the device that a route is over? The group is written through sysfs without a word. */
static bool __maybe_unused ipvlan_rs_rules_see_groups(const struct fib_rules_ops *ops)
{
	const struct fib_rule *rule;
	bool see = false;

	rcu_read_lock();
	list_for_each_entry_rcu(rule, &ops->rules_list, list) {
		see = rule->suppress_ifgroup != -1;
		if (see)
			break;
	}
	rcu_read_unlock();
	return see;
}

/*
 * May a route of IPv4 be kept, which was looked up for packets out of @dev? Not where a look-up depends on what moves no
 * generation: the name of a VRF, the group of a device, the member of a group of next hops.
 */
bool ipvlan_rs_route4_keep(const struct net *net, const struct net_device *dev)
{
#ifdef CONFIG_IP_MULTIPLE_TABLES
	if (net->ipv4.fib_has_custom_rules && ipvlan_rs_rules_see_groups(net->ipv4.rules_ops))
		return false;
#endif
	return !netif_is_l3_slave(dev) && RB_EMPTY_ROOT(&net->nexthop.rb_root);
}

#if IS_ENABLED(CONFIG_IPV6)
/* The tick of the clock, and what a change of routes moves: a new one the sernum, one that is deleted only a statistic. */
void ipvlan_rs_route6_moment(const struct net *net, struct ipvlan_rs_route6_seal *seal)
{
	seal->sernum = rt_genid_ipv6(net);
	seal->discarded = READ_ONCE(net->ipv6.rt6_stats->fib_discarded_routes);
	seal->tick = (u32)jiffies;
}

/*
 * May a route be kept that was looked up, for packets out of @dev, after the moment of @seal, which gets its cookie? Not
 * one of several paths, nor one that is no copy for this CPU (an exception, an error, a route for one packet), nor where
 * the carrier decides, or the name of a VRF, or the group of a device.
 */
bool ipvlan_rs_route6_keep(const struct net *net, const struct net_device *dev, const struct dst_entry *dst,
			   struct ipvlan_rs_route6_seal *seal)
{
	const struct rt6_info *rt = container_of_const(dst, struct rt6_info, dst);
	const struct fib6_info *from;
	bool keep = false;

	if (netif_is_l3_slave(dev))
		return false;
#ifdef CONFIG_IPV6_MULTIPLE_TABLES
	if (net->ipv6.fib6_has_custom_rules && ipvlan_rs_rules_see_groups(net->ipv6.fib6_rules_ops))
		return false;
#endif
	rcu_read_lock();
	from = rcu_dereference(rt->from);
	if (!from || !(rt->rt6i_flags & RTF_PCPU))
		goto out;
	if (from->nh ? nexthop_is_multipath(from->nh) : READ_ONCE(from->fib6_nsiblings))
		goto out;
	if (!netif_carrier_ok(dst_dev_rcu(dst)))
		goto out;
	seal->cookie = rt6_get_cookie(rt);
	keep = true;
out:
	rcu_read_unlock();
	return keep;
}

/* Would a look-up still find the route? */
bool ipvlan_rs_route6_holds(const struct net *net, struct dst_entry *dst, const struct ipvlan_rs_route6_seal *seal)
{
	return seal->tick == (u32)jiffies && seal->sernum == rt_genid_ipv6(net) &&
	       seal->discarded == READ_ONCE(net->ipv6.rt6_stats->fib_discarded_routes) && dst_check(dst, seal->cookie);
}
#endif
