// SPDX-License-Identifier: GPL-2.0
//! The little nftables that the suite needs: base chains with a policy.

use super::answer;
use super::link::emit;
use crate::cx::Family;
use crate::modules;
use crate::netns::Netns;
use anyhow::{Context, Result};
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::sys::{protocols::NETLINK_NETFILTER, Socket, SocketAddr};

/// Where a base chain sits (enum nf_inet_hooks).
#[derive(Clone, Copy)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
}

/// What becomes of packets that reach a chain's end (linux/netfilter.h).
#[derive(Clone, Copy)]
pub enum Policy {
    Drop = 0,
    Accept = 1,
}

/// A base chain.
pub struct Chain {
    pub hook: Hook,
    pub policy: Policy,
    /// A rule asks for the connection's state, which has the namespace track connections.
    pub tracks: bool,
}

const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NESTED: u16 = 1 << 15;
const REQUEST_ACK_CREATE: u16 = 0x405;

/// Puts a chain in, in a table of its own that takes the place of an earlier one.
pub fn install(ns: &Netns, family: Family, chain: &Chain) -> Result<()> {
    remove(ns, family)?;
    let text = |kind: u16, s: &str| DefaultNla::new(kind, [s.as_bytes(), b"\0"].concat());
    let number = |kind: u16, n: u32| DefaultNla::new(kind, n.to_be_bytes().to_vec());
    let hook = emit(&[number(1, chain.hook as u32), number(2, 0)]);
    let mut messages = vec![
        (NEW_TABLE, emit(&[text(1, "selftests")])),
        (
            NEW_CHAIN,
            emit(&[
                text(1, "selftests"),
                text(3, "chain"),
                DefaultNla::new(4 | NESTED, hook),
                number(5, chain.policy as u32),
                text(7, "filter"),
            ]),
        ),
    ];
    if chain.tracks {
        modules::load("nft_ct")?;
        // "ct state", to register 1: NFTA_CT_DREG, NFTA_CT_KEY.
        let nested = |kind: u16, of: &[DefaultNla]| DefaultNla::new(kind | NESTED, emit(of));
        let expression = [text(1, "ct"), nested(2, &[number(1, 1), number(2, 0)])];
        messages.push((
            NEW_RULE,
            emit(&[
                text(1, "selftests"),
                text(2, "chain"),
                nested(4, &[nested(1, &expression)]),
            ]),
        ));
    }
    run(ns, family, &messages).context("nftables chain")
}

/// Takes the table out again, if it is there.
pub fn remove(ns: &Netns, family: Family) -> Result<()> {
    modules::load("nf_tables")?;
    let name = emit(&[DefaultNla::new(1, b"selftests\0".to_vec())]);
    match run(ns, family, &[(DELETE_TABLE, name)]) {
        Err(e)
            if e.downcast_ref()
                .is_some_and(|r: &super::Refusal| r.errno == libc::ENOENT) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Runs one transaction.
fn run(ns: &Netns, family: Family, messages: &[(u16, Vec<u8>)]) -> Result<()> {
    let family: u8 = if family == Family::V6 { 10 } else { 2 };
    let mut batch = Vec::new();
    let mut put = |kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, body: &[u8]| {
        let length = 16 + 4 + body.len();
        batch.extend_from_slice(&(length as u32).to_ne_bytes());
        batch.extend_from_slice(&kind.to_ne_bytes());
        batch.extend_from_slice(&flags.to_ne_bytes());
        batch.extend_from_slice(&sequence.to_ne_bytes());
        batch.extend_from_slice(&[0; 4]);
        // struct nfgenmsg
        batch.extend_from_slice(&[family, 0]);
        batch.extend_from_slice(&resource.to_be_bytes());
        batch.extend_from_slice(body);
    };
    put(BATCH_BEGIN, 1, 0, 0, SUBSYSTEM, &[]);
    for (sequence, (kind, body)) in (1..).zip(messages) {
        put(*kind, REQUEST_ACK_CREATE, sequence, family, 0, body);
    }
    put(BATCH_END, 1, 99, 0, SUBSYSTEM, &[]);
    let answers = ns.enter(|| {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.send_to(&batch, &SocketAddr::new(0, 0), 0)?;
        let mut answers = Vec::new();
        while answers.len() < messages.len() {
            let (bytes, _) = socket.recv_from_full()?;
            for part in super::messages(&bytes) {
                answers.push(answer(part.into_inner())?);
            }
            // After an error the rest of the transaction may go unanswered.
            if answers.iter().any(|a| a.is_err()) {
                break;
            }
        }
        Ok(answers)
    })?;
    for answer in answers {
        answer?;
    }
    Ok(())
}
