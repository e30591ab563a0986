// SPDX-License-Identifier: GPL-2.0

//! Read-copy-update between host threads, as weak as the kernel's: entering a section orders nothing but the section
//! itself against grace periods, so a missing release or a missing grace period shows.
//!
//! Each thread has a counter that is odd while it is in a section. Entering and waiting are the two sides of a
//! store-buffering pattern: a full fence on each makes sure that either the reader sees what was published before the
//! wait or the waiter sees the reader.

#[cfg(loom)]
use loom::{
    lazy_static,
    sync::{
        atomic::{fence, AtomicUsize, Ordering},
        Mutex,
    },
    thread::yield_now,
    thread_local,
};
#[cfg(loom)]
use std::cell::RefCell;
use std::{cell::Cell, marker::PhantomData, ops::Deref};
#[cfg(not(loom))]
use std::{
    sync::{
        atomic::{fence, AtomicUsize, Ordering},
        Mutex, PoisonError,
    },
    thread::yield_now,
    thread_local,
};

/// The most threads that are readers at a time.
const READERS: usize = if cfg!(loom) { 3 } else { 64 };

#[cfg(loom)]
lazy_static! {
    static ref SECTIONS: [AtomicUsize; READERS] = core::array::from_fn(|_| AtomicUsize::new(0));
    static ref GRACE_PERIOD: Mutex<()> = Mutex::new(());
}
#[cfg(not(loom))]
static SECTIONS: [AtomicUsize; READERS] = [const { AtomicUsize::new(0) }; READERS];
/// One grace period at a time. Two threads that spin could keep each other busy for ever under loom.
#[cfg(not(loom))]
static GRACE_PERIOD: Mutex<()> = Mutex::new(());

/// Which of [`SECTIONS`] are some thread's, and what waits for a grace period. Not part of what is modelled.
struct Shared {
    taken: [bool; READERS],
    deferred: Vec<Box<dyn FnOnce() + Send>>,
}

impl Shared {
    const fn new() -> Self {
        Self {
            taken: [false; READERS],
            deferred: Vec::new(),
        }
    }
}

#[cfg(not(loom))]
fn with_shared<R>(f: impl FnOnce(&mut Shared) -> R) -> R {
    static SHARED: Mutex<Shared> = Mutex::new(Shared::new());

    f(&mut SHARED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// All threads of a model are run by one thread of the host, and each test has its own.
#[cfg(loom)]
fn with_shared<R>(f: impl FnOnce(&mut Shared) -> R) -> R {
    std::thread_local! {
        static SHARED: RefCell<Shared> = const { RefCell::new(Shared::new()) };
    }

    SHARED.with_borrow_mut(f)
}

/// A thread's place among the readers.
struct Place {
    index: usize,
    nesting: Cell<usize>,
}

thread_local! {
    static PLACE: Place = Place::new();
}

impl Place {
    fn new() -> Self {
        let index = with_shared(|shared| {
            let free = shared.taken.iter().position(|taken| !taken);
            let index = free.expect("too many reader threads");
            shared.taken[index] = true;
            index
        });
        Self {
            index,
            nesting: Cell::new(0),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        with_shared(|shared| shared.taken[self.index] = false);
    }
}

/// Proof that this thread is in a read-side section.
pub struct RcuRead(PhantomData<*mut ()>);

/// A read-side section.
pub struct RcuGuard(RcuRead);

impl RcuRead {
    /// Begins a section.
    pub fn lock() -> RcuGuard {
        PLACE.with(|place| {
            let nesting = place.nesting.get();
            if nesting == 0 {
                let section = &SECTIONS[place.index];
                // Release: a waiter for the previous section may see this store first.
                section.store(section.load(Ordering::Relaxed) + 1, Ordering::Release);
                fence(Ordering::SeqCst);
            }
            place.nesting.set(nesting + 1);
        });
        RcuGuard(RcuRead(PhantomData))
    }
}

impl Deref for RcuGuard {
    type Target = RcuRead;

    fn deref(&self) -> &RcuRead {
        &self.0
    }
}

impl Drop for RcuGuard {
    fn drop(&mut self) {
        PLACE.with(|place| {
            place.nesting.set(place.nesting.get() - 1);
            if place.nesting.get() == 0 {
                let section = &SECTIONS[place.index];
                // The reads of the section come before the end of it that a waiter sees.
                section.store(section.load(Ordering::Relaxed) + 1, Ordering::Release);
            }
        });
    }
}

/// Waits until all sections that are running now have ended.
pub fn wait_for_readers() {
    let _guard = GRACE_PERIOD.lock();
    grace_period();
}

fn grace_period() {
    assert_eq!(
        PLACE.with(|place| place.nesting.get()),
        0,
        "waiting for itself"
    );

    fence(Ordering::SeqCst);
    for section in SECTIONS.iter() {
        let begun = section.load(Ordering::Acquire);
        while begun % 2 == 1 && section.load(Ordering::Acquire) == begun {
            yield_now();
        }
    }
}

/// Calls `f` after a grace period, in [`barrier`].
pub(super) fn defer(f: impl FnOnce() + Send + 'static) {
    with_shared(|shared| shared.deferred.push(Box::new(f)));
}

/// Waits for a grace period and carries out what was deferred before, also if another thread is already at it.
pub fn barrier() {
    let _guard = GRACE_PERIOD.lock();
    let deferred = with_shared(|shared| std::mem::take(&mut shared.deferred));

    grace_period();
    for f in deferred {
        f();
    }
}
