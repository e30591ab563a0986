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

# void: the rows, on standard input, that prove nothing: no amount, or one that begins with zero.
void() { awk -F'\t' '$1 == "" || $2 !~ /[1-9]/ || $2 ~ /^0([^0-9.]|$)/ || $3 == ""'; }
