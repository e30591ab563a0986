// SPDX-License-Identifier: GPL-2.0
//! Point-to-point addresses. What they do differs by D3 from the first moment, so each is there only for as long as it
//! takes to see who receives for its ends.

use super::probe::Place;
use super::rules;
use super::step::{From, Ip, Probe, Shape, To, EXTERNAL};
use super::tally::Tally;
use super::walker::Walker;
use crate::cx::Decision;
use crate::nl::{granted, AddrSpec};
use anyhow::{ensure, Result};

impl Walker {
    /// D3, D4: a point-to-point address, in both worlds for as long as it takes to see who receives for its ends.
    pub(super) async fn peer(
        &mut self,
        slot: u8,
        local: u8,
        peer: u8,
        tally: &mut Tally,
    ) -> Result<()> {
        let view = self.view.clone();
        let v4 = |host| Ip { v6: false, host };
        let (local, peer) = (v4(local), v4(peer));
        if !view.slaves.contains_key(&slot) || local == peer {
            return Ok(());
        }
        let refused = rules::peer_refused(&view, slot, peer.addr());
        let mut added = [false; 2];
        for (world, due) in [(0, refused.0), (1, refused.1)] {
            let (space, index) = self.worlds[world].slaves[&slot];
            let spec = AddrSpec {
                peer: Some(peer.addr()),
                ..AddrSpec::new(index, local.addr(), 32)
            };
            let answer = self.worlds[world]
                .space(space)
                .ns
                .nl()
                .try_add_addr(&spec)?;
            let errno = answer.as_ref().err().map_or(0, |refusal| refusal.errno);
            ensure!(
                errno == if due { libc::EADDRINUSE } else { 0 },
                "{}: a pair of addresses: {answer:?}",
                self.worlds[world].kind().name()
            );
            added[world] = errno == 0;
        }
        if refused.0 != refused.1 {
            tally.explain(if view.master.has_addr(peer.addr()) {
                Decision::D4
            } else {
                Decision::D3
            });
        }
        if added == [true; 2] && view.slaves[&slot].is_up() {
            self.peer_receives(slot, local, peer, tally).await?;
        }
        for world in [0, 1] {
            if added[world] {
                let (space, index) = self.worlds[world].slaves[&slot];
                let spec = AddrSpec {
                    peer: Some(peer.addr()),
                    ..AddrSpec::new(index, local.addr(), 32)
                };
                granted(
                    self.worlds[world]
                        .space(space)
                        .ns
                        .nl()
                        .try_del_addr(&spec)?,
                )?;
            }
        }
        Ok(())
    }

    async fn peer_receives(
        &mut self,
        slot: u8,
        local: Ip,
        peer: Ip,
        tally: &mut Tally,
    ) -> Result<()> {
        let view = self.view.clone();
        // In L3S nothing is seen on the slave.
        if !view.master.carrier || !view.master.is_up() || view.mode() == Some(2) {
            return Ok(());
        }
        // Whom the wire's datagrams reach: theirs by the far end, ours by the local one, unless they are others'.
        let owns = |ip: Ip| view.owner(ip.addr()).filter(|o| view.slaves[o].is_up());
        let others = |ip: Ip| view.owner(ip.addr()).is_some();
        let free = |ip: Ip| !view.master.has_addr(ip.addr());
        let due = [
            [owns(local), Some(slot)],
            [
                if others(local) {
                    owns(local).filter(|_| free(local))
                } else {
                    Some(slot).filter(|_| free(local))
                },
                owns(peer).filter(|_| free(peer)),
            ],
        ];
        for (i, dst) in [local, peer].into_iter().enumerate() {
            let probe = Probe {
                from: From::Wire,
                own: false,
                shape: Shape::Udp {
                    src: Ip {
                        v6: false,
                        host: EXTERNAL,
                    },
                    dst,
                    to: To::Master,
                },
            };
            let record = self.send(&probe, &view, tally);
            self.listen(|| true).await?;
            let traces = self.take(record);
            for (world, traces) in traces.iter().enumerate() {
                let got: Vec<u8> = traces
                    .seen
                    .keys()
                    .filter_map(|s| {
                        if let Place::Slave(slot) = s.place {
                            Some(slot)
                        } else {
                            None
                        }
                    })
                    .collect();
                ensure!(
                    got == Vec::from_iter(due[world][i]),
                    "{}: a pair of addresses on s{slot}: {dst} reaches {got:?} instead of {:?}",
                    self.worlds[world].kind().name(),
                    due[world][i]
                );
            }
            if due[0][i] != due[1][i] {
                tally.explain(Decision::D3);
            }
        }
        Ok(())
    }
}
