// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes of links.

use super::device::Mac;
use crate::sys;
use core::{
    marker::PhantomData,
    mem::size_of, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The attribute numbers that every link has.
pub(crate) mod ifla {
    use crate::sys;

    /// `IFLA_ADDRESS`.
    pub(crate) const ADDRESS: usize = sys::IFLA_ADDRESS as usize;
    /// `IFLA_MTU`.
    pub(crate) const MTU: usize = sys::IFLA_MTU as usize;
    /// `IFLA_LINK`.
    pub(crate) const LINK: usize = sys::IFLA_LINK as usize;
}

/// The type of an attribute, for netlink's own check.
#[derive(Clone, Copy)]
pub(crate) enum AttrType {
    /// No such attribute.
    None,
    /// 16 bits in host order.
    U16,
    /// 32 bits in host order.
    U32,
}

impl AttrType {
    pub(super) const fn policy(self) -> sys::nla_policy {
        let mut policy: sys::nla_policy = pin_init::zeroed();
        policy.type_ = match self {
            Self::None => sys::NLA_UNSPEC as u8,
            Self::U16 => sys::NLA_U16 as u8,
            Self::U32 => sys::NLA_U32 as u8,
        };
        policy
    }

    /// The bytes that the attribute takes in a message, header and padding included.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::None => 0,
            Self::U16 | Self::U32 => 8,
        }
    }
}

/// The attributes of a request; each has been checked against its policy by netlink.
#[derive(Clone, Copy)]
pub(crate) struct Attrs<'a> {
    table: *mut *mut sys::nlattr,
    len: usize,
    _request: PhantomData<&'a ()>,
}

impl Attrs<'_> {
    /// # Safety
    ///
    /// `table` is null or an array of `len` attribute pointers, each null or valid for `'a`.
    pub(super) unsafe fn new(table: *mut *mut sys::nlattr, len: usize) -> Self {
        Self {
            table,
            len,
            _request: PhantomData,
        }
    }

    /// The payload of an attribute, if it is there.
    fn payload(&self, attr: usize) -> Option<&[u8]> {
        if self.table.is_null() || attr >= self.len {
            return None;
        }
        // SAFETY: By the construction of `self`, and netlink has checked that the attribute lies in the message.
        unsafe {
            let nla = (*self.table.add(attr)).as_ref()?;
            let len = usize::from(nla.nla_len).checked_sub(size_of::<sys::nlattr>())?;
            Some(core::slice::from_raw_parts(
                core::ptr::from_ref(nla)
                    .cast::<u8>()
                    .add(size_of::<sys::nlattr>()),
                len,
            ))
        }
    }

    /// The value of a 16-bit attribute.
    pub(crate) fn u16(&self, attr: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*self.payload(attr)?.first_chunk()?))
    }

    /// The value of a 32-bit attribute.
    pub(crate) fn u32(&self, attr: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.payload(attr)?.first_chunk()?))
    }

    /// The value of an attribute that holds an Ethernet address.
    pub(crate) fn mac(&self, attr: usize) -> Option<Mac> {
        Some(*self.payload(attr)?.first_chunk()?)
    }
}

/// Where a dump's attributes go.
pub(crate) struct AttrWriter<'a> {
    skb: *mut sys::sk_buff,
    _message: PhantomData<&'a mut ()>,
}

impl AttrWriter<'_> {
    /// # Safety
    ///
    /// `skb` is a netlink message that only the caller writes, for as long as the writer is used.
    pub(super) unsafe fn new(skb: *mut sys::sk_buff) -> Self {
        Self {
            skb,
            _message: PhantomData,
        }
    }

    /// Adds a 16-bit attribute.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if the message is full.
    pub(crate) fn u16(&mut self, attr: usize, value: u16) -> Result {
        let attr = i32::try_from(attr).map_err(|_| EINVAL)?;
        // SAFETY: The message is ours to write; two bytes are read from `value`.
        to_result(unsafe { sys::nla_put(self.skb, attr, 2, (&raw const value).cast()) })
    }

    /// Adds a 32-bit attribute.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if the message is full.
    pub(crate) fn u32(&mut self, attr: usize, value: u32) -> Result {
        let attr = i32::try_from(attr).map_err(|_| EINVAL)?;
        // SAFETY: The message is ours to write; four bytes are read from `value`.
        to_result(unsafe { sys::nla_put(self.skb, attr, 4, (&raw const value).cast()) })
    }
}
