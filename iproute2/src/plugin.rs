// SPDX-License-Identifier: GPL-2.0

//! The C side: `struct link_util` of iproute2's `ip/ip_common.h`, its callbacks, and the few
//! functions of `ip` that they call.
//!
//! The structure and the enumeration values below are the same in iproute2 6.1 to 7.1. `ip` is
//! single-threaded and calls the callbacks one at a time.

use crate::options::{self, Field, Value, OPTIONS};
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, c_uint, c_void, CStr};

/// `struct link_util`, `ip/ip_common.h`.
#[repr(C)]
struct LinkUtil {
    next: *mut LinkUtil,
    id: *const c_char,
    maxattr: c_int,
    parse_opt: Option<
        unsafe extern "C" fn(*mut LinkUtil, c_int, *mut *mut c_char, *mut NlMsgHdr) -> c_int,
    >,
    print_opt: Option<unsafe extern "C" fn(*mut LinkUtil, *mut File, *const *const RtAttr)>,
    print_xstats: Option<unsafe extern "C" fn(*mut LinkUtil, *mut File, *mut RtAttr)>,
    print_help: Option<unsafe extern "C" fn(*mut LinkUtil, c_int, *mut *mut c_char, *mut File)>,
    parse_ifla_xstats:
        Option<unsafe extern "C" fn(*mut LinkUtil, c_int, *mut *mut c_char) -> c_int>,
    print_ifla_xstats: Option<unsafe extern "C" fn(*mut NlMsgHdr, *mut c_void) -> c_int>,
}

const _: () = assert!(size_of::<LinkUtil>() == 9 * size_of::<usize>());

/// `struct nlmsghdr`: only handed on.
#[repr(C)]
struct NlMsgHdr {
    _opaque: [u8; 0],
}

/// `FILE` of the C library: only handed on.
#[repr(C)]
struct File {
    _opaque: [u8; 0],
}

/// `struct rtattr`, `include/uapi/linux/rtnetlink.h`; the payload follows.
#[repr(C)]
struct RtAttr {
    rta_len: u16,
    rta_type: u16,
}

/// `PRINT_JSON` of `enum output_type`, `include/json_print.h`: JSON under `-j`, and no text.
const PRINT_JSON: c_uint = 2;
/// `PRINT_ANY` of `enum output_type`: text, or JSON under `-j`.
const PRINT_ANY: c_uint = 4;
/// `COLOR_NONE` of `enum color_attr`, `include/color.h`.
const COLOR_NONE: c_uint = 6;
/// Bound on the length of a message that `addattr_l` keeps to: the size of the request buffer in
/// `iplink_modify()`, as the kinds built into `ip` pass it.
const MAX_LEN: c_int = 1024;

extern "C" {
    static stderr: *mut File;
    fn fputs(s: *const c_char, stream: *mut File) -> c_int;
    fn addattr_l(
        n: *mut NlMsgHdr,
        maxlen: c_int,
        kind: c_int,
        data: *const c_void,
        len: c_int,
    ) -> c_int;
    fn print_color_string(
        output: c_uint,
        color: c_uint,
        key: *const c_char,
        format: *const c_char,
        value: *const c_char,
    ) -> c_int;
    fn print_color_bool(
        output: c_uint,
        color: c_uint,
        key: *const c_char,
        format: *const c_char,
        value: bool,
    ) -> c_int;
    fn print_color_uint(
        output: c_uint,
        color: c_uint,
        key: *const c_char,
        format: *const c_char,
        value: c_uint,
    ) -> c_int;
}

/// A `LinkUtil` that `ip` may write to: it links the kinds it has loaded through `next`.
#[repr(transparent)]
struct Exported(UnsafeCell<LinkUtil>);

// SAFETY: this library never reads or writes the value; `ip` does, in its only thread.
unsafe impl Sync for Exported {}

/// What `ip` looks up by the name of the kind.
#[unsafe(no_mangle)]
#[allow(
    non_upper_case_globals,
    reason = "the name is iproute2's: KIND_link_util"
)]
static ipvlan_rs_link_util: Exported = Exported(UnsafeCell::new(LinkUtil {
    next: core::ptr::null_mut(),
    id: c"ipvlan_rs".as_ptr(),
    maxattr: options::MAX_ATTR as c_int,
    parse_opt: Some(parse_opt),
    print_opt: Some(print_opt),
    print_xstats: None,
    print_help: Some(print_help),
    parse_ifla_xstats: None,
    print_ifla_xstats: None,
}));

