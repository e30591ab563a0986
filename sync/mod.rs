// SPDX-License-Identifier: GPL-2.0

//! Safe synchronisation for kernel code that is read far more often than written.
//!
//! Knows nothing of the driver: witnesses and boxes for RCU, a BH-disabling spinlock and a resizable hash table whose
//! lookups neither wait nor write.
//!
//! # Memory ordering
//!
//! Which store pairs with which load. The hash table has a table of its own, in its documentation; the models are in
//! `host/tests/loom.rs`, which runs the table's own code on loom's atomics.
//!
//! | store | load | what it orders | model |
//! |---|---|---|---|
//! | release: `RcuPointer::assign` | dependent: `RcuPointer::load`, with the witness of a section | what was written before the pointer, for whoever follows it | `lookup_during_insert`, `lookup_during_resize` |
//! | the writer's own, by its lock: `RcuPointer::assign` | `RcuPointer::load_exclusive` | nothing: the lock (or the RTNL) does | `insert_during_resize` |
//! | end of all sections that had begun: `RcuRead::lock`, the drop of `RcuGuard` | `wait_for_readers`, the callback of a dropped `RcuBox` | every access of those sections before what is freed | `lookup_during_removal`, `lookup_during_an_owners_removal` |
//! | `MarkedU64::store`, `Marked::write` | `MarkedU64::load`, `Marked::read` | nothing: each value is whole, and whoever reads an old one came before | `lookup_during_replacement` (tags) |
//! | release of the spinlock: the drop of `SpinLockBhGuard` | acquire: `SpinLockBh::lock` | what the last holder did; softirqs of this CPU are kept away | the lock of all models |
//! | `Work::queue` (the workqueue's own full barrier) | the start of `Worker::run` | what was done before queueing, whether this call queued or found it queued | none: the core's promise |
//! | the end of `Worker::run` | `Work::cancel` (`cancel_work_sync()`) | all that the worker did, before its data goes | none: the core's promise |
//! | `Counters::add`, one instruction on this CPU's own word | `Counters::sum`, of all CPUs | nothing: sums lag behind | none: no order is promised |
//! | release: `PerCpuBox`'s `get_or_make` (`smp_store_release()`) | acquire: `PerCpuBox::clear` (`xchg()`, fully ordered) | what was written into the value, by its CPU, before who drops it | none: one word, one exchange |
//! | full: `PerCpuBox::clear` takes the pointer (`xchg()`) | the CPU's own, plain: `Entered::get` | nothing: a CPU that still reads the old pointer is in a section that began before, and the value is dropped after a grace period | none: as `lookup_during_removal` |

pub(crate) mod ida;
pub(crate) mod lock;
pub(crate) mod marked;
pub(crate) mod percpu;
pub(crate) mod percpu_box;
mod platform;
pub(crate) mod rcu;
pub(crate) mod table;
pub(crate) mod work;
