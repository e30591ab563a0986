// SPDX-License-Identifier: GPL-2.0

//! A stand-in for the kernel's rtnetlink, preloaded into a real `ip` by `tests/ip.rs`.
//!
//! It takes the place of the C library's `sendmsg` and `recvmsg`: link requests never reach the
//! kernel. What `ip` asks to create or change is appended to the file `$RTNL_PROBE_SENT` and
//! acknowledged; what it asks to see is answered with the message in the file
//! `$RTNL_PROBE_LINK`, whatever the device. So the bytes that `ip` sends and the text that it
//! prints can be checked on any machine, without privileges and without the module.
//!
//! Like the plugin, it depends on no particular C library: it is loaded into old and new ones.

#![cfg_attr(panic = "abort", no_std)]

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, c_uint, c_void, CStr};
use core::mem::{size_of, transmute};

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const AF_NETLINK: u16 = 16;
const MSG_PEEK: c_int = 0x02;
const MSG_TRUNC: c_int = 0x20;
const RTLD_NEXT: *mut c_void = usize::MAX as *mut c_void;
const O_RDONLY: c_int = 0;
const O_WRONLY_CREAT_APPEND: c_int = 0o1 | 0o100 | 0o2000;

#[repr(C)]
struct IoVec {
    base: *mut u8,
    len: usize,
}

/// `struct msghdr` of the C library, LP64.
#[repr(C)]
struct MsgHdr {
    name: *mut SockaddrNl,
    namelen: c_uint,
    iov: *mut IoVec,
    iovlen: usize,
    control: *mut c_void,
    controllen: usize,
    flags: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SockaddrNl {
    family: u16,
    pad: u16,
    pid: u32,
    groups: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct NlMsgHdr {
    len: u32,
    kind: u16,
    flags: u16,
    seq: u32,
    pid: u32,
}

const HEADER: usize = size_of::<NlMsgHdr>();

type Message = unsafe extern "C" fn(c_int, *mut MsgHdr, c_int) -> isize;

extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int;
    fn read(fd: c_int, data: *mut u8, len: usize) -> isize;
    fn write(fd: c_int, data: *const u8, len: usize) -> isize;
    fn close(fd: c_int) -> c_int;
    fn getsockname(fd: c_int, name: *mut SockaddrNl, len: *mut c_uint) -> c_int;
}

/// The answer that waits to be received.
struct Answer {
    data: [u8; 4096],
    len: usize,
}

struct Shared(UnsafeCell<Answer>);

// SAFETY: `ip` is single-threaded.
unsafe impl Sync for Shared {}

static ANSWER: Shared = Shared(UnsafeCell::new(Answer {
    data: [0; 4096],
    len: 0,
}));

/// Calls the C library's function that this library hides.
///
/// # Safety
///
/// As for sendmsg(2) and recvmsg(2).
unsafe fn real(name: &CStr, fd: c_int, msg: *mut MsgHdr, flags: c_int) -> isize {
    // SAFETY: the next object in the search order, the C library, has a function of this name
    // and of the type `Message`.
    unsafe {
        let function = transmute::<*mut c_void, Option<Message>>(dlsym(RTLD_NEXT, name.as_ptr()));
        function.map_or(-1, |function| function(fd, msg, flags))
    }
}

/// Opens the file that the environment variable names; negative if there is none.
fn open_named(variable: &CStr, flags: c_int) -> c_int {
    // SAFETY: NUL-terminated strings both.
    unsafe {
        let path = getenv(variable.as_ptr());
        if path.is_null() {
            -1
        } else {
            open(path, flags, 0o600)
        }
    }
}

/// Makes the answer to `request`: the link, or for a change an acknowledgement. Returns whether
/// there is one.
fn answer(fd: c_int, request: NlMsgHdr, answer: &mut Answer) -> bool {
    let body = match request.kind {
        RTM_GETLINK => {
            let file = open_named(c"RTNL_PROBE_LINK", O_RDONLY);
            // SAFETY: writes at most the buffer's length; a bad descriptor is an error.
            let len = unsafe { read(file, answer.data.as_mut_ptr(), answer.data.len()) };
            // SAFETY: plain system call on a descriptor of ours.
            unsafe { close(file) };
            len.checked_sub(HEADER as isize)
        }
        // Error 0 and the request's header.
        _ => {
            answer.data.fill(0);
            Some(4 + HEADER as isize)
        }
    };
    let Some(body) = body.filter(|body| *body > 0) else {
        return false;
    };
    let mut local = SockaddrNl {
        family: 0,
        pad: 0,
        pid: 0,
        groups: 0,
    };
    let mut len = size_of::<SockaddrNl>() as c_uint;
    // SAFETY: `local` has room for `len` bytes.
    unsafe { getsockname(fd, &mut local, &mut len) };
    answer.len = HEADER + body as usize;
    let kind = if request.kind == RTM_GETLINK {
        RTM_NEWLINK
    } else {
        NLMSG_ERROR
    };
    let header = NlMsgHdr {
        len: answer.len as u32,
        kind,
        flags: 0,
        seq: request.seq,
        pid: local.pid,
    };
    // SAFETY: the buffer is longer than a header; it need not be aligned.
    unsafe {
        answer
            .data
            .as_mut_ptr()
            .cast::<NlMsgHdr>()
            .write_unaligned(header)
    };
    true
}

/// sendmsg(2) for `ip`.
///
/// # Safety
///
/// As for the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(fd: c_int, msg: *mut MsgHdr, flags: c_int) -> isize {
    // SAFETY: `msg` is a valid message of the caller, netlink's with a whole header first.
    let (data, len) = unsafe { ((*(*msg).iov).base, (*(*msg).iov).len) };
    if len >= HEADER {
        // SAFETY: just checked.
        let request = unsafe { data.cast::<NlMsgHdr>().read_unaligned() };
        if request.kind == RTM_NEWLINK {
            let file = open_named(c"RTNL_PROBE_SENT", O_WRONLY_CREAT_APPEND);
            // SAFETY: reads the caller's message; a bad descriptor is an error.
            unsafe { write(file, data, len) };
            // SAFETY: plain system call on a descriptor of ours.
            unsafe { close(file) };
        }
        if matches!(request.kind, RTM_NEWLINK | RTM_GETLINK) {
            // SAFETY: single-threaded, and no other reference exists now.
            let slot = unsafe { &mut *ANSWER.0.get() };
            return if answer(fd, request, slot) {
                len as isize
            } else {
                -1
            };
        }
    }
    // SAFETY: the caller's arguments.
    unsafe { real(c"sendmsg", fd, msg, flags) }
}

