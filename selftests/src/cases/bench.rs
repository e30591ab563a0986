// SPDX-License-Identifier: GPL-2.0
//! Where malformed frames go in, and how the bench finds out that nobody minded.

use crate::cx::Cx;
use crate::frames::{self, Mac};
use crate::lan::{Lan, Mode, Slave};
use crate::packet::Tap;
use anyhow::{Context, Result};
use std::net::IpAddr;

/// A network, two slaves, and taps where frames go in and may come out.
pub struct Bench {
    pub lan: Lan,
    pub a: Slave,
    pub b: Slave,
    pub wire: Tap,
    pub at_a: Tap,
    pub at_b: Tap,
}

/// Where a malformed frame is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Wire,
    Slave,
}

impl Bench {
    pub async fn new(cx: Cx, mode: Mode) -> Result<Bench> {
        let lan = Lan::new(cx, mode)?;
        let (a, b) = (lan.slave()?, lan.slave()?);
        crate::ping::ping(&b.ns, lan.ext_ip()).await?;
        let (wire, at_a, at_b) = (lan.wire_tap()?, a.tap()?, b.tap()?);
        Ok(Bench {
            lan,
            a,
            b,
            wire,
            at_a,
            at_b,
        })
    }

    /// Source and destination MAC and the source address of a frame from there to `b`.
    pub fn ends(&self, from: From) -> (Mac, Mac, IpAddr) {
        match from {
            From::Wire => (self.lan.wire_mac, self.lan.mac, self.lan.ext_ip()),
            From::Slave => (self.a.mac, self.b.mac, self.a.ip()),
        }
    }

    /// A good datagram for `b`, from there.
    pub fn good(&self, from: From, text: &[u8]) -> Vec<u8> {
        let (source, to, src) = self.ends(from);
        frames::udp(source, to, src, self.b.ip(), (5, 7), text)
    }

    pub fn put(&self, from: From, frame: &[u8]) {
        // A device may refuse such a frame; what matters is what becomes of the others.
        let _ = match from {
            From::Wire => self.wire.try_send(frame),
            From::Slave => self.at_a.try_send(frame),
        };
    }

    /// Puts frames in, then a good one, and checks that `b` got of them only what `may` allows: the owner of a frame
    /// whose addresses cannot be read is nobody.
    pub async fn survive(
        &self,
        from: From,
        bad: &[Vec<u8>],
        may: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        // In portions that fit into the receive queues on the way.
        for (n, portion) in bad.chunks(100).enumerate() {
            self.at_b.drain()?;
            portion.iter().for_each(|frame| self.put(from, frame));
            let fence = format!("fence {n}");
            self.put(from, &self.good(from, fence.as_bytes()));
            let what = format!(
                "a good frame after the malformed ones ({from:?}, {:?})",
                self.lan.mode
            );
            let seen = self
                .at_b
                .until(&what, |f| frames::is_udp(&f.bytes, 7, fence.as_bytes()))
                .await?;
            for f in &seen[..seen.len() - 1] {
                if portion.contains(&f.bytes) && !may(&f.bytes) {
                    anyhow::bail!(
                        "{from:?}, {:?}: b got {} {:02x?}",
                        self.lan.mode,
                        frames::describe(&f.bytes),
                        f.bytes
                    );
                }
            }
        }
        Ok(())
    }

    /// The bench still works as a network.
    pub async fn sound(&self) -> Result<()> {
        crate::ping::ping(&self.a.ns, self.b.ip())
            .await
            .context("after the malformed frames")?;
        crate::ping::ping(&self.lan.ext, self.a.ip())
            .await
            .context("after the malformed frames")?;
        self.lan.master_link()?;
        Ok(())
    }
}

/// Runs `test` in both modes and from both sides.
pub async fn everywhere(cx: Cx, test: impl AsyncFn(&Bench, From) -> Result<()>) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let bench = Bench::new(cx, mode).await?;
        for from in [From::Wire, From::Slave] {
            test(&bench, from).await?;
        }
        bench.sound().await?;
    }
    Ok(())
}

/// Every beginning of a frame that is at least an Ethernet header, but not all of it.
pub fn truncations(frame: &[u8]) -> Vec<Vec<u8>> {
    (14..frame.len()).map(|n| frame[..n].to_vec()).collect()
}

pub fn never(_: &[u8]) -> bool {
    false
}
