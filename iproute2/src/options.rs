// SPDX-License-Identifier: GPL-2.0

//! The options of `type ipvlan_rs`: one table from which parsing, usage and output follow.
//!
//! Attribute and value numbers are those of the kernel's `include/uapi/linux/if_link.h`
//! (`IFLA_IPVLAN_*`, `IPVLAN_MODE_*`, `IPVLAN_F_*`), which the module shares with in-tree ipvlan;
//! from 32 on they are the module's own (`netlink.rs`).

#![forbid(unsafe_code)]

use core::ffi::CStr;

/// One word that an option takes, and what stands for it on the wire.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// The word, in commands and in output.
    pub word: &'static CStr,
    /// The attribute's value.
    pub value: u16,
}

/// How an option is written in a command and in the output of `ip -d link show`.
#[derive(Debug, PartialEq, Eq)]
pub enum Syntax {
    /// A u16: a key and one of the words, as `mode l2`; a string member in JSON. Each value has
    /// its word.
    Keyed {
        /// The key, also JSON's.
        key: &'static CStr,
        /// printf format of the text output; `%s` is the word.
        format: &'static CStr,
        /// The words.
        choices: &'static [Choice],
    },
    /// A u16: one of the words alone, as `private`; a `true` member of that name in JSON. The
    /// value is a set of bits: the first choice all of whose bits are set is the one to show.
    Bare {
        /// The words.
        choices: &'static [Choice],
        /// printf format of the text output of each choice, in their order.
        formats: [&'static CStr; 3],
    },
    /// A u32: a key and a decimal number, as `queue_bytes 1048576`; a number in JSON.
    Number {
        /// The key, also JSON's.
        key: &'static CStr,
        /// printf format of the text output; `%u` is the number.
        format: &'static CStr,
        /// What the text leaves out, since it needs no saying. JSON has it always.
        default: u32,
        /// What the number stands for in the usage, as `BYTES`.
        unit: &'static CStr,
        /// What it is, as "a number of bytes in decimal digits …".
        domain: &'static CStr,
    },
}

/// One option: an attribute of `IFLA_INFO_DATA`.
#[derive(Debug, PartialEq, Eq)]
pub struct Opt {
    /// Attribute number.
    pub attr: u16,
    /// How it is written.
    pub syntax: Syntax,
}

const fn choice(word: &'static CStr, value: u16) -> Choice {
    Choice { word, value }
}

/// Number of options.
pub const COUNT: usize = 4;

/// All options, in the order of their attributes in a message and of their output.
pub static OPTIONS: [Opt; COUNT] = [
    Opt {
        attr: 1, // IFLA_IPVLAN_MODE
        syntax: Syntax::Keyed {
            key: c"mode",
            format: c" mode %s ",
            choices: &[choice(c"l2", 0), choice(c"l3", 1), choice(c"l3s", 2)],
        },
    },
    Opt {
        attr: 2, // IFLA_IPVLAN_FLAGS
        syntax: Syntax::Bare {
            choices: &[
                choice(c"private", 1),
                choice(c"vepa", 2),
                choice(c"bridge", 0),
            ],
            formats: [c"private ", c"vepa ", c"bridge "],
        },
    },
    Opt {
        attr: 32, // IFLA_IPVLAN_RS_QUEUE_BYTES
        syntax: Syntax::Number {
            key: c"queue_bytes",
            format: c"queue_bytes %u ",
            default: 8 << 20,
            unit: c"BYTES",
            domain: c"a number of bytes in decimal digits, below 4294967296",
        },
    },
    Opt {
        attr: 33, // IFLA_IPVLAN_RS_MAX_ADDRS
        syntax: Syntax::Number {
            key: c"max_addrs",
            format: c"max_addrs %u ",
            default: 0,
            unit: c"NUMBER",
            domain: c"a number of addresses in decimal digits, below 4294967296",
        },
    },
];

impl Opt {
    /// The word that the option begins with; none if it is a word alone.
    fn key(&self) -> Option<&'static CStr> {
        match self.syntax {
            Syntax::Keyed { key, .. } | Syntax::Number { key, .. } => Some(key),
            Syntax::Bare { .. } => None,
        }
    }

