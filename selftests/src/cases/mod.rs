// SPDX-License-Identifier: GPL-2.0
//! The cases, by topic.

mod abuse;
mod address;
mod bare;
mod bench;
mod churn;
mod counters;
mod dropin;
mod failover;
mod failures;
mod faults;
mod flood;
mod hairpin;
mod l2;
mod l3;
mod l3s;
mod link;
mod mac;
mod malformed;
mod master;
mod mode;
mod mtu;
pub mod multicast;
mod namespace;
mod neighbour;
mod offload;
mod paged;
mod parameter;
mod peer;
pub mod permission;
mod pmtu;
mod question;
mod refusal;
mod routed;
mod scrub;
mod shared;
mod slaac;
mod state;
mod stream;
mod unload;
mod upgrade;
mod upheaval;
mod upkeep;

use crate::cx::Case;
use crate::netns::Netns;
use crate::nl::{LinkSpec, VethEnd};
use crate::wait;
use anyhow::Result;

/// Every case, in the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        bare::CASES,
        dropin::CASES,
        malformed::CASES,
        paged::CASES,
        routed::CASES,
        link::CASES,
        refusal::CASES,
        mode::CASES,
        master::CASES,
        mtu::CASES,
        mac::CASES,
        address::CASES,
        peer::CASES,
        slaac::CASES,
        state::CASES,
        multicast::CASES,
        flood::CASES,
        l2::CASES,
        l3::CASES,
        l3s::CASES,
        pmtu::CASES,
        neighbour::CASES,
        question::CASES,
        shared::CASES,
        hairpin::CASES,
        counters::CASES,
        stream::CASES,
        offload::CASES,
        upkeep::CASES,
        namespace::CASES,
        failover::CASES,
        upheaval::CASES,
        permission::CASES,
        abuse::CASES,
        unload::CASES,
        parameter::CASES,
        faults::CASES,
        failures::CASES,
        churn::CASES,
        upgrade::CASES,
    ]
    .into_iter()
    .flatten()
}

/// Waits until every namespace dropped so far is gone. The kernel takes them down one batch after the other, so a veth
/// into a namespace that is dropped last disappears last. Twice: the first may end up in the batch that is waited for, and
/// its veth disappears before the batch is through.
pub async fn namespaces_gone() -> Result<()> {
    let init = Netns::init()?;
    for _ in 0..2 {
        let last = Netns::new()?;
        let end = VethEnd {
            name: "gone1".into(),
            ns: last.fd(),
            mtu: 1500,
        };
        init.nl().add_link(&LinkSpec {
            peer: Some(end),
            ..LinkSpec::new("veth", "gone0")
        })?;
        drop(last);
        wait::until("the namespaces are gone", || {
            Ok(init.nl().find_link("gone0")?.is_none())
        })
        .await?;
    }
    Ok(())
}
