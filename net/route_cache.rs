// SPDX-License-Identifier: GPL-2.0

//! Remembered routes: what a look-up found, for packets that a look-up would treat the same.
//!
//! # What makes a remembered route wrong, and how that is noticed
//!
//! A packet takes a remembered route only if a look-up, made at that moment, would end in the same. A look-up is a
//! function of
//!
//! 1. the packet: the whole of what it reads is the key ([`route_key`](super::route_key)), and keys are compared whole;
//! 2. the device that is asked from: a cache belongs to one, whose owner purges it when it changes namespaces or its
//!    name, which rules may ask for (`oif`), or when the namespace's loopback does, which rules take for the input device
//!    (`iif`). No route is kept for a device in a VRF, whose name they may ask for too;
//! 3. the namespace's rules, routes, next hops, addresses and devices: each change moves the namespace's generation
//!    (`rt_genid`; for IPv6 `fib6_sernum`, or the count of deleted routes). It is read
//!    *before* the look-up whose result is kept, and must be the same when that is used: whatever changes meanwhile,
//!    the route is not used again. A table of routes belongs to one namespace; seen from another it is empty;
//! 4. exceptions that a path has taught (its MTU, a redirect): in IPv4 a route that an exception supersedes is marked
//!    obsolete, one that comes from an exception has a time to expire at, and neither is used; nor is a route that the
//!    next hop no longer knows (`rt_uncached_list`), which could not be marked. In IPv6 an exception moves the sernum,
//!    and `dst_check()` with the cookie of the moment sees the rest;
//! 5. hashing over several paths: in IPv4 a look-up with an output device takes the path over that device and hashes
//!    nothing (`fib_select_path()`); in IPv6 a route with siblings or a group of next hops is not kept;
//! 6. in IPv6, what nothing announces: whether neighbours answer (RFC 4861, 6.3.6), what routers advertise of routes
//!    that are there, the passing of their lifetimes, settings (`forwarding`, with which no answer counts). So a route is
//!    kept for the rest of the clock tick, in which a look-up could have come before just as well.
//!
//! What moves no generation either is not waited for: where it could matter, no route is kept. That is where a rule looks
//! at the groups of devices (`suppress_ifgroup`), which sysfs changes without a word; in IPv4, in a
//! namespace with next hop objects, of which the replaced member of a group is told to nobody; in IPv6, over a device
//! without a carrier, for which `ignore_routes_with_linkdown` may be set. (In IPv4 that is the master, without whose
//! carrier its slaves send nothing.)
//!
//! # When a route is kept
//!
//! A slot remembers what it missed last, by a hash. The first packet to a destination leaves no more than that, and costs
//! a look-up, as without a cache: a stream of packets to ever new destinations pays for no reference and no copied key.
//! The second look-up leaves its route on trial, which is held and not used. One that then ends in the held route proves
//! that an IPv4 exception which it did not see will mark it: an exception is published first and then marks what the
//! next hop knows, so a look-up that is overtaken by both makes a new route, which nothing marks any more; but one that was
//! held before was known before.
//!
//! # What no case fails without
//!
//! Four of these rules are about races of a few instructions, which no test wins on purpose: that the moment is taken
//! before the look-up, that a route is on trial first, that one which the next hop no longer knows is not used (a look-up
//! that is interrupted by another replaces a good one), and that whoever enters a namespace waits for readers before it
//! purges. Each other rule has a mutant under selftests/mutants/ (`guest-routes-*`), and a case that fails with it.
//!
//! One such race is the kernel's own: a route of IPv4 that is deleted while the first look-up that ever took it is under
//! way moves no generation (`fib_table_delete()` asks whether one did). A key has had another look-up before the one whose
//! route is kept, so that route came in between the two and went at once.
//!
//! # Contexts
//!
//! [`RouteCache::route`] runs in softirq or with bottom halves disabled; each CPU has its own
//! table, which nobody else touches ([`PerCpuBox`]). A route that was found is not counted: it is good until the end
//! of the RCU section, like that of a socket's packet (`skb_dst_set_noref()`), because a route that is dropped is freed
//! after a grace period. [`RouteCache::purge`] runs in process context and unhooks the tables, which drop their routes
//! after a grace period. Memory is taken with a CPU's first route; if there is none, each packet is looked up.
//!
//! A route of IPv6 must not outlive its namespace, which has its `dst_ops`. So the owner of a cache purges it before the
//! device leaves a namespace, and, once no reader has seen it there, after it has entered the next. What is dropped then
//! goes in two steps: after a grace period the table gives its routes back (`dst_release()`), and after another they are
//! freed (`dst_destroy()`), by what `dst->ops` says, which is the namespace's. The first step is over before the
//! namespace's own exit, because `netdev_run_todo()` waits for RCU's callbacks (`rcu_barrier()`), the second before its
//! memory goes, because `cleanup_net()` waits for those that came since.
//!
//! A remembered route does not keep a device: when a device goes, the tables and the next hops that know the route take
//! the device away from it (`dst_dev_put()`), as they do for sockets.