    /// What a word of a command means: the key's, or the word alone.
    fn value(&self, word: &CStr) -> Option<Value> {
        match self.syntax {
            Syntax::Keyed { choices, .. } | Syntax::Bare { choices, .. } => {
                let choice = choices.iter().find(|choice| choice.word == word)?;
                Some(Value::U16(choice.value))
            }
            Syntax::Number { .. } => decimal(word).map(Value::U32),
        }
    }
}

/// Reads a number: decimal digits and nothing else, so that no sign, unit or base is overlooked.
fn decimal(word: &CStr) -> Option<u32> {
    let digits = word.to_bytes();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// An attribute's payload, of the type that the module's policy demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Two bytes.
    U16(u16),
    /// Four bytes.
    U32(u32),
}

/// The highest attribute number of the table: `maxattr` of `struct link_util`.
pub const MAX_ATTR: u16 = {
    let mut max = 0;
    let mut rest = OPTIONS.as_slice();
    while let [opt, tail @ ..] = rest {
        max = if opt.attr > max { opt.attr } else { max };
        rest = tail;
    }
    max
};

/// What a command asked for: a value for each option of [`OPTIONS`] that was given.
///
/// An option that was not given is not sent, so that the kernel leaves it as it is: mode and
/// flags belong to the master, and a further slave must not change them for its siblings by
/// saying nothing.
pub type Request = [Option<Value>; COUNT];

/// Why a command was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// `help` was among the words: show the usage.
    Help,
    /// No option has this name.
    Unknown(&'a CStr),
    /// The key is the last word.
    Missing(&'static Opt),
    /// The key's word is none of its choices, or no number.
    Value(&'static Opt, &'a CStr),
    /// The option was there before.
    Repeated(&'static Opt, &'a CStr),
}

/// Reads the words that follow `type ipvlan_rs`.
///
/// Words are matched whole: abbreviations that are clear today need not be once there are more
/// options. What is repeated is refused, even with the same value.
pub fn parse<'a>(words: impl IntoIterator<Item = &'a CStr>) -> Result<Request, Refusal<'a>> {
    let mut request = [None; COUNT];
    let mut words = words.into_iter();
    'word: while let Some(word) = words.next() {
        if word == c"help" {
            return Err(Refusal::Help);
        }
        for (opt, slot) in OPTIONS.iter().zip(&mut request) {
            let (word, found) = match opt.key() {
                Some(key) if key == word => {
                    let word = words.next().ok_or(Refusal::Missing(opt))?;
                    let value = opt.value(word).ok_or(Refusal::Value(opt, word))?;
                    (word, Some(value))
                }
                Some(_) => continue,
                None => (word, opt.value(word)),
            };
            let Some(value) = found else { continue };
            if slot.replace(value).is_some() {
                return Err(Refusal::Repeated(opt, word));
            }
            continue 'word;
        }
        return Err(Refusal::Unknown(word));
    }
    Ok(request)
}

/// One member of the output.
#[derive(Debug, PartialEq, Eq)]
pub enum Field {
    /// A key with a word for value.
    Word {
        /// JSON key.
        key: &'static CStr,
        /// printf format of the text, taking the word.
        format: &'static CStr,
        /// The word.
        word: &'static CStr,
    },
    /// A key that is `true`.
    True {
        /// JSON key.
        key: &'static CStr,
        /// printf format of the text.
        format: &'static CStr,
    },
    /// A key with a number.
    Number {
        /// JSON key.
        key: &'static CStr,
        /// printf format of the text, taking the number.
        format: &'static CStr,
        /// The number.
        number: u32,
        /// Whether the text has it too.
        in_text: bool,
    },
}

