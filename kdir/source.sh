# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# What ipvlan-rs-kdir and scripts/setup both do with a kernel: which part of its source is
# unpacked, and what its configuration says. Sourced, never run.

# other_architectures PACKAGE: options of tar that leave them out, but not their Kconfig
# files, which are sourced all the same.
other_architectures() {
	local arch
	for arch in alpha arc arm arm64 csky hexagon loongarch m68k microblaze mips nios2 openrisc \
		parisc powerpc riscv s390 sh sparc um xtensa; do
		printf '%s\n' "--exclude=$1/arch/$arch/*.[chS]" "--exclude=$1/arch/$arch/*.dts*"
	done
}

# not_prepared PACKAGE: options that leave out what `make prepare` does not read: drivers'
# C files, other architectures and documentation, four fifths of all bytes.
not_prepared() {
	local path
	for path in 'Documentation/*.rst' 'Documentation/*.yaml' 'Documentation/*.txt' 'drivers/*.c' \
		'drivers/*/asic_reg/*' 'drivers/gpu/drm/amd/include/*' 'fs/*.c' 'net/*.c' 'sound/*.c' \
		'samples/*.c' 'tools/perf/*' 'tools/testing/*'; do
		printf '%s\n' "--exclude=$1/$path"
	done
	other_architectures "$1"
}

# unpack_source FILE DIRECTORY OPTION…: the tree of a linux-source package, which is FILE, or
# of its tar archive; the options are tar's.
unpack_source() {
	local file=$1 to=$2 name=${1##*/} read=(cat "$1")
	shift 2
	name=${name%%_*}
	name=${name%.tar*}
	[[ $file != *.deb ]] || read=(sh -c "dpkg-deb --fsys-tarfile \"\$1\" | tar -xO ./usr/src/$name.tar.xz" sh "$file")
	mkdir -p "$to"
	"${read[@]}" | xz -dcT0 | tar -C "$to" -x --strip-components=1 --no-same-owner \
		--anchored --wildcards --wildcards-match-slash "$@"
}

# config_value FILE NAME: a value of a kernel's configuration, without quotes.
config_value() { sed -n "s/^CONFIG_$2=\"\?\([^\"]*\)\"\?\$/\1/p" "$1"; }
