# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Evidence: what proves something prints how much of it there was, one line a kind:
#
#   # evidence: KIND | AMOUNT | RESULT
#
# Sourced, after lib.sh.

# scaled N: N times SCALE (1 if not set), at least 1.
scaled() { awk -v n="$1" -v scale="${SCALE:-1}" 'BEGIN { n = int(n * scale); print n < 1 ? 1 : n }'; }

# evidence LOG: the rows in a part's log, "KIND<tab>AMOUNT<tab>RESULT".
evidence() {
	tr -d '\r' <"$1" | sed -n 's/^ *# evidence: *//p' |
		awk -F' *[|] *' '{ print $1 "\t" $2 "\t" $3 }'
}

# unproven ROWS: why these, as of `evidence`, prove nothing; nothing if they do.
unproven() {
	if [[ -z $1 ]]; then
		echo "reported no evidence"
	elif [[ -n $(void <<<"$1") ]]; then
		echo "an amount of zero"
	fi
}

# passed LOG…: how many cases of ipvlan_rs did, in these outputs of the harness.
passed() { cat -- "$@" | grep -c '^ok [0-9]* ipvlan_rs:[^#]*# [0-9]* ms' || true; }

# void: the rows, on standard input, that prove nothing: no amount, or one that begins with zero.
void() { awk -F'\t' '$1 == "" || $2 !~ /[1-9]/ || $2 ~ /^0([^0-9.]|$)/ || $3 == ""'; }
