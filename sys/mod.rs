// SPDX-License-Identifier: GPL-2.0

//! Raw bindings: bindgen's view of the kernel headers, held against the kernel's compiler.
//!
//! Only `net/` and `sync/` may name this module; they wrap what they need in safe types.

#![allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::missing_safety_doc,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    clippy::unnecessary_safety_doc,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

use kernel::ffi;
use pin_init::{
    MaybeZeroable,
    Zeroable, //
};

pub mod arch;

type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

include!(concat!(env!("IPVLAN_RS_SYS"), "/bindings.rs"));

// SAFETY: Plain bytes.
unsafe impl<T: Zeroable> Zeroable for __BindgenBitfieldUnit<T> {}

/// The fields of `sk_buff` that clones share a copy of (`headers` in include/linux/skbuff.h): bindgen gives their type
/// a numbered name, this module a plain one. Where they lie is in `SKB_OFFSET_*`, which gcc says.
pub type skb_headers = sk_buff__bindgen_ty_4__bindgen_ty_1;

include!(concat!(env!("IPVLAN_RS_SYS"), "/layout.rs"));
