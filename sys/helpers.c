// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's inline functions and macros that Rust cannot call: they take locks with per-class lockdep keys, expand
 * to static data or differ by configuration. A gcc-built kernel makes each a real
 * call, so none is on the address lookup.
 */
#include <linux/etherdevice.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_vlan.h>
#include <linux/inetdevice.h>
#include <linux/ipv6.h>
#include <linux/local_lock.h>
#include <linux/percpu.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <net/dst_metadata.h>
#include <net/gso.h>
#include <net/addrconf.h>
#include <net/icmp.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/l3mdev.h>
#include <net/netdev_lock.h>
#include <net/netns/generic.h>

#include "compat.h"
#include "helpers.h"

void ipvlan_rs_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

void ipvlan_rs_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

void ipvlan_rs_local_bh_disable(void)
{
	local_bh_disable();
}

void ipvlan_rs_local_bh_enable(void)
{
	local_bh_enable();
}

void ipvlan_rs_rcu_read_lock(void)
{
	rcu_read_lock();
}

void ipvlan_rs_rcu_read_unlock(void)
{
	rcu_read_unlock();
}

void ipvlan_rs_cond_resched(void)
{
	cond_resched();
}

bool ipvlan_rs_rtnl_is_locked(void)
{
	return rtnl_is_locked();
}

#ifdef CONFIG_PROVE_RCU
/* Where a witness is made by somebody's word, lockdep is asked whether it is true. */
void ipvlan_rs_assert_reader(void)
{
	RCU_LOCKDEP_WARN(!rcu_read_lock_any_held(), "ipvlan_rs: no RCU read-side critical section");
}

void ipvlan_rs_assert_rtnl(void)
{
	RCU_LOCKDEP_WARN(!lockdep_rtnl_is_held(), "ipvlan_rs: this task does not hold RTNL");
}

void ipvlan_rs_assert_bh_off(void)
{
	RCU_LOCKDEP_WARN(!in_softirq() && !irqs_disabled(), "ipvlan_rs: bottom halves are on");
}
#endif

void ipvlan_rs_work_init(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

void ipvlan_rs_work_queue(struct work_struct *work)
{
	schedule_work(work);
}

void ipvlan_rs_netdev_hold(struct net_device *dev, netdevice_tracker *tracker)
{
	/* Atomic: references are also taken in softirq. */
	netdev_hold(dev, tracker, GFP_ATOMIC);
}

void ipvlan_rs_netdev_put(struct net_device *dev, netdevice_tracker *tracker)
{
	netdev_put(dev, tracker);
}

void ipvlan_rs_netdev_lockdep_set_classes(struct net_device *dev)
{
	netdev_lockdep_set_classes(dev);
}

bool ipvlan_rs_netdev_no_rx_handler(const struct net_device *dev)
{
	return dev->priv_flags & IFF_NO_RX_HANDLER;
}

/*
 * The private flags (bit fields to bindgen) of a link without queue that lies on another: it hands on skbs whose route
 * and sharing matter below, filters unicast addresses itself, and nothing may receive in its stead. Its carrier may be
 * taken away by hand (IFLA_PROTO_DOWN). No netpoll: that transmits with interrupts off, where bottom halves cannot be
 * handled.
 */
void ipvlan_rs_netdev_setup_stacked(struct net_device *dev)
{
	dev->priv_flags &= ~(IFF_XMIT_DST_RELEASE | IFF_TX_SKB_SHARING);
	dev->priv_flags |= IFF_UNICAST_FLT | IFF_NO_QUEUE | IFF_NO_RX_HANDLER | IFF_DISABLE_NETPOLL;
	dev->change_proto_down = true;
	dev->max_mtu = ETH_MAX_MTU;
}

void ipvlan_rs_netdev_set_lltx(struct net_device *dev)
{
	dev->lltx = true;
}

bool ipvlan_rs_netdev_is_l3_master(const struct net_device *dev)
{
	return netif_is_l3_master(dev);
}

#ifdef CONFIG_NET_L3_MASTER_DEV
/* The operations of a device's layer 3 hook, and whether its receive part is in use (net/l3mdev.h). */
void ipvlan_rs_netdev_set_l3mdev_ops(struct net_device *dev, const struct l3mdev_ops *ops)
{
	dev->l3mdev_ops = ops;
}

void ipvlan_rs_netdev_set_l3_rx(struct net_device *dev, bool on)
{
	if (on)
		dev->priv_flags |= IFF_L3MDEV_RX_HANDLER;
	else
		dev->priv_flags &= ~IFF_L3MDEV_RX_HANDLER;
}
#endif

void ipvlan_rs_netdev_addr_set(struct net_device *dev, const u8 *addr)
{
	eth_hw_addr_set(dev, addr);
}

void ipvlan_rs_core_stats_rx_dropped_inc(struct net_device *dev)
{
	dev_core_stats_rx_dropped_inc(dev);
}

int ipvlan_rs_dev_hard_header(struct sk_buff *skb, struct net_device *dev, unsigned short type, const void *daddr,
			      const void *saddr, unsigned int len)
{
	return dev_hard_header(skb, dev, type, daddr, saddr, len);
}

/* Inline or exported, depending on CONFIG_DEBUG_NET_SMALL_RTNL. */
void ipvlan_rs_unregister_netdevice_queue(struct net_device *dev, struct list_head *head)
{
	unregister_netdevice_queue_net(dev_net(dev), dev, head);
}

/* The device after @dev in its namespace, or the first without one; NULL after the last. RTNL. */
struct net_device *ipvlan_rs_device_after(struct net *net, struct net_device *dev)
{
	return dev ? next_net_device(dev) : first_net_device(net);
}

/*
 * Is @local a local address of @dev? With @skip_dead, an in_device that is being destroyed has none: the core takes
 * its addresses one by one and the walk would be quadratic.
 */
bool ipvlan_rs_in_dev_has(struct net_device *dev, __be32 local, bool skip_dead)
{
	const struct in_ifaddr *ifa;
	struct in_device *in_dev;
	bool found = false;

	rcu_read_lock();
	in_dev = __in_dev_get_rcu(dev);
	if (in_dev && !(skip_dead && READ_ONCE(in_dev->dead))) {
		in_dev_for_each_ifa_rcu(ifa, in_dev) {
			if (ifa->ifa_local == local) {
				found = true;
				break;
			}
		}
	}
	rcu_read_unlock();
	return found;
}

struct user_namespace *ipvlan_rs_net_user_ns(const struct net *net)
{
	return net->user_ns;
}

void *ipvlan_rs_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

u64 ipvlan_rs_percpu_sum(const u64 __percpu *counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(counter, cpu));
	return sum;
}