use super::{
    device::NetDevice,
    netns::Net,
    packet::Xmit,
    route::{
        IpHeader,
        Route, //
    },
    route4::Header4,
    route6::Header6,
    route_key::index,
    softirq::Softirq, //
};
use crate::{
    sync::percpu_box::PerCpuBox,
    sys, //
};
use core::{
    cell::Cell,
    mem::{
        size_of,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// The memory of a CPU's table.
const TABLE_BYTES: usize = 8192;

/// Routes that packets with headers `H` take out of one device.
pub(crate) struct RouteCache<H: IpHeader> {
    tables: PerCpuBox<Table<H>>,
}

/// A CPU's routes: a key has one place, and takes it from whoever had it.
struct Table<H: IpHeader> {
    /// The namespace that they are of.
    space: Cell<usize>,
    slots: KVec<Slot<H>>,
}

/// # Invariants
///
/// `dst` is null or a counted reference of ours, to a route of `H`'s protocol.
struct Slot<H: IpHeader> {
    /// Whose route it is; no packet's, if it is on trial.
    key: Cell<H::Key>,
    seal: Cell<H::Seal>,
    /// The hash of the key that was looked up last.
    missed: Cell<u32>,
    dst: Cell<*mut sys::dst_entry>,
}

// SAFETY: The references in it are counted, and may be given back on any CPU.
unsafe impl<H: IpHeader> Send for Table<H> {}

impl<H: IpHeader> Table<H> {
    const SLOTS: usize = TABLE_BYTES / size_of::<Slot<H>>();

    fn new() -> Result<Self, AllocError> {
        let mut slots = KVec::with_capacity(Self::SLOTS, GFP_ATOMIC | __GFP_NOWARN)?;
        for _ in 0..Self::SLOTS {
            // INVARIANT: A null pointer.
            let empty = Slot {
                key: Cell::new(H::NO_KEY),
                seal: Cell::new(pin_init::zeroed()),
                missed: Cell::new(0),
                dst: Cell::new(ptr::null_mut()),
            };
            // There is room for all.
            slots.push_within_capacity(empty).map_err(|_| AllocError)?;
        }
        Ok(Self {
            space: Cell::new(0),
            slots,
        })
    }

    #[inline(always)]
    fn slot(&self, hash: u32) -> Option<&Slot<H>> {
        // CAST: u32 and usize, both ways, of a small number.
        self.slots.get(index(hash, Self::SLOTS as u32) as usize)
    }
}

impl<H: IpHeader> Slot<H> {
    /// Takes a counted route, and gives back what was there.
    fn fill(&self, dst: *mut sys::dst_entry) {
        let old = self.dst.replace(dst);
        if !old.is_null() {
            // SAFETY: By the type invariant the reference was ours.
            unsafe { sys::dst_release(old) };
        }
    }
}

impl<H: IpHeader> Drop for Slot<H> {
    fn drop(&mut self) {
        self.fill(ptr::null_mut());
    }
}

impl<H: IpHeader> RouteCache<H> {
    /// Remembers nothing. Process context.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            tables: PerCpuBox::new()?,
        })
    }

    /// Forgets everything. Process context.
    pub(crate) fn purge(&self) {
        self.tables.clear();
    }

    /// The route that a packet with this header and mark takes out of `dev`, which is in `net`, remembered or looked up.
    ///
    /// # Errors
    ///
    /// As [`IpHeader::lookup`].
    #[inline(always)]
    pub(crate) fn route<'a>(
        &self,
        dev: &NetDevice,
        net: &Net,
        header: &H,
        mark: u32,
        cx: &'a Softirq,
    ) -> Result<Route<'a, H>, Xmit> {
        let entered = self.tables.enter(&cx.bh);
        if let Some(table) = entered.get() {
            return table.route(dev, net, header, mark, cx);
        }
        drop(entered);
        self.first(dev, net, *header, mark, cx)
    }

    /// A CPU's first packet: makes its table, if there is memory. So who has one need not ask whether there are routes.
    #[cold]
    #[inline(never)]
    fn first<'a>(
        &self,
        dev: &NetDevice,
        net: &Net,
        header: H,
        mark: u32,
        cx: &'a Softirq,
    ) -> Result<Route<'a, H>, Xmit> {
        H::ready()?;
        match self.tables.enter(&cx.bh).get_or_make(Table::new) {
            Some(table) => table.route(dev, net, &header, mark, cx),
            None => header.lookup(dev, net, mark, cx),
        }
    }
}

