// SPDX-License-Identifier: GPL-2.0

use super::*;

fn usage() -> String {
    let mut text = String::new();
    put_usage(&mut |piece| text += piece.to_str().unwrap());
    text
}

fn refused(words: &[&'static CStr]) -> String {
    let mut text = String::new();
    let refusal = parse(words.iter().copied()).unwrap_err();
    put_refusal(&refusal, &mut |piece| text += piece.to_str().unwrap());
    text
}

fn accepted(words: &[&'static CStr]) -> Request {
    parse(words.iter().copied()).unwrap()
}

#[test]
fn nothing_given_sends_nothing() {
    assert_eq!(accepted(&[]), [None, None]);
}

#[test]
fn modes_have_the_numbers_of_the_uapi() {
    assert_eq!(accepted(&[c"mode", c"l2"]), [Some(0), None]);
    assert_eq!(accepted(&[c"mode", c"l3"]), [Some(1), None]);
    assert_eq!(accepted(&[c"mode", c"l3s"]), [Some(2), None]);
}

#[test]
fn flags_have_the_numbers_of_the_uapi() {
    assert_eq!(accepted(&[c"bridge"]), [None, Some(0)]);
    assert_eq!(accepted(&[c"private"]), [None, Some(1)]);
    assert_eq!(accepted(&[c"vepa"]), [None, Some(2)]);
}

#[test]
fn order_is_free() {
    assert_eq!(accepted(&[c"mode", c"l3", c"vepa"]), [Some(1), Some(2)]);
    assert_eq!(accepted(&[c"vepa", c"mode", c"l3"]), [Some(1), Some(2)]);
}

#[test]
fn abbreviations_are_unknown() {
    for word in [c"m", c"mod", c"modes", c"MODE", c"priv", c"he", c""] {
        assert_eq!(parse([word, c"l2"]), Err(Refusal::Unknown(word)));
    }
}

#[test]
fn a_word_is_not_a_key() {
    assert_eq!(parse([c"l2"]), Err(Refusal::Unknown(c"l2")));
    assert_eq!(
        parse([c"mode", c"private"]),
        Err(Refusal::Value(&OPTIONS[0], c"private"))
    );
    // The key's word may look like a key, but it is consumed as the value.
    assert_eq!(
        parse([c"mode", c"mode"]),
        Err(Refusal::Value(&OPTIONS[0], c"mode"))
    );
    assert_eq!(
        parse([c"mode", c"help"]),
        Err(Refusal::Value(&OPTIONS[0], c"help"))
    );
}

#[test]
fn a_repetition_is_refused_even_with_the_same_value() {
    let [mode, flags] = &OPTIONS;
    assert_eq!(
        parse([c"mode", c"l2", c"mode", c"l2"]),
        Err(Refusal::Repeated(mode, c"l2"))
    );
    assert_eq!(
        parse([c"mode", c"l2", c"mode", c"l3"]),
        Err(Refusal::Repeated(mode, c"l3"))
    );
    assert_eq!(
        parse([c"private", c"vepa"]),
        Err(Refusal::Repeated(flags, c"vepa"))
    );
    assert_eq!(
        parse([c"bridge", c"bridge"]),
        Err(Refusal::Repeated(flags, c"bridge"))
    );
}

#[test]
fn refusals_name_the_word_and_the_choices() {
    assert_eq!(
        refused(&[c"mode"]),
        "ipvlan_rs: \"mode\" needs one of: l2 | l3 | l3s\n"
    );
    assert_eq!(
        refused(&[c"mode", c"l9"]),
        "ipvlan_rs: \"mode\" cannot be \"l9\", only one of: l2 | l3 | l3s\n"
    );
    assert_eq!(
        refused(&[c"mode", c"l2", c"mode", c"l3"]),
        "ipvlan_rs: \"l3\": only one \"mode\" can be given\n"
    );
    assert_eq!(
        refused(&[c"private", c"vepa"]),
        "ipvlan_rs: \"vepa\": only one of private | vepa | bridge can be given\n"
    );
    assert_eq!(
        refused(&[c"foo"]),
        format!("ipvlan_rs: unknown option \"foo\"\n{}", usage())
    );
    assert_eq!(refused(&[c"mode", c"l2", c"help"]), usage());
}

#[test]
fn usage_lists_every_option() {
    let first = "Usage: ... ipvlan_rs [ mode { l2 | l3 | l3s } ] [ private | vepa | bridge ]\n";
    assert!(usage().starts_with(first), "{}", usage());
}

fn shown(attr: usize, value: u16) -> Option<Field> {
    show(&OPTIONS[attr], &value.to_ne_bytes())
}

#[test]
fn modes_are_shown_by_name() {
    let mode = |word| {
        Some(Field::Word {
            key: c"mode",
            format: c" mode %s ",
            word,
        })
    };
    assert_eq!(shown(0, 0), mode(c"l2"));
    assert_eq!(shown(0, 1), mode(c"l3"));
    assert_eq!(shown(0, 2), mode(c"l3s"));
    // A newer module's mode.
    assert_eq!(shown(0, 3), mode(c"unknown"));
}

#[test]
fn flags_are_shown_by_their_bits() {
    let flag = |key, format| Some(Field::True { key, format });
    assert_eq!(shown(1, 0), flag(c"bridge", c"bridge "));
    assert_eq!(shown(1, 1), flag(c"private", c"private "));
    assert_eq!(shown(1, 2), flag(c"vepa", c"vepa "));
    // A newer module's flags beside those known here.
    assert_eq!(shown(1, 4), flag(c"bridge", c"bridge "));
    assert_eq!(shown(1, 4 | 2), flag(c"vepa", c"vepa "));
}

#[test]
fn only_a_u16_is_shown() {
    for opt in &OPTIONS {
        for payload in [&[][..], &[1], &[1, 0, 0], &[1, 0, 0, 0]] {
            assert_eq!(show(opt, payload), None);
        }
    }
}

#[test]
fn maxattr_is_the_highest_attribute() {
    assert_eq!(Some(MAX_ATTR), OPTIONS.iter().map(|opt| opt.attr).max());
}
