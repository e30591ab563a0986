// SPDX-License-Identifier: GPL-2.0
//! ethtool by ioctl: features by name, driver information, link settings.

use crate::netns::Netns;
use anyhow::{bail, Context, Result};
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const SIOCSHWTSTAMP: libc::c_ulong = 0x89b0;
const SIOCGHWTSTAMP: libc::c_ulong = 0x89b1;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GLINK: u32 = 0x0a;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// One feature of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub active: bool,
    /// `ethtool -K` may toggle it.
    pub available: bool,
}

/// ethtool on one device of one namespace.
pub struct Ethtool {
    socket: OwnedFd,
    name: String,
    features: Vec<String>,
}

impl Ethtool {
    pub fn new(ns: &Netns, name: &str) -> Result<Ethtool> {
        ns.enter(|| Self::here(name))
    }

    /// In the namespace of the calling thread.
    pub fn here(name: &str) -> Result<Ethtool> {
        use nix::sys::socket::{socket, AddressFamily, SockFlag, SockType};
        let socket = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let mut ethtool = Ethtool {
            socket,
            name: name.into(),
            features: Vec::new(),
        };
        ethtool.features = ethtool.strings(ETH_SS_FEATURES)?;
        Ok(ethtool)
    }

    /// `SIOCETHTOOL` with a command that is a sequence of 32-bit words.
    fn ioctl(&self, data: &mut [u32]) -> std::io::Result<()> {
        self.request(SIOCETHTOOL, data)
    }

    /// A request of the link, which passes data of this type.
    fn request(&self, request: libc::c_ulong, data: &mut [u32]) -> std::io::Result<()> {
        // SAFETY: an all-zero ifreq is valid; the name is shorter than IFNAMSIZ (the kernel limits it), and `data`
        // outlives the call.
        let rc = unsafe {
            let mut ifreq: libc::ifreq = std::mem::zeroed();
            for (to, from) in ifreq
                .ifr_name
                .iter_mut()
                .zip(self.name.bytes().take(libc::IFNAMSIZ - 1))
            {
                *to = from as libc::c_char;
            }
            ifreq.ifr_ifru.ifru_data = data.as_mut_ptr().cast();
            libc::ioctl(self.socket.as_raw_fd(), request as _, &mut ifreq)
        };
        if rc < 0 {
            Err(std::io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    fn strings(&self, set: u32) -> Result<Vec<String>> {
        // struct ethtool_sset_info: cmd, reserved, u64 mask, then one count.
        let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << set, 0, 0];
        self.ioctl(&mut info).context("ETHTOOL_GSSET_INFO")?;
        let count = info[4] as usize;
        let mut data = vec![0u32; 3 + count * ETH_GSTRING_LEN / size_of::<u32>()];
        data[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, set, count as u32]);
        self.ioctl(&mut data).context("ETHTOOL_GSTRINGS")?;
        let bytes: Vec<u8> = data[3..].iter().flat_map(|w| w.to_ne_bytes()).collect();
        Ok(bytes.chunks(ETH_GSTRING_LEN).map(text).collect())
    }

    fn position(&self, name: &str) -> Result<usize> {
        self.features
            .iter()
            .position(|f| f == name)
            .with_context(|| format!("no feature {name}"))
    }

    /// A feature by its kernel name, e.g. `tx-tcp-segmentation`.
    pub fn feature(&self, name: &str) -> Result<Feature> {
        let bit = self.position(name)?;
        let blocks = self.features.len().div_ceil(32);
        let mut data = vec![0u32; 2 + blocks * 4];
        data[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks as u32]);
        self.ioctl(&mut data).context("ETHTOOL_GFEATURES")?;
        // struct ethtool_get_features_block: available, requested, active, never_changed.
        let block = &data[2 + bit / 32 * 4..];
        let has = |word: u32| word & (1 << (bit % 32)) != 0;
        Ok(Feature {
            active: has(block[2]),
            available: has(block[0]) && !has(block[3]),
        })
    }

    /// `ethtool -K`: asks for the features to be on or off. The kernel may not follow.
    pub fn set(&self, names: &[&str], on: bool) -> Result<()> {
        let blocks = self.features.len().div_ceil(32);
        let mut data = vec![0u32; 2 + blocks * 2];
        data[..2].copy_from_slice(&[ETHTOOL_SFEATURES, blocks as u32]);
        for name in names {
            let bit = self.position(name)?;
            // struct ethtool_set_features_block: valid, requested.
            data[2 + bit / 32 * 2] |= 1 << (bit % 32);
            if on {
                data[3 + bit / 32 * 2] |= 1 << (bit % 32);
            }
        }
        self.ioctl(&mut data).context("ETHTOOL_SFEATURES")
    }

    /// Sets features and insists.
    pub fn set_exactly(&self, names: &[&str], on: bool) -> Result<()> {
        self.set(names, on)?;
        for name in names {
            if self.feature(name)?.active != on {
                bail!(
                    "{} of {} did not become {}",
                    name,
                    self.name,
                    if on { "on" } else { "off" }
                );
            }
        }
        Ok(())
    }

    /// Driver name and version.
    pub fn driver(&self) -> Result<(String, String)> {
        let mut data = [0u32; 49];
        data[0] = ETHTOOL_GDRVINFO;
        self.ioctl(&mut data).context("ETHTOOL_GDRVINFO")?;
        let bytes: Vec<u8> = data[1..].iter().flat_map(|w| w.to_ne_bytes()).collect();
        Ok((text(&bytes[..32]), text(&bytes[32..64])))
    }

    /// Whether ethtool sees a link.
    pub fn link(&self) -> Result<bool> {
        let mut data = [ETHTOOL_GLINK, 0];
        self.ioctl(&mut data).context("ETHTOOL_GLINK")?;
        Ok(data[1] != 0)
    }

    /// What time stamps there are: SOF_TIMESTAMPING_* bits, the clock's index, kinds of transmit and receive filters.
    pub fn time_stamping(&self) -> Result<[u32; 4]> {
        // struct ethtool_ts_info; three reserved words after each of the last two.
        let mut data = [0; 11];
        data[0] = ETHTOOL_GET_TS_INFO;
        self.ioctl(&mut data).context("ETHTOOL_GET_TS_INFO")?;
        Ok([data[1], data[2], data[3], data[7]])
    }

    /// Reads or sets how the hardware takes time stamps: `struct hwtstamp_config`, all zero for none.
    pub fn hardware_stamps(&self, set: bool) -> std::io::Result<()> {
        self.request(if set { SIOCSHWTSTAMP } else { SIOCGHWTSTAMP }, &mut [0; 3])
    }

    /// Speed in Mb/s and duplex (ETHTOOL_GLINKSETTINGS), or the error that the driver gives.
    pub fn speed(&self) -> std::io::Result<(u32, u8)> {
        // struct ethtool_link_settings up to link_mode_masks, then three masks. The first call learns their size.
        let mut data = [0u32; 12 + 3 * 127];
        data[0] = ETHTOOL_GLINKSETTINGS;
        self.ioctl(&mut data)?;
        // link_mode_masks_nwords is a signed byte, negative in the first answer.
        let words = (data[3] >> 24) as u8 as i8;
        data = [0; 12 + 3 * 127];
        data[0] = ETHTOOL_GLINKSETTINGS;
        data[3] = u32::from((-words) as u8) << 24;
        self.ioctl(&mut data)?;
        Ok((data[1], data[2] as u8))
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).to_string()
}
