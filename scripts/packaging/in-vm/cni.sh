# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# CNI plugins, executed as a runtime does, with Debian's IPAM. Sourced after lib.sh.

CNI=/usr/lib/cni

# cni COMMAND CONTAINER CONFIGURATION: the plugin that it names.
cni() {
	local type
	type=$(jq -r .type <<<"$3")
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_PATH=$CNI "$CNI/$type" <<<"$3"
}

# network TYPE MODE [KEYS]: a configuration with host-local.
network() {
	jq -n --arg type "$1" --arg mode "$2" "{cniVersion: \"1.0.0\", name: \"n-$1-$2\", type: \$type, mode: \$mode, master: \"v0\",
		ipam: {type: \"host-local\", dataDir: \"/run/cni\", ranges: [[{subnet: \"192.0.2.0/24\", rangeStart: \"192.0.2.10\",
			rangeEnd: \"192.0.2.20\", gateway: \"192.0.2.254\"}]], routes: [{dst: \"0.0.0.0/0\"}]}} ${3:-}"
}

# attached CONFIGURATION: two containers get addresses, and reach each other and outside.
attached() {
	local n
	wire
	for n in 1 2; do
		ip netns add "p$n"
		cni ADD "p$n" "$1" >"$WORK/p$n.json"
		ip -n "p$n" -d addr show dev eth0
	done
	[[ $(jq -r '.ips[0].address' "$WORK/p1.json") == 192.0.2.10/24 ]]
	ip -n p1 route show default | grep "via 192.0.2.254 dev eth0"
	ip netns exec p1 ping -c 2 -W 5 192.0.2.11
	ip netns exec p2 ping -c 2 -W 5 192.0.2.254
	[[ $(ip netns exec p1 ethtool -i eth0 | sed -n 's/^driver: //p') == ipvlan_rs ]]
}

# detached CONFIGURATION: CHECK holds, DEL empties, twice, and CHECK then fails.
detached() {
	local n with
	with=$(jq --slurpfile result "$WORK/p1.json" '. + {prevResult: $result[0]}' <<<"$1")
	cni CHECK p1 "$with"
	for n in 1 2; do
		cni DEL "p$n" "$1"
		cni DEL "p$n" "$1"
		not ip -n "p$n" link show dev eth0
	done
	not cni CHECK p1 "$with"
	[[ -z $(find /run/cni -name '192.0.2.*') ]]
	ip netns del p1
	ip netns del p2
	unwire
}

cycle() {
	attached "$1"
	detached "$1"
}

# private_apart: the flag of which the reference plugin knows nothing.
private_apart() {
	local conf n
	conf=$(network ipvlan-rs l2 '+ {flag: "private"}')
	wire
	for n in 1 2; do
		ip netns add "p$n"
		cni ADD "p$n" "$conf" >"$WORK/p$n.json"
	done
	ip -n p1 -d link show dev eth0 | grep "mode l2 private"
	ip netns exec p1 ping -c 1 -W 5 192.0.2.254
	not ip netns exec p1 ping -c 1 -W 2 192.0.2.11
	detached "$conf"
}

# refusals: what is wrong is said, and an ADD that fails leaves neither link nor address.
refusals() {
	local conf out
	wire
	ip netns add p1
	conf=$(network ipvlan-rs l2 '+ {mtu: 9000}')
	if out=$(cni ADD p1 "$conf"); then echo "an MTU above the master's is accepted" && return 1; fi
	jq -e '.msg + .details | contains("MTU")' <<<"$out"
	if out=$(cni ADD p1 "$(network ipvlan-rs l2 '+ {master: "none"}')"); then return 1; fi
	jq -e '.msg + .details | contains("none does not exist")' <<<"$out"
	not ip -n p1 link show dev eth0
	[[ -z $(find /run/cni -name '192.0.2.*') ]]
	ip netns del p1
	unwire
}

# kept: an ADD repeated for a live container fails and leaves its address; DEL gives that back when the namespace is
# gone, with or without a file left in its place.
kept() {
	local conf left
	conf=$(network ipvlan-rs l2)
	wire
	for left in no yes; do
		ip netns add p1
		cni ADD p1 "$conf"
		not cni ADD p1 "$conf"
		[[ $(find /run/cni -name '192.0.2.*' | wc -l) == 1 ]]
		ip -n p1 -o addr show dev eth0 | grep "inet 192.0.2."
		ip netns del p1
		[[ $left == no ]] || : >/run/netns/p1
		cni DEL p1 "$conf"
		rm -f /run/netns/p1
		[[ -z $(find /run/cni -name '192.0.2.*') ]]
	done
	unwire
}

# newest: what version 1.1 of the specification adds, without IPAM: Debian's stops at 1.0.
newest() {
	local conf
	wire
	conf='{"cniVersion":"1.1.0","name":"n","type":"ipvlan-rs","master":"v0"}'
	CNI_COMMAND=VERSION "$CNI/ipvlan-rs" <<<'{"cniVersion":"1.1.0"}' | jq -e '.supportedVersions | index("1.1.0")'
	CNI_COMMAND=STATUS CNI_PATH=$CNI "$CNI/ipvlan-rs" <<<"$conf"
	CNI_COMMAND=GC CNI_PATH=$CNI "$CNI/ipvlan-rs" <<<"$(jq '. + {"cni.dev/valid-attachments": []}' <<<"$conf")"
	if out=$(CNI_COMMAND=STATUS CNI_PATH=$CNI "$CNI/ipvlan-rs" <<<"${conf/v0/none}"); then return 1; fi
	[[ $(jq .code <<<"$out") == 50 ]]
	unwire
}

cni_rows() {
	row "CNI ipvlan-rs" containernetworking-plugins "l2, host-local: ADD x2, traffic, CHECK, DEL x2" cycle "$(network ipvlan-rs l2)"
	row "CNI ipvlan-rs" containernetworking-plugins "private keeps containers apart" private_apart
	row "CNI ipvlan-rs" containernetworking-plugins "refused with the kernel's words, nothing left" refusals
	row "CNI ipvlan-rs" containernetworking-plugins "ADD again leaves the address, DEL without a namespace" kept
	row "CNI ipvlan-rs" ipvlan-rs-tools "VERSION, STATUS, GC of 1.1" newest
}
