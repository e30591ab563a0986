// SPDX-License-Identifier: GPL-2.0
/* Vetoes one event of network devices, whoever's: writing "EVENT ERRNO" to the parameter veto, "0 0" for none. */

#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>

static unsigned long event;
static int error, vetoes;

static int set_veto(const char *text, const struct kernel_param *kp)
{
	unsigned long which;
	int what;

	if (sscanf(text, "%lu %d", &which, &what) != 2)
		return -EINVAL;
	WRITE_ONCE(error, 0);
	WRITE_ONCE(event, which);
	WRITE_ONCE(error, what);
	return 0;
}

static const struct kernel_param_ops veto_ops = { .set = set_veto };
module_param_cb(veto, &veto_ops, NULL, 0200);
module_param(vetoes, int, 0400);

static int hear(struct notifier_block *nb, unsigned long which, void *info)
{
	if (!READ_ONCE(error) || which != READ_ONCE(event))
		return NOTIFY_DONE;
	vetoes++;
	return notifier_from_errno(-READ_ONCE(error));
}

/* Behind the others: they must take back what they have done. */
static struct notifier_block nb = { .notifier_call = hear, .priority = INT_MIN };

static int __init veto_init(void)
{
	return register_netdevice_notifier(&nb);
}
module_init(veto_init);

static void __exit veto_exit(void)
{
	unregister_netdevice_notifier(&nb);
}
module_exit(veto_exit);

MODULE_DESCRIPTION("Vetoes events of network devices, for tests");
MODULE_LICENSE("GPL");
