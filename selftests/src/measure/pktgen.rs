// SPDX-License-Identifier: GPL-2.0
//! The kernel's packet generator: one device, one thread, one number.

use super::work::Meter;
use crate::frames::Mac;
use crate::netns::Netns;
use anyhow::{ensure, Context, Result};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How a packet enters the device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Straight into the driver's ndo_start_xmit, as after a queueing discipline.
    Xmit,
    /// Through dev_queue_xmit(), as from the stack.
    Queue,
    /// As if the device had received it.
    Receive,
}

/// Which of its destinations is a packet's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Any.
    Random,
    /// One after the other (IPv4).
    InTurn,
    /// One after the other, each for two packets in a row (IPv4).
    Pairs,
}

/// What to send, where.
#[derive(Clone)]
pub struct Pktgen {
    pub ns: Netns,
    pub device: String,
    pub way: Way,
    pub mac: Mac,
    pub src: IpAddr,
    /// First and last destination (of random ones of IPv6, as many as a power of two).
    pub dst: (IpAddr, IpAddr),
    pub order: Order,
    pub size: u32,
}

const DIR: &str = "/proc/thread-self/net/pktgen";
const THREAD: &str = "kpktgend_0";

impl Pktgen {
    fn commands(&self) -> Vec<String> {
        let m = self.mac;
        let mut c = vec![
            // An extra reference would make every skb_share_check() clone the packet.
            "flag !SHARED".into(),
            "delay 0".into(),
            format!("pkt_size {}", self.size),
            format!(
                "dst_mac {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
                m[0], m[1], m[2], m[3], m[4], m[5]
            ),
        ];
        let six = if self.src.is_ipv6() { "6" } else { "" };
        let (first, last) = self.dst;
        match self.src {
            IpAddr::V4(src) => {
                c.push(format!("src_min {src}"));
                c.push(format!("src_max {src}"));
            }
            IpAddr::V6(src) => c.push(format!("src6 {src}")),
        }
        if first == last && self.src.is_ipv6() {
            c.push(format!("dst6 {first}"));
        } else {
            // pktgen draws up to, but not, the last address of IPv4, and takes the last of IPv6 as a mask.
            let end = match last {
                IpAddr::V4(a) if first != last && self.order == Order::Random => {
                    IpAddr::from(Ipv4Addr::from(u32::from(a).saturating_add(1)))
                }
                last => last,
            };
            c.push(format!("dst{six}_min {first}"));
            c.push(format!("dst{six}_max {end}"));
        }
        match self.order {
            Order::Random if first != last => c.push("flag IPDST_RND".into()),
            Order::Random | Order::InTurn => {}
            // A flow keeps its destination, and has another when its turn comes again.
            Order::Pairs => {
                c.extend(["flag FLOW_SEQ", "flows 16", "flowlen 2"].map(String::from));
            }
        }
        match self.way {
            Way::Xmit => {}
            Way::Queue => c.push("xmit_mode queue_xmit".into()),
            Way::Receive => {
                c.push("xmit_mode netif_receive".into());
                // From somebody else: what comes back from the master itself is no frame from the wire.
                c.push("src_mac 02:00:00:00:00:0a".into());
            }
        }
        c
    }

    /// Readies the generator's one device. pktgen sleeps an eighth of a second whenever something is to be removed or
    /// started, so that whoever sends again had better keep this.
    pub fn arm(&self) -> Result<Armed<'_>> {
        let (device, commands) = (self.device.as_str(), self.commands());
        self.ns.enter(|| {
            // `start` would set off all that there are.
            for entry in fs::read_dir(DIR)? {
                let name = entry?.file_name();
                ensure!(
                    name == "pgctrl" || name.to_string_lossy().starts_with("kpktgend_"),
                    "pktgen has {name:?} already"
                );
            }
            put(THREAD, &format!("add_device {device}"))
        })?;
        // From here on it is to be removed, whatever happens.
        let armed = Armed(self);
        self.ns
            .enter(|| commands.iter().try_for_each(|c| put(device, c)))?;
        Ok(armed)
    }

    /// Once: see `Armed::fire`.
    pub fn fire(&self, count: u64, meter: &mut Meter) -> Result<f64> {
        self.arm()?.fire(count, meter)
    }
}

fn put(file: &str, line: &str) -> Result<()> {
    fs::write(format!("{DIR}/{file}"), line).with_context(|| format!("pktgen {file}: {line}"))
}

/// A generator that is ready.
pub struct Armed<'a>(&'a Pktgen);

impl Armed<'_> {
    /// Sends `count` packets; the nanoseconds that each took, building it included. Where a host meters, of its processor's
    /// time: other processes are none of ours.
    pub fn fire(&self, count: u64, meter: &mut Meter) -> Result<f64> {
        let device = self.0.device.as_str();
        let (text, work) = self.0.ns.enter(|| {
            // It takes the place of an earlier shot's result too.
            put(device, &format!("count {count}"))?;
            let work = meter.of(false, Duration::ZERO, || put("pgctrl", "start"))?;
            // On a busy machine the thread may begin after the command has ended.
            let mut text = String::new();
            for _ in 0..100 {
                text = fs::read_to_string(format!("{DIR}/{device}"))?;
                if result(&text).is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok((text, work))
        })?;
        let (busy, sent) =
            result(&text).with_context(|| format!("pktgen on {device}: no result in\n{text}"))?;
        ensure!(sent == count, "pktgen on {device} sent {sent} of {count}");
        let cost = match meter {
            Meter::Host(..) => work,
            Meter::Tasks => busy as f64 * 1000.0,
        };
        Ok(cost / count as f64)
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        let device = self.0.device.as_str();
        let removed = self.0.ns.enter(|| {
            put(THREAD, "rem_device_all")?;
            // The thread does so when it looks next: not after the next one was added.
            while fs::exists(format!("{DIR}/{device}"))? {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        if let Err(e) = removed {
            println!("bench-failed | pktgen | {e:#}");
        }
    }
}

/// The busy microseconds and the packets of `Result: OK: 8012(c8000+d12) usec, 2000 (60byte,0frags)`.
fn result(text: &str) -> Option<(u64, u64)> {
    let rest = text.split_once("Result: OK: ")?.1;
    let busy = rest.split_once("(c")?.1.split_once('+')?.0.parse().ok()?;
    let sent = rest
        .split_once("usec, ")?
        .1
        .split_once(' ')?
        .0
        .parse()
        .ok()?;
    Some((busy, sent))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_result_is_read() {
        let text =
            "Current:\n  x\nResult: OK: 8012(c8000+d12) usec, 2000 (60byte,0frags)\n  249625pps";
        assert_eq!(super::result(text), Some((8000, 2000)));
        assert_eq!(super::result("Result: Idle"), None);
    }
}
