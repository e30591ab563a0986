// SPDX-License-Identifier: GPL-2.0

//! `ip link add|set … type ipvlan_rs`: what is asked for, and what is refused, with the reason.

#![forbid(unsafe_code)]

use crate::{
    device::{
        Config,
        Ipvlan,
        Slave, //
    },
    logic::{
        config::{
            FlagsError,
            Isolation,
            Mode,
            Request, //
        },
        mtu::{
            self,
            MtuError, //
        },
    },
    net::{
        attr::{
            ifla,
            AttrType,
            AttrWriter,
            Attrs, //
        },
        device::NetDevice,
        driver::DriverRef,
        extack::ExtAck,
        link::{
            LinkKind,
            LinkOps,
            LinkRegistration,
            NewLink, //
        },
        list::DeviceList,
        rtnl::Rtnl, //
    },
    port::Port, //
};
use core::cell::Cell;
use kernel::prelude::*;

/// `IFLA_IPVLAN_MODE` of linux/if_link.h.
const IFLA_IPVLAN_MODE: usize = 1;
/// `IFLA_IPVLAN_FLAGS` of linux/if_link.h.
const IFLA_IPVLAN_FLAGS: usize = 2;

/// Our own attributes begin at 32, out of the way of those that in-tree ipvlan may get: the most memory in bytes (u32)
/// that broadcast and multicast frames of the port may hold while they wait to be distributed.
const IFLA_IPVLAN_RS_QUEUE_BYTES: usize = 32;
/// The most addresses that each slave of the port may have (u32), 0 for any number.
const IFLA_IPVLAN_RS_MAX_ADDRS: usize = 33;

/// The least that makes sense there: room for a few of the largest frames.
const QUEUE_BYTES_MIN: u32 = 256 << 10;

/// What a request asks of the port.
pub(crate) struct Asked {
    settings: Request,
    queue_bytes: Option<u32>,
    max_addrs: Option<u32>,
}

/// The attributes of the kind.
const POLICY: [AttrType; 34] = {
    let mut policy = [AttrType::None; 34];
    policy[IFLA_IPVLAN_MODE] = AttrType::U16;
    policy[IFLA_IPVLAN_FLAGS] = AttrType::U16;
    policy[IFLA_IPVLAN_RS_QUEUE_BYTES] = AttrType::U32;
    policy[IFLA_IPVLAN_RS_MAX_ADDRS] = AttrType::U32;
    policy
};

/// The kind's operations.
pub(crate) static LINK_OPS: LinkOps<Ipvlan> = LinkOps::new();

/// The same in the place of in-tree ipvlan, for tools that know that kind only.
static DROPIN_OPS: LinkOps<Ipvlan> = LinkOps::named(c"ipvlan");

