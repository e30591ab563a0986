// SPDX-License-Identifier: GPL-2.0
/*
 * For a test build of ipvlan_rs: whatever of the kernel's the module calls that may fail, fails when it is told to, in
 * whatever context. The linker has the module call these instead (--wrap, see scripts/check-debug).
 *
 *   fail_nth    the nth call from now on fails, once; of the task that wrote this only, not of softirqs on top of it
 *   fail_every  every nth call fails, until it is 0 again; anybody's
 *   failed_in   how many have, for each function; what fails while the module is being loaded, the log says
 *   failed_on   how many have in requests and other tasks, in softirq (or above), and in workers
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/if_vlan.h>
#include <linux/inetdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/percpu.h>
#include <linux/skbuff.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <net/addrconf.h>
#include <net/net_namespace.h>
#include <net/route.h>
#include <net/rtnetlink.h>

static int fail_every;
module_param(fail_every, int, 0600);

#define STEPS(X) \
	X(rust_helper_krealloc_node_align) X(rust_helper_kvrealloc_node_align) X(pcpu_alloc_noprof) X(skb_clone) \
	X(__pskb_pull_tail) X(ida_alloc_range) X(netdev_rx_handler_register) X(netdev_upper_dev_link) \
	X(nf_register_net_hooks) X(register_netdevice) X(register_netdevice_notifier) X(register_inetaddr_notifier) \
	X(register_inetaddr_validator_notifier) X(register_inet6addr_notifier) X(register_inet6addr_validator_notifier) \
	X(register_pernet_subsys) X(rtnl_link_register) X(dev_set_allmulti) X(dev_change_flags) X(vlan_vid_add) \
	X(dev_set_mtu) X(dev_uc_sync) X(dev_mc_sync) X(netif_pre_changeaddr_notify) X(ip_route_output_flow)

#define NUMBER(name) STEP_##name,
enum step { STEPS(NUMBER) N_STEPS };

#define NAME(name) #name,
static const char *const names[] = { STEPS(NAME) };
static int counts[N_STEPS];
enum context { TASK, SOFTIRQ, WORKER, N_CONTEXTS };
static int contexts[N_CONTEXTS];
static int calls;
static int nth;
/* Compared only. */
static const struct task_struct *whose;
static DEFINE_RAW_SPINLOCK(lock);

static enum context context(void)
{
	if (!in_task())
		return SOFTIRQ;
	return current->flags & PF_WQ_WORKER ? WORKER : TASK;
}

static bool fails(enum step step)
{
	unsigned long flags;
	bool fail = false;

	raw_spin_lock_irqsave(&lock, flags);
	if (nth > 0 && in_task() && current == whose)
		fail = --nth == 0;
	if (fail_every > 0)
		fail |= ++calls % fail_every == 0;
	counts[step] += fail;
	contexts[context()] += fail;
	raw_spin_unlock_irqrestore(&lock, flags);
	/* If it is not loaded in the end, its counts are lost. */
	if (fail && THIS_MODULE->state == MODULE_STATE_COMING)
		pr_info("made to fail: %s\n", names[step]);
	return fail;
}

static int set_fail_nth(const char *text, const struct kernel_param *kp)
{
	int value, err = kstrtoint(text, 0, &value);

	if (err)
		return err;
	raw_spin_lock_irq(&lock);
	nth = value;
	whose = current;
	raw_spin_unlock_irq(&lock);
	return 0;
}

static const struct kernel_param_ops fail_nth_ops = { .set = set_fail_nth };
module_param_cb(fail_nth, &fail_nth_ops, NULL, 0200);

static int get_failed_in(char *buffer, const struct kernel_param *kp)
{
	int i, length = 0;

	for (i = 0; i < N_STEPS; i++)
		length += scnprintf(buffer + length, PAGE_SIZE - length, "%s %d\n", names[i], counts[i]);
	return length;
}

static const struct kernel_param_ops failed_in_ops = { .get = get_failed_in };
module_param_cb(failed_in, &failed_in_ops, NULL, 0400);

static int get_failed_on(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "task %d\nsoftirq %d\nworker %d\n", contexts[TASK], contexts[SOFTIRQ],
			 contexts[WORKER]);
}

static const struct kernel_param_ops failed_on_ops = { .get = get_failed_on };
module_param_cb(failed_on, &failed_on_ops, NULL, 0400);

