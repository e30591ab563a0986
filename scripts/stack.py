#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""How much stack the module takes for a packet, and that packets for one receiver take no lock.

Reads what `objdump -t`, `objdump -r` and `objdump -dr --no-show-raw-insn` say of the linked
object, one after the other, from standard input. Whatever the kernel can call is a function
whose address is taken; those that it calls for packets are named here, and all functions of
the module that they call, directly, are the packet path. A frame is what a function pushes
and subtracts from the stack pointer, and its return address.

Prints two KTAP results. The first fails if a frame of the packet path is larger than LIMIT, if
its size is not known (a variable one), if a function there calls through a pointer, or if one
that the kernel can call is in none of the lists below. The second fails if there is a locked
instruction on the path, or a call of one of the kernel's that is one, apart from what only
frames for many receivers reach (MANY).
"""

import re
import sys

LIMIT = 256

# Called by the kernel for packets: (regular expression of the symbol, what it is).
PACKET = (
    (r"3net3ops10start_xmit", "ndo_start_xmit"),
    (r"3net10rx_handler5shell", "rx_handler of the master"),
    (r"3net3ops13header_create", "header_ops.create, for each packet that a slave's stack builds"),
    (r"3net9netfilter.*(hook|shell|input)|9netfilter5shell", "hook of mode L3S"),
    (r"3net6l3mdev", "l3mdev operations of mode L3S"),
)
# Called for other reasons, and not with a packet's stack below: (regular expression, why not).
OTHER = (
    (r"^(init_module|cleanup_module)$", "loading and unloading"),
    (r"3net3ops\d+(init|uninit|destroy|open|stop|change_mtu|change_rx_flags|set_rx_mode|fix_features)Nt", "RTNL or a work item"),
    (r"3net3ops\d+(vlan_rx_add_vid|vlan_rx_kill_vid|get_iflink|get_stats64|hwtstamp_get|hwtstamp_set)Nt", "user space's requests"),
    (r"3net3ops\d+(get_drvinfo|get_ts_info|get_msglevel|set_msglevel|get_link_ksettings)Nt", "ethtool"),
    (r"3net4link\d+(setup|newlink|changelink|dellink|validate|get_size|fill_info|get_link_net)Nt", "rtnetlink"),
    (r"3net8notifier4call", "notifiers: user space's requests; one address of a router's advertisement in softirq"),
    (r"3net9netfilter9leave_net", "the end of a namespace"),
    (r"4sync3rcu23drop_after_grace_period", "a callback of RCU"),
    (r"4sync4work3run", "a worker, which has a stack of its own"),
    (r"6kernel3fmt.*7Display3fmt", "printk"),
)
# Who may call through a pointer, since that leads out of the module:
# (regular expression of the caller, where to).
POINTERS = (
    (r"^ipvlan_rs_dev_hard_header$", "the master's header_ops"),
    (r"^ipvlan_rs_(mtu_exceeded|report_frag_needed|report_too_big|route6_holds)$", "the operations of a route"),
)

# Where frames for many receivers part from the others: they wait in a queue, which has a lock.
MANY = re.compile(r"9multicast.*(distribute_sent|distribute_received)$")
# An exchange with memory is locked without saying so.
LOCKED = re.compile(r"lock\b|xchg\s.*\(")
# The kernel's: on x86 these are such an instruction or more. Reading and setting are none.
LOCKED_CALL = re.compile(r"rust_helper_(atomic\w*_(fetch|add|sub|inc|dec|xchg|cmpxchg)|refcount_(inc|dec|add|sub)|spin_lock)|^_raw_\w*lock|^refcount_|^mutex_lock")

SYMBOL = re.compile(r"^([0-9a-f]{16}) .{7} (\S+)\s+[0-9a-f]{16} (?:\.hidden )?(\S+)$")
FUNCTION = re.compile(r"^([0-9a-f]{16}) <(.+)>:$")
RELOCATIONS = re.compile(r"^RELOCATION RECORDS FOR \[(.+)\]:$")
RELOCATION = re.compile(r"^\s*(?:[0-9a-f]+:\s+)?([0-9a-f]{16}\s+)?(R_X86_64_\w+)\s+(\S+?)(?:([+-])0x([0-9a-f]+))?$")
# Tables about the code that the kernel reads and never calls through.
NO_CALLS = re.compile(r"debug|mcount|patchable|orc|BTF|sites|altinstr|bug_table|smp_locks|comment|note|ibt")


class Function:
    def __init__(self, name):
        self.name, self.frame, self.calls, self.pointer, self.variable = name, 8, set(), False, False
        self.locked = False
        # Calls of what is no function's beginning.
        self.lost = set()


def read(lines):
    """The functions by name, and the names of those whose address is taken."""
    addresses, functions, taken = {}, {}, set()
    section, current, dynamic = "", None, 0
    text = ""

    def resolve(symbol, sign, offset, displaced=0):
        """The symbol there: a relocation may name a section, and how far into it."""
        number = int(offset or "0", 16) * (-1 if sign == "-" else 1) + displaced
        return addresses.get((symbol, number), symbol) if symbol.startswith(".") else symbol

    for line in lines:
        if match := SYMBOL.match(line):
            address, where, name = match.groups()
            if not name.startswith("."):
                addresses.setdefault((where, int(address, 16)), name)
        elif match := RELOCATIONS.match(line):
            section, current = match.group(1), None
        elif line.startswith("Disassembly of section "):
            text, section = line.split()[-1].rstrip(":"), ""
        elif match := FUNCTION.match(line):
            current = functions.setdefault(match.group(2), Function(match.group(2)))
        elif match := RELOCATION.match(line):
            _place, kind, symbol, sign, offset = match.groups()
            if current is None:
                if section and not NO_CALLS.search(section) and not section.startswith((".text", ".init.text", ".exit.text")):
                    taken.add(resolve(symbol, sign, offset))
            elif kind == "R_X86_64_PLT32":
                # A displacement counts from the end of its own four bytes.
                called = resolve(symbol, sign, offset, 4)
                if called.startswith("."):
                    current.lost.add(f"{symbol}{sign}0x{offset}" if offset else symbol)
                current.calls.add(called)
                current.pointer = current.pointer or called.startswith("__x86_indirect_thunk")
            elif symbol.startswith(".text") or (text, symbol) not in addresses:
                taken.add(resolve(symbol, sign, offset, 4 if kind == "R_X86_64_PC32" else 0))
        elif current is not None and "\t" in line:
            instruction(current, line.split("\t", 1)[1].strip())
    return functions, {name for name in taken if name in functions}


def instruction(current, text):
    current.locked = current.locked or bool(LOCKED.match(text))
    if re.match(r"push\b", text):
        current.frame += 8
    elif match := re.match(r"(sub|add)\s+\$0x([0-9a-f]+),%rsp", text):
        number = int(match.group(2), 16)
        if match.group(1) == "add":
            number = (1 << 64) - number if number >> 63 else 0
        current.frame += number
    elif re.match(r"(sub|and|lea|mov)\s.*,%rsp$", text):
        # Leaving by `lea -8(%rbp),%rsp` and the like takes back; alignment and alloca do not.
        current.variable = current.variable or not re.match(r"(lea\s+-?0x[0-9a-f]+\(%rbp\)|mov\s+%rbp),%rsp", text)
    elif match := re.match(r"(?:call|j\w+)\s+[0-9a-f]+ <([^>+]+)>", text):
        if match.group(1) != current.name:
            current.calls.add(match.group(1))
    elif re.match(r"(call|jmp)\s+\*", text):
        current.pointer = True


def deepest(functions, name, above=()):
    """The most stack that a call takes within the module, and its chain."""
    here = functions[name]
    chains = [deepest(functions, n, above + (name,)) for n in here.calls if n in functions and n not in above + (name,)]
    depth, chain = max(chains, default=(0, ()))
    return depth + here.frame, (name,) + chain


def reached(functions, roots, apart=None):
    """The functions of the module that these call, and so on, without those that match `apart`."""
    path, left = set(), list(roots)
    while left:
        name = left.pop()
        if name in path or name not in functions or (apart and apart.search(name)):
            continue
        path.add(name)
        left.extend(functions[name].calls)
    return path


def locks(functions, taken):
    """What is locked on the way of a packet for one receiver."""
    roots = [n for n in taken if any(re.search(p, n) for p, _ in PACKET)]
    for name in sorted(reached(functions, roots, MANY)):
        if functions[name].locked:
            yield f"a locked instruction: {name}"
        for call in sorted(functions[name].calls):
            if LOCKED_CALL.search(call):
                yield f"{name} calls {call}"
    # A name that changed would set everything apart, or nothing.
    if not any(MANY.search(n) for n in functions):
        yield f"no function is what frames for many receivers part at: {MANY.pattern}"


def judge(functions, taken):
    """What is wrong, and the figures."""
    roots = [n for n in taken if any(re.search(p, n) for p, _ in PACKET)]
    for name in sorted(taken - set(roots)):
        if not any(re.search(p, name) for p, _ in OTHER):
            yield f"in none of the lists of scripts/stack.py: {name}"
    for pattern, what in PACKET:
        if not any(re.search(pattern, n) for n in taken):
            yield f"no function is {what}: {pattern}"
    path = reached(functions, roots)
    for name in sorted(path):
        f = functions[name]
        if f.frame > LIMIT:
            yield f"{f.frame} bytes, more than {LIMIT}: {name}"
        for place in sorted(f.lost):
            yield f"calls {place}, where no function begins: {name}"
        if f.variable:
            yield f"a frame of variable size: {name}"
        if f.pointer and not any(re.search(p, name) for p, _ in POINTERS):
            yield f"calls through a pointer: {name}"
    if path:
        largest = max(path, key=lambda n: functions[n].frame)
        depth, chain = max(deepest(functions, n) for n in roots)
        print(f"# packet path: {len(path)} functions behind {len(roots)} entries; the largest frame has "
              f"{functions[largest].frame} bytes ({largest}); the deepest chain {depth} in {len(chain)} frames")


def main():
    functions, taken = read(sys.stdin.read().splitlines())
    wrong = list(judge(functions, taken)) if functions else ["no function at all: not the module's object"]
    for line in wrong[:200]:
        print(f"# {line}")
    print(f"{'not ok' if wrong else 'ok'} - no stack frame of the packet path is larger than {LIMIT} bytes")
    locked = list(locks(functions, taken))
    for line in locked[:200]:
        print(f"# {line}")
    print(f"{'not ok' if locked else 'ok'} - a packet for one receiver meets no locked instruction")
    return bool(wrong or locked)


if __name__ == "__main__":
    sys.exit(main())
