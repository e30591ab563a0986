// SPDX-License-Identifier: GPL-2.0
//! One more slave among many.

use super::net::{Net, Peer, L2};
use super::Bench;
use anyhow::Result;
use std::time::Instant;

/// How often one request is repeated for a figure; the first, which finishes what came before, does not count.
pub const REQUESTS: u32 = 26;

/// Nanoseconds that `f` took.
pub fn timed(f: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    f()?;
    Ok(begin.elapsed().as_nanos() as f64)
}

/// More and more slaves on one master.
pub fn slaves(b: &mut Bench<'_>) -> Result<()> {
    let row = "adding a slave";
    if !b.wants(row) {
        return Ok(());
    }
    let steps: &[usize] = if b.full() {
        &[100, 1000, 10_000]
    } else {
        &[100, 300]
    };
    let mut nets = Vec::new();
    for peer in [Peer::Dummy, Peer::Macvlan, Peer::Ipvlan, Peer::IpvlanRs] {
        nets.push((Net::new(peer, L2, false)?, 0));
    }
    for &step in steps {
        for (net, have) in &mut nets {
            while *have < step {
                net.create(&net.inside, &format!("s{have}"))?;
                *have += 1;
            }
        }
        let mut costs = vec![Vec::new(); nets.len()];
        for _ in 0..REQUESTS {
            for ((net, have), costs) in nets.iter_mut().zip(&mut costs) {
                let name = format!("s{have}");
                costs.push(timed(|| net.create(&net.inside, &name))?);
                *have += 1;
            }
        }
        for ((net, _), costs) in nets.iter().zip(&costs) {
            let name = net.peer.name();
            b.report(row, step as u64, name, "per request", &costs[1..]);
        }
    }
    Ok(())
}
