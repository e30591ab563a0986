// SPDX-License-Identifier: GPL-2.0

//! `NETIF_F_*` (include/linux/netdev_features.h).

use super::device::Features;
use crate::sys;

/// Scatter and gather.
pub(crate) const SG: Features = sys::RUST_NETIF_F_SG;
/// Checksums of any protocol.
pub(crate) const HW_CSUM: Features = sys::RUST_NETIF_F_HW_CSUM;
/// Segmentation checks its input.
pub(crate) const GSO_ROBUST: Features = sys::RUST_NETIF_F_GSO_ROBUST;
/// All segmentation that software can finish.
pub(crate) const GSO_SOFTWARE: Features = sys::RUST_NETIF_F_GSO_SOFTWARE;
/// Segmentation inside tunnels.
pub(crate) const GSO_ENCAP_ALL: Features = sys::RUST_NETIF_F_GSO_ENCAP_ALL;
/// No VLAN devices above.
pub(crate) const VLAN_CHALLENGED: Features = sys::RUST_NETIF_F_VLAN_CHALLENGED;
/// High memory.
pub(crate) const HIGHDMA: Features = sys::RUST_NETIF_F_HIGHDMA;
/// Lists of fragments.
pub(crate) const FRAGLIST: Features = sys::RUST_NETIF_F_FRAGLIST;
/// Generic segmentation.
pub(crate) const GSO: Features = sys::RUST_NETIF_F_GSO;
/// TCP segmentation.
pub(crate) const ALL_TSO: Features = sys::RUST_NETIF_F_ALL_TSO;
/// Generic receive offload.
pub(crate) const GRO: Features = sys::RUST_NETIF_F_GRO;
/// Checksums of received packets.
pub(crate) const RXCSUM: Features = sys::RUST_NETIF_F_RXCSUM;
/// A receive filter for 802.1Q tags.
pub(crate) const HW_VLAN_CTAG_FILTER: Features = sys::RUST_NETIF_F_HW_VLAN_CTAG_FILTER;
/// A receive filter for 802.1ad tags.
pub(crate) const HW_VLAN_STAG_FILTER: Features = sys::RUST_NETIF_F_HW_VLAN_STAG_FILTER;
/// What a stacked device has only if all below have it.
pub(crate) const ALL_FOR_ALL: Features = sys::RUST_NETIF_F_ALL_FOR_ALL;

/// Works out what a stacked device has, from what all below have together (`netdev_increment_features()`).
pub(crate) fn increment(all: Features, one: Features, mask: Features) -> Features {
    // SAFETY: Arithmetic only.
    unsafe { sys::netdev_increment_features(all, one, mask) }
}
