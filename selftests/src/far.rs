// SPDX-License-Identifier: GPL-2.0
//! A host that sends what is far through gateways, and a sender above it: the network of the cases about remembered
//! routes.

use crate::cx::Cx;
use crate::frames::{self, Mac};
use crate::lan::{Lan, Mode};
use crate::netns::Netns;
use crate::nl::{LinkSpec, Via};
use crate::packet::{Captured, Tap};
use anyhow::{ensure, Context, Result};
use std::cell::Cell;
use std::net::IpAddr;

/// The link-layer addresses of two gateways, which exist only as neighbour entries: what is sent to them is seen on the
/// wire.
pub const OLD: Mac = [2, 0, 0, 0, 7, 1];
pub const NEW: Mac = [2, 0, 0, 0, 7, 2];
/// A routing table that is asked before the main one.
pub const EARLIER: u32 = 100;
pub const MARK: u32 = 0x42;

pub fn far(cx: Cx) -> IpAddr {
    cx.pick([192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])
}

pub fn gateway(cx: Cx, n: u8) -> IpAddr {
    cx.pick(
        [10, 1, 0, 70 + n],
        [0xfd01, 0, 0, 0, 0, 0, 0, 0x70 + u16::from(n)],
    )
}

/// A network whose host sends to far hosts through the old gateway, and who sends.
pub struct Path {
    pub lan: Lan,
    /// The sender.
    pub tap: Tap,
    pub mac: Mac,
    pub ip: IpAddr,
    pub wire: Tap,
    sent: Cell<u32>,
}

impl Path {
    /// With a sender in a namespace of its own.
    pub fn new(cx: Cx) -> Result<Path> {
        let path = Path::without_route(cx)?;
        path.route(OLD_WAY)?;
        Ok(path)
    }

    pub fn without_route(cx: Cx) -> Result<Path> {
        let lan = host(cx)?;
        let a = lan.slave()?;
        Ok(Path {
            tap: a.tap()?,
            mac: a.mac,
            ip: a.ip(),
            wire: lan.wire_tap()?,
            sent: Cell::new(0),
            lan,
        })
    }

    /// With a sender in the host's own namespace, where marks count.
    pub fn of_the_host(cx: Cx) -> Result<Path> {
        let lan = host(cx)?;
        drop(lan.bare()?);
        lan.host.nl().add_link(&LinkSpec {
            up: true,
            ..lan.spec("own")
        })?;
        let own = lan.host.nl().link("own")?;
        let path = Path {
            tap: Tap::new(&lan.host, own.index)?,
            mac: own.mac,
            ip: cx.pick([10, 2, 0, 99], [0xfd02, 0, 0, 0, 0, 0, 0, 0x99]),
            wire: lan.wire_tap()?,
            sent: Cell::new(0),
            lan,
        };
        path.route(OLD_WAY)?;
        Ok(path)
    }

    /// Routes everything far through a gateway.
    pub fn route(&self, (table, n): (u32, u8)) -> Result<()> {
        let cx = self.lan.cx;
        self.lan
            .host
            .nl()
            .add_route_in(table, cx.any(), 0, Via::Gateway(gateway(cx, n)))
    }

    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let to = far(self.lan.cx);
        frames::udp(self.mac, self.mac, self.ip, to, (5, 7), payload)
    }

    /// Sends a few datagrams, which `change` may change, and sees each go to this gateway.
    pub async fn go(&self, to: Mac, when: &str, change: impl Fn(&mut [u8])) -> Result<()> {
        for _ in 0..4 {
            self.sent.set(self.sent.get() + 1);
            let payload = format!("{when} {}", self.sent.get());
            let mut frame = self.frame(payload.as_bytes());
            change(&mut frame);
            self.tap.send(&frame).with_context(|| payload.clone())?;
            let ours = |f: &Captured| frames::is_udp(&f.bytes, 7, payload.as_bytes());
            let seen = self.wire.expect(&payload, ours).await?;
            ensure!(
                seen.bytes[..6] == to,
                "{payload}: sent to {:02x?}, not {to:02x?}",
                &seen.bytes[..6]
            );
        }
        Ok(())
    }

    pub async fn all(&self, to: Mac, when: &str) -> Result<()> {
        self.go(to, when, |_| ()).await
    }

    /// Changes something and takes that back, many times, and sees that each packet in between goes to the old gateway
    /// before the change and to the new one after it. Without a pause: within a clock tick of the kernel's too.
    pub async fn flips(
        &self,
        change: impl Fn() -> Result<()>,
        back: impl Fn() -> Result<()>,
    ) -> Result<()> {
        const ROUNDS: u8 = 40;
        let turns: [(Mac, &dyn Fn() -> Result<()>); 2] = [(OLD, &change), (NEW, &back)];
        for round in 0..ROUNDS {
            for (turn, (_, then)) in (0..).zip(turns) {
                for n in 0..5 {
                    self.tap.send(&self.frame(&[round, turn, n]))?;
                }
                then()?;
            }
        }
        let last = [ROUNDS - 1, 1, 4];
        let is_last = |f: &Captured| frames::is_udp(&f.bytes, 7, &last);
        for f in self.wire.until("the last one", is_last).await? {
            let Some((_, 7, payload)) = frames::udp_of(&f.bytes) else {
                continue;
            };
            let (to, turn) = (&f.bytes[..6], usize::from(payload[1]));
            ensure!(
                to == turns[turn].0,
                "round {}, {} the change, packet {}: sent to {to:02x?}",
                payload[0],
                ["before", "after"][turn],
                payload[2]
            );
        }
        Ok(())
    }
}

pub const OLD_WAY: (u32, u8) = (libc::RT_TABLE_MAIN as u32, 1);

/// The host, with its gateways, and all of this case on one processor: what is remembered is remembered there.
pub fn host(cx: Cx) -> Result<Lan> {
    let mut one = nix::sched::CpuSet::new();
    one.set(0)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one)?;
    let lan = Lan::new(cx, Mode::L3)?;
    neighbours(&lan, &lan.host)?;
    Ok(lan)
}

pub fn neighbours(lan: &Lan, ns: &Netns) -> Result<()> {
    let cx = lan.cx;
    ns.nl().add_neigh(lan.master, gateway(cx, 1), OLD)?;
    ns.nl().add_neigh(lan.master, gateway(cx, 2), NEW)
}
