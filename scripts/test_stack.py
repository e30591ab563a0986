#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Shows stack.py an object that keeps its rule and the same with each breach of it.

Prints KTAP; exit code 1 if a breach was not seen, or one that is not there was.
"""

import subprocess
import sys
from pathlib import Path

STACK = Path(__file__).with_name("stack.py")
# What the kernel calls: one function for each line of PACKET, and one that is for no packet.
ENTRIES = ["3net3ops10start_xmit", "3net10rx_handler5shell", "3net3ops13header_create", "3net9netfilter4hook", "3net6l3mdev3rcv"]
ENTRIES += ["init_module"]


def code(name, address, body):
    return f"{address:016x} <{name}>:\n" + "".join(f"{line}\n" for line in body) + "\n"


def obj(xmit, helper, entries=None, first="", last=("       0:\tlock incl (%rdi)", "       3:\tret")):
    """objdump's three listings of an object whose start_xmit and what it calls have these bodies."""
    entries = ENTRIES if entries is None else entries
    names = entries + ["helper", "9multicast15distribute_sent"]
    symbols = "".join(f"{n * 64:016x} g     F .text\t0000000000000010 {name}\n" for n, name in enumerate(names))
    places = "".join(f"{n * 8:016x} R_X86_64_64       .text+0x{n * 64:016x}\n" for n, _ in enumerate(entries))
    text = "".join(
        code(name, n * 64, xmit if "start_xmit" in name else helper if name == "helper" else last if "sent" in name else ["       0:\tret"])
        for n, name in enumerate(names)
    )
    relocations = f"RELOCATION RECORDS FOR [.data]:\nOFFSET TYPE VALUE\n{places}\n"
    return f"SYMBOL TABLE:\n{symbols}\n{relocations}\nDisassembly of section .text:\n\n{first}{text}"


CALL = ["       4:\tcall   9 <x+0x9>", "\t\t\t5: R_X86_64_PLT32\thelper-0x4"]
# 8 + 8 + 240 = 256, which is as much as there may be.
GOOD = ["       0:\tpush   %rbx", "       1:\tsub    $0xf0,%rsp", *CALL, "       9:\tadd    $0xf0,%rsp", "       d:\tret"]
SMALL = ["       0:\tsub    $0x10,%rsp", "       4:\tret"]


def by_section(place):
    """A call whose relocation names the section; helper begins at 0x180."""
    return ["       4:\tcall   9 <x+0x9>", f"\t\t\t5: R_X86_64_PLT32\t.text{place}"]


# What the object is, and what must be said of it; None if it keeps the rule.
OBJECTS = [
    (obj(GOOD, SMALL), None),
    (obj(GOOD, ["       0:\tmov    %rbp,%rsp", "       3:\tlea    -0x18(%rbp),%rsp"]), None),
    (obj(["       0:\tpush   %rbp", *GOOD], SMALL), "264 bytes, more than 256: 3net3ops10start_xmit"),
    (obj(GOOD, ["       0:\tsub    $0x100,%rsp"]), "264 bytes, more than 256: helper"),
    (obj(GOOD, ["       0:\tadd    $0xfffffffffffffe00,%rsp"]), "520 bytes, more than 256: helper"),
    (obj(["       0:\tjmp    180 <helper>"], ["       0:\tsub    $0x200,%rsp"]), "more than 256: helper"),
    (obj(GOOD, ["       0:\tsub    %rax,%rsp"]), "variable size: helper"),
    (obj(GOOD, ["       0:\tand    $0xffffffffffffffe0,%rsp"]), "variable size: helper"),
    (obj(GOOD, ["       0:\tcall   *0x10(%rax)"]), "through a pointer: helper"),
    (obj(GOOD, ["       0:\tcall   5 <helper+0x5>", "\t\t\t1: R_X86_64_PLT32\t__x86_indirect_thunk_rax-0x4"]), "through a pointer: helper"),
    (obj(GOOD, SMALL, [*ENTRIES, "3net3ops9new_thing"]), "in none of the lists of scripts/stack.py: 3net3ops9new_thing"),
    (obj(GOOD, SMALL, ENTRIES[1:]), "no function is ndo_start_xmit"),
    (obj(["       0:\tcall   5 <x+0x5>", "\t\t\t1: R_X86_64_PLT32\t9multicast15distribute_sent-0x4"], SMALL), None),
    (obj(GOOD, ["       0:\txchg   %ax,%ax"]), None),
    (obj(GOOD, ["       0:\txchg   %rax,(%rdi)"]), "a locked instruction: helper"),
    (obj(GOOD, ["       0:\tlock cmpxchg %rdx,(%rdi)"]), "a locked instruction: helper"),
    (obj(GOOD, ["       0:\tcall   5 <x+0x5>", "\t\t\t1: R_X86_64_PLT32\trust_helper_atomic_fetch_add_relaxed-0x4"]), "helper calls rust_helper_atomic_fetch_add"),
    (obj(GOOD, ["       0:\tcall   5 <x+0x5>", "\t\t\t1: R_X86_64_PLT32\trust_helper_atomic64_read-0x4"]), None),
    (obj(GOOD, ["       0:\tcall   5 <x+0x5>", "\t\t\t1: R_X86_64_PLT32\t_raw_spin_lock_bh-0x4"]), "helper calls _raw_spin_lock_bh"),
    (obj(GOOD, SMALL).replace("distribute_sent", "spread"), "frames for many receivers part at"),
    (obj(by_section("+0x17c"), SMALL), None),
    (obj(by_section("+0x17c"), ["       0:\tsub    $0x100,%rsp"]), "264 bytes, more than 256: helper"),
    (obj(by_section("+0x17c"), ["       0:\tlock cmpxchg %rdx,(%rdi)"]), "a locked instruction: helper"),
    (obj(["       4:\tjmp    9 <x+0x9>", *by_section("+0x17c")[1:]], ["       0:\tsub    $0x100,%rsp"]), "264 bytes, more than 256: helper"),
    (obj(by_section("+0x180"), SMALL), "calls .text+0x180, where no function begins: 3net3ops10start_xmit"),
    ("", "no function at all"),
]


def main():
    blind = []
    for number, (text, expected) in enumerate(OBJECTS):
        run = subprocess.run([sys.executable, STACK], input=text, capture_output=True, text=True, check=False)
        if run.stderr:
            sys.exit(run.stderr)
        said = run.stdout
        if run.returncode != (expected is not None) or (expected or "ok - ") not in said:
            blind.append(f"object {number}, expected {expected!r}: {said[:300]!r}")
    for line in blind:
        print(f"# {line}")
    print(f"{'not ok' if blind else 'ok'} - the rule about stack frames sees its breaches ({len(OBJECTS)} objects)")
    return bool(blind)


sys.exit(main())
