# shellcheck shell=bash disable=SC2034 # much here is for the scripts that source it
# SPDX-License-Identifier: GPL-2.0
# What every script here shares: where things live, how a step is shown, and how a
# command enters the Debian root. Sourced, never run.

set -euo pipefail

# chroot is there, and no plain user on Debian has it in the PATH.
PATH=$PATH:/usr/sbin:/sbin

SCRIPTS=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
TOP=${SCRIPTS%/*}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ipvlan-rs
LOGS=$CACHE/logs
JOBS=${JOBS:-$(nproc)}

# host_mirror: the Debian archive that this machine's own apt uses, without a slash at the
# end; nothing on a machine that is not Debian. Cloud images name a file of mirrors.
host_mirror() {
	local sources lists
	sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
		grep -E '^(URIs:|deb )' || :)
	mapfile -t lists < <(grep -oE 'mirror\+file:[^ ]*' <<<"$sources" | sed 's,^mirror+file:/*,/,')
	# grep's and head's exit codes say only what the output says too.
	{
		printf '%s\n' "$sources"
		cat "${lists[@]}" /dev/null 2>/dev/null
	} | grep -oE 'https?://[^ ]*/debian/?( |$)' | sed 's,/* *$,,' | head -n 1 || :
}

# Where the Debian packages come from.
MIRROR=${DEBIAN_MIRROR:-$(host_mirror)}

# A change to how setup makes things raises this; it is part of every key.
SETUP_VERSION=1

# What the root holds besides Debian's minimum. The kernel's own compilers are checked
# against its .config when a kernel is set up.
ROOT_PACKAGES=(
	rustc rust-src rustfmt rust-clippy cargo bindgen libclang-19-dev gcc-14 gcc libc6-dev make patch
	flex bison bc libelf-dev libssl-dev pahole python3 kmod cpio xz-utils zstd ca-certificates
	qemu-system-x86 busybox-static iproute2 shellcheck
)

# What a second, wider root holds besides: the compiler of kernels of our own, and the user
# land of virtme-ng's guest. Only who asks for one of those waits for it.
WIDE_PACKAGES=(
	clang-19 llvm-19 lld-19
	udev procps file jq iputils-ping ethtool python3-pip
)

# What a third root holds besides: what makes Debian packages, judges them, and makes the disk
# of the machine that they are tried in.
PACKAGING_PACKAGES=(
	dpkg-dev debhelper dh-dkms dkms fakeroot lintian piuparts mmdebstrap e2fsprogs libarchive13t64
	man-db mandoc
)

# root_packages [KIND]: what the root of that kind (wide, packaging) holds, one a line.
root_packages() {
	printf '%s\n' "${ROOT_PACKAGES[@]}"
	case ${1:-} in
	wide) printf '%s\n' "${WIDE_PACKAGES[@]}" ;;
	packaging) printf '%s\n' "${PACKAGING_PACKAGES[@]}" ;;
	esac
}

# root_key [KIND]: the root's directory; another list of packages is another root.
root_key() {
	local packages
	mapfile -t packages < <(root_packages "${1:-}")
	printf '%s-%s' "${1:-root}" "$(sha256sum <<<"$SETUP_VERSION $MIRROR ${packages[*]}" | cut -c 1-12)"
}

# choose_root: makes ROOT_KIND and ROOT known: the wide one for kernels of our own and where
# WIDE is set, the packaging one where PACKAGING is.
choose_root() {
	[[ ${KVER:-} != own-* ]] || WIDE=yes
	ROOT_KIND=${PACKAGING:+packaging}
	[[ -z ${WIDE:-} ]] || ROOT_KIND=wide
	ROOT=$CACHE/$(root_key "$ROOT_KIND")
}

# Inside the root the checkout and the cache have fixed names, so that neither cargo's
# fingerprints nor Kbuild's .cmd files depend on where this user keeps them.
IN_TOP=/checkout
IN_CACHE=/cache

# What no clean run has in its log. A line's own text is matched after the time stamp,
# since "Spectre V2 : WARNING: …" is boot-time advice, not a warning of the kernel's.
COMPLAINTS='(\] |^)(WARNING:|BUG:|Oops|kernel BUG|Kernel panic|general protection|INFO: (rcu|task|trying)|watchdog: BUG|refcount_t:|UBSAN:|list_(add|del) corruption|unreferenced object|ref_tracker:|Modules linked in|unregister_netdevice: waiting)|\] Call Trace:|\] RIP: |rcu_.*(self-detected stall|detected stalls|detected expedited stalls)|leaked reference|use-after-free|possible recursive locking|sleeping function called'

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
	BOLD='' RED='' GREEN='' DIM='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }

die() {
	printf '%serror:%s %s\n' "$RED" "$PLAIN" "$1" >&2
	shift
	(($# == 0)) || printf '       %s\n' "$@" >&2
	exit 1
}

# now: seconds since the epoch without a fork.
now() { printf '%(%s)T' -1; }

# ticker NAME LOG…: redraws NAME with its time and each log's last line once a second on
# a terminal, and says every half minute that it is alive elsewhere (CI kills silence); of
# several logs it says which.
ticker() {
	local name=$1 begun last width log of
	shift
	begun=$(now)
	# Its sleep may outlive a killed script, and must not hold the script's lock.
	[[ -z ${HELD:-} ]] || exec {HELD}>&-
	if [[ -t 1 ]]; then
		# A script that was interrupted cannot end it: background jobs ignore SIGINT.
		while sleep 1 && kill -0 $$ 2>/dev/null; do
			width=$(((${COLUMNS:-$(tput cols 2>/dev/null || echo 80)} - ${#name} - 14) / $# - 2))
			((width > 0)) || width=1
			printf '\r\e[K  %s %4d s%s' "$name" $(($(now) - begun)) "$DIM"
			for log; do
				last=$(tail -c 400 -- "$log" 2>/dev/null | tr '\r' '\n' | tr -cd '[:print:]\n' | tail -n 1)
				printf '  %s' "${last:0:width}"
			done
			printf '%s' "$PLAIN"
		done
	else
		while sleep 30 && kill -0 $$ 2>/dev/null; do
			for log; do
				last=$(tail -n 1 -- "$log" 2>/dev/null | tr -cd '[:print:]')
				of=${log##*/}
				(($# > 1)) || of=$name.log
				printf '    %s: %d s so far: %s\n' "${of%.log}" $(($(now) - begun)) "${last:0:100}"
			done
		done
	fi
}

# step NAME HINT COMMAND…: runs COMMAND with its output in a log, shows name, progress
# and time; on failure shows the log's end and HINT and ends the script.
step() {
	local name=$1 hint=$2 log begun tick rc
	shift 2
	mkdir -p "$LOGS"
	log=$LOGS/${name//[^A-Za-z0-9.+]/-}.log
	: >"$log"
	begun=$(now)
	[[ -t 1 ]] || say "  $name ..."
	ticker "$name" "$log" &
	tick=$!
	# Not in a condition: bash would switch errexit off inside the command.
	set +e
	(
		set -e
		trap - EXIT
		"$@"
	) >>"$log" 2>&1 </dev/null
	rc=$?
	set -e
	{ kill "$tick" && wait "$tick"; } 2>/dev/null || true
	[[ ! -t 1 ]] || printf '\r\e[K'
	if ((rc == 130 || rc == 143)); then
		printf '  %s: interrupted after %d s; what was complete is kept\n' "$name" $(($(now) - begun)) >&2
		exit $rc
	fi
	if ((rc != 0)); then
		printf '  %s%s: failed%s after %d s\n' "$RED" "$name" "$PLAIN" $(($(now) - begun)) >&2
		tail -n 20 -- "$log" | sed 's/^/    | /' >&2
		die "the step \"$name\" failed (exit $rc). Whole log: $log" "$hint"
	fi
	printf '  %s %s(%d s)%s\n' "$name" "$DIM" $(($(now) - begun)) "$PLAIN"
}

# hold LOCK WHAT: waits for, then holds an exclusive lock until this process ends.
# Children inherit the descriptor; they never outlive the script that starts them.
hold() {
	mkdir -p "$CACHE"
	exec {HELD}>"$CACHE/$1.lock"
	if ! flock -n "$HELD"; then
		say "  another run is $2; waiting for it to finish"
		flock "$HELD"
	fi
}

# need_env: makes ROOT, KVER and KERNEL known; setup must have run before. The default is not
# handed on to other scripts, which would take it for the user's choice (make exports KVER,
# empty or not).
need_env() {
	if [[ -z ${KVER:-} && -e $CACHE/default-kernel ]]; then
		export -n KVER
		KVER=$(<"$CACHE/default-kernel")
	fi
	choose_root
	KERNEL=$CACHE/kernel-${KVER:-none}
	[[ -e $ROOT/.complete && -e $KERNEL/.complete ]] ||
		die "the environment for kernel ${KVER:-(newest)} is not set up" "run: $SCRIPTS/setup"
}

# in_root [NAME=VALUE…] COMMAND…: runs COMMAND inside the Debian root, in a mount
# namespace of its own (and, without root, a user namespace): nothing leaks to the host.
in_root() {
	local way=()
	into_root way
	"${way[@]}" "$@"
}

# into_root ARRAY: the words that go before a command of in_root, for who must know the
# process itself: each of them execs the next.
into_root() {
	local -n words=$1
	words=(unshare)
	((EUID == 0)) || words+=(--user --map-root-user)
	words+=(--mount --propagation private
		bash "$SCRIPTS/enter" "$ROOT" "${KERNEL:-}" "$TOP" "$CACHE")
}

# models TARGET [ARGUMENT…]: the models of the table's concurrency, under loom: another configuration
# of the host's crate than its tests', hence another target directory, of that name in the cache.
models() {
	local target=$1
	shift
	in_root RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR="$IN_CACHE/$target" cargo test --locked --release --test loom "$@"
}

# project_version: the one number that all parts and packages have.
project_version() { sed -n '1s/.*(\(.*\)).*/\1/p' "$TOP/debian/changelog"; }

# module_sources: the files Kbuild reads, relative to the checkout, one a line.
module_sources() {
	(
		cd "$TOP"
		printf '%s\n' Kbuild ./*.rs
		find logic net sync sys -type f ! -name '.*' ! -name '*.o' ! -name '*.s' ! -name '*.rmeta' \
			! -path sys/bindings.rs ! -path sys/layout.rs
	) | sed 's|^\./||' | sort
}

# sync_sources DIRECTORY: brings DIRECTORY's copy of the module's sources up to date,
# touching only what differs, so that make rebuilds no more than it must.
sync_sources() {
	local dir=$1 file list
	mkdir -p "$dir"
	list=$(module_sources)
	if [[ -e $dir/.sources ]]; then
		comm -13 <(printf '%s\n' "$list") "$dir/.sources" | while read -r file; do
			rm -f -- "$dir/$file"
		done
	fi
	while read -r file; do
		cmp -s -- "$TOP/$file" "$dir/$file" && continue
		mkdir -p "$dir/$(dirname -- "$file")"
		cp -- "$TOP/$file" "$dir/$file"
	done <<<"$list"
	printf '%s\n' "$list" >"$dir/.sources"
}

# checkout_files: every file of the checkout that is or may be committed, each ended by NUL.
checkout_files() {
	local file
	cd "$TOP"
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files -z --cached --others --exclude-standard
	else
		find . -type f ! -path './target/*' ! -name '*.ko' -printf '%P\0'
	fi | while IFS= read -r -d '' file; do
		# A file deleted but not yet committed is listed too.
		[[ ! -f $file ]] || printf '%s\0' "$file"
	done
}
