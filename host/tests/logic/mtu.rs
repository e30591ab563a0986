// SPDX-License-Identifier: GPL-2.0

//! The MTU of a slave.

use ipvlan_rs_host::logic::mtu::{
    at_creation, on_change, on_master_change, Choice, Initial, MtuError, MIN,
};
use proptest::prelude::*;

#[test]
fn at_creation_the_requested_or_the_masters() {
    let set = |mtu| {
        Ok(Initial {
            mtu,
            user_set: true,
        })
    };
    let inherited = |mtu| {
        Ok(Initial {
            mtu,
            user_set: false,
        })
    };
    for (requested, master, expected) in [
        (None, 1500, inherited(1500)),
        (None, 9000, inherited(9000)),
        (None, 68, inherited(68)),
        (None, 60, inherited(68)),
        (Some(1500), 1500, set(1500)),
        (Some(1300), 1500, set(1300)),
        (Some(68), 1500, set(68)),
        (Some(67), 1500, Err(MtuError::TooSmall)),
        (Some(0), 1500, Err(MtuError::TooSmall)),
        (Some(1501), 1500, Err(MtuError::TooLarge)),
        (Some(9000), 1500, Err(MtuError::TooLarge)),
        (Some(u32::MAX), 1500, Err(MtuError::TooLarge)),
        (Some(68), 60, Err(MtuError::TooLarge)),
    ] {
        assert_eq!(
            at_creation(requested, master),
            expected,
            "{requested:?} over {master}"
        );
    }
}

#[test]
fn a_slave_follows_its_master() {
    for (slave, user_set, master, expected) in [
        // Nobody set it: up and down.
        (1500, false, 1400, Some(1400)),
        (1500, false, 9000, Some(9000)),
        (1500, false, 1500, None),
        (1500, false, 60, Some(68)),
        (68, false, 60, None),
        // Somebody did: down only.
        (1300, true, 9000, None),
        (1300, true, 1300, None),
        (1300, true, 1400, None),
        (1300, true, 1200, Some(1200)),
        (1300, true, 0, Some(68)),
        (68, true, 60, None),
    ] {
        assert_eq!(
            on_master_change(slave, user_set, master),
            expected,
            "{slave} (set: {user_set}) under {master}"
        );
    }
}

/// A change that a listener vetoes, before or after it was made, is nobody's choice.
#[test]
fn a_choice_is_what_was_carried_out() {
    for was in [false, true] {
        let choice = Choice::new(was);
        assert_eq!(choice.chosen(), was);
        assert!(choice.announced().changed().chosen(), "carried out");
        assert_eq!(choice.announced().chosen(), was, "vetoed before");
        let undone = choice.announced().changed().changed();
        assert_eq!(undone.chosen(), was, "vetoed after");
        assert!(undone.announced().changed().chosen(), "the next try");
        assert!(
            choice
                .announced()
                .announced()
                .changed()
                .announced()
                .changed()
                .changed()
                .chosen(),
            "a veto after one that was carried out"
        );
        // The core's steps for a change that the slave makes with its master.
        let following = choice.following();
        for choice in [
            following,
            following.announced(),
            following.announced().changed(),
            following.announced().changed().changed(),
        ] {
            assert_eq!(choice.chosen(), was, "following");
            assert_eq!(choice.followed().chosen(), was, "followed");
            assert!(choice.followed().announced().changed().chosen(), "later");
        }
    }
}

fn any_mtu() -> impl Strategy<Value = u32> {
    prop_oneof![0..200u32, 1200..9300u32, any::<u32>()]
}

proptest! {
    #[test]
    fn changes_stay_between_the_minimum_and_the_masters(requested in any_mtu(), master in any_mtu()) {
        match on_change(requested, master) {
            Ok(mtu) => {
                prop_assert_eq!(mtu, requested);
                prop_assert!((MIN..=master).contains(&mtu));
            }
            Err(MtuError::TooSmall) => prop_assert!(requested < MIN),
            Err(MtuError::TooLarge) => prop_assert!(requested >= MIN && requested > master),
        }
    }

    /// However the master changes, a slave stays within bounds, a second look changes nothing, one
    /// that was set never grows and one that was not equals the master.
    #[test]
    fn a_life_under_a_changing_master(
        requested in prop::option::of(68..=1500u32),
        masters in prop::collection::vec(any_mtu(), 1..8),
    ) {
        let Initial { mut mtu, user_set } = at_creation(requested, 1500).unwrap();
        prop_assert_eq!(user_set, requested.is_some());
        for master in masters {
            let before = mtu;
            if let Some(new) = on_master_change(mtu, user_set, master) {
                prop_assert_ne!(new, before);
                mtu = new;
            }
            prop_assert_eq!(on_master_change(mtu, user_set, master), None);
            prop_assert!((MIN..=master.max(MIN)).contains(&mtu));
            if user_set {
                prop_assert!(mtu <= before);
            } else {
                prop_assert_eq!(mtu, master.max(MIN));
            }
        }
    }
}
