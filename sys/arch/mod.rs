// SPDX-License-Identifier: GPL-2.0

//! What the packet path does in assembly where the architecture allows it, and through a C helper where not.

/// Adds 1 to this CPU's instance of the counter `pair`, and `value` to that of the one behind it.
///
/// # Safety
///
/// `pair` is a per-CPU pointer to two `u64` that are alive.
#[inline(always)]
pub unsafe fn percpu_count(pair: *mut u64, value: u64) {
    #[cfg(all(CONFIG_X86_64, not(CONFIG_UML)))]
    // SAFETY: As in `percpu_add`, twice.
    unsafe {
        ::core::arch::asm!("incq %gs:({p})", "addq {v}, %gs:8({p})", v = in(reg) value, p = in(reg) pair, options(att_syntax, nostack))
    }
    #[cfg(not(all(CONFIG_X86_64, not(CONFIG_UML))))]
    // SAFETY: By the safety requirements.
    unsafe {
        percpu_add(pair, 1);
        percpu_add(pair.wrapping_add(1), value);
    }
}

/// Reads this CPU's instance of the pointer `place`.
///
/// # Safety
///
/// `place` is a per-CPU pointer to a pointer, or to what begins with one, that is alive.
#[inline(always)]
pub unsafe fn percpu_pointer(place: *mut *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void {
    #[cfg(all(CONFIG_X86_64, not(CONFIG_UML)))]
    // SAFETY: As in `percpu_add`; this reads.
    unsafe {
        let value;
        ::core::arch::asm!("movq %gs:({p}), {v}", v = out(reg) value, p = in(reg) place, options(att_syntax, nostack, readonly, preserves_flags));
        value
    }
    #[cfg(not(all(CONFIG_X86_64, not(CONFIG_UML))))]
    // SAFETY: As above; the helper is this_cpu_read().
    unsafe {
        super::ipvlan_rs_place_get(place.cast())
    }
}

/// Adds `value` to this CPU's instance of the counter `counter`.
///
/// One instruction on x86-64: no other CPU writes there, and an interrupt comes before or after it. UML sets
/// CONFIG_X86_64 too, but its %gs belongs to user space.
///
/// # Safety
///
/// `counter` is a per-CPU pointer to a `u64` that is alive.
#[inline(always)]
pub unsafe fn percpu_add(counter: *mut u64, value: u64) {
    #[cfg(all(CONFIG_X86_64, not(CONFIG_UML)))]
    // SAFETY: The caller gives a live per-CPU `u64`, which lies at %gs:counter on this CPU (arch/x86 percpu.h).
    unsafe {
        ::core::arch::asm!("addq {v}, %gs:({p})", v = in(reg) value, p = in(reg) counter, options(att_syntax, nostack))
    }
    #[cfg(not(all(CONFIG_X86_64, not(CONFIG_UML))))]
    // SAFETY: As above; the helper is this_cpu_add().
    unsafe {
        super::ipvlan_rs_percpu_add(counter, value)
    }
}
