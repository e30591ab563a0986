# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# CNI plugins, executed as a runtime does, with Debian's IPAM. Sourced after lib.sh.

CNI=/usr/lib/cni

# cni COMMAND CONTAINER CONFIGURATION: the plugin that it names. NETNS, if set, is told as the namespace.
cni() {
	local type
	type=$(jq -r .type <<<"$3")
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=${NETNS-/run/netns/$2} CNI_IFNAME=eth0 CNI_PATH=$CNI "$CNI/$type" <<<"$3"
}

# network TYPE MODE [KEYS]: a configuration with host-local.
network() {
	jq -n --arg type "$1" --arg mode "$2" "{cniVersion: \"1.0.0\", name: \"n-$1-$2\", type: \$type, mode: \$mode, master: \"v0\",
		ipam: {type: \"host-local\", dataDir: \"/run/cni\", ranges: [[{subnet: \"192.0.2.0/24\", rangeStart: \"192.0.2.10\",
			rangeEnd: \"192.0.2.20\", gateway: \"192.0.2.254\"}]], routes: [{dst: \"0.0.0.0/0\"}]}} ${3:-}"
}

# two CONFIGURATION: the containers p1 and p2 behind a wire, and what ADD said of each.
two() {
	local n
	wire
	for n in 1 2; do
		ip netns add "p$n"
		cni ADD "p$n" "$1" >"$WORK/p$n.json"
		ip -n "p$n" -d addr show dev eth0
	done
}

# after_add CONFIGURATION: the same for p1's CHECK, with what ADD said.
after_add() { jq --slurpfile result "$WORK/p1.json" '. + {prevResult: $result[0]}' <<<"$1"; }

# attached CONFIGURATION: two containers get addresses, and reach each other and outside.
attached() {
	two "$1"
	[[ $(jq -r '.ips[0].address' "$WORK/p1.json") == 192.0.2.10/24 ]]
	ip -n p1 route show default | grep "via 192.0.2.254 dev eth0"
	ip netns exec p1 ping -c 2 -W 5 192.0.2.11
	ip netns exec p2 ping -c 2 -W 5 192.0.2.254
	[[ $(ip netns exec p1 ethtool -i eth0 | sed -n 's/^driver: //p') == ipvlan_rs ]]
}

# detached CONFIGURATION: CHECK holds, DEL empties, twice, and CHECK then fails.
detached() {
	local n with
	with=$(after_add "$1")
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
	local conf
	conf=$(network ipvlan-rs l2 '+ {flag: "private"}')
	two "$conf"
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
# gone, with or without a file left in its place, or is not told.
kept() {
	local conf left
	conf=$(network ipvlan-rs l2)
	wire
	for left in no yes untold; do
		ip netns add p1
		cni ADD p1 "$conf"
		not cni ADD p1 "$conf"
		[[ $(find /run/cni -name '192.0.2.*' | wc -l) == 1 ]]
		ip -n p1 -o addr show dev eth0 | grep "inet 192.0.2."
		ip netns del p1
		case $left in
		no) cni DEL p1 "$conf" ;;
		yes) : >/run/netns/p1 && cni DEL p1 "$conf" ;;
		untold) NETNS='' cni DEL p1 "$conf" ;;
		esac
		rm -f /run/netns/p1
		[[ -z $(find /run/cni -name '192.0.2.*') ]]
	done
	unwire
}

# rolled_back: an ADD that fails when it has an address already (here it is the master's) gives that back, and the link.
rolled_back() {
	local conf out
	# The one address that there is to give.
	conf=$(network ipvlan-rs l2 '| .name = "n-one" | .ipam.ranges[0][0].rangeEnd = "192.0.2.10"')
	wire
	ip addr add 192.0.2.10/24 dev v0
	ip netns add p1
	if out=$(cni ADD p1 "$conf"); then echo "the master's address is accepted" && return 1; fi
	jq -e '.msg + .details | contains("192.0.2.10")' <<<"$out"
	not ip -n p1 link show dev eth0
	[[ -z $(find /run/cni -name '192.0.2.*') ]]
	ip addr del 192.0.2.10/24 dev v0
	cni ADD p1 "$conf"
	cni DEL p1 "$conf"
	ip netns del p1
	unwire
}