#define FALLIBLE(name, type, failure, parameters, arguments, ...) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters \
	{ \
		__VA_ARGS__; \
		return fails(STEP_##name) ? (failure) : __real_##name arguments; \
	}

/* Of no size: that frees. */
FALLIBLE(rust_helper_krealloc_node_align, void *, NULL,
	 (const void *p, size_t size, unsigned long align, gfp_t gfp, int node), (p, size, align, gfp, node),
	 if (!size) return __real_rust_helper_krealloc_node_align(p, size, align, gfp, node))
FALLIBLE(rust_helper_kvrealloc_node_align, void *, NULL,
	 (const void *p, size_t size, unsigned long align, gfp_t gfp, int node), (p, size, align, gfp, node),
	 if (!size) return __real_rust_helper_kvrealloc_node_align(p, size, align, gfp, node))
FALLIBLE(pcpu_alloc_noprof, void __percpu *, NULL,
	 (size_t size, size_t align, bool reserved, gfp_t gfp), (size, align, reserved, gfp))
FALLIBLE(skb_clone, struct sk_buff *, NULL, (struct sk_buff *skb, gfp_t gfp), (skb, gfp))
FALLIBLE(__pskb_pull_tail, void *, NULL, (struct sk_buff *skb, int delta), (skb, delta))
FALLIBLE(ida_alloc_range, int, -ENOMEM,
	 (struct ida *ida, unsigned int min, unsigned int max, gfp_t gfp), (ida, min, max, gfp))
FALLIBLE(netdev_rx_handler_register, int, -ENOMEM,
	 (struct net_device *dev, rx_handler_func_t *handler, void *data), (dev, handler, data))
FALLIBLE(netdev_upper_dev_link, int, -ENOMEM,
	 (struct net_device *dev, struct net_device *upper, struct netlink_ext_ack *extack), (dev, upper, extack))
FALLIBLE(nf_register_net_hooks, int, -ENOMEM,
	 (struct net *net, const struct nf_hook_ops *ops, unsigned int n), (net, ops, n))
FALLIBLE(register_netdevice, int, -ENOMEM, (struct net_device *dev), (dev))
FALLIBLE(register_netdevice_notifier, int, -ENOMEM, (struct notifier_block *nb), (nb))
FALLIBLE(register_inetaddr_notifier, int, -ENOMEM, (struct notifier_block *nb), (nb))
FALLIBLE(register_inetaddr_validator_notifier, int, -ENOMEM, (struct notifier_block *nb), (nb))
FALLIBLE(register_inet6addr_notifier, int, -ENOMEM, (struct notifier_block *nb), (nb))
FALLIBLE(register_inet6addr_validator_notifier, int, -ENOMEM, (struct notifier_block *nb), (nb))
FALLIBLE(register_pernet_subsys, int, -ENOMEM, (struct pernet_operations *ops), (ops))
FALLIBLE(rtnl_link_register, int, -ENOMEM, (struct rtnl_link_ops *ops), (ops))
FALLIBLE(dev_set_allmulti, int, -ENOMEM, (struct net_device *dev, int inc), (dev, inc))
FALLIBLE(dev_change_flags, int, -ENOMEM,
	 (struct net_device *dev, unsigned int flags, struct netlink_ext_ack *extack), (dev, flags, extack))
FALLIBLE(dev_set_mtu, int, -ENOMEM, (struct net_device *dev, int new_mtu), (dev, new_mtu))
FALLIBLE(vlan_vid_add, int, -ENOMEM, (struct net_device *dev, __be16 proto, u16 vid), (dev, proto, vid))
FALLIBLE(dev_uc_sync, int, -ENOMEM, (struct net_device *to, struct net_device *from), (to, from))
FALLIBLE(dev_mc_sync, int, -ENOMEM, (struct net_device *to, struct net_device *from), (to, from))
FALLIBLE(ip_route_output_flow, struct rtable *, ERR_PTR(-ENOMEM),
	 (struct net *net, struct flowi4 *flp4, const struct sock *sk), (net, flp4, sk))
FALLIBLE(netif_pre_changeaddr_notify, int, -ENOMEM,
	 (struct net_device *dev, const char *addr, struct netlink_ext_ack *extack), (dev, addr, extack))
