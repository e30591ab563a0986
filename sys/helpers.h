/* SPDX-License-Identifier: GPL-2.0 */
/* What helpers.c gives to Rust: the kernel's inline functions and macros that bindgen cannot call. */
#ifndef IPVLAN_RS_HELPERS_H
#define IPVLAN_RS_HELPERS_H

#if !IS_ENABLED(CONFIG_INET)
#error "ipvlan_rs needs a kernel with CONFIG_INET"
#endif

#include <linux/idr.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/dst.h>

void ipvlan_rs_spin_lock_bh(spinlock_t *lock);
void ipvlan_rs_spin_unlock_bh(spinlock_t *lock);

void ipvlan_rs_local_bh_disable(void);
void ipvlan_rs_local_bh_enable(void);
void ipvlan_rs_rcu_read_lock(void);
void ipvlan_rs_rcu_read_unlock(void);
void ipvlan_rs_cond_resched(void);
bool ipvlan_rs_rtnl_is_locked(void);

#ifdef CONFIG_PROVE_RCU
void ipvlan_rs_assert_reader(void);
void ipvlan_rs_assert_rtnl(void);
void ipvlan_rs_assert_bh_off(void);
#endif

void ipvlan_rs_work_init(struct work_struct *work, work_func_t func);
void ipvlan_rs_work_queue(struct work_struct *work);

void ipvlan_rs_netdev_hold(struct net_device *dev, netdevice_tracker *tracker);
void ipvlan_rs_netdev_put(struct net_device *dev, netdevice_tracker *tracker);
void ipvlan_rs_netdev_lockdep_set_classes(struct net_device *dev);
bool ipvlan_rs_netdev_no_rx_handler(const struct net_device *dev);
void ipvlan_rs_netdev_setup_stacked(struct net_device *dev);
void ipvlan_rs_netdev_set_lltx(struct net_device *dev);
bool ipvlan_rs_netdev_is_l3_master(const struct net_device *dev);
void ipvlan_rs_netdev_set_l3mdev_ops(struct net_device *dev, const struct l3mdev_ops *ops);
void ipvlan_rs_netdev_set_l3_rx(struct net_device *dev, bool on);
void ipvlan_rs_netdev_addr_set(struct net_device *dev, const u8 *addr);
void ipvlan_rs_core_stats_rx_dropped_inc(struct net_device *dev);
int ipvlan_rs_dev_hard_header(struct sk_buff *skb, struct net_device *dev, unsigned short type, const void *daddr,
			      const void *saddr, unsigned int len);
void ipvlan_rs_unregister_netdevice_queue(struct net_device *dev, struct list_head *head);
struct net_device *ipvlan_rs_device_after(struct net *net, struct net_device *dev);
bool ipvlan_rs_in_dev_has(struct net_device *dev, __be32 local, bool skip_dead);

struct user_namespace *ipvlan_rs_net_user_ns(const struct net *net);
void *ipvlan_rs_net_generic(const struct net *net, unsigned int id);

u64 ipvlan_rs_percpu_sum(const u64 __percpu *counter);
void ipvlan_rs_percpu_add(u64 __percpu *counter, u64 value);

/*
 * How deep transmits may nest. On PREEMPT_RT the core's own count is used, which also goes up for the devices in
 * between.
 */
#ifdef CONFIG_PREEMPT_RT
#define IPVLAN_RS_XMIT_DEPTH_MAX 7
#else
#define IPVLAN_RS_XMIT_DEPTH_MAX 4
#endif

/* Why a frame for many is dropped when their queue is full. */
enum { IPVLAN_RS_DROP_BACKLOG = SKB_DROP_REASON_IPVLAN_MULTICAST_BACKLOG };

int ipvlan_rs_ip_local_out(struct net *net, struct sk_buff *skb, struct dst_entry *dst, bool counted);
int ipvlan_rs_ip6_local_out(struct net *net, struct sk_buff *skb, struct dst_entry *dst, bool counted);
bool ipvlan_rs_route4_keep(const struct net *net, const struct net_device *dev);

/* What must be as it was when a route of IPv6 was looked up. */
struct ipvlan_rs_route6_seal {
	u32 sernum;
	u32 discarded;
	u32 tick;
	u32 cookie;
};

void ipvlan_rs_route6_moment(const struct net *net, struct ipvlan_rs_route6_seal *seal);
bool ipvlan_rs_route6_keep(const struct net *net, const struct net_device *dev, const struct dst_entry *dst,
			   struct ipvlan_rs_route6_seal *seal);
bool ipvlan_rs_route6_holds(const struct net *net, struct dst_entry *dst, const struct ipvlan_rs_route6_seal *seal);

struct ipvlan_rs_place;
struct ipvlan_rs_place __percpu *ipvlan_rs_place_alloc(void);
void ipvlan_rs_place_free(struct ipvlan_rs_place __percpu *place);
void ipvlan_rs_place_lock(struct ipvlan_rs_place __percpu *place);
void ipvlan_rs_place_unlock(struct ipvlan_rs_place __percpu *place);
void *ipvlan_rs_place_get(struct ipvlan_rs_place __percpu *place);
void ipvlan_rs_place_set(struct ipvlan_rs_place __percpu *place, void *ptr);
void *ipvlan_rs_place_take(struct ipvlan_rs_place __percpu *place, unsigned int cpu);
unsigned int ipvlan_rs_nr_cpus(void);
void ipvlan_rs_smp_rmb(void);

int ipvlan_rs_vlan_vid_add(struct net_device *dev, __be16 proto, u16 vid);
void ipvlan_rs_vlan_vid_del(struct net_device *dev, __be16 proto, u16 vid);

bool ipvlan_rs_ipv6_mod_enabled(void);

u32 ipvlan_rs_mtu_exceeded(const struct dst_entry *dst, const struct sk_buff *skb, u32 least);
bool ipvlan_rs_report_frag_needed(struct sk_buff *skb, u32 mtu);
bool ipvlan_rs_report_too_big(struct sk_buff *skb, u32 mtu);

void ipvlan_rs_ida_init(struct ida *ida);

void ipvlan_rs_skb_dst_drop(struct sk_buff *skb);
void ipvlan_rs_skb_dst_set(struct sk_buff *skb, struct dst_entry *dst);
void ipvlan_rs_consume_skb(struct sk_buff *skb);
struct sk_buff *ipvlan_rs_skb_share_check(struct sk_buff *skb);

#endif
