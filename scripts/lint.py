#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The rules of the house that can be read off the sources.

Reads the names of all tracked files from standard input (NUL-separated, relative to the
checkout, which is the working directory) and prints one KTAP result per rule. With
--symbols FILE it reads the undefined symbols of the linked module, as `nm -u` names them,
from FILE too; without a name on standard input, these alone.
"""

import re
import sys
from pathlib import Path

# Where a module file belongs, by its first directory; the files at the top are "top".
LAYERS = ("logic", "sync", "net", "sys")
ROOT = "ipvlan_rs.rs"
UNSAFE_LAYERS = ("sync", "net", "sys")
RAW_LAYERS = ("sync", "net")
LONGEST = 500
PANIC_LINTS = ("indexing_slicing", "arithmetic_side_effects", "unwrap_used", "expect_used", "panic")

# Undefined symbols that look like panics and may stay: (regular expression, reason).
PANIC_EXEMPT = ()

# Files with no place for a comment.
NO_SPDX = re.compile(r"(^|/)(COPYING|Cargo\.lock|.*\.(png|json|conflist|proptest-regressions))$|^LICENSES/|^host/fuzz/corpus/|^kdir/linux-rust(-kbuild)?/changelog$|^debian/(changelog|source/format|[a-z-]+\.(dkms|docs|examples|install|manpages))$")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


# Comments, strings, byte strings, raw strings and character literals. Lifetimes ('a) are
# no literals: those end in a quote.
TOKENS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^\\'])'""", re.S
)

# The opening line of a struct literal, which continues a statement as a block would not.
LITERAL = re.compile(r"^(?!.*\b(?:fn|impl|struct|enum|union|trait|if|match|for|while|unsafe|mod)\b).*\b[A-Z]\w*(?:::<[^{]*>)? \{$")
# An inline module, within which `super` is the file's own module.
INLINE = re.compile(r"\bmod\s+(\w+)\s*\{")


class Source:
    """One Rust file: its text, and the same text with comments and literals blanked."""

    def __init__(self, path):
        self.path = path
        self.text = Path(path).read_text(encoding="utf-8")
        self.code = TOKENS.sub(blank, self.text)
        self.lines = self.text.splitlines()
        self.code_lines = self.code.splitlines()
        first = path.split("/")[0]
        self.layer = first if first in LAYERS else "top"

    def find(self, pattern):
        for number, line in enumerate(self.code_lines, 1):
            if re.search(pattern, line):
                yield f"{self.path}:{number}: {self.lines[number - 1].strip()}"


def uses(code):
    """Every path that a `use` item names, with its groups expanded, and its place."""
    for match in re.finditer(r"\buse\s+([^;]+);", code):
        for path in expand(re.sub(r"\s+as\s+\w+", "", match.group(1))):
            yield match.start(), path


def expand(tree):
    tree = tree.strip()
    if "{" not in tree:
        return [re.sub(r"\s", "", tree)]
    head, rest = tree.split("{", 1)
    depth, part, parts = 0, "", []
    for char in rest[: rest.rindex("}")]:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    parts.append(part)
    return [re.sub(r"\s", "", head) + path for p in parts if p.strip() for path in expand(p)]


def paths(source):
    """Paths that a file names, in `use` items or in its code, as seen from the crate's root."""
    code = re.sub(r"\buse\s+[^;]+;", blank, source.code)
    named = re.finditer(r"\b(?:crate|super|kernel|alloc|std)(?:\s*::\s*\w+)+", code)
    for start, path in [*uses(source.code), *((m.start(), re.sub(r"\s", "", m.group(0))) for m in named)]:
        yield source.code.count("\n", 0, start) + 1, path, resolve(source, start, path)