impl<H: IpHeader> Table<H> {
    /// On PREEMPT_RT with the CPU's lock held: a look-up takes locks of its own, but sends nothing.
    #[inline(always)]
    fn route<'a>(
        &self,
        dev: &NetDevice,
        net: &Net,
        header: &H,
        mark: u32,
        cx: &'a Softirq,
    ) -> Result<Route<'a, H>, Xmit> {
        let key = header.key(mark);
        if self.space.get() != net.id() {
            self.enter(net);
        }
        let hash = H::hash(key);
        let Some(slot) = self.slot(hash) else {
            // Not reached: an index is below the number of slots.
            return header.lookup(dev, net, mark, cx);
        };
        match slot.find(key, net) {
            // SAFETY: Whoever takes the route out of the slot drops it, and then it lives on until the end of the
            // section that `cx` stands for.
            Some(dst) => Ok(unsafe { Route::borrowed(dst, cx) }),
            // A destination's first packet.
            None if slot.missed.replace(hash) != hash => header.lookup(dev, net, mark, cx),
            // The header by value: who looks at it by reference keeps it in memory, for all packets.
            None => slot.look_up(dev, net, *header, mark, cx),
        }
    }

    /// Forgets the routes of another namespace.
    #[cold]
    #[inline(never)]
    fn enter(&self, net: &Net) {
        for slot in &self.slots {
            slot.key.set(H::NO_KEY);
            slot.fill(ptr::null_mut());
        }
        self.space.set(net.id());
    }
}

impl<H: IpHeader> Slot<H> {
    #[inline(always)]
    fn find(&self, key: H::Key, net: &Net) -> Option<NonNull<sys::dst_entry>> {
        if self.key.get() != key {
            return None;
        }
        let dst = NonNull::new(self.dst.get())?;
        // SAFETY: By the type invariant a counted route of the right protocol; `net` is borrowed from RCU's section.
        unsafe { H::holds(&self.seal, dst, net) }.then_some(dst)
    }

    /// Looks up, and remembers what is found, if that may be.
    #[inline(never)]
    fn look_up<'a>(
        &self,
        dev: &NetDevice,
        net: &Net,
        header: H,
        mark: u32,
        cx: &'a Softirq,
    ) -> Result<Route<'a, H>, Xmit> {
        // Before the look-up: what changes from here on is not missed.
        let moment = H::moment(net);
        // x86 keeps loads in order, and the look-up is a call, which the compiler does.
        #[cfg(not(CONFIG_X86))]
        // SAFETY: A barrier.
        unsafe {
            sys::ipvlan_rs_smp_rmb()
        };
        let route = header.lookup(dev, net, mark, cx)?;
        let dst = route.dst();
        // SAFETY: The route is alive, of the right protocol and looked up in `net`.
        let Some(seal) = (unsafe { H::seal(moment, dst, dev, net) }) else {
            return Ok(route);
        };
        if ptr::eq(self.dst.get(), dst.as_ptr()) {
            // Held since before the look-up, whoever's it was: see the documentation of the module.
            self.key.set(header.key(mark));
            self.seal.set(seal);
            return Ok(route);
        }
        // On trial.
        self.key.set(H::NO_KEY);
        // The slot has the reference from here on.
        let _ = ManuallyDrop::new(route);
        // INVARIANT: Counted, and of `H`'s protocol.
        self.fill(dst.as_ptr());
        // SAFETY: As in `Table::route`.
        Ok(unsafe { Route::borrowed(dst, cx) })
    }
}

/// The routes of both protocols out of one device.
pub(crate) struct Routes {
    /// IPv4's.
    pub(crate) v4: RouteCache<Header4>,
    /// IPv6's.
    pub(crate) v6: RouteCache<Header6>,
}

impl Routes {
    /// None remembered. Process context.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            v4: RouteCache::new()?,
            v6: RouteCache::new()?,
        })
    }

    /// Forgets all. Process context.
    pub(crate) fn purge(&self) {
        self.v4.purge();
        self.v6.purge();
    }
}
