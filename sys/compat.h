/* SPDX-License-Identifier: GPL-2.0 */
/* What the headers of 7.3 have and those of 7.2 lack; net/compat.rs is the same for the kernel's Rust crate. */
#ifndef IPVLAN_RS_COMPAT_H
#define IPVLAN_RS_COMPAT_H

#include <linux/netdevice.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
/* There is one RTNL for all namespaces, and so one way to queue. */
static inline void unregister_netdevice_queue_net(struct net *net, struct net_device *dev, struct list_head *head)
{
	unregister_netdevice_queue(dev, head);
}
#endif

#endif