/// What to print for an attribute's payload; nothing if it has not the option's length.
pub fn show(opt: &Opt, payload: &[u8]) -> Option<Field> {
    match opt.syntax {
        Syntax::Keyed {
            key,
            format,
            choices,
        } => {
            let value = u16::from_ne_bytes(payload.try_into().ok()?);
            let choice = choices.iter().find(|choice| choice.value == value);
            let word = choice.map_or(c"unknown", |choice| choice.word);
            Some(Field::Word { key, format, word })
        }
        Syntax::Bare { choices, formats } => {
            let value = u16::from_ne_bytes(payload.try_into().ok()?);
            let has = |choice: &Choice| value & choice.value == choice.value;
            let (choice, format) = choices.iter().zip(formats).find(|(c, _)| has(c))?;
            Some(Field::True {
                key: choice.word,
                format,
            })
        }
        Syntax::Number {
            key,
            format,
            default,
            ..
        } => {
            let number = u32::from_ne_bytes(payload.try_into().ok()?);
            Some(Field::Number {
                key,
                format,
                number,
                in_text: number != default,
            })
        }
    }
}

/// Hands what `opt` takes to `put`, as `l2 | l3 | l3s`.
fn put_values(opt: &Opt, put: &mut impl FnMut(&CStr)) {
    match opt.syntax {
        Syntax::Keyed { choices, .. } | Syntax::Bare { choices, .. } => {
            for (i, choice) in choices.iter().enumerate() {
                if i > 0 {
                    put(c" | ");
                }
                put(choice.word);
            }
        }
        Syntax::Number { unit, .. } => put(unit),
    }
}

/// As above, as a sentence goes on after "needs" and "only".
fn put_domain(opt: &Opt, put: &mut impl FnMut(&CStr)) {
    match opt.syntax {
        Syntax::Keyed { .. } | Syntax::Bare { .. } => {
            put(c"one of: ");
            put_values(opt, put);
        }
        Syntax::Number { domain, .. } => put(domain),
    }
}

/// Hands the usage text to `put`, piece by piece.
pub fn put_usage(put: &mut impl FnMut(&CStr)) {
    put(c"Usage: ... ipvlan_rs");
    for opt in &OPTIONS {
        put(c" [ ");
        if let Some(key) = opt.key() {
            put(key);
            put(c" ");
        }
        let braces = matches!(opt.syntax, Syntax::Keyed { .. });
        put(if braces { c"{ " } else { c"" });
        put_values(opt, put);
        put(if braces { c" } ]" } else { c" ]" });
    }
    put(c"\n\nAll of these belong to the master and hold for all of its slaves.\n");
    put(c"What is not given stays as it is; a master's first slave starts with l3 bridge.\n");
    put(c"queue_bytes is the most memory that broadcast and multicast frames hold while they\n");
    put(c"wait to be distributed: 262144 or more; a master's first slave starts with 8388608.\n");
    put(c"max_addrs is the most addresses that each slave may have, 0 for any number; a\n");
    put(c"master's first slave starts with 0.\n");
}

/// Hands the message of a refusal to `put`, piece by piece, ending in a newline or in the usage.
pub fn put_refusal(refusal: &Refusal<'_>, put: &mut impl FnMut(&CStr)) {
    match *refusal {
        Refusal::Help => put_usage(put),
        Refusal::Unknown(word) => {
            put(c"ipvlan_rs: unknown option \"");
            put(word);
            put(c"\"\n");
            put_usage(put);
        }
        Refusal::Missing(opt) => {
            put(c"ipvlan_rs: \"");
            put(opt.key().unwrap_or_default());
            put(c"\" needs ");
            put_domain(opt, put);
            put(c"\n");
        }
        Refusal::Value(opt, word) => {
            put(c"ipvlan_rs: \"");
            put(opt.key().unwrap_or_default());
            put(c"\" cannot be \"");
            put(word);
            put(c"\", only ");
            put_domain(opt, put);
            put(c"\n");
        }
        Refusal::Repeated(opt, word) => {
            put(c"ipvlan_rs: \"");
            put(word);
            put(c"\": only one ");
            if let Some(key) = opt.key() {
                put(c"\"");
                put(key);
                put(c"\"");
            } else {
                put(c"of ");
                put_values(opt, put);
            }
            put(c" can be given\n");
        }
    }
}

#[cfg(test)]
mod tests;
