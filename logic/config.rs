// SPDX-License-Identifier: GPL-2.0

//! Mode and flags of a port: the numbers of the UAPI (`linux/if_link.h`) and what they mean.

#![forbid(unsafe_code)]

/// How a port moves packets; `IFLA_IPVLAN_MODE`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Mode {
    /// `IPVLAN_MODE_L2`: slaves send and receive whole frames, broadcast and ARP included.
    L2 = 0,
    /// `IPVLAN_MODE_L3`: the master's namespace routes for the slaves, which neither resolve
    /// neighbours nor see broadcast or multicast.
    L3 = 1,
    /// `IPVLAN_MODE_L3S`: as L3, and received packets go through the master's netfilter hooks too.
    L3s = 2,
}

impl Mode {
    /// The mode that `IFLA_IPVLAN_MODE` names, or `None` for a number nobody defined (`-EINVAL`).
    #[inline]
    pub const fn from_attr(attr: u16) -> Option<Self> {
        match attr {
            0 => Some(Self::L2),
            1 => Some(Self::L3),
            2 => Some(Self::L3s),
            _ => None,
        }
    }

    /// The value of `IFLA_IPVLAN_MODE`.
    #[inline]
    pub const fn to_attr(self) -> u16 {
        // CAST: the discriminants are the UAPI's numbers.
        self as u16
    }

    /// Whether slaves carry `IFF_NOARP`: nobody answers ARP or neighbour discovery above layer 2.
    #[inline]
    pub const fn no_arp(self) -> bool {
        !matches!(self, Self::L2)
    }
}

/// `IPVLAN_F_PRIVATE` of `IFLA_IPVLAN_FLAGS`.
const F_PRIVATE: u16 = 1;
/// `IPVLAN_F_VEPA` of `IFLA_IPVLAN_FLAGS`.
const F_VEPA: u16 = 2;

/// What slaves of one port may do with each other; `IFLA_IPVLAN_FLAGS`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Isolation {
    /// No flag: siblings reach each other directly.
    Bridge = 0,
    /// `IPVLAN_F_PRIVATE`: siblings do not reach each other.
    Private = 1,
    /// `IPVLAN_F_VEPA` (IEEE 802.1Qbg): siblings reach each other through the switch, which
    /// reflects; nothing is delivered locally.
    Vepa = 2,
}

/// Why a value of `IFLA_IPVLAN_FLAGS` is refused; both are `-EINVAL`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlagsError {
    /// A bit that nobody defined.
    Unknown,
    /// Private and VEPA together.
    Both,
}

impl Isolation {
    /// The isolation that `IFLA_IPVLAN_FLAGS` asks for.
    #[inline]
    pub const fn from_attr(attr: u16) -> Result<Self, FlagsError> {
        if attr & !(F_PRIVATE | F_VEPA) != 0 {
            return Err(FlagsError::Unknown);
        }
        match (attr & F_PRIVATE != 0, attr & F_VEPA != 0) {
            (false, false) => Ok(Self::Bridge),
            (true, false) => Ok(Self::Private),
            (false, true) => Ok(Self::Vepa),
            (true, true) => Err(FlagsError::Both),
        }
    }

    /// The value of `IFLA_IPVLAN_FLAGS`.
    #[inline]
    pub const fn to_attr(self) -> u16 {
        match self {
            Self::Bridge => 0,
            Self::Private => F_PRIVATE,
            Self::Vepa => F_VEPA,
        }
    }
}

/// What a port is set to. One per port, as in in-tree ipvlan: a change through any slave is a
/// change for all of them.
///
/// The packet path reads mode and isolation together, so they share one word
/// ([`to_bits`](Self::to_bits)) that a port keeps in one atomic: no packet sees the new mode with
/// the old flags.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Settings {
    /// How packets move.
    pub mode: Mode,
    /// What siblings may do.
    pub isolation: Isolation,
}

impl Default for Settings {
    #[inline]
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Settings {
    /// What the first slave of a port gets if it asks for nothing.
    pub const DEFAULT: Self = Self {
        mode: Mode::L3,
        isolation: Isolation::Bridge,
    };

    /// Packs the settings: the mode in bits 0-1, the isolation in bits 2-3.
    #[inline]
    pub const fn to_bits(self) -> u32 {
        // CAST: discriminants, at most 2.
        (self.mode as u32) | ((self.isolation as u32) << 2)
    }

    /// Unpacks what [`to_bits`](Self::to_bits) packed. Total: any other word gives some settings
    /// too, so that reading it back needs no error path.
    #[inline]
    pub const fn from_bits(bits: u32) -> Self {
        Self {
            mode: match bits & 3 {
                0 => Mode::L2,
                1 => Mode::L3,
                _ => Mode::L3s,
            },
            isolation: match (bits >> 2) & 3 {
                0 => Isolation::Bridge,
                1 => Isolation::Private,
                _ => Isolation::Vepa,
            },
        }
    }

    /// The settings after `request`: what it does not name stays.
    ///
    /// Here ipvlan_rs differs from in-tree ipvlan, where a new slave that names no mode takes the
    /// whole port to L3.
    #[inline]
    #[must_use]
    pub const fn apply(self, request: Request) -> Self {
        Self {
            mode: match request.mode {
                Some(mode) => mode,
                None => self.mode,
            },
            isolation: match request.isolation {
                Some(isolation) => isolation,
                None => self.isolation,
            },
        }
    }
}

/// [`Settings`] as they are kept: what each packet asks costs one instruction, without unpacking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packed(u32);

impl Packed {
    /// What [`Settings::to_bits`] made.
    #[inline]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// All of them.
    #[inline]
    pub const fn unpack(self) -> Settings {
        Settings::from_bits(self.0)
    }

    /// Mode L2, and siblings are not kept apart: most frames go out as they are.
    #[inline]
    pub const fn is_open_l2(self) -> bool {
        // Isolation 3, which nobody stores, counts as private here: that is the longer way, and no other.
        self.0 & (3 | ((Isolation::Private as u32) << 2)) == Mode::L2 as u32
    }

    /// Mode L3.
    #[inline]
    pub const fn is_l3(self) -> bool {
        self.0 & 3 == Mode::L3 as u32
    }

    /// Mode L3 or L3S: what slaves send is routed.
    #[inline]
    pub const fn is_routed(self) -> bool {
        self.0 & 3 != Mode::L2 as u32
    }

    /// Siblings reach each other directly.
    #[inline]
    pub const fn is_bridge(self) -> bool {
        (self.0 >> 2) & 3 == Isolation::Bridge as u32
    }
}

/// What one netlink message asks for: `None` where the attribute is absent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// `IFLA_IPVLAN_MODE`.
    pub mode: Option<Mode>,
    /// `IFLA_IPVLAN_FLAGS`.
    pub isolation: Option<Isolation>,
}
