// SPDX-License-Identifier: GPL-2.0
/*
 * libclang lays out the structures that Rust uses, gcc those that the kernel was compiled with. Kbuild compiles this
 * file to assembly with the kernel's compiler and turns each line into a Rust const assertion (sys/layout.rs, made
 * in the build directory), so that a disagreement stops the build, or into a constant.
 */
#include <linux/ethtool.h>
#include <linux/kbuild.h>
#include <linux/if_link.h>
#include <linux/inetdevice.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <linux/workqueue.h>
#include <net/addrconf.h>
#include <net/flow.h>
#include <net/if_inet6.h>
#include <net/ip6_route.h>
#include <net/l3mdev.h>
#include <net/net_namespace.h>
#include <net/route.h>
#include <net/rtnetlink.h>

#define SIZE(type) DEFINE(SIZE_ ## type, sizeof(struct type))
#define FIELD(type, field) DEFINE(FIELD_ ## type ## __AT__ ## field, offsetof(struct type, field))

int main(void)
{
	SIZE(sk_buff);
	FIELD(sk_buff, cb);
	FIELD(sk_buff, len);
	FIELD(sk_buff, data_len);
	FIELD(sk_buff, head);
	FIELD(sk_buff, data);
	FIELD(sk_buff, users);
	FIELD(sk_buff, truesize);
	/* In unnamed unions, which bindgen numbers, and how many come before depends on the configuration. */
	DEFINE(SKB_OFFSET_HEADERS, offsetof(struct sk_buff, headers));
	DEFINE(SKB_OFFSET_DEV, offsetof(struct sk_buff, dev));
	DEFINE(SKB_OFFSET_PROTOCOL, offsetof(struct sk_buff, protocol));
	DEFINE(SKB_OFFSET_SKB_IIF, offsetof(struct sk_buff, skb_iif));
	DEFINE(SKB_OFFSET_MARK, offsetof(struct sk_buff, mark));
	DEFINE(SKB_OFFSET_MAC_HEADER, offsetof(struct sk_buff, mac_header));
	DEFINE(SKB_OFFSET_NETWORK_HEADER, offsetof(struct sk_buff, network_header));

	DEFINE(NET_OFFSET_IPV4_GENID, offsetof(struct net, ipv4.rt_genid));

	SIZE(net_device);
	FIELD(net_device, netdev_ops);
	FIELD(net_device, header_ops);
	FIELD(net_device, flags);
	FIELD(net_device, mtu);
	FIELD(net_device, features);
	FIELD(net_device, state);
	FIELD(net_device, ifindex);
	DEFINE(FIELD_net_device__AT__type_, offsetof(struct net_device, type));
	FIELD(net_device, dev_id);
	FIELD(net_device, dev_addr);
	FIELD(net_device, broadcast);
	FIELD(net_device, mc);
	FIELD(net_device, nd_net);
	FIELD(net_device, rx_handler);
	FIELD(net_device, rx_handler_data);
	FIELD(net_device, priv_destructor);
	FIELD(net_device, rtnl_link_ops);
	FIELD(net_device, ethtool_ops);
	FIELD(net_device, max_mtu);
	FIELD(net_device, needs_free_netdev);
	DEFINE(FIELD_net_device__AT__priv_, offsetof(struct net_device, priv));

	SIZE(net_device_ops);
	SIZE(header_ops);
	SIZE(ethtool_ops);
	SIZE(rtnl_link_ops);
	SIZE(rtnl_newlink_params);
	SIZE(rtnl_link_stats64);
	SIZE(nla_policy);
	SIZE(netlink_ext_ack);
	SIZE(notifier_block);
	SIZE(netdev_notifier_info);
	SIZE(netdev_notifier_pre_changeaddr_info);
	SIZE(netdev_hw_addr);
	FIELD(netdev_hw_addr, addr);
	SIZE(in_ifaddr);
	FIELD(in_ifaddr, ifa_local);
	FIELD(in_ifaddr, ifa_dev);
	SIZE(in_device);
	SIZE(in_validator_info);
	SIZE(in6_validator_info);
	SIZE(inet6_ifaddr);
	FIELD(inet6_ifaddr, idev);
	SIZE(inet6_dev);
	SIZE(flowi4);
	SIZE(flowi6);
	SIZE(dst_entry);
	FIELD(dst_entry, error);
	FIELD(dst_entry, obsolete);
	FIELD(dst_entry, expires);
	FIELD(dst_entry, rt_uncached_list);
	SIZE(rtable);
	FIELD(rtable, rt_type);
	FIELD(rtable, rt_genid);
	SIZE(inet6_skb_parm);
	FIELD(inet6_skb_parm, iif);
	SIZE(l3mdev_ops);
	FIELD(l3mdev_ops, l3mdev_l3_rcv);
#ifdef CONFIG_NETFILTER
	SIZE(nf_hook_ops);
	FIELD(nf_hook_ops, hook);
	FIELD(nf_hook_ops, pf);
	FIELD(nf_hook_ops, hooknum);
	FIELD(nf_hook_ops, priority);
	SIZE(nf_hook_state);
	FIELD(nf_hook_state, pf);
	DEFINE(FIELD_nf_hook_state__AT__in_, offsetof(struct nf_hook_state, in));
#endif
	SIZE(pernet_operations);
	FIELD(pernet_operations, exit);
	FIELD(pernet_operations, id);
	FIELD(pernet_operations, size);
	SIZE(work_struct);
	SIZE(ida);
	return 0;
}
