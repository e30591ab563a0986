// SPDX-License-Identifier: GPL-2.0

//! Remembered routes: what a look-up found, for packets that a look-up would treat the same.
//!
//! # What makes a remembered route wrong, and how that is noticed
//!
//! A packet takes a remembered route only if a look-up, made at that moment, would end in the same. A look-up is a
//! function of
//!
//! 1. the packet: the whole of what it reads is the key ([`route_key`](super::route_key)), and keys are compared whole;
//! 2. the device that is asked from: a cache belongs to one, whoever owns both purges it when that changes namespaces;
//! 3. the namespace's rules, routes, next hops, addresses and devices: each change moves the namespace's generation
//!    (`rt_genid`; for IPv6 `fib6_sernum`, which also moves for a route in a table that is asked earlier). It is read
//!    *before* the look-up whose result is kept, and must be the same when that is used: whatever changes meanwhile,
//!    the route is not used again. A table of routes belongs to one namespace; seen from another it is empty;
//! 4. exceptions that a path has taught (its MTU, a redirect): in IPv4 a route that an exception supersedes is marked
//!    obsolete, one that comes from an exception has a time to expire at, and neither is used; nor is a route that the
//!    next hop no longer knows (`rt_uncached_list`), which could not be marked. In IPv6 an exception moves the sernum,
//!    and `dst_check()` with the cookie of the moment sees the rest;
//! 5. hashing over several paths: in IPv4 a look-up with an output device takes the path over that device and hashes
//!    nothing (`fib_select_path()`); in IPv6 a route with siblings or a group of next hops is not kept;
//! 6. in IPv6, on a host that does not forward, whether neighbours answer (RFC 4861, 6.3.6): nothing announces that, so
//!    such a route is kept for the rest of the clock tick, in which a look-up could have come before just as well. A
//!    route with a lifetime of its own, and one over a device whose carrier decides, is not kept; nor is any where there
//!    are rules of one's own: a route of an earlier table that had passed the look-up on is deleted without moving the
//!    sernum (`fib6_del_route()`).
//!
//! Known not to be noticed until the generation moves for another reason: the master's new name or group, where a rule
//! asks for these; `ignore_routes_with_linkdown` set later; the preference or lifetime of a competing route that a
//! router advertises to a host that forwards (`accept_ra=2`); for a grace period, a member of a group of next hops that
//! is replaced.
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
//! device leaves a namespace, and, once no reader has seen it there, after it has entered the next: what is dropped then
//! is gone before the namespace's own exit, because `netdev_run_todo()` waits for RCU's callbacks (`rcu_barrier()`).
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
    key: Cell<H::Key>,
    seal: Cell<H::Seal>,
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
                key: Cell::new(H::Key::default()),
                seal: Cell::new(H::Seal::default()),
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
    fn slot(&self, key: H::Key) -> Option<&Slot<H>> {
        // CAST: u32 and usize, both ways, of a small number.
        self.slots.get(H::index(key, Self::SLOTS as u32) as usize)
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

    /// A CPU's first packet: makes its table, if there is memory.
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
        let Some(slot) = self.slot(key) else {
            // Not reached: an index is below the number of slots.
            return header.lookup(dev, net, mark, cx);
        };
        match slot.find(key, net) {
            // SAFETY: Whoever takes the route out of the slot drops it, and then it lives on until the end of the
            // section that `cx` stands for.
            Some(dst) => Ok(unsafe { Route::borrowed(dst, cx) }),
            // The header by value: who looks at it by reference keeps it in memory, for all packets.
            None => slot.look_up(dev, net, *header, mark, cx),
        }
    }

    /// Forgets the routes of another namespace.
    #[cold]
    #[inline(never)]
    fn enter(&self, net: &Net) {
        for slot in &self.slots {
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
        unsafe { H::holds(self.seal.get(), dst, net) }.then_some(dst)
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
        let generation = H::generation(net);
        // x86 keeps loads in order, and the look-up is a call, which the compiler does.
        #[cfg(not(CONFIG_X86))]
        // SAFETY: A barrier.
        unsafe {
            sys::ipvlan_rs_smp_rmb()
        };
        let route = header.lookup(dev, net, mark, cx)?;
        let dst = route.dst();
        // SAFETY: The route is alive, of the right protocol and looked up in `net`.
        let Some(seal) = (unsafe { H::seal(generation, dst, net) }) else {
            return Ok(route);
        };
        // The slot has the reference from here on.
        let _ = ManuallyDrop::new(route);
        self.key.set(header.key(mark));
        self.seal.set(seal);
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
