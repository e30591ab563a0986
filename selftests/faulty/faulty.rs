// SPDX-License-Identifier: GPL-2.0

//! Does on purpose what no module may do, so that the debug kernel shows that it would notice: loaded with `fault=N` it
//! does that one thing and refuses to stay. Never to be loaded outside a guest.
//!
//! What Rust code can do is done here, to see that the detectors reach it; the rest is in `faults.c`.

use core::ptr;
use kernel::{
    error::to_result,
    new_mutex,
    new_spinlock,
    prelude::*, //
};

module! {
    type: Faulty,
    name: "faulty",
    authors: ["The ipvlan_rs developers"],
    description: "Deliberate faults for the detectors of a debug kernel",
    license: "GPL",
    params: {
        fault: u8 {
            default: 0,
            description: "Which fault: see the list in faulty.rs",
        },
    },
}

struct Faulty;

extern "C" {
    fn faulty_rcu();
    fn faulty_object();
    fn faulty_shift();
    fn faulty_device_reference() -> c_int;
    fn faulty_namespace_reference() -> c_int;
}

impl kernel::Module for Faulty {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        match module_parameters::fault.value() {
            1 => lock_inversion()?,
            // SAFETY: Not safe: that is its purpose. So are the other calls and accesses of this file.
            2 => unsafe { faulty_rcu() },
            3 => sleep_in_atomic()?,
            // SAFETY: As above.
            4 => unsafe { faulty_object() },
            // SAFETY: As above.
            5 => unsafe { faulty_shift() },
            6 => use_after_free()?,
            7 => out_of_bounds()?,
            8 => leak()?,
            // SAFETY: As above.
            9 => to_result(unsafe { faulty_device_reference() })?,
            // SAFETY: As above.
            10 => to_result(unsafe { faulty_namespace_reference() })?,
            other => {
                pr_info!("there is no fault {other}\n");
                return Err(EINVAL);
            }
        }
        Err(ECANCELED)
    }
}

/// Two locks taken in both orders: no deadlock now, but one that waits to happen.
#[inline(never)]
fn lock_inversion() -> Result {
    let one = KBox::pin_init(new_mutex!(1, "faulty_one"), GFP_KERNEL)?;
    let two = KBox::pin_init(new_mutex!(2, "faulty_two"), GFP_KERNEL)?;
    {
        let _first = one.lock();
        let _second = two.lock();
    }
    let _second = two.lock();
    let _first = one.lock();
    Ok(())
}

/// A mutex, which may sleep, under a spinlock.
#[inline(never)]
fn sleep_in_atomic() -> Result {
    let sleeps = KBox::pin_init(new_mutex!(1, "faulty_sleeps"), GFP_KERNEL)?;
    let spins = KBox::pin_init(new_spinlock!(2, "faulty_spins"), GFP_KERNEL)?;
    let _atomic = spins.lock();
    let _asleep = sleeps.lock();
    Ok(())
}

#[inline(never)]
fn use_after_free() -> Result {
    let memory = KBox::new([1u8; 64], GFP_KERNEL)?;
    let stale: *const u8 = memory.as_ptr();
    drop(memory);
    // SAFETY: Not safe, see above.
    let byte = unsafe { ptr::read_volatile(stale.add(8)) };
    pr_info!("freed memory holds {byte}\n");
    Ok(())
}

#[inline(never)]
fn out_of_bounds() -> Result {
    let mut memory = KBox::new([1u8; 60], GFP_KERNEL)?;
    // SAFETY: Not safe, see above.
    unsafe { ptr::write_volatile(memory.as_mut_ptr().add(61), 1) };
    Ok(())
}

/// Many: the pointers to what was allocated last stay where they were in this CPU's sheaf of free objects, and kmemleak
/// takes those for references (mm/slub.c). The report shows what they begin with.
#[inline(never)]
fn leak() -> Result {
    for _ in 0..255 {
        KBox::leak(KBox::new([*b"leaked by faulty"; 19], GFP_KERNEL)?);
    }
    Ok(())
}
