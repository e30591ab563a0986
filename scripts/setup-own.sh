# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Kernels of our own: built from the very source of the stock kernel with a fragment of
# scripts/kernels/, and kept in the shape of a stock one, so that KVER=own-NAME works
# wherever a KVER does. A fragment's "# make:" names the toolchain for the kernel and for
# modules, its "# memory:" how much a guest with it needs, its "# image:" what is booted if not
# x86's bzImage, and its "# rustflags:" what modules in Rust are compiled with besides.
#
#   source-VERSION/    the stock kernel's source, for all of them
#   kernel-own-NAME/   build/ what modules are built against; guest/ its image and modules;
#                      make, mem, rustflags: the fragment's words

# own_fragment: the fragment of the kernel that KVER names.
own_fragment() { printf '%s/kernels/%s.config' "$SCRIPTS" "${KVER#own-}"; }

# own_words FIELD: what the fragment says there.
own_words() { sed -n "s/^# $1: *//p" "$(own_fragment)"; }

# stock_version: the package version of the default kernel.
stock_version() { cat "$CACHE/kernel-$(<"$CACHE/default-kernel")/version"; }

# setup_own: makes the kernel that KVER names; the default kernel is there already.
setup_own() {
	local free version
	version=$(stock_version)
	setup_source "$version"
	free=$(df --output=avail -BG "$CACHE" | tail -n 1 | tr -dc 0-9)
	((free >= 8)) || say "  note: only $free GB are free under $CACHE; building a kernel needs about 7"
	rm -rf -- "$CACHE/kernel-$KVER" "$CACHE/kernel-$KVER.new"
	KERNEL=$CACHE/kernel-$KVER.new
	mkdir -p "$KERNEL"
	step "kernel $KVER: configuration" "the log names the option of $(own_fragment) that does not hold" own_configure
	step "kernel $KVER: build (minutes)" "remove $KERNEL and start again" own_build
	step "kernel $KVER: guest image and modules" "remove $KERNEL and start again" own_guest
	own_reduce
	printf '%s\n' "$version" >"$KERNEL/version"
	own_words make >"$KERNEL/make"
	own_words memory >"$KERNEL/mem"
	own_words rustflags >"$KERNEL/rustflags"
	kernel_key >"$KERNEL/.complete"
	mv "$KERNEL" "$CACHE/kernel-$KVER"
}

# setup_source VERSION: makes SOURCE, which is kept for all that want it.
setup_source() {
	SOURCE=$CACHE/source-$1
	# A source that was fetched before a kernel of ours was User-Mode Linux lacks its files.
	[[ ! -e $SOURCE/.complete || ! -e $SOURCE/tree/arch/um/kernel/um_arch.c ]] || return 0
	rm -rf -- "$CACHE"/source-*
	KERNEL=''
	step "source of Linux $1" "does apt still offer it? make update takes a newer kernel" fetch_source "$1"
}

# fetch_source VERSION: the linux-source package, without what none of our kernels has.
fetch_source() {
	local version=$1 package deb dir excludes=() path
	package=linux-source-$(series "$version")
	mkdir -p "$SOURCE.new/deb" "$SOURCE.new/tree"
	in_apt "$IN_CACHE/${SOURCE##*/}.new/deb" download "$package=$version"
	for dir in gpu media scsi staging infiniband iio accel video clk pinctrl usb net/ethernet net/wireless; do
		excludes+=(--exclude="$package/drivers/$dir/*.c" --exclude="$package/drivers/$dir/*.h")
	done
	for path in 'Documentation/*.rst' 'Documentation/*.yaml' 'Documentation/*.txt' 'sound/*.[ch]' 'tools/perf/*'; do
		excludes+=(--exclude="$package/$path")
	done
	mapfile -t -O ${#excludes[@]} excludes < <(other_architectures "$package" | grep -v '/arch/um/')
	deb=$(echo "$SOURCE.new/deb/${package}_"*.deb)
	# shellcheck disable=SC2016 # expanded by the shell inside the root
	in_root bash -euo pipefail -c '. kdir/source.sh; unpack_source "$@"' bash \
		"$IN_CACHE/${deb#"$CACHE/"}" "$IN_CACHE/${SOURCE##*/}.new/tree" "${excludes[@]}"
	rm -rf -- "$SOURCE.new/deb"
	touch "$SOURCE.new/.complete"
	mv "$SOURCE.new" "$SOURCE"
}

# own_make ARGUMENT…: make for the kernel, in its build directory.
own_make() {
	local words
	read -r -a words <<<"$(own_words make)"
	in_root make -C "$IN_CACHE/${SOURCE##*/}/tree" O="$IN_CACHE/${KERNEL##*/}/build" "${words[@]}" "$@"
}

own_configure() {
	local line lost=0
	mkdir -p "$KERNEL/build"
	cp "$(own_fragment)" "$KERNEL/fragment"
	own_make KCONFIG_ALLCONFIG="$IN_CACHE/${KERNEL##*/}/fragment" allnoconfig
	# kconfig drops without a word what a dependency forbids.
	while read -r line; do
		case $line in
		CONFIG_*=n) ! grep -q "^${line%=n}=" "$KERNEL/build/.config" || { echo "set all the same: $line" && lost=1; } ;;
		CONFIG_*) grep -qxF "$line" "$KERNEL/build/.config" || { echo "not set: $line" && lost=1; } ;;
		esac
	done <"$KERNEL/fragment"
	return $lost
}

# own_image: the target that is booted, and where in the build it is.
own_image() {
	local image
	image=$(own_words image)
	printf '%s' "${image:-arch/x86/boot/bzImage}"
}

own_build() {
	local image
	image=$(own_image)
	own_make -s -j"$JOBS" "${image##*/}" modules
}

own_guest() {
	mkdir -p "$KERNEL/pkg"
	cp "$KERNEL/build/$(own_image)" "$KERNEL/pkg/vmlinuz"
	own_make -s INSTALL_MOD_PATH="$IN_CACHE/${KERNEL##*/}/pkg/usr" INSTALL_MOD_STRIP=1 DEPMOD=true modules_install
	make_guest "$(<"$KERNEL/build/include/config/kernel.release")"
	rm -rf -- "$KERNEL/pkg"
}

# own_reduce: of the build only what modules need: configuration, generated headers,
# tools, crates and symbols.
own_reduce() {
	find "$KERNEL/build" -type f \( -name '*.o' -o -name '*.a' -o -name '*.cmd' -o -name '*.ko' -o -name '*.mod' \
		-o -name '*.mod.c' -o -name 'vmlinux*' -o -path "$KERNEL/build/linux" -o -name 'System.map' -o -name 'bzImage' -o -name '.tmp_*' \) -delete
	find "$KERNEL/build" -depth -type d -empty -delete
	# The only place that says where it was built.
	sed -i 's|\.new/build$|/build|' "$KERNEL/build/Makefile"
}
