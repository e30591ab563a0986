#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Shows every rule of lint.py a tree that breaks it and that tree without the breach.

A rule nobody has seen fail proves nothing. Prints KTAP; exit code 1 if a rule was blind
or saw what is not there.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

LINT = Path(__file__).with_name("lint.py")
SPDX = "// SPDX-License-Identifier: GPL-2.0\n"
SAFE = SPDX + "#![forbid(unsafe_code)]\n"
DENY = "#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used)]\n"
DENY += "#![deny(clippy::expect_used, clippy::panic)]\n"

TABLE = "//! | store | load | what it orders | model |\n//! |---|---|---|---|\n"
TABLE += "//! | `put` | `get` | bytes | `insert`, `remove` |\n//! | `add` | `sum` | nothing | none: no order |\n"

# A small tree that keeps every rule, with what is easily mistaken for a breach.
CLEAN = {
    "ipvlan_rs.rs": SPDX + "mod sys;\nuse crate::net::Device;\n",
    "core.rs": SAFE + DENY + 'use crate::{logic, net::{skb::Skb, Device}};\nconst S: &str = "unsafe {";\n',
    "logic/mod.rs": SAFE + DENY + "mod frame;\nmod tests { use super::frame::parse; }\n",
    "logic/frame.rs": SAFE + "use super::addr::V4; // unsafe, kernel::bindings\npub fn lives<'a>(x: &'a u8) {}\n",
    "net/mod.rs": SPDX + "use crate::sys;\n// SAFETY: Thread-safe.\nunsafe impl Send for Device {}\n",
    "net/skb.rs": SPDX
    + "/// # Safety\n/// The caller owns it.\npub unsafe fn take(p: *mut u8) -> Skb {\n"
    + "    // SAFETY: The caller owns it.\n    let skb = Skb::from(Wrapper {\n        p: unsafe { *p },\n    });\n"
    + "    // SAFETY: As above.\n    unsafe { crate::sys::ipvlan_rs_spin_lock(p) };\n}\n",
    "sync/mod.rs": SPDX + TABLE + "use crate::sys;\n",
    "host/tests/loom.rs": SPDX + "#[test]\nfn insert() {}\n#[test]\nfn remove() {}\n",
    "sys/mod.rs": SPDX + "mod offset {\n    use super::*;\n}\n",
    "scripts/x.sh": "# SPDX-License-Identifier: GPL-2.0\n",
}
SYMBOLS = "                 U _RNvNtCsabc_4core3fmt5write\n                 U kfree_skb_reason\n"

