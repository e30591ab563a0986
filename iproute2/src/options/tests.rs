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
    assert_eq!(accepted(&[]), [None; COUNT]);
}

#[test]
fn modes_have_the_numbers_of_the_uapi() {
    for (word, number) in [(c"l2", 0), (c"l3", 1), (c"l3s", 2)] {
        let request = [Some(Value::U16(number)), None, None, None];
        assert_eq!(accepted(&[c"mode", word]), request);
    }
}

#[test]
fn flags_have_the_numbers_of_the_uapi() {
    for (word, number) in [(c"bridge", 0), (c"private", 1), (c"vepa", 2)] {
        assert_eq!(
            accepted(&[word]),
            [None, Some(Value::U16(number)), None, None]
        );
    }
}

#[test]
fn bytes_are_any_u32_in_decimal() {
    for (word, number) in [
        (c"0", 0),
        (c"262144", 262_144),
        (c"0262144", 262_144),
        (c"4294967295", u32::MAX),
    ] {
        let number = Some(Value::U32(number));
        let request = [None, None, number, None];
        assert_eq!(accepted(&[c"queue_bytes", word]), request);
        let request = [None, None, None, number];
        assert_eq!(accepted(&[c"max_addrs", word]), request);
    }
}

#[test]
fn bytes_are_nothing_else() {
    for word in [
        c"",
        c"-1",
        c"+1",
        c" 1",
        c"1 ",
        c"8M",
        c"0x100000",
        c"1e6",
        c"1_000_000",
        c"4294967296",
        c"42949672950",
        c"l2",
        c"/",
        c":",
    ] {
        let refusal = Refusal::Value(&OPTIONS[2], word);
        assert_eq!(parse([c"queue_bytes", word]), Err(refusal));
        let refusal = Refusal::Value(&OPTIONS[3], word);
        assert_eq!(parse([c"max_addrs", word]), Err(refusal));
    }
}

#[test]
fn order_is_free() {
    let words = [c"mode", c"l3", c"vepa", c"queue_bytes", c"500000"];
    let request = [
        Some(Value::U16(1)),
        Some(Value::U16(2)),
        Some(Value::U32(500_000)),
        None,
    ];
    assert_eq!(accepted(&words), request);
    let [mode, l3, vepa, queue_bytes, bytes] = words;
    assert_eq!(accepted(&[queue_bytes, bytes, vepa, mode, l3]), request);
    assert_eq!(accepted(&[vepa, queue_bytes, bytes, mode, l3]), request);
}

#[test]
fn abbreviations_are_unknown() {
    for word in [
        c"m", c"mod", c"modes", c"MODE", c"priv", c"queue", c"he", c"",
    ] {
        assert_eq!(parse([word, c"l2"]), Err(Refusal::Unknown(word)));
    }
}

#[test]
fn a_word_is_not_a_key() {
    assert_eq!(parse([c"l2"]), Err(Refusal::Unknown(c"l2")));
    assert_eq!(parse([c"1"]), Err(Refusal::Unknown(c"1")));
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
    let [mode, flags, queue, limit] = &OPTIONS;
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
    assert_eq!(
        parse([c"queue_bytes", c"300000", c"queue_bytes", c"400000"]),
        Err(Refusal::Repeated(queue, c"400000"))
    );
    assert_eq!(
        parse([c"max_addrs", c"3", c"max_addrs", c"3"]),
        Err(Refusal::Repeated(limit, c"3"))
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
        refused(&[c"queue_bytes"]),
        "ipvlan_rs: \"queue_bytes\" needs a number of bytes in decimal digits, below 4294967296\n"
    );
    assert_eq!(
        refused(&[c"queue_bytes", c"8M"]),
        "ipvlan_rs: \"queue_bytes\" cannot be \"8M\", \
         only a number of bytes in decimal digits, below 4294967296\n"
    );
    assert_eq!(
        refused(&[c"max_addrs", c"many"]),
        "ipvlan_rs: \"max_addrs\" cannot be \"many\", \
         only a number of addresses in decimal digits, below 4294967296\n"
    );
    assert_eq!(
        refused(&[c"queue_bytes", c"1", c"queue_bytes", c"2"]),
        "ipvlan_rs: \"2\": only one \"queue_bytes\" can be given\n"
    );
    assert_eq!(
        refused(&[c"foo"]),
        format!("ipvlan_rs: unknown option \"foo\"\n{}", usage())
    );
    assert_eq!(refused(&[c"mode", c"l2", c"help"]), usage());
}

#[test]
fn usage_lists_every_option() {
    let first = "Usage: ... ipvlan_rs [ mode { l2 | l3 | l3s } ] [ private | vepa | bridge ] \
                 [ queue_bytes BYTES ] [ max_addrs NUMBER ]\n";
    assert!(usage().starts_with(first), "{}", usage());
}

#[test]
fn usage_gives_the_default_that_output_leaves_out() {
    for opt in &OPTIONS {
        let Syntax::Number { default, .. } = opt.syntax else {
            continue;
        };
        let want = format!("starts with {default}.\n");
        assert!(usage().contains(&want), "{}", usage());
    }
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
fn bytes_are_in_the_text_unless_they_are_the_default() {
    let number = |number, in_text| {
        Some(Field::Number {
            key: c"queue_bytes",
            format: c"queue_bytes %u ",
            number,
            in_text,
        })
    };
    let shown = |value: u32| show(&OPTIONS[2], &value.to_ne_bytes());
    assert_eq!(shown(8_388_608), number(8_388_608, false));
    assert_eq!(shown(8_388_607), number(8_388_607, true));
    assert_eq!(shown(0), number(0, true));
    assert_eq!(shown(u32::MAX), number(u32::MAX, true));
}

#[test]
fn a_limit_is_in_the_text_if_there_is_one() {
    let shown = |value: u32| match show(&OPTIONS[3], &value.to_ne_bytes()) {
        Some(Field::Number {
            key,
            number,
            in_text,
            ..
        }) => (key, number, in_text),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(0), (c"max_addrs", 0, false));
    assert_eq!(shown(1), (c"max_addrs", 1, true));
    assert_eq!(shown(u32::MAX), (c"max_addrs", u32::MAX, true));
}

#[test]
fn only_the_right_length_is_shown() {
    for opt in &OPTIONS {
        let right = match opt.syntax {
            Syntax::Number { .. } => 4,
            Syntax::Keyed { .. } | Syntax::Bare { .. } => 2,
        };
        for len in (0..10).filter(|len| *len != right) {
            assert_eq!(show(opt, &[1; 10][..len]), None);
        }
        assert!(show(opt, &[1; 10][..right]).is_some());
    }
}

#[test]
fn maxattr_is_the_highest_attribute() {
    assert_eq!(Some(MAX_ATTR), OPTIONS.iter().map(|opt| opt.attr).max());
}