void ipvlan_rs_percpu_add(u64 __percpu *counter, u64 value)
{
	this_cpu_add(*counter, value);
}

/*
 * How deep this transmit is nested in transmits of this module: counted per CPU, and on PREEMPT_RT, where a transmit
 * can be preempted by another on the same CPU, in the task's own transmit recursion (the core's own limit is then
 * reached sooner, never later).
 */
#ifdef CONFIG_PREEMPT_RT
static unsigned int ipvlan_rs_xmit_depth_inc(void)
{
	return ++current->net_xmit.recursion;
}

static void ipvlan_rs_xmit_depth_dec(void)
{
	current->net_xmit.recursion--;
}
#else
static DEFINE_PER_CPU(unsigned int, ipvlan_rs_xmit_depth);

static unsigned int ipvlan_rs_xmit_depth_inc(void)
{
	return this_cpu_inc_return(ipvlan_rs_xmit_depth);
}

static void ipvlan_rs_xmit_depth_dec(void)
{
	this_cpu_dec(ipvlan_rs_xmit_depth);
}
#endif

/*
 * Gives the skb a route, whose reference it gets if that is @counted, and sends it, unless transmits are nested deeper
 * than the kernel stack bears. All in one call: there is one for each packet.
 */
static __always_inline int ipvlan_rs_local_out(struct net *net, struct sk_buff *skb, struct dst_entry *dst, bool counted,
					       int (*out)(struct net *net, struct sock *sk, struct sk_buff *skb))
{
	int result = NET_XMIT_DROP;

	if (counted)
		skb_dst_set(skb, dst);
	else
		skb_dst_set_noref(skb, dst);
	if (likely(ipvlan_rs_xmit_depth_inc() <= IPVLAN_RS_XMIT_DEPTH_MAX))
		result = out(net, NULL, skb);
	else
		kfree_skb_reason(skb, SKB_DROP_REASON_RECURSION_LIMIT);
	ipvlan_rs_xmit_depth_dec();
	return result;
}

int ipvlan_rs_ip_local_out(struct net *net, struct sk_buff *skb, struct dst_entry *dst, bool counted)
{
	return ipvlan_rs_local_out(net, skb, dst, counted, ip_local_out);
}

#if IS_ENABLED(CONFIG_IPV6)
int ipvlan_rs_ip6_local_out(struct net *net, struct sk_buff *skb, struct dst_entry *dst, bool counted)
{
	return ipvlan_rs_local_out(net, skb, dst, counted, ip6_local_out);
}
#else
/* Never called: without IPv6 there is no route. */
int ipvlan_rs_ip6_local_out(struct net *net, struct sk_buff *skb, struct dst_entry *dst, bool counted)
{
	kfree_skb(skb);
	return NET_XMIT_DROP;
}
#endif

