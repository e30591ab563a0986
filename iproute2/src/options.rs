// SPDX-License-Identifier: GPL-2.0

//! The options of `type ipvlan_rs`: one table from which parsing, usage and output follow.
//!
//! Attribute and value numbers are those of the kernel's `include/uapi/linux/if_link.h`
//! (`IFLA_IPVLAN_*`, `IPVLAN_MODE_*`, `IPVLAN_F_*`), which the module shares with in-tree ipvlan.

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
    /// A key and one of the words: `mode l2`; a string member in JSON. Each value has its word.
    Keyed {
        /// The key, also JSON's.
        key: &'static CStr,
        /// printf format of the text output; `%s` is the word.
        format: &'static CStr,
    },
    /// One of the words alone: `private`; a `true` member of that name in JSON. The value is a
    /// set of bits: the first choice all of whose bits are set is the one to show.
    Bare {
        /// printf format of the text output of each choice, in their order.
        formats: [&'static CStr; 3],
    },
}

/// One option: a u16 attribute of `IFLA_INFO_DATA`.
#[derive(Debug, PartialEq, Eq)]
pub struct Opt {
    /// Attribute number.
    pub attr: u16,
    /// How it is written.
    pub syntax: Syntax,
    /// The words it takes.
    pub choices: &'static [Choice],
}

const fn choice(word: &'static CStr, value: u16) -> Choice {
    Choice { word, value }
}

/// Number of options.
pub const COUNT: usize = 2;

/// All options, in the order of their attributes in a message and of their output.
pub static OPTIONS: [Opt; COUNT] = [
    Opt {
        attr: 1, // IFLA_IPVLAN_MODE
        syntax: Syntax::Keyed {
            key: c"mode",
            format: c" mode %s ",
        },
        choices: &[choice(c"l2", 0), choice(c"l3", 1), choice(c"l3s", 2)],
    },
    Opt {
        attr: 2, // IFLA_IPVLAN_FLAGS
        syntax: Syntax::Bare {
            formats: [c"private ", c"vepa ", c"bridge "],
        },
        choices: &[
            choice(c"private", 1),
            choice(c"vepa", 2),
            choice(c"bridge", 0),
        ],
    },
];

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
pub type Request = [Option<u16>; COUNT];

/// Why a command was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// `help` was among the words: show the usage.
    Help,
    /// No option has this name.
    Unknown(&'a CStr),
    /// The key is the last word.
    Missing(&'static Opt),
    /// The key's word is none of its choices.
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
            let (word, found) = match opt.syntax {
                Syntax::Keyed { key, .. } if key == word => {
                    let value = words.next().ok_or(Refusal::Missing(opt))?;
                    (
                        value,
                        Some(find(opt, value).ok_or(Refusal::Value(opt, value))?),
                    )
                }
                Syntax::Keyed { .. } => continue,
                Syntax::Bare { .. } => (word, find(opt, word)),
            };
            let Some(choice) = found else { continue };
            if slot.replace(choice.value).is_some() {
                return Err(Refusal::Repeated(opt, word));
            }
            continue 'word;
        }
        return Err(Refusal::Unknown(word));
    }
    Ok(request)
}

fn find(opt: &'static Opt, word: &CStr) -> Option<&'static Choice> {
    opt.choices.iter().find(|choice| choice.word == word)
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
}

/// What to print for an attribute's payload; nothing if it is not a u16.
pub fn show(opt: &Opt, payload: &[u8]) -> Option<Field> {
    let value = u16::from_ne_bytes(payload.try_into().ok()?);
    match opt.syntax {
        Syntax::Keyed { key, format } => {
            let choice = opt.choices.iter().find(|choice| choice.value == value);
            let word = choice.map_or(c"unknown", |choice| choice.word);
            Some(Field::Word { key, format, word })
        }
        Syntax::Bare { formats } => {
            let has = |choice: &Choice| value & choice.value == choice.value;
            let (choice, format) = opt.choices.iter().zip(formats).find(|(c, _)| has(c))?;
            Some(Field::True {
                key: choice.word,
                format,
            })
        }
    }
}

/// Hands the words that `opt` takes to `put`, as `l2 | l3 | l3s`.
fn put_choices(opt: &Opt, put: &mut impl FnMut(&CStr)) {
    for (i, choice) in opt.choices.iter().enumerate() {
        if i > 0 {
            put(c" | ");
        }
        put(choice.word);
    }
}

fn put_key(opt: &Opt, put: &mut impl FnMut(&CStr)) {
    match opt.syntax {
        Syntax::Keyed { key, .. } => put(key),
        Syntax::Bare { .. } => put_choices(opt, put),
    }
}

/// Hands the usage text to `put`, piece by piece.
pub fn put_usage(put: &mut impl FnMut(&CStr)) {
    put(c"Usage: ... ipvlan_rs");
    for opt in &OPTIONS {
        put(c" [ ");
        if let Syntax::Keyed { key, .. } = opt.syntax {
            put(key);
            put(c" { ");
            put_choices(opt, put);
            put(c" }");
        } else {
            put_choices(opt, put);
        }
        put(c" ]");
    }
    put(c"\n\nMode and flags belong to the master and hold for all of its slaves.\n");
    put(c"What is not given stays as it is; a master's first slave starts with l3 bridge.\n");
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
            put_key(opt, put);
            put(c"\" needs one of: ");
            put_choices(opt, put);
            put(c"\n");
        }
        Refusal::Value(opt, word) => {
            put(c"ipvlan_rs: \"");
            put_key(opt, put);
            put(c"\" cannot be \"");
            put(word);
            put(c"\", only one of: ");
            put_choices(opt, put);
            put(c"\n");
        }
        Refusal::Repeated(opt, word) => {
            put(c"ipvlan_rs: \"");
            put(word);
            put(c"\": only one ");
            if let Syntax::Keyed { key, .. } = opt.syntax {
                put(c"\"");
                put(key);
                put(c"\"");
            } else {
                put(c"of ");
                put_choices(opt, put);
            }
            put(c" can be given\n");
        }
    }
}

#[cfg(test)]
mod tests;