/// Serves the kind `ipvlan` too, if nobody else does; otherwise says so, and nothing is lost but that.
///
/// # Errors
///
/// None of the kind being taken.
pub(crate) fn drop_in() -> Result<Option<LinkRegistration<Ipvlan>>> {
    match DROPIN_OPS.register() {
        Ok(registration) => Ok(Some(registration)),
        Err(error) if error == EEXIST => {
            pr_warn!(
                "the kind ipvlan is taken, so only ipvlan_rs is served: unload ipvtap and ipvlan, and load this again\n"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The device that a new slave is to lie on: the one that IFLA_LINK names, or its master if that is a slave itself.
fn master<'a>(
    new: &NewLink<'a, Ipvlan>,
    extack: ExtAck<'_>,
    rtnl: &'a Rtnl,
) -> Result<&'a NetDevice> {
    let index = new.attrs.u32(ifla::LINK).ok_or_else(|| {
        extack.refuse(
            EINVAL,
            c"A master is needed: ip link add link DEVICE ... type ipvlan_rs",
        )
    })?;
    let link = new
        .link_net
        .device(index, rtnl)
        .ok_or_else(|| extack.refuse(ENODEV, c"There is no device with the master's index here"))?;

    if let Some(sibling) = link.driver::<Ipvlan>() {
        // Whoever may make links here need not be allowed to use the master, which may be elsewhere.
        let master = sibling.port().master();
        if !master.net(rtnl).net_admin() {
            return Err(extack.refuse(
                EPERM,
                c"A sibling of this link needs CAP_NET_ADMIN in the namespace of its master",
            ));
        }
        return Ok(master);
    }
    if link.rx_handler::<Port>(rtnl).is_some() {
        return Ok(link);
    }
    if link.is_loopback() || !link.is_ethernet() {
        return Err(extack.refuse(
            EINVAL,
            c"The master must be an Ethernet device, and not the loopback",
        ));
    }
    if link.refuses_rx_handler() {
        return Err(extack.refuse(
            EINVAL,
            c"The master is itself a link that takes no other on top: use the device below it",
        ));
    }
    if link.is_rx_handler_busy(rtnl) {
        return Err(extack.refuse(
            EBUSY,
            c"The master is in use by a bridge, bond, macvlan, ipvlan or the like: release it first",
        ));
    }
    Ok(link)
}

impl LinkKind for Ipvlan {
    const KIND: &'static CStr = c"ipvlan_rs";
    const POLICY: &'static [AttrType] = &POLICY;
    type Request = Asked;

    fn validate(data: Attrs<'_>, extack: ExtAck<'_>) -> Result<Asked> {
        let mode = match data.u16(IFLA_IPVLAN_MODE) {
            None => None,
            Some(attr) => Some(Mode::from_attr(attr).ok_or_else(|| {
                extack.refuse(EINVAL, c"Unknown mode: use l2 (0), l3 (1) or l3s (2)")
            })?),
        };
        let isolation = match data.u16(IFLA_IPVLAN_FLAGS) {
            None => None,
            Some(attr) => Some(Isolation::from_attr(attr).map_err(|error| {
                extack.refuse(
                    EINVAL,
                    match error {
                        FlagsError::Unknown => {
                            c"Unknown flag: use bridge (0), private (1) or vepa (2)"
                        }
                        FlagsError::Both => {
                            c"The flags private and vepa exclude each other: use one of them"
                        }
                    },
                )
            })?),
        };
        let queue_bytes = data.u32(IFLA_IPVLAN_RS_QUEUE_BYTES);
        if queue_bytes.is_some_and(|bytes| bytes < QUEUE_BYTES_MIN) {
            return Err(extack.refuse(
                EINVAL,
                c"The queue for broadcast and multicast must have at least 262144 bytes",
            ));
        }
        Ok(Asked {
            settings: Request { mode, isolation },
            queue_bytes,
            max_addrs: data.u32(IFLA_IPVLAN_RS_MAX_ADDRS),
        })
    }

    fn newlink(new: NewLink<'_, Self>, request: Asked, extack: ExtAck<'_>, rtnl: &Rtnl) -> Result {
        let master = master(&new, extack, rtnl)?.hold();
        let requested = new.attrs.u32(ifla::MTU);
        let initial = mtu::at_creation(requested, master.mtu()).map_err(|error| {
            extack.refuse(
                EINVAL,
                match error {
                    MtuError::TooSmall => c"The MTU must be at least 68",
                    MtuError::TooLarge => {
                        c"The MTU must not exceed the master's: raise that first, or ask for less"
                    }
                },
            )
        })?;
        let address = master.address();
        let wanted = new.attrs.mac(ifla::ADDRESS);
        new.prepare(&address, initial.mtu, master.mtu().max(mtu::MIN), rtnl);

        let config = Config {
            master,
            mtu_chosen: initial.user_set,
            refusal: Cell::new(None),
        };
        let (dev, slave) = new.register(&config, rtnl).inspect_err(|_| {
            if let Some(refusal) = config.refusal.get() {
                extack.set(refusal);
            }
        })?;
        attach(dev, slave, request, extack, rtnl).inspect_err(|_| dev.unregister(rtnl))?;
        // Some tools always send an address that they made up, and give up on an error.
        if wanted.is_some_and(|wanted| wanted != address) {
            extack.set(c"The address was ignored: slaves have the master's");
        }
        Ok(())
    }

    fn changelink(
        _dev: &NetDevice,
        slave: &Slave,
        request: Asked,
        extack: ExtAck<'_>,
        rtnl: &Rtnl,
    ) -> Result {
        let port = slave.port();
        if !port.master().net(rtnl).net_admin() {
            return Err(extack.refuse(
                EPERM,
                c"These belong to the port: CAP_NET_ADMIN is needed in its master's namespace",
            ));
        }
        change(port, &request, extack, rtnl)
    }

    fn dellink(slave: &Slave, rtnl: &Rtnl) {
        slave.begin_leaving(rtnl);
    }

    fn fill_info(slave: &Slave, out: &mut AttrWriter<'_>) -> Result {
        let settings = slave.port().settings();
        out.u16(IFLA_IPVLAN_MODE, settings.mode.to_attr())?;
        out.u16(IFLA_IPVLAN_FLAGS, settings.isolation.to_attr())?;
        out.u32(IFLA_IPVLAN_RS_QUEUE_BYTES, slave.port().flood.limit())?;
        out.u32(IFLA_IPVLAN_RS_MAX_ADDRS, slave.port().addresses.limit())
    }

    fn link_device(slave: &Slave) -> &NetDevice {
        slave.port().master()
    }
}

/// Changes what was given, and only that.
fn change(port: &Port, request: &Asked, extack: ExtAck<'_>, rtnl: &Rtnl) -> Result {
    port.change(port.settings().apply(request.settings), extack, rtnl)?;
    if let Some(bytes) = request.queue_bytes {
        port.flood.set_limit(bytes);
    }
    if let Some(number) = request.max_addrs {
        port.addresses.set_limit(number);
    }
    Ok(())
}

/// What is left to do for a slave once it is registered.
fn attach(
    dev: &NetDevice,
    slave: &Slave,
    request: Asked,
    extack: ExtAck<'_>,
    rtnl: &Rtnl,
) -> Result {
    let port = slave.port();
    let master = port.master();
    let upper = dev.link_to(master, extack, rtnl).inspect_err(|error| {
        if *error == EMLINK {
            extack.set(c"The master already lies on too many devices: use one further down");
        }
    })?;
    slave.upper.set(Some(upper), rtnl);
    let entry = DeviceList::entry(DriverRef::new(dev).ok_or(ENODEV)?)
        .map_err(|_| extack.refuse(ENOMEM, c"Out of memory for the port's list of slaves"))?;
    // Last of what can fail, since it concerns the siblings too. The new slave follows the mode when it is opened.
    change(port, &request, extack, rtnl)?;
    slave
        .ticket
        .set(Some(port.flood.slaves.push(entry, rtnl)), rtnl);
    dev.transfer_operstate_from(master, rtnl);
    Ok(())
}