/// recvmsg(2) for `ip`, which asks for the length with MSG_PEEK | MSG_TRUNC first.
///
/// # Safety
///
/// As for the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn recvmsg(fd: c_int, msg: *mut MsgHdr, flags: c_int) -> isize {
    // SAFETY: single-threaded, and no other reference exists now.
    let answer = unsafe { &mut *ANSWER.0.get() };
    if answer.len == 0 {
        // SAFETY: the caller's arguments.
        return unsafe { real(c"recvmsg", fd, msg, flags) };
    }
    // SAFETY: `msg` is a valid message of the caller with one buffer and room for an address.
    unsafe {
        let iov = &*(*msg).iov;
        let copied = answer.len.min(iov.len);
        if !iov.base.is_null() {
            core::ptr::copy_nonoverlapping(answer.data.as_ptr(), iov.base, copied);
        }
        *(*msg).name = SockaddrNl {
            family: AF_NETLINK,
            pad: 0,
            pid: 0,
            groups: 0,
        };
        (*msg).namelen = size_of::<SockaddrNl>() as c_uint;
        (*msg).flags = 0;
        let len = if flags & MSG_TRUNC != 0 {
            answer.len
        } else {
            copied
        };
        if flags & MSG_PEEK == 0 {
            answer.len = 0;
        }
        len as isize
    }
}
