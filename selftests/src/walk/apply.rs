// SPDX-License-Identifier: GPL-2.0
//! Carries an operation out in one world.

use super::step::{group, On, Op};
use super::world::{mac, World};
use crate::cases::multicast::join_in;
use crate::cx::Master;
use crate::nl::{AddrSpec, Answer, LinkSpec, Refusal};
use anyhow::{bail, Result};

/// IFLA_IPVLAN_MODE.
const MODE: u16 = 1;

/// What became of an operation: nothing, since what it names is not there; or the kernel's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Skipped,
    Answered(Answer),
}

const DONE: Outcome = Outcome::Answered(Ok(String::new()));

impl World {
    pub async fn apply(&mut self, op: &Op) -> Result<Outcome> {
        let slot = match *op {
            Op::Create { .. } => return self.create(op),
            Op::MasterUp => {
                self.master_up()?;
                return Ok(DONE);
            }
            Op::MasterDown => None,
            Op::MasterAddr(..) | Op::MasterMtu(_) | Op::MasterMac(_) | Op::MasterAllMulti(_) => {
                None
            }
            Op::MasterMove(_) | Op::MasterGone | Op::Carrier(_) | Op::DropSpace(_) => None,
            Op::CreateAgain(slot)
            | Op::Delete(slot)
            | Op::Up(slot)
            | Op::Down(slot)
            | Op::Change { slot, .. }
            | Op::ChangeShort(slot)
            | Op::AddAddr { slot, .. }
            | Op::DelAddr { slot, .. }
            | Op::Peer { slot, .. }
            | Op::Mtu(slot, _)
            | Op::Mac(slot, _)
            | Op::AllMulti(slot, _)
            | Op::Promisc(slot, _)
            | Op::Join(slot, _)
            | Op::Leave(slot, _)
            | Op::Move(slot, _) => Some(slot),
        };
        match slot {
            None => self.apply_to_master(op).await,
            Some(slot) => match self.slaves.get(&slot) {
                None => Ok(Outcome::Skipped),
                Some(&(space, index)) => self.apply_to_slave(op, slot, space, index),
            },
        }
    }

    fn create(&mut self, op: &Op) -> Result<Outcome> {
        let Op::Create {
            slot,
            on,
            space,
            mode,
            flags,
            mtu,
            mac: address,
            up,
        } = *op
        else {
            bail!("not a creation");
        };
        if self.slaves.contains_key(&slot) {
            return Ok(Outcome::Skipped);
        }
        let (from, link) = match on {
            On::Master => (self.home, Some(self.master)),
            On::Loopback => (self.home, Some(1)),
            On::Nothing => (self.home, Some(999_999)),
            On::Unsaid => (self.home, None),
            On::Slave(other) => match self.slaves.get(&other) {
                Some(&(space, index)) => (space, Some(index)),
                None => return Ok(Outcome::Skipped),
            },
        };
        let spec = LinkSpec {
            link,
            mode,
            flags,
            mtu,
            address: address.map(mac),
            ns: Some(self.space(space).ns.fd()),
            up,
            ..LinkSpec::new(self.kind().name(), &format!("s{slot}"))
        };
        let answer = self.space(from).ns.nl().try_add_link(&spec)?;
        Ok(Outcome::Answered(answer))
    }

