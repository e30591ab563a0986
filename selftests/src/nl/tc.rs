// SPDX-License-Identifier: GPL-2.0
//! The little traffic control that the suite needs: clsact, and a redirect of everything to another link, or its end.

use super::link::emit;
use super::{granted, Nl};
use anyhow::{Context, Result};
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::packet_route::RouteNetlinkMessage;

/// Which way packets pass the link the filter sits on.
#[derive(Clone, Copy)]
pub enum Direction {
    Ingress,
    Egress,
}

/// TCA_EGRESS_REDIR and TCA_INGRESS_REDIR of linux/tc_act/tc_mirred.h.
const EGRESS_REDIR: u32 = 1;
const INGRESS_REDIR: u32 = 3;
/// TC_ACT_STOLEN of linux/pkt_cls.h.
const ACT_STOLEN: u32 = 4;
const NESTED: u16 = 1 << 15;

impl Nl {
    pub fn add_clsact(&self, index: u32) -> Result<()> {
        let mut m = TcMessage::with_index(index as i32);
        m.header.parent = TcHandle::CLSACT;
        m.header.handle = TcHandle {
            major: 0xffff,
            minor: 0,
        };
        m.attributes.push(TcAttribute::Kind("clsact".into()));
        granted(self.create(RouteNetlinkMessage::NewQueueDiscipline(m))?).context("clsact")
    }

    /// Gives a link a queueing discipline that takes no options.
    pub fn add_root_qdisc(&self, index: u32, kind: &str) -> Result<()> {
        let mut m = TcMessage::with_index(index as i32);
        m.header.parent = TcHandle {
            major: 0xffff,
            minor: 0xffff,
        };
        m.attributes.push(TcAttribute::Kind(kind.into()));
        granted(self.create(RouteNetlinkMessage::NewQueueDiscipline(m))?).context("qdisc")
    }

    /// Everything that passes `index` in direction `from` goes to `to` instead: transmitted there when `transmit`, else
    /// received there.
    pub fn redirect(&self, index: u32, from: Direction, to: u32, transmit: bool) -> Result<()> {
        let mut mirred = Vec::new();
        // struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
        for word in [
            0,
            0,
            ACT_STOLEN,
            0,
            0,
            if transmit {
                EGRESS_REDIR
            } else {
                INGRESS_REDIR
            },
            to,
        ] {
            mirred.extend_from_slice(&word.to_ne_bytes());
        }
        // TCA_MIRRED_PARMS is 2.
        self.match_all(index, from, b"mirred\0", &mirred)
            .context("redirect")
    }

    /// Everything that passes `index` in direction `from` ends there, as if somebody had taken it: a drop would come back
    /// to who delivered it as an error, and in-tree ipvlan counts broadcasts by that.
    pub fn drop_all(&self, index: u32, from: Direction) -> Result<()> {
        // struct tc_gact: index, capab, action, refcnt, bindcnt. TCA_GACT_PARMS is 2.
        let gact: Vec<u8> = [0, 0, ACT_STOLEN, 0, 0]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        self.match_all(index, from, b"gact\0", &gact)
            .context("drop")
    }

    /// A matchall filter with one action, whose parameters are its attribute 2.
    fn match_all(&self, index: u32, from: Direction, kind: &[u8], parms: &[u8]) -> Result<()> {
        let nla = |kind: u16, value: Vec<u8>| DefaultNla::new(kind, value);
        // TCA_ACT_OPTIONS { parameters }, TCA_ACT_KIND.
        let action = emit(&[
            nla(1, kind.to_vec()),
            nla(2 | NESTED, emit(&[nla(2, parms.to_vec())])),
        ]);
        let mut m = TcMessage::with_index(index as i32);
        m.header.parent = TcHandle {
            major: 0xffff,
            minor: match from {
                Direction::Ingress => TcHandle::MIN_INGRESS,
                Direction::Egress => TcHandle::MIN_EGRESS,
            },
        };
        // Priority 1, ETH_P_ALL in network order.
        m.header.info = (1 << 16) | u32::from((libc::ETH_P_ALL as u16).to_be());
        m.attributes.push(TcAttribute::Kind("matchall".into()));
        // TCA_OPTIONS { TCA_MATCHALL_ACT { 1 { action } } }.
        m.attributes.push(TcAttribute::Other(nla(
            2 | NESTED,
            emit(&[nla(2 | NESTED, emit(&[nla(1 | NESTED, action)]))]),
        )));
        granted(self.create(RouteNetlinkMessage::NewTrafficFilter(m))?)
    }
}
