// SPDX-License-Identifier: GPL-2.0

//! Mode and flags: every value of the two attributes.

use ipvlan_rs_host::logic::config::{FlagsError, Isolation, Mode, Packed, Request, Settings};
use proptest::prelude::*;

const MODES: [Mode; 3] = [Mode::L2, Mode::L3, Mode::L3s];
const ISOLATIONS: [Isolation; 3] = [Isolation::Bridge, Isolation::Private, Isolation::Vepa];

fn all() -> impl Iterator<Item = Settings> {
    MODES.into_iter().flat_map(|mode| {
        ISOLATIONS
            .into_iter()
            .map(move |isolation| Settings { mode, isolation })
    })
}

#[test]
fn every_mode_attribute() {
    for attr in 0..=u16::MAX {
        let mode = Mode::from_attr(attr);
        match attr {
            // linux/if_link.h: IPVLAN_MODE_L2, _L3, _L3S.
            0 => assert_eq!(mode, Some(Mode::L2)),
            1 => assert_eq!(mode, Some(Mode::L3)),
            2 => assert_eq!(mode, Some(Mode::L3s)),
            _ => assert_eq!(mode, None, "{attr}"),
        }
        assert_eq!(mode.map_or(attr, Mode::to_attr), attr);
    }
}

#[test]
fn every_flags_attribute() {
    for attr in 0..=u16::MAX {
        let isolation = Isolation::from_attr(attr);
        let expected = match attr {
            // linux/if_link.h: IPVLAN_F_PRIVATE 0x01, IPVLAN_F_VEPA 0x02.
            0 => Ok(Isolation::Bridge),
            1 => Ok(Isolation::Private),
            2 => Ok(Isolation::Vepa),
            3 => Err(FlagsError::Both),
            _ => Err(FlagsError::Unknown),
        };
        assert_eq!(isolation, expected, "{attr}");
        assert_eq!(isolation.map_or(attr, Isolation::to_attr), attr);
    }
}

#[test]
fn only_l2_resolves_neighbours() {
    assert_eq!(MODES.map(Mode::no_arp), [false, true, true]);
}

#[test]
fn a_port_starts_in_l3_without_flags() {
    let expected = Settings {
        mode: Mode::L3,
        isolation: Isolation::Bridge,
    };
    assert_eq!(Settings::default(), expected);
    assert_eq!(Settings::DEFAULT, expected);
}

#[test]
fn words_keep_settings_apart() {
    let words: std::collections::HashSet<u32> = all().map(Settings::to_bits).collect();
    assert_eq!(words.len(), 9);
    for settings in all() {
        assert_eq!(Settings::from_bits(settings.to_bits()), settings);
    }
}

/// A request changes what it names and nothing else, from every start.
#[test]
fn every_request_from_every_settings() {
    let options = |all: [Option<usize>; 4]| all;
    let choices = options([None, Some(0), Some(1), Some(2)]);
    for before in all() {
        for mode in choices {
            for isolation in choices {
                let after = before.apply(Request {
                    mode: mode.map(|n| MODES[n]),
                    isolation: isolation.map(|n| ISOLATIONS[n]),
                });
                assert_eq!(after.mode, mode.map_or(before.mode, |n| MODES[n]));
                assert_eq!(
                    after.isolation,
                    isolation.map_or(before.isolation, |n| ISOLATIONS[n])
                );
            }
        }
        assert_eq!(before.apply(Request::default()), before);
    }
}

proptest! {
    /// Any word reads as some settings, and writing those back changes them no more.
    #[test]
    fn any_word_is_some_settings(bits in any::<u32>()) {
        let settings = Settings::from_bits(bits);
        prop_assert_eq!(Settings::from_bits(settings.to_bits()), settings);
    }
}

/// What is asked of the word is what the settings in it are.
#[test]
fn packed_answers() {
    for settings in all() {
        let Settings { mode, isolation } = settings;
        let packed = Packed::from_bits(settings.to_bits());
        assert_eq!(packed.unpack(), settings);
        let open = mode == Mode::L2 && isolation != Isolation::Private;
        assert_eq!(packed.is_open_l2(), open, "{settings:?}");
        assert_eq!(packed.is_l3(), mode == Mode::L3, "{settings:?}");
        assert_eq!(packed.is_routed(), mode != Mode::L2, "{settings:?}");
        assert_eq!(packed.is_bridge(), isolation == Isolation::Bridge);
    }
}