    fn apply_to_slave(&mut self, op: &Op, slot: u8, space: u8, index: u32) -> Result<Outcome> {
        let kind = self.kind().name();
        let ns = self.space(space).ns.clone();
        let nl = ns.nl();
        let answer = match *op {
            Op::CreateAgain(slot) => {
                let spec = LinkSpec {
                    link: Some(self.master),
                    ns: Some(ns.fd()),
                    ..LinkSpec::new(kind, &format!("s{slot}"))
                };
                self.home().ns.nl().try_add_link(&spec)?
            }
            Op::Delete(_) => {
                self.members.retain(|(s, _), _| *s != slot);
                nl.try_del_link(index)?
            }
            Op::Up(_) => nl.set_link(index, |l| l.up())?,
            Op::Down(_) => nl.set_link(index, |l| l.down())?,
            Op::Change { mode, flags, .. } => nl.change_link(
                index,
                &LinkSpec {
                    mode,
                    flags,
                    ..LinkSpec::new(kind, "")
                },
            )?,
            Op::ChangeShort(_) => nl.change_link(
                index,
                &LinkSpec {
                    data: vec![(MODE, vec![0])],
                    ..LinkSpec::new(kind, "")
                },
            )?,
            Op::AddAddr { ip, prefix, .. } => {
                nl.try_add_addr(&AddrSpec::new(index, ip.addr(), prefix))?
            }
            Op::DelAddr { ip, prefix, .. } => {
                nl.try_del_addr(&AddrSpec::new(index, ip.addr(), prefix))?
            }
            Op::Peer { .. } => bail!("a pair of addresses is not added alone"),
            Op::Mtu(_, mtu) => nl.try_set_mtu(index, mtu)?,
            Op::Mac(_, n) => nl.try_set_mac(index, mac(n))?,
            Op::AllMulti(_, on) => nl.set_link(index, |l| l.allmulticast(on))?,
            Op::Promisc(_, on) => nl.set_link(index, |l| l.promiscuous(on))?,
            Op::Join(_, n) => match join_in(&ns, index, group(n % 2 == 1, n), 0) {
                Ok(socket) => {
                    self.members.insert((slot, n), socket);
                    Ok(String::new())
                }
                Err(e) => Err(Refusal {
                    errno: errno_of(&e),
                    text: String::new(),
                }),
            },
            Op::Leave(_, n) => {
                if self.members.remove(&(slot, n)).is_none() {
                    return Ok(Outcome::Skipped);
                }
                Ok(String::new())
            }
            Op::Move(_, to) => {
                self.members.retain(|(s, _), _| *s != slot);
                let fd = self.space(to).ns.fd();
                nl.set_link(index, |l| l.setns_by_fd(fd))?
            }
            _ => bail!("{op} does not concern a slave"),
        };
        Ok(Outcome::Answered(answer))
    }

    async fn apply_to_master(&mut self, op: &Op) -> Result<Outcome> {
        let ns = self.home().ns.clone();
        let (nl, master) = (ns.nl(), self.master);
        let answer = match *op {
            Op::MasterDown => nl.set_link(master, |l| l.down())?,
            Op::MasterAddr(ip, add) => {
                let spec = AddrSpec::new(master, ip.addr(), if ip.v6 { 64 } else { 24 });
                if add {
                    nl.try_add_addr(&spec)?
                } else {
                    nl.try_del_addr(&spec)?
                }
            }
            Op::MasterMtu(mtu) => nl.try_set_mtu(master, mtu)?,
            Op::MasterMac(n) => {
                // The veth that carries a dummy's frames has to have it too.
                if self.lan.cx.master == Master::Dummy {
                    self.lan.set_master_mac(mac(n))?;
                }
                nl.try_set_mac(master, mac(n))?
            }
            Op::MasterAllMulti(on) => nl.set_link(master, |l| l.allmulticast(on))?,
            Op::MasterMove(to) => {
                if self.lan.cx.master == Master::Dummy {
                    return Ok(Outcome::Skipped);
                }
                let fd = self.space(to).ns.fd();
                let answer = nl.set_link(master, |l| l.setns_by_fd(fd))?;
                if answer.is_ok() {
                    self.home = to;
                    self.master = self.home().ns.nl().link("m0")?.index;
                    self.master_up()?;
                }
                answer
            }
            Op::MasterGone => {
                self.members.clear();
                nl.try_del_link(master)?
            }
            Op::Carrier(on) => {
                let wire = self.lan.ext.nl();
                wire.set_link(self.lan.wire, |l| if on { l.up() } else { l.down() })?
            }
            Op::DropSpace(space) => {
                self.renew(space).await?;
                Ok(String::new())
            }
            _ => bail!("{op} does not concern the master"),
        };
        Ok(Outcome::Answered(answer))
    }
}

fn errno_of(e: &anyhow::Error) -> i32 {
    e.downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::raw_os_error)
        .unwrap_or(libc::EIO)
}