# The rule (a word of its text), what breaks it (a file's new content), what it must say.
BREACHES = [
    ("unsafe only", "logic/frame.rs", SAFE + "fn f() { unsafe { g() } }\n", "logic/frame.rs:3"),
    ("unsafe only", "ipvlan_rs.rs", SPDX + "unsafe impl Send for X {}\n", "ipvlan_rs.rs:2"),
    ("forbids", "logic/frame.rs", SPDX + "// #![forbid(unsafe_code)]\n", "logic/frame.rs"),
    ("SAFETY", "net/mod.rs", SPDX + "fn f() {\n    unsafe { g() };\n}\n", "net/mod.rs:3"),
    ("SAFETY", "net/mod.rs", SPDX + "// SAFETY: Far away.\n\nunsafe impl Send for X {}\n", "net/mod.rs:4"),
    ("SAFETY", "sync/mod.rs", SPDX + "fn f() {\n    // SAFETY: For g only.\n    unsafe { g() };\n    unsafe { h() };\n}\n", "sync/mod.rs:5"),
    ("sys::", "core.rs", SAFE + DENY + "use crate::sys::sk_buff;\n", "core.rs:5"),
    ("sys::", "core.rs", SAFE + DENY + "use crate::{net, sys};\n", "core.rs:5"),
    ("sys::", "ipvlan_rs.rs", SPDX + "fn f() { kernel::bindings::kfree(p) }\n", "ipvlan_rs.rs:2"),
    ("sys::", "ipvlan_rs.rs", SPDX + "fn f() { sys::kfree(p) }\n", "ipvlan_rs.rs:2"),
    ("from above", "net/mod.rs", SPDX + "use crate::{\n    logic::addr,\n    sys,\n};\n", "net/mod.rs:2"),
    ("from above", "sync/mod.rs", SPDX + "fn f() { super::port::g() }\n", "sync/mod.rs:2"),
    ("from above", "logic/frame.rs", SAFE + "use super::super::net::Device;\n", "logic/frame.rs:3"),
    ("from above", "logic/frame.rs", SAFE + "use kernel::prelude::*;\n", "logic/frame.rs:3"),
    ("no word", "net/mod.rs", SPDX + "// Used by ipvlan alone.\n", "net/mod.rs:2"),
    ("no word", "sync/mod.rs", SPDX + "struct IpvlanTable;\n", "sync/mod.rs:2"),
    ("denies", "core.rs", SAFE + DENY.replace("clippy::expect_used, ", ""), "clippy::expect_used"),
    ("denies", "logic/mod.rs", SAFE, "clippy::panic"),
    ("ordering", "sync/mod.rs", SPDX + TABLE.replace("`insert`", "`grow`"), "no model grow"),
    ("ordering", "sync/mod.rs", SPDX + TABLE.replace(", `remove`", ""), "remove is in no row"),
    ("ordering", "sync/mod.rs", SPDX + TABLE.replace("none: no order", "none"), "no reason"),
    ("ordering", "sync/mod.rs", SPDX + TABLE.replace("`put` | `get`", "put | get"), "no function"),
    ("ordering", "sync/mod.rs", SPDX, "no table"),
    ("licence", "scripts/x.sh", "#!/bin/sh\n", "scripts/x.sh"),
    ("longer", "scripts/x.sh", CLEAN["scripts/x.sh"] + "\n" * 500, "scripts/x.sh: 501"),
    ("panicking", None, SYMBOLS + "                 U _RNvNtCsabc_4core9panicking5panic\n", "panicking5panic"),
    ("panicking", None, SYMBOLS + "                 U _RNvNtNtCsabc_4core5slice5index24slice_end_index_len_fail\n", "len_fail"),
    ("panicking", None, SYMBOLS + "                 U _RNvNtCsabc_4core6option13unwrap_failed\n", "unwrap_failed"),
    ("panicking", None, "", "no undefined symbol"),
]


def lint(tree, symbols):
    """The rules that fail on a tree, each with its diagnostics."""
    with tempfile.TemporaryDirectory() as top:
        for name, text in tree.items():
            path = Path(top, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        with tempfile.NamedTemporaryFile("w") as listing:
            listing.write(symbols)
            listing.flush()
            run = subprocess.run(
                [sys.executable, LINT, "--symbols", listing.name],
                cwd=top, input="\0".join(tree), capture_output=True, text=True, check=False,
            )
    if run.stderr:
        sys.exit(run.stderr)
    failed, notes = {}, []
    for line in run.stdout.splitlines():
        if line.startswith("#"):
            notes.append(line)
        else:
            if line.startswith("not ok"):
                failed[line] = "\n".join(notes)
            notes = []
    return failed, run.returncode


def main():
    blind = []
    failed, code = lint(CLEAN, SYMBOLS)
    if failed or code:
        blind.append(f"the clean tree fails: {failed}")
    for rule, name, text, expected in BREACHES:
        tree, symbols = (dict(CLEAN, **{name: text}), SYMBOLS) if name else (CLEAN, text)
        failed, code = lint(tree, symbols)
        said = [notes for line, notes in failed.items() if rule in line]
        if not (code == 1 and said and expected in said[0]):
            blind.append(f"{rule!r} is blind to {name or 'a symbol'}: {text[:200]!r}; said {list(failed)}")
    for line in blind:
        print(f"# {line}")
    print(f"{'not ok' if blind else 'ok'} - each rule sees its breach ({len(BREACHES)} breaches)")
    return bool(blind)


sys.exit(main())