def resolve(source, start, path):
    """A path's parts from the crate's root: `super`s are walked, other crates left alone."""
    parts = path.split("::")
    if parts[0] not in ("super", "self"):
        return parts
    here = [] if source.path == ROOT else list(Path(source.path).with_suffix("").parts)
    if here and here[-1] == "mod":
        here.pop()
    here += enclosing(source.code, start)
    while parts and parts[0] in ("super", "self"):
        if parts.pop(0) == "super" and here:
            here.pop()
    return ["crate"] + here + parts


def enclosing(code, place):
    """The names of the inline modules around a place in a file."""
    names = []
    for match in INLINE.finditer(code, 0, place):
        inner = code[match.end() : place]
        depth = 1
        for char in inner:
            depth += {"{": 1, "}": -1}.get(char, 0)
            if depth == 0:
                break
        if depth:
            names.append(match.group(1))
    return names


def rule_unsafe(module, _files):
    """unsafe only in sys/, net/, sync/"""
    for s in module:
        if s.layer not in UNSAFE_LAYERS:
            yield from s.find(r"\bunsafe\b(?!_)")


def rule_forbid(module, _files):
    """every other module file forbids unsafe code itself"""
    for s in module:
        # module! expands to unsafe code, so the root cannot; the rule above holds it.
        if s.layer not in UNSAFE_LAYERS and s.path != ROOT:
            if not re.search(r"^#!\[forbid\([^)]*\bunsafe_code\b", s.code, re.M):
                yield f"{s.path}: no #![forbid(unsafe_code)]"


def rule_safety(module, _files):
    """every unsafe block and impl states its reason in // SAFETY:"""
    for s in module:
        for number, line in enumerate(s.code_lines):
            if re.search(r"\bunsafe\s*(\{|impl\b|extern\s+\{)", line) and not reasoned(s, number):
                yield f"{s.path}:{number + 1}: {s.lines[number].strip()}"


def reasoned(s, number):
    """Whether the statement that holds the line has a SAFETY comment above or within."""
    if "SAFETY:" in s.lines[number]:
        return True
    while number > 0:
        number -= 1
        raw, code = s.lines[number].strip(), s.code_lines[number].strip()
        if raw.startswith("//"):
            while number >= 0 and s.lines[number].strip().startswith("//"):
                if "SAFETY:" in s.lines[number]:
                    return True
                number -= 1
            return False
        if not raw or (code.endswith((";", "{", "}")) and not LITERAL.search(code)):
            return False
    return False


def rule_raw(module, _files):
    """sys:: and kernel::bindings only in net/ and sync/"""
    for s in module:
        if s.layer in RAW_LAYERS + ("sys",):
            continue
        for line, path, parts in paths(s):
            if parts[:2] in (["crate", "sys"], ["kernel", "bindings"]):
                yield f"{s.path}:{line}: {path}"
        yield from s.find(r"(?<![:\w])sys::|\bbindings::")


def rule_arrows(module, _files):
    """layers import nothing from above"""
    allowed = {"logic": {"logic"}, "sync": {"sync", "net", "sys"}, "net": {"sync", "net", "sys"}, "sys": {"sys"}}
    for s in module:
        if s.layer == "top":
            continue
        for line, path, parts in paths(s):
            if parts[0] == "crate" and len(parts) > 1:
                # The kernel's own macros name these two at the root of every module.
                if parts[1] not in allowed[s.layer] | ({"LocalModule", "THIS_MODULE"} if s.layer != "logic" else set()):
                    yield f"{s.path}:{line}: {s.layer}/ names {path}"
            elif parts[0] in ("kernel", "alloc", "std") and s.layer == "logic":
                yield f"{s.path}:{line}: logic/ names {path}"


def rule_words(module, _files):
    """net/ and sync/ know no word of ipvlan"""
    for s in module:
        if s.layer in RAW_LAYERS:
            for number, line in enumerate(s.lines, 1):
                # The prefix keeps our C helpers' symbols apart from the kernel's.
                if re.search(r"ipvlan|\bl3s\b", re.sub(r"(?i)\bipvlan_rs_\w+", "", line), re.I):
                    yield f"{s.path}:{number}: {line.strip()}"


