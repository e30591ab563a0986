# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The kernel half of setup: which kernel, its packages, its Rust metadata, and what a
# guest boots. Each function runs in a step with ROOT, KVER and KERNEL (the directory
# being made) set.

# shellcheck source=kdir/source.sh
. "$TOP/kdir/source.sh"

# in_apt DIRECTORY ARGUMENT…: apt-get as the root's only user, who may not become _apt.
in_apt() {
	local dir=$1
	shift
	in_root env -C "$dir" apt-get -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}

# kernel_key: what a kernel was made from, besides what its name says.
kernel_key() {
	printf '%s %s\n' "$(root_key)" "$SETUP_VERSION"
	[[ ${KVER:-} != own-* ]] || cat "$CACHE/kernel-$(<"$CACHE/default-kernel")/version" "$(own_fragment)"
}

# kernel_ready: whether the root and the kernel asked for are there and of this version.
kernel_ready() {
	local kver=${KVER:-}
	[[ -n $kver || ! -s $CACHE/default-kernel ]] || kver=$(<"$CACHE/default-kernel")
	[[ -n $kver && -e $ROOT/.complete && -s $CACHE/kernel-$kver/.complete ]] &&
		[[ $(<"$CACHE/kernel-$kver/.complete") == "$(kernel_key)" ]]
}

# version_of PACKAGE: the newest version apt offers.
version_of() {
	in_root apt-cache madison "$1" | awk -F' *[|] *' 'NR == 1 { print $2 }'
}