/// Returns a sink of text that writes to `stream`.
///
/// # Safety
///
/// `stream` must be an open stream for as long as the sink is used.
unsafe fn sink(stream: *mut File) -> impl FnMut(&CStr) {
    move |text| {
        // A failed write to a terminal or pipe has nowhere to be reported.
        // SAFETY: `text` is NUL-terminated, `stream` is open by the contract of `sink`.
        let _ = unsafe { fputs(text.as_ptr(), stream) };
    }
}

/// Adds the attributes that the words ask for to the request `n`. Returns -1, after a message,
/// if they are refused or do not fit.
unsafe extern "C" fn parse_opt(
    _lu: *mut LinkUtil,
    argc: c_int,
    argv: *mut *mut c_char,
    n: *mut NlMsgHdr,
) -> c_int {
    let words = (0..usize::try_from(argc).unwrap_or(0)).map(|i| {
        // SAFETY: `ip` passes the tail of main()'s argument vector: `argc` valid strings, which
        // live as long as the process.
        unsafe { CStr::from_ptr(*argv.add(i)) }
    });
    let request = match options::parse(words) {
        Ok(request) => request,
        Err(refusal) => {
            // SAFETY: the C library's stderr is open for the whole life of `ip`.
            let mut put = unsafe { sink(stderr) };
            options::put_refusal(&refusal, &mut put);
            return -1;
        }
    };
    for (opt, value) in OPTIONS.iter().zip(request) {
        let (payload, len): (*const c_void, c_int) = match &value {
            None => continue,
            Some(Value::U16(value)) => ((&raw const *value).cast(), 2),
            Some(Value::U32(value)) => ((&raw const *value).cast(), 4),
        };
        // SAFETY: `n` heads a buffer of at least MAX_LEN bytes, beyond which addattr_l() does
        // not write; `len` bytes of `value` are read before the call returns.
        let added = unsafe { addattr_l(n, MAX_LEN, c_int::from(opt.attr), payload, len) };
        if added < 0 {
            return -1;
        }
    }
    0
}

/// Prints the attributes of `IFLA_INFO_DATA`, which `ip` has parsed into `tb`.
unsafe extern "C" fn print_opt(_lu: *mut LinkUtil, _file: *mut File, tb: *const *const RtAttr) {
    // A dump of names only has no attributes.
    if tb.is_null() {
        return;
    }
    for opt in &OPTIONS {
        // SAFETY: `ip` made `tb` with `maxattr + 1` slots, and `maxattr` is the table's highest.
        let attr = unsafe { *tb.add(usize::from(opt.attr)) };
        if attr.is_null() {
            continue;
        }
        // SAFETY: a slot that is not null points to an attribute that lies, whole, in the
        // message; the parser of `ip` has checked its `rta_len` against the message's end.
        let payload = unsafe {
            let len = usize::from((*attr).rta_len).saturating_sub(size_of::<RtAttr>());
            core::slice::from_raw_parts(attr.add(1).cast::<u8>(), len)
        };
        match options::show(opt, payload) {
            Some(Field::Word { key, format, word }) => {
                // SAFETY: all are NUL-terminated, and `format` takes one string.
                unsafe {
                    print_color_string(
                        PRINT_ANY,
                        COLOR_NONE,
                        key.as_ptr(),
                        format.as_ptr(),
                        word.as_ptr(),
                    )
                };
            }
            Some(Field::True { key, format }) => {
                // SAFETY: both are NUL-terminated, and `format` takes no argument.
                unsafe {
                    print_color_bool(PRINT_ANY, COLOR_NONE, key.as_ptr(), format.as_ptr(), true)
                };
            }
            Some(Field::Number {
                key,
                format,
                number,
                in_text,
            }) => {
                let output = if in_text { PRINT_ANY } else { PRINT_JSON };
                // SAFETY: both are NUL-terminated, and `format` takes one unsigned int.
                unsafe {
                    print_color_uint(output, COLOR_NONE, key.as_ptr(), format.as_ptr(), number)
                };
            }
            None => {}
        }
    }
}

/// Prints the usage: `ip link help ipvlan_rs`.
unsafe extern "C" fn print_help(
    _lu: *mut LinkUtil,
    _argc: c_int,
    _argv: *mut *mut c_char,
    file: *mut File,
) {
    // SAFETY: `ip` passes an open stream, standard output.
    let mut put = unsafe { sink(file) };
    options::put_usage(&mut put);
}