def rule_denied(module, _files):
    """the packet path denies what could panic"""
    for s in module:
        if s.path in ("core.rs", "logic/mod.rs"):
            denied = " ".join(re.findall(r"#!\[(?:deny|forbid)\(([^)]*)\)", s.code))
            for lint in PANIC_LINTS:
                if f"clippy::{lint}" not in re.sub(r"\s", " ", denied):
                    yield f"{s.path}: does not deny clippy::{lint}"


def rule_orderings(module, _files):
    """the tables of memory ordering name the loom models that there are, and all of them"""
    models = Path("host/tests/loom.rs")
    if not models.is_file():
        yield "host/tests/loom.rs is missing"
        return
    there = set(re.findall(r"#\[test\]\s*fn (\w+)", models.read_text(encoding="utf-8")))
    named, rows = set(), 0
    for s in module:
        if s.layer != "sync":
            continue
        for number, line in enumerate(s.lines, 1):
            cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("//! |") else []
            if len(cells) < 2 or set(cells[0]) == {"-"} or cells[-1].startswith("model"):
                continue
            rows += 1
            names = set(re.findall(r"`(\w+)`", cells[-1]))
            for name in names - there:
                yield f"{s.path}:{number}: there is no model {name}"
            if not names and not re.match(r"none: \w|the lock of all models", cells[-1]):
                yield f"{s.path}:{number}: no model, and no reason why"
            if len(re.findall(r"`\w", cells[0] + cells[1])) < 1 and "[`" not in cells[0] + cells[1]:
                yield f"{s.path}:{number}: no function is named"
            named |= names
    if not rows:
        yield "no table of memory ordering in sync/"
    for name in sorted(there - named):
        yield f"host/tests/loom.rs: {name} is in no row of a table"


def rule_spdx(_module, files):
    """every file names its licence"""
    for path in files:
        if NO_SPDX.search(path):
            continue
        head = Path(path).read_bytes()[:400].decode("utf-8", "replace")
        if not re.search(r"SPDX-License-Identifier: GPL-2\.0", head):
            yield path


def rule_length(_module, files):
    """no source is longer than one purpose needs"""
    for path in files:
        if re.search(r"\.(rs|c|h|sh|py)$|^scripts/[^.]*$", path) and Path(path).is_file():
            lines = Path(path).read_bytes().count(b"\n")
            if lines > LONGEST:
                yield f"{path}: {lines} lines, more than {LONGEST}"


def rule_panic(symbols):
    """the linked module can reach none of core's panicking functions"""
    for symbol in symbols:
        if re.search(r"panicking|panic_|_fail(ed)?$|_failed\b|unwrap_failed|expect_failed", symbol):
            if not any(re.search(pattern, symbol) for pattern, _reason in PANIC_EXEMPT):
                yield symbol


def main():
    files = [f for f in sys.stdin.read().split("\0") if f and Path(f).is_file() and not Path(f).is_symlink()]
    module = [Source(f) for f in files if re.fullmatch(r"(?:(?:logic|sync|net|sys)/.*|[^/]+)\.rs", f)]
    rules = [rule_unsafe, rule_forbid, rule_safety, rule_raw, rule_arrows, rule_words, rule_denied, rule_orderings, rule_spdx, rule_length]
    results = [(rule.__doc__, list(rule(module, files))) for rule in rules if files]
    if len(sys.argv) == 3 and sys.argv[1] == "--symbols":
        symbols = [line.split()[-1] for line in Path(sys.argv[2]).read_text().splitlines() if line.strip()]
        found = list(rule_panic(symbols)) if symbols else ["no undefined symbol at all: not the module's object"]
        results.append((rule_panic.__doc__, found))
    for doc, found in results:
        for line in found[:20]:
            print(f"# {line}")
        if len(found) > 20:
            print(f"# … and {len(found) - 20} more")
        print(f"{'not ok' if found else 'ok'} - {doc}")
    return not results or any(found for _doc, found in results)


sys.exit(main())