# choose_kernel: the newest cloud kernel whose source is still offered in the very same
# version (backports drops old ones) goes to default-kernel.
choose_kernel() {
	local name kver version
	in_apt / update
	while read -r name; do
		kver=${name#linux-headers-}
		version=$(version_of "$name")
		echo "candidate $kver $version"
		if in_root apt-cache show "linux-source-$(series "$version")=$version" >/dev/null; then
			printf '%s\n' "$kver" >"$CACHE/default-kernel.new"
			mv "$CACHE/default-kernel.new" "$CACHE/default-kernel"
			return
		fi
	done < <(in_root apt-cache search --names-only '^linux-headers-[0-9].*[0-9]-cloud-amd64$' |
		awk '{ print $1 }' | sort -rV)
	echo "no cloud kernel with its source found"
	return 1
}

# rust_kernels: every kernel that apt offers with its headers, and that has CONFIG_RUST: Debian's
# since 7.2. What a .config says is checked when a kernel is set up.
rust_kernels() {
	in_root apt-cache search --names-only '^linux-headers-[0-9].*-amd64$' |
		sed -n 's/^linux-headers-\([0-9][^ ]*\) .*/\1/p' | awk -F. '$1 > 7 || $1 == 7 && $2 >= 2' | sort -V
}

# series VERSION: 7.3 of 7.3.4-1~bpo13+1.
series() { [[ $1 =~ ^([0-9]+\.[0-9]+) ]] && printf '%s' "${BASH_REMATCH[1]}"; }

# closure VERSION PACKAGE…: the packages and what of the same kernel build they depend on.
closure() {
	local version=$1 todo seen=' ' name dep
	shift
	todo=("$@")
	while ((${#todo[@]})); do
		name=${todo[0]}
		todo=("${todo[@]:1}")
		[[ $seen != *" $name "* ]] || continue
		seen+="$name "
		printf '%s=%s\n' "$name" "$version"
		while read -r dep; do
			[[ -z $(in_root apt-cache show "$dep=$version" 2>/dev/null) ]] || todo+=("$dep")
		done < <(in_root apt-cache show "$name=$version" |
			sed -n 's/^\(Pre-\)\?Depends: //p' | tr ',|' '\n' | grep -oE '^ *linux-[^ ]+' | tr -d ' ')
	done
}

fetch_kernel() {
	local version
	version=$(version_of "linux-headers-$KVER")
	if [[ -z $version ]]; then
		in_apt / update
		version=$(version_of "linux-headers-$KVER")
	fi
	[[ -n $version ]] || { echo "apt offers no linux-headers-$KVER"; return 1; }
	mkdir -p "$KERNEL/debs" "$KERNEL/pkg"
	local list
	list=$(closure "$version" "linux-headers-$KVER" "linux-image-$KVER" "linux-source-$(series "$version")")
	echo "$list"
	# shellcheck disable=SC2086 # one word per package
	in_apt "$IN_CACHE/${KERNEL##*/}/debs" download $list
	local deb
	for deb in "$KERNEL"/debs/*.deb; do
		[[ $deb != */linux-source-* ]] || continue
		in_root dpkg-deb -x "$IN_CACHE/${deb#"$CACHE/"}" "$IN_CACHE/${KERNEL##*/}/pkg"
	done
	printf '%s\n' "$version" >"$KERNEL/version"
}

# kdir COMMAND OPTION…: the tool that users have, in the root, for KVER.
kdir() { in_root "$IN_TOP/kdir/ipvlan-rs-kdir" "$@" "$KVER"; }

# check_kernel: refuses a kernel that this root cannot build Rust modules for, by name of
# the missing thing. That the metadata is missing (3) is what setup is for.
check_kernel() {
	local rc=0
	kdir check || rc=$?
	((rc == 0 || rc == 3)) || die "kernel $KVER cannot be used: see above"
}

# build_metadata: what Debian leaves out, put beside the unpacked headers. METADATA_WORK is a
# directory of the cache that flavours of one version share, one after another: make then
# repeats only what depends on the configuration.
build_metadata() {
	local inside=$IN_CACHE/${KERNEL##*/} deb work=${METADATA_WORK:-$KERNEL}
	deb=$(echo "$KERNEL"/debs/linux-source-*.deb)
	kdir build --source "$inside/debs/${deb##*/}" --work "$IN_CACHE/${work#"$CACHE/"}" --jobs "$JOBS" \
		--output "/usr/src/linux-headers-$KVER"
	keep_for_editors "$work"
}

# keep_for_editors WORK: the sources that those crates were compiled from, and the kernel's own
# description of them, for scripts/rust-analyzer.
keep_for_editors() {
	local work=$1 inside=$IN_CACHE/${1#"$CACHE/"} to=$KERNEL/rust-src cc
	cc=$(config_value "$work/build/.config" CC_VERSION_TEXT)
	cc=${cc%% *}
	mkdir -p "$to/build/rust"
	in_root make -C "$inside/source" O="$inside/build" CC="$cc" CROSS_COMPILE="${cc%gcc*}" rust-analyzer
	# Under the names that they have here, wherever they were made.
	sed "s|\"$inside/|\"$IN_CACHE/${KERNEL##*/}/|g" "$work/build/rust-project.json" >"$to/kernel.json"
	mkdir -p "$to/source"
	cp -a "$work/source/rust" "$to/source/"
	(cd "$work/build/rust" && find . \( -name '*.rs' -o -name '*.so' \) -print0 | tar --null -cT - -f -) |
		tar -C "$to/build/rust" -xf -
}

# Modules a guest may want, by name; their dependencies follow.
GUEST_MODULES=(
	veth dummy ipvlan ipvtap macvlan macvtap bridge bonding 8021q vxlan geneve vrf tun ifb team
	pktgen br_netfilter nf_tables nft_ct nft_nat nft_masq nft_compat nft_reject_inet nft_fib_inet
	nft_chain_nat nf_conntrack nf_nat sch_ingress sch_netem sch_fq sch_fq_codel cls_matchall cls_u32 cls_flower
	cls_bpf act_mirred act_gact act_police ip_gre ip6_gre ipip sit ip_vti xfrm_interface esp4 esp6
)

# make_guest RELEASE: takes the image and the modules that a guest may want out of pkg/.
make_guest() {
	local release=$1 modules image
	mkdir -p "$KERNEL/guest/stage/modules"
	image=$(find "$KERNEL/pkg" -name "vmlinuz*" -type f | head -n 1)
	[[ -n $image ]] || { echo "no kernel image in the packages"; return 1; }
	cp "$image" "$KERNEL/guest/vmlinuz"
	modules=$(find "$KERNEL/pkg" -path "*/modules/$release/kernel" | head -n 1)
	modules=${modules%/kernel}
	# depmod wants lib/modules below its base.
	mkdir -p "$KERNEL/pkg/lib"
	[[ $modules == "$KERNEL/pkg/lib/"* ]] || ln -sfn ../usr/lib/modules "$KERNEL/pkg/lib/modules"
	in_root depmod -b "$IN_CACHE/${KERNEL##*/}/pkg" "$release"
	# One line per module, "name: what to load before it, in order"; modules.dep lists
	# the dependencies nearest last.
	awk -v wanted="${GUEST_MODULES[*]}" '
		function base(path) { sub(/.*\//, "", path); sub(/\.ko.*/, "", path); gsub(/-/, "_", path); return path }
		{ sub(/:/, "", $1); name = base($1); file[name] = $1; order = ""
		  for (i = NF; i > 1; i--) order = order " " base($i)
		  deps[name] = order }
		END {
			n = split(wanted, want, " ")
			for (i = 1; i <= n; i++) {
				if (!(want[i] in file)) { print "not in this kernel (or built in): " want[i] >"/dev/stderr"; continue }
				take[want[i]] = 1
				m = split(deps[want[i]], d, " ")
				for (j = 1; j <= m; j++) take[d[j]] = 1
			}
			for (name in take) print name ":" deps[name] "\t" file[name]
		}' "$modules/modules.dep" | sort >"$KERNEL/guest/list"
	local name file
	while IFS=$'\t' read -r name file; do
		name=${name%%:*}
		case $file in
		*.xz) in_root xz -dc "$IN_CACHE/${modules#"$CACHE/"}/$file" ;;
		*.zst) in_root zstd -qdc "$IN_CACHE/${modules#"$CACHE/"}/$file" ;;
		*.gz) gzip -dc "$modules/$file" ;;
		*) cat "$modules/$file" ;;
		esac >"$KERNEL/guest/stage/modules/$name.ko"
	done <"$KERNEL/guest/list"
	cut -f 1 "$KERNEL/guest/list" >"$KERNEL/guest/stage/modules/load-order"
	in_root sh -c "cd $IN_CACHE/${KERNEL##*/}/guest/stage && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0 >../modules.cpio"
	rm -rf -- "$KERNEL/guest/stage" "$KERNEL/guest/list"
}