# between MODE: containers in a mode without neighbours reach each other.
between() {
	local conf
	conf=$(network ipvlan-rs "$1")
	two "$conf"
	ip -n p1 -d link show dev eth0 | grep "ipvlan_rs  *mode $1 "
	ip netns exec p1 ping -c 2 -W 5 "$(jq -r '.ips[0].address | split("/")[0]' "$WORK/p2.json")"
	detached "$conf"
}

# six: an IPv6 address, which the link has for good when ADD returns.
six() {
	local conf
	conf=$(network ipvlan-rs l2 '| .ipam.ranges = [[{subnet: "2001:db8:7::/64", gateway: "2001:db8:7::fe"}]] | .ipam.routes = [{dst: "::/0"}]')
	wire
	ip -n out addr add 2001:db8:7::fe/64 dev v1 nodad
	ip netns add p1
	cni ADD p1 "$conf" >"$WORK/p1.json"
	ip -n p1 -6 addr show dev eth0 | grep 2001:db8:7::
	not grep tentative <(ip -n p1 -6 addr show dev eth0 scope global)
	ip netns exec p1 ping -6 -c 2 -W 5 2001:db8:7::fe
	cni CHECK p1 "$(after_add "$conf")"
	[[ -n $(find /run/cni -name '2001*') ]]
	cni DEL p1 "$conf"
	[[ -z $(find /run/cni -name '2001*') ]]
	ip netns del p1
	unwire
}

# keys: the flag vepa, an MTU of its own, name servers, and the card of the main table's default route.
keys() {
	local conf
	conf=$(network ipvlan-rs l2 '+ {flag: "vepa", mtu: 1400, dns: {nameservers: ["192.0.2.53"]}} | del(.master)')
	wire
	ip link add nd0 type dummy
	ip link set nd0 up
	ip route add default dev nd0 table 100
	ip route add default dev nd0 table 1000
	ip netns add p1
	# Before that of the machine's own card.
	ip route add default via 192.0.2.254 dev v0 onlink metric 1
	cni ADD p1 "$conf" >"$WORK/p1.json"
	ip route del default via 192.0.2.254 dev v0 metric 1
	# host-local knows none.
	jq -e '.dns.nameservers == ["192.0.2.53"]' "$WORK/p1.json"
	ip -n p1 -d link show dev eth0 | grep "mtu 1400"
	ip -n p1 -d link show dev eth0 | grep "mode l2 vepa"
	[[ $(ip -n p1 -j link show dev eth0 | jq '.[0].link_index') == $(cat /sys/class/net/v0/ifindex) ]]
	cni DEL p1 "$conf"
	ip netns del p1
	ip link del nd0
	unwire
}

# inside: the master is in the container.
inside() {
	local conf
	conf=$(network ipvlan-rs l2 '+ {master: "d0", linkInContainer: true}')
	ip netns add p1
	ip -n p1 link add d0 type dummy
	ip -n p1 link set d0 up
	cni ADD p1 "$conf" >"$WORK/p1.json"
	ip -n p1 link show dev eth0 | grep "eth0@d0"
	cni CHECK p1 "$(after_add "$conf")"
	cni DEL p1 "$conf"
	not ip -n p1 link show dev eth0
	ip netns del p1
}

