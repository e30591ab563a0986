// SPDX-License-Identifier: GPL-2.0
/* The faults of faulty.rs that take the kernel's own macros and structures. */

#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

void faulty_rcu(void);
void faulty_object(void);
void faulty_shift(void);
int faulty_device_reference(void);
int faulty_namespace_reference(void);

static int number;
static int __rcu *pointer = (int __rcu __force *)&number;

/* Reads what RCU protects without being a reader. */
void faulty_rcu(void)
{
	pr_info("faulty: read %d\n", *rcu_dereference(pointer));
}

struct ticking {
	struct timer_list timer;
};

static void tick(struct timer_list *timer)
{
}

/* Frees the memory of a timer that runs. */
void faulty_object(void)
{
	struct ticking *ticking = kzalloc(sizeof(*ticking), GFP_KERNEL);

	if (!ticking)
		return;
	timer_setup(&ticking->timer, tick, 0);
	mod_timer(&ticking->timer, jiffies + 3600 * HZ);
	kfree(ticking);
}

/* Shifts further than a word is wide. */
void faulty_shift(void)
{
	int width = READ_ONCE(number) + 40;

	pr_info("faulty: shifted to %d\n", 1 << width);
}

static struct net_device *device;
static netdevice_tracker tracker;

/*
 * Unregisters a device while a reference is held, and gives that back when the core has complained, without which it
 * would wait for ever.
 */
static void give_back(struct work_struct *work)
{
	netdev_put(device, &tracker);
}

static DECLARE_DELAYED_WORK(later, give_back);

static const struct net_device_ops ops = {};

int faulty_device_reference(void)
{
	int err;

	device = alloc_netdev(0, "faulty%d", NET_NAME_ENUM, ether_setup);
	if (!device)
		return -ENOMEM;
	device->netdev_ops = &ops;
	device->needs_free_netdev = true;
	err = register_netdev(device);
	if (err) {
		free_netdev(device);
		return err;
	}
	netdev_hold(device, &tracker, GFP_KERNEL);
	schedule_delayed_work(&later, 25 * HZ);
	unregister_netdev(device);
	flush_delayed_work(&later);
	return 0;
}

/* Gives a reference to the namespace back, but not its tracker: whose it was is told when the namespace goes. */
int faulty_namespace_reference(void)
{
	static netns_tracker forgotten;
	struct net *net = current->nsproxy->net_ns;

	/* This one never goes. */
	if (net_eq(net, &init_net))
		return -EINVAL;
	put_net(get_net_track(net, &forgotten, GFP_KERNEL));
	return 0;
}
