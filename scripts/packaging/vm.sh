# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The machine that packages are tried in: Debian 13 as its packages make it, with an older
# kernel of trixie-backports to begin with, on a disk of its own. Sourced by check; lib.sh and
# setup-kernel.sh are there.
#
#   vm-KEY/root.tar  its file system, with the older kernel
#   vm-KEY/debs/     the packages of the kernel that it is upgraded to
#   vm-KEY/source/   the source of the older kernel

# What users of such links have installed. Dependencies of ours come first: the machine has no
# network, and apt is to find everything.
VM_PACKAGES=(
	systemd-sysv udev dbus kmod initramfs-tools procps iproute2 iputils-ping ethtool jq busybox-static
	dkms rustc bindgen libclang-19-dev bc bison flex libelf-dev libssl-dev pahole rust-src
	containernetworking-plugins podman netavark crun docker.io docker-cli iptables nftables
	autopkgtest autodep8 dctrl-tools openssl man-db
)

# vm_kernels: the two kernels, older first: the newest of the series before the newest.
vm_kernels() {
	local newest kver older=''
	newest=$(<"$CACHE/default-kernel")
	while read -r kver; do
		[[ $(series "$kver") == "$(series "$newest")" ]] || older=$kver
	done < <(rust_kernels | grep -- '-cloud-' | sort -V)
	printf '%s\n' "$older" "$newest"
}

vm_key() { printf 'vm-%s' "$(sha256sum <<<"4 $MIRROR ${VM_PACKAGES[*]} $1 $2" | cut -c 1-12)"; }

# make_vm FROM TO: both kernels' releases.
make_vm() {
	local from=$1 to=$2 new=$VM.new mode=root tmp=$VM.tmp include version
	rm -rf -- "$new" "$tmp"
	mkdir -p "$new/debs" "$new/source" "$tmp"
	if ((EUID != 0)); then mode=unshare tmp=/var/tmp; fi
	include=$(printf '%s\n' "${VM_PACKAGES[@]}" linux-base/trixie-backports "linux-image-$from" "linux-headers-$from" | paste -sd,)
	TMPDIR=$tmp mmdebstrap --mode="$mode" --variant=important --format=tar --include="$include" \
		--aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
		trixie "$new/root.tar" \
		"deb $MIRROR trixie main" "deb $MIRROR trixie-updates main" "deb $MIRROR trixie-backports main"
	version=$(version_of "linux-headers-$to")
	# shellcheck disable=SC2046 # one word per package
	in_apt "$IN_CACHE/${new##*/}/debs" download \
		$(closure "$version" "linux-headers-$to" "linux-image-$to")
	version=$(version_of "linux-headers-$from")
	in_apt "$IN_CACHE/${new##*/}/source" download "linux-source-$(series "$version")=$version"
	touch "$new/.complete"
	rm -rf -- "$VM.tmp" "$VM"
	mv "$new" "$VM"
}