# changed: CHECK notices each setting, address and route that is not as ADD left it.
changed() {
	local conf with
	conf=$(network ipvlan-rs l2 '+ {flag: "bridge"}')
	wire
	ip netns add p1
	cni ADD p1 "$conf" >"$WORK/p1.json"
	with=$(after_add "$conf")
	cni CHECK p1 "$with"
	# once CHANGE… -- UNDO…: the change is noticed, and only the change.
	once() {
		local change=()
		while [[ $1 != -- ]]; do change+=("$1") && shift; done
		shift
		"${change[@]}"
		not cni CHECK p1 "$with"
		"$@"
		cni CHECK p1 "$with"
	}
	# A port's settings are the master's namespace's to change: a link there lends itself.
	ip link add peer link v0 type ipvlan_rs mode l2
	once ip link set peer type ipvlan_rs mode l3 -- ip link set peer type ipvlan_rs mode l2
	once ip link set peer type ipvlan_rs private -- ip link set peer type ipvlan_rs bridge
	ip link del peer
	once ip -n p1 route replace default via 192.0.2.253 dev eth0 -- ip -n p1 route replace default via 192.0.2.254 dev eth0
	ip -n p1 addr del "$(jq -r ".ips[0].address" "$WORK/p1.json")" dev eth0
	not cni CHECK p1 "$with"
	cni DEL p1 "$conf"
	ip netns del p1
	unwire
}

# on_link: a route that has no gateway gets one, which CHECK notices; another route is no business of its.
on_link() {
	local conf with
	conf=$(network ipvlan-rs l2 '| .ipam = {type: "static", addresses: [{address: "192.0.2.10/24"}], routes: [{dst: "203.0.113.0/24"}]}')
	wire
	ip netns add p1
	cni ADD p1 "$conf" >"$WORK/p1.json"
	with=$(after_add "$conf")
	cni CHECK p1 "$with"
	ip -n p1 route add default via 192.0.2.254 dev eth0
	ip -n p1 route add 203.0.113.0/24 via 192.0.2.254 dev eth0 metric 7
	cni CHECK p1 "$with"
	ip -n p1 route del 203.0.113.0/24 dev eth0 metric 0
	not cni CHECK p1 "$with"
	cni DEL p1 "$conf"
	ip netns del p1
	unwire
}

# chained: after another plugin, whose part of the result stays as it was.
chained() {
	local conf before
	before='{"interfaces": [{"name": "lo", "sandbox": "/run/netns/p1"}],
		"ips": [{"interface": 0, "address": "198.51.100.1/32"}], "routes": [{"dst": "203.0.113.0/24", "gw": "192.0.2.254"}],
		"dns": {"nameservers": ["198.51.100.53"]}}'
	conf=$(network ipvlan-rs l2 | jq --argjson before "$before" '. + {prevResult: $before}')
	wire
	ip netns add p1
	ip -n p1 link set lo up
	ip -n p1 addr add 198.51.100.1/32 dev lo
	cni ADD p1 "$conf" >"$WORK/p1.json"
	jq -e --argjson before "$before" '.interfaces[0] == $before.interfaces[0] and .ips[0] == $before.ips[0] and
		.interfaces[1].name == "eth0" and .ips[1].interface == 1 and (.routes | length) == 2 and .dns == $before.dns' "$WORK/p1.json"
	# Without a match ip succeeds, and prints nothing.
	[[ -z $(ip -n p1 addr show dev eth0 to 198.51.100.1) ]]
	ip -n p1 route add 203.0.113.0/24 via 192.0.2.254
	cni CHECK p1 "$(after_add "$conf")"
	cni DEL p1 "$conf"
	ip netns del p1
	unwire
}

