# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# ipvlan-rs-kdir package: the recipes in linux-rust/ and linux-rust-kbuild/ for one kernel,
# built by Debian's tools. Sourced by ipvlan-rs-kdir.

command_package() {
	local version
	[[ -n $OUTPUT ]] || die "package: say where to: --output DIRECTORY"
	# What is installed says itself what it is: the packages depend on that very version.
	version=$(installed "linux-headers-$KERNEL")
	[[ -z $version || -z $PACKAGE_VERSION || $version == "$PACKAGE_VERSION" ]] ||
		die "the headers are of version $version, and so is the package for them: not $PACKAGE_VERSION"
	version=${version:-$PACKAGE_VERSION}
	[[ -n $version ]] || die "the headers are of no installed package: the package's version is unknown" \
		"say it: ipvlan-rs-kdir package --package-version VERSION … $KERNEL"
	able
	command -v dh >/dev/null || die "debhelper is not installed, which builds packages: apt install debhelper"
	with_work package "$version"
}

# package VERSION: the packages for KERNEL, in OUTPUT.
package() {
	local version=$1 kbuild new=$WORK/metadata file to
	kbuild=$(basename "$(dirname "$(readlink -m "$HEADERS/scripts")")")
	kbuild=${kbuild#linux-kbuild-}
	rm -rf -- "$new" "$WORK"/linux-rust-*.deb
	if [[ -n $READY ]]; then
		command_verify
		metadata "$HEADERS" | while read -r file; do put "$HEADERS/$file" "$new/$file"; done
	else
		build "$new"
	fi
	mkdir -p "$OUTPUT"
	build_package linux-rust "linux-rust-$KERNEL" "$new/rust"
	# Of a source of its own, with nothing in it of this flavour or of today: that of another
	# flavour is the same file.
	build_package linux-rust-kbuild "linux-rust-kbuild-$kbuild" "$new/scripts/target.json"
	# The .deb files alone; the build's papers are of no use without a signature.
	for file in "$WORK"/linux-rust-*.deb; do
		to=$OUTPUT/${file##*/}
		if [[ $to == */linux-rust-kbuild-* && -e $to ]] && ! cmp -s "$file" "$to"; then
			die "$to is there already, and other than what was made now ($file)" \
				"one package serves all flavours of a kernel: remove the one that is not from this version of the tools"
		fi
		mv -- "$file" "$to"
	done
}

# build_package RECIPE NAME FILE: the packages of the recipe, in WORK, of what FILE is.
build_package() {
	local tree=$WORK/$2 file rustc maintainer
	maintainer=$(maintainer | sed 's/[&|\\]/\\&/g')
	rm -rf -- "$tree"
	mkdir -p "$tree/debian/source"
	cp -r "$3" "$tree/"
	rustc=$(rustc --version | awk '{ sub(/-.*/, "", $2); print $2 }')
	for file in "$PARTS/$1"/*; do
		# The number is the kernel's own: the metadata is good for that build alone, and for the
		# compiler that read the same text of itself. The date is the kernel's too.
		sed -e "s|@ABI@|$KERNEL|g" -e "s|@VERSION@|$version|g" -e "s|@KBUILD@|$kbuild|g" \
			-e "s|@ARCH@|$(dpkg --print-architecture)|g" -e "s|@RUSTC@|$rustc|g" -e "s|@MAINTAINER@|$maintainer|g" \
			-e "s|@RUSTC_NEXT@|${rustc%.*}.$((${rustc##*.} + 1))~|g" \
			-e "s|@DATE@|$(kernel_date)|g" "$file" >"$tree/debian/$(basename "$file" .in)"
	done
	echo '3.0 (native)' >"$tree/debian/source/format"
	chmod 755 "$tree/debian/rules"
	# -d: the headers may be unpacked somewhere instead of installed; build has checked the tools.
	(cd "$tree" && dpkg-buildpackage -b -us -uc -d) || die "dpkg-buildpackage failed (above) in $tree"
}

# maintainer: whoever makes packages is told to Debian's tools by these; without them it is the
# project's placeholder, of the domain that is for examples.
maintainer() {
	if [[ -n ${DEBFULLNAME:-} && -n ${DEBEMAIL:-} ]]; then
		printf '%s <%s>\n' "$DEBFULLNAME" "$DEBEMAIL"
	else
		echo 'The ipvlan_rs developers <ipvlan-rs@lists.example.org>'
	fi
}

# kernel_date: the day of Debian's kernel, which its version text ends in; else today.
kernel_date() {
	date -Ru -d "$(sed -n 's/^#define UTS_VERSION .*(\([0-9-]*\))"$/\1/p' "$HEADERS/include/generated/utsversion.h" 2>/dev/null)"
}
