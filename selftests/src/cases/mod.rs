// SPDX-License-Identifier: GPL-2.0
//! The cases, by topic.

mod abuse;
mod address;
mod bare;
mod bench;
mod churn;
mod counters;
mod dropin;
mod exception;
mod failover;
mod failures;
mod faults;
mod flood;
mod hairpin;
pub mod kept;
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
mod stale;
mod state;
mod stream;
mod unheard;
mod unload;
mod upgrade;
mod upheaval;
mod upkeep;

use crate::cx::Case;

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
        stale::CASES,
        kept::CASES,
        exception::CASES,
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
        unheard::CASES,
        churn::CASES,
        upgrade::CASES,
    ]
    .into_iter()
    .flatten()
}
