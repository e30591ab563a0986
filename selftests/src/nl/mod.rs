// SPDX-License-Identifier: GPL-2.0
//! Route netlink: requests with their extended acknowledgement, dumps, and notifications.
//!
//! Messages are those of rtnetlink and netlink-packet-route. The exchange itself is synchronous: rtnetlink requests run
//! inside the kernel's sendmsg() anyway, and an own loop sees what `rtnetlink::Handle` hides, the text of a refusal and
//! the text that may come with a success.

mod addr;
mod link;
mod monitor;
pub mod nexthop;
pub mod nft;
mod route;
mod tc;

pub use addr::AddrSpec;
pub use link::{flags, Link, LinkSpec, VethEnd, MAX_ADDRS, QUEUE_BYTES};
pub use monitor::{Event, Monitor};
pub use route::Via;
pub use tc::Direction;

use crate::fault::{Nth, Whose};
use anyhow::{bail, Context, Result};
use rtnetlink::packet_core::{
    NetlinkBuffer, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator, NLM_F_ACK,
    NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{protocols::NETLINK_ROUTE, Socket, SocketAddr};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::AsRawFd;

/// A request that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Positive errno.
    pub errno: i32,
    /// The text of the extended acknowledgement, empty when there was none.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", nix::Error::from_raw(self.errno), self.text)
    }
}

impl std::error::Error for Refusal {}

/// What a request gives: the warning text of a success (normally empty), or the refusal.
pub type Answer = std::result::Result<String, Refusal>;

/// A route netlink socket in the namespace of the thread that made it.
pub struct Nl {
    socket: Socket,
    sequence: Cell<u32>,
    /// Which fallible step of the next request is to fail.
    nth: Cell<Option<(Whose, u32)>>,
    /// The step of the last request that did.
    injected: RefCell<Option<String>>,
}

/// NLMSGERR_ATTR_MSG of linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;

impl Nl {
    /// Opens a socket with extended and capped acknowledgements.
    pub fn new() -> Result<Nl> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // Strict checking: a dump request's filter is honoured, or refused, never ignored.
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_rx_buf_sz(1 << 20)?;
        let patience = nix::sys::time::TimeVal::new(30, 0);
        nix::sys::socket::setsockopt(
            // SAFETY: the socket outlives the borrow.
            &unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.as_raw_fd()) },
            nix::sys::socket::sockopt::ReceiveTimeout,
            &patience,
        )?;
        Ok(Nl {
            socket,
            sequence: Cell::new(1),
            nth: Cell::new(None),
            injected: RefCell::new(None),
        })
    }

    /// Sends a request and waits for its acknowledgement.
    pub fn request(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Answer> {
        let sequence = self.send(message, flags | NLM_F_REQUEST | NLM_F_ACK)?;
        loop {
            let (bytes, _) = self.socket.recv_from_full().context("netlink: no answer")?;
            for part in messages(&bytes) {
                if part.sequence_number() == sequence
                    && part.message_type() == libc::NLMSG_ERROR as u16
                {
                    return answer(part.into_inner());
                }
            }
        }
    }

    /// Creates something that must not exist yet.
    pub fn create(&self, message: RouteNetlinkMessage) -> Result<Answer> {
        self.request(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sends a request for one object or, with `NLM_F_DUMP`, for all; returns the objects.
    fn get(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<RouteNetlinkMessage>> {
        let sequence = self.send(message, flags | NLM_F_REQUEST)?;
        let mut objects = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full().context("netlink: no answer")?;
            for part in messages(&bytes) {
                if part.sequence_number() != sequence {
                    continue;
                }
                match i32::from(part.message_type()) {
                    libc::NLMSG_DONE => return Ok(objects),
                    libc::NLMSG_ERROR => match answer(part.into_inner())? {
                        Ok(_) => return Ok(objects),
                        Err(refusal) => return Err(refusal.into()),
                    },
                    _ => objects.push(decode(part.into_inner())?),
                }
                if flags & NLM_F_DUMP == 0 {
                    return Ok(objects);
                }
            }
        }
    }

    fn send(&self, message: RouteNetlinkMessage, flags: u16) -> Result<u32> {
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        // The kernel carries a request out before the system call returns: what fails, fails in there.
        let nth = self.nth.take();
        let nth = nth.map(|(whose, n)| Nth::arm(whose, n)).transpose()?;
        let sent = self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0);
        if let Some(nth) = nth {
            self.injected.replace(nth.end()?);
        }
        sent?;
        Ok(sequence)
    }

    /// Has the `n`th fallible step of the next request fail ([`crate::fault`]).
    pub fn inject(&self, whose: Whose, n: u32) {
        self.nth.set(Some((whose, n)));
        self.injected.replace(None);
    }

    /// The one that failed, if the request had so many.
    pub fn injected(&self) -> Option<String> {
        self.injected.borrow().clone()
    }
}

/// Turns a refusal into an error, for callers that expect success, and fails on an unexpected warning.
pub fn granted(answer: Answer) -> Result<()> {
    match answer? {
        warning if warning.is_empty() => Ok(()),
        warning => bail!("an unexpected warning came with the success: {warning:?}"),
    }
}

/// Splits what one recv() returned.
fn messages(mut bytes: &[u8]) -> Vec<NetlinkBuffer<&[u8]>> {
    let mut parts = Vec::new();
    while let Ok(part) = NetlinkBuffer::new_checked(bytes) {
        let length = (part.length() as usize)
            .next_multiple_of(4)
            .min(bytes.len());
        parts.push(NetlinkBuffer::new(&bytes[..part.length() as usize]));
        bytes = &bytes[length..];
    }
    parts
}

fn decode(bytes: &[u8]) -> Result<RouteNetlinkMessage> {
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)?.payload {
        NetlinkPayload::InnerMessage(message) => Ok(message),
        other => bail!("unexpected netlink payload {other:?}"),
    }
}

/// Decodes NLMSG_ERROR: header, errno, the header of the request, then (capped) the attributes.
fn answer(bytes: &[u8]) -> Result<Answer> {
    let code = i32::from_ne_bytes(
        bytes
            .get(16..20)
            .context("short acknowledgement")?
            .try_into()?,
    );
    let attributes = bytes.get(36..).unwrap_or(&[]);
    let text = NlasIterator::new(attributes)
        .flatten()
        .find(|a: &NlaBuffer<_>| a.kind() == NLMSGERR_ATTR_MSG)
        .map(|a| {
            String::from_utf8_lossy(a.value())
                .trim_end_matches('\0')
                .to_string()
        })
        .unwrap_or_default();
    Ok(if code == 0 {
        Ok(text)
    } else {
        Err(Refusal { errno: -code, text })
    })
}