/* A pointer for each CPU, and what keeps softirqs of one CPU apart where they preempt each other. */
struct ipvlan_rs_place {
	void *ptr;
	local_lock_t bh_lock;
};

/* Rust reads the pointer by the address of the whole. */
static_assert(offsetof(struct ipvlan_rs_place, ptr) == 0);

struct ipvlan_rs_place __percpu *ipvlan_rs_place_alloc(void)
{
	struct ipvlan_rs_place __percpu *place = alloc_percpu(struct ipvlan_rs_place);
	int cpu;

	if (place) {
		for_each_possible_cpu(cpu)
			local_lock_init(&per_cpu_ptr(place, cpu)->bh_lock);
	}
	return place;
}

void ipvlan_rs_place_free(struct ipvlan_rs_place __percpu *place)
{
	free_percpu(place);
}

void ipvlan_rs_place_lock(struct ipvlan_rs_place __percpu *place)
{
	local_lock_nested_bh(&place->bh_lock);
}

void ipvlan_rs_place_unlock(struct ipvlan_rs_place __percpu *place)
{
	local_unlock_nested_bh(&place->bh_lock);
}

void *ipvlan_rs_place_get(struct ipvlan_rs_place __percpu *place)
{
	return this_cpu_read(place->ptr);
}

void ipvlan_rs_place_set(struct ipvlan_rs_place __percpu *place, void *ptr)
{
	/* Who takes it away on another CPU sees what it points to. */
	smp_store_release(this_cpu_ptr(&place->ptr), ptr);
}

void *ipvlan_rs_place_take(struct ipvlan_rs_place __percpu *place, unsigned int cpu)
{
	return cpu_possible(cpu) ? xchg(&per_cpu_ptr(place, cpu)->ptr, NULL) : NULL;
}

unsigned int ipvlan_rs_nr_cpus(void)
{
	return nr_cpu_ids;
}

void ipvlan_rs_smp_rmb(void)
{
	smp_rmb();
}

/* Inline without CONFIG_VLAN_8021Q. */
int ipvlan_rs_vlan_vid_add(struct net_device *dev, __be16 proto, u16 vid)
{
	return vlan_vid_add(dev, proto, vid);
}

void ipvlan_rs_vlan_vid_del(struct net_device *dev, __be16 proto, u16 vid)
{
	vlan_vid_del(dev, proto, vid);
}

bool ipvlan_rs_ipv6_mod_enabled(void)
{
	return ipv6_mod_enabled();
}

/* The route's MTU, or @least if that is more, if the packet, or a segment of it, is larger; else 0. */
u32 ipvlan_rs_mtu_exceeded(const struct dst_entry *dst, const struct sk_buff *skb, u32 least)
{
	u32 mtu = max(dst_mtu(dst), least);

	if (skb_is_gso(skb) ? skb_gso_validate_network_len(skb, mtu) : skb->len <= mtu)
		return 0;
	return mtu;
}

/* Has the skb a route of its own, not just metadata, of this family? */
static bool ipvlan_rs_skb_has_route(const struct sk_buff *skb, unsigned short family)
{
	return skb_valid_dst(skb) && skb_dst(skb)->ops->family == family;
}

bool ipvlan_rs_report_frag_needed(struct sk_buff *skb, u32 mtu)
{
	if (!ipvlan_rs_skb_has_route(skb, AF_INET))
		return false;
	skb_dst_update_pmtu_no_confirm(skb, mtu);
	icmp_ndo_send(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, htonl(mtu));
	return true;
}

bool ipvlan_rs_report_too_big(struct sk_buff *skb, u32 mtu)
{
	if (!ipvlan_rs_skb_has_route(skb, AF_INET6))
		return false;
	skb_dst_update_pmtu_no_confirm(skb, mtu);
	icmpv6_ndo_send(skb, ICMPV6_PKT_TOOBIG, 0, mtu);
	return true;
}

void ipvlan_rs_ida_init(struct ida *ida)
{
	ida_init(ida);
}

struct sk_buff *ipvlan_rs_skb_share_check(struct sk_buff *skb)
{
	return skb_share_check(skb, GFP_ATOMIC);
}

void ipvlan_rs_skb_dst_drop(struct sk_buff *skb)
{
	skb_dst_drop(skb);
}

/* Inline without CONFIG_TRACEPOINTS. */
void ipvlan_rs_consume_skb(struct sk_buff *skb)
{
	consume_skb(skb);
}

void ipvlan_rs_skb_dst_set(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_set(skb, dst);
}
