# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# For the programs that run in the machine: results go to the second serial line (or to ROWS),
# one row for each thing that was done; what a row's commands say follows it if they failed.
# Sourced.

exec >"${ROWS:-/dev/ttyS1}" 2>&1 </dev/null
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
CHECK=/check
WORK=/root/check
mkdir -p "$WORK"

# wanted TEXT: whether a row is to be taken: all are, unless /check/only names texts.
wanted() {
	local part parts
	IFS=, read -ra parts <"$CHECK/only"
	((${#parts[@]})) || return 0
	for part in "${parts[@]}"; do [[ $1 != *"$part"* ]] || return 0; done
	return 1
}

# row TOOL PACKAGE WHAT COMMAND…: one result. PACKAGE tells the version.
row() {
	local tool=$1 package=$2 what=$3 log=$WORK/row.log rc=0 version begun=$SECONDS
	shift 3
	[[ -n ${ROWS:-} ]] || wanted "$tool: $what" || return 0
	# Not in a condition: bash would switch errexit off inside the command.
	(set -e; "$@") >"$log" 2>&1
	rc=$?
	version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null || echo -)
	if ((rc == 0)); then
		echo "row|ok|$tool|$version|$what|$((SECONDS - begun)) s"
	else
		echo "row|FAILED|$tool|$version|$what|exit $rc"
		tail -n 60 "$log" | sed 's/^/    | /'
		[[ -n ${ROWS:-} ]] || clear_up
	fi
}

# clear_up: after a row that failed, so that it fails alone.
clear_up() {
	local ns
	for ns in out c1 c2 p1 p2; do ip netns del "$ns"; done
	ip link del v0
	ip link del nd0
	rm -rf /run/cni
	for ns in podman docker; do "$ns" rm -f b1 b2 && "$ns" network rm pnet dnet; done
	modprobe -r ipvlan_rs ipvlan
} >/dev/null 2>&1

# not COMMAND…: it must fail; `! COMMAND` alone would not end a row.
not() { if "$@"; then echo "succeeded, and must not: $*" && return 1; fi; }

# finish: the last line, without which the machine has died.
finish() {
	[[ -n ${ROWS:-} ]] || dmesg | grep -E "$(<"$CHECK/complaints")" | sed 's/^/kernel: /'
	echo "finished"
	sync
}

install_debs() { apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; }

# wire: a card with a host behind it: the master v0 here, v1 (192.0.2.254) in the namespace out.
wire() {
	ip netns add out
	ip link add v0 type veth peer name v1 netns out
	ip link set v0 up
	ip -n out addr add 192.0.2.254/24 dev v1
	ip -n out link set v1 up
	ip -n out link set lo up
}

unwire() {
	ip netns del out
	# The veth goes some time after its namespace.
	for _ in $(seq 50); do [[ -e /sys/class/net/v0 ]] || return 0; sleep 0.2; done
	return 1
}

# slaves KIND: two on v0 that reach each other and the outside, and whose driver is ours.
slaves() {
	local n
	for n in 1 2; do
		ip netns add "c$n"
		ip link add link v0 name s0 netns "c$n" type "$1" mode l2
		ip -n "c$n" addr add "192.0.2.$n/24" dev s0
		ip -n "c$n" link set s0 up
	done
	[[ $(ip netns exec c1 ethtool -i s0 | sed -n 's/^driver: //p') == ipvlan_rs ]]
	ip -n c1 -d link show dev s0 | grep -q "$1  *mode l2"
	ip netns exec c1 ping -c 3 -W 5 192.0.2.2
	ip netns exec c2 ping -c 3 -W 5 192.0.2.254
	ip netns del c1
	ip netns del c2
}

# hide MODULE: its file, until the row ends. What depmod wrote still names it.
declare -A hidden=()
hide() {
	local file
	file=$(modinfo -n "$1")
	hidden[$file]=$WORK/hidden.${#hidden[@]}
	trap unhide EXIT
	mv "$file" "${hidden[$file]}"
}

unhide() {
	local file
	for file in "${!hidden[@]}"; do mv "${hidden[$file]}" "$file"; done
	depmod
}

# no_module: neither driver is loaded.
no_module() {
	modprobe -r ipvlan_rs
	[[ ! -e /sys/module/ipvlan_rs && ! -e /sys/module/ipvlan ]]
}

# by_name: the module that DKMS has made for this kernel is loaded, and used.
by_name() {
	modinfo -F filename ipvlan_rs | grep "/$(uname -r)/updates/dkms/"
	modprobe ipvlan_rs
	grep -q '^ipvlan_rs ' /proc/modules
	wire
	slaves ipvlan_rs
	unwire
	no_module
}