# newest: what version 1.1 of the specification adds. Debian's IPAM stops at 1.0, so another one writes down what it
# is asked.
newest() {
	local conf path=$WORK/fake:$CNI
	wire
	mkdir -p "$WORK/fake"
	cat >"$WORK/fake/fake" <<-END
		#!/bin/sh
		echo "\$CNI_COMMAND \$(cat)" >>$WORK/fake/asked
		[ ! -e $WORK/fake/ill ] || { echo '{"code": 51, "msg": "full"}'; exit 1; }
	END
	chmod +x "$WORK/fake/fake"
	conf='{"cniVersion":"1.1.0","name":"n","type":"ipvlan-rs","master":"v0","ipam":{"type":"fake"}}'
	CNI_COMMAND=VERSION "$CNI/ipvlan-rs" <<<'{"cniVersion":"1.1.0"}' | jq -e '.supportedVersions | index("1.1.0")'
	CNI_COMMAND=STATUS CNI_PATH=$path "$CNI/ipvlan-rs" <<<"$conf"
	grep -q '^STATUS .*"fake"' "$WORK/fake/asked"
	CNI_COMMAND=GC CNI_PATH=$path "$CNI/ipvlan-rs" <<<"$(jq -c '. + {"cni.dev/valid-attachments": [{containerID: "kept", ifname: "eth0"}]}' <<<"$conf")"
	grep -q '^GC .*"containerID":"kept"' "$WORK/fake/asked"
	: >"$WORK/fake/ill"
	if out=$(CNI_COMMAND=STATUS CNI_PATH=$path "$CNI/ipvlan-rs" <<<"$conf"); then return 1; fi
	[[ $(jq .code <<<"$out") == 51 ]]
	if out=$(CNI_COMMAND=STATUS CNI_PATH=$path "$CNI/ipvlan-rs" <<<"${conf/v0/none}"); then return 1; fi
	[[ $(jq .code <<<"$out") == 50 ]]
	# What modprobe would carry out is no module.
	if out=$(CNI_COMMAND=STATUS CNI_PATH=$path "$CNI/ipvlan-rs" <<<"$(jq -c '. + {kind: "no_such"}' <<<"$conf")"); then return 1; fi
	[[ $(jq .code <<<"$out") == 50 ]]
	rm -r "$WORK/fake"
	unwire
}

# status CONFIGURATION: what is printed if it fails.
status() { CNI_COMMAND=STATUS CNI_PATH=$CNI "$CNI/ipvlan-rs" <<<"$1"; }

# no_driver: with the drop-in's configuration modprobe has a command for the kind ipvlan, whatever is there to load.
no_driver() {
	local conf out
	conf='{"cniVersion":"1.1.0","name":"n","type":"ipvlan-rs","master":"v0","kind":"ipvlan"}'
	dropin
	no_module
	wire
	status "$conf"
	hide ipvlan_rs
	# In-tree ipvlan serves.
	status "$conf"
	hide ipvlan
	# What depmod wrote still names them.
	for _ in stale fresh; do
		if out=$(status "$conf"); then echo "STATUS without a module" && return 1; fi
		jq -e '.code == 50 and (.msg + .details | contains("ipvlan-rs-dkms") and contains("ipvlan-rs-kdir check"))' <<<"$out"
		depmod
	done
	unwire
}

cni_rows() {
	row "CNI ipvlan-rs" containernetworking-plugins "l2, host-local: ADD x2, traffic, CHECK, DEL x2" cycle "$(network ipvlan-rs l2)"
	row "CNI ipvlan-rs" containernetworking-plugins "private keeps containers apart" private_apart
	row "CNI ipvlan-rs" containernetworking-plugins "refused with the kernel's words, nothing left" refusals
	row "CNI ipvlan-rs" containernetworking-plugins "ADD again leaves the address, DEL without a namespace" kept
	row "CNI ipvlan-rs" containernetworking-plugins "an ADD that fails late gives its address back" rolled_back
	row "CNI ipvlan-rs" containernetworking-plugins "l3" between l3
	row "CNI ipvlan-rs" containernetworking-plugins "l3s" between l3s
	row "CNI ipvlan-rs" containernetworking-plugins "IPv6, settled when ADD returns" six
	row "CNI ipvlan-rs" containernetworking-plugins "vepa, an MTU, name servers, the default route's card" keys
	row "CNI ipvlan-rs" containernetworking-plugins "linkInContainer" inside
	row "CNI ipvlan-rs" containernetworking-plugins "CHECK notices what changed" changed
	row "CNI ipvlan-rs" containernetworking-plugins "CHECK: a gateway where there was none, routes of others" on_link
	row "CNI ipvlan-rs" containernetworking-plugins "after another plugin of a chain" chained
	row "CNI ipvlan-rs" ipvlan-rs-tools "VERSION, STATUS, GC of 1.1" newest
}
