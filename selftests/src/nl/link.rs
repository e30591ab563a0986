// SPDX-License-Identifier: GPL-2.0
//! Links: create, change, read, delete.

use super::{granted, Answer, Nl};
use anyhow::{Context, Result};
use rtnetlink::packet_core::{DefaultNla, Nla, NlaBuffer, NlasIterator, NLM_F_CREATE, NLM_F_DUMP};
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkExtentMask, LinkInfo, LinkMessage, State, Stats64,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

/// Interface flags of linux/if.h.
pub mod flags {
    pub const UP: u32 = libc::IFF_UP as u32;
    pub const RUNNING: u32 = libc::IFF_RUNNING as u32;
    pub const NOARP: u32 = libc::IFF_NOARP as u32;
    pub const ALLMULTI: u32 = libc::IFF_ALLMULTI as u32;
}

/// IFLA_IPVLAN_MODE and IFLA_IPVLAN_FLAGS of linux/if_link.h.
const IPVLAN_MODE: u16 = 1;
const IPVLAN_FLAGS: u16 = 2;
/// Our own: what frames for many slaves may hold in the queue, in bytes.
pub const QUEUE_BYTES: u16 = 32;
/// Our own: the most addresses of each slave.
pub const MAX_ADDRS: u16 = 33;

/// What a link to be created, or a change, carries.
#[derive(Clone, Default)]
pub struct LinkSpec {
    pub kind: &'static str,
    pub name: String,
    /// The new link's own index, where it shall not be the kernel's choice.
    pub index: Option<u32>,
    /// Index of the master.
    pub link: Option<u32>,
    pub link_netnsid: Option<i32>,
    pub mode: Option<u16>,
    pub flags: Option<u16>,
    /// Raw attributes of IFLA_INFO_DATA, after those above.
    pub data: Vec<(u16, Vec<u8>)>,
    pub mtu: Option<u32>,
    pub address: Option<[u8; 6]>,
    /// Where to create it, if not in the socket's namespace.
    pub ns: Option<i32>,
    /// The other end, for veth.
    pub peer: Option<VethEnd>,
    pub up: bool,
    pub txqlen: Option<u32>,
}

/// The peer of a veth.
#[derive(Clone)]
pub struct VethEnd {
    pub name: String,
    pub ns: i32,
    pub mtu: u32,
}

impl LinkSpec {
    /// A link of `kind`, for [`Nl::add_link`].
    pub fn new(kind: &'static str, name: &str) -> LinkSpec {
        LinkSpec {
            kind,
            name: name.into(),
            ..LinkSpec::default()
        }
    }

    fn info_data(&self) -> Option<InfoData> {
        if let Some(peer) = &self.peer {
            let end = LinkMessageBuilder::<LinkUnspec>::new()
                .name(peer.name.clone())
                .mtu(peer.mtu)
                .setns_by_fd(peer.ns)
                .build();
            return Some(InfoData::Veth(InfoVeth::Peer(end)));
        }
        let mut attributes: Vec<DefaultNla> = Vec::new();
        for (kind, value) in [(IPVLAN_MODE, self.mode), (IPVLAN_FLAGS, self.flags)] {
            attributes.extend(value.map(|v| DefaultNla::new(kind, v.to_ne_bytes().to_vec())));
        }
        attributes.extend(
            self.data
                .iter()
                .map(|(kind, bytes)| DefaultNla::new(*kind, bytes.clone())),
        );
        (!attributes.is_empty()).then(|| InfoData::Other(emit(&attributes)))
    }

    /// For a link that is to be.
    fn build_new(&self) -> LinkMessage {
        self.build(self.index.unwrap_or(0))
    }

    fn build(&self, index: u32) -> LinkMessage {
        let mut b =
            LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Other(self.kind.into()))
                .index(index);
        if !self.name.is_empty() {
            b = b.name(self.name.clone());
        }
        if let Some(link) = self.link {
            b = b.link(link);
        }
        if let Some(id) = self.link_netnsid {
            b = b.append_extra_attribute(LinkAttribute::LinkNetNsId(id));
        }
        if let Some(mtu) = self.mtu {
            b = b.mtu(mtu);
        }
        if let Some(address) = self.address {
            b = b.address(address.to_vec());
        }
        if let Some(ns) = self.ns {
            b = b.setns_by_fd(ns);
        }
        if let Some(length) = self.txqlen {
            b = b.txqueuelen(length);
        }
        if let Some(data) = self.info_data() {
            b = b.set_info_data(data);
        }
        if self.up {
            b = b.up();
        }
        b.build()
    }
}

/// Serialises attributes one after the other.
pub(super) fn emit(attributes: &[DefaultNla]) -> Vec<u8> {
    use rtnetlink::packet_core::Emitable;
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

/// A link as RTM_NEWLINK describes it.
#[derive(Clone, Debug)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub flags: u32,
    pub mtu: u32,
    pub min_mtu: u32,
    pub max_mtu: u32,
    pub mac: [u8; 6],
    pub link: Option<u32>,
    pub link_netnsid: Option<i32>,
    pub controller: Option<u32>,
    pub operstate: State,
    pub carrier: bool,
    pub promiscuity: u32,
    pub allmulti: u32,
    pub kind: Option<String>,
    pub mode: Option<u16>,
    pub port_flags: Option<u16>,
    /// How many attributes IFLA_INFO_DATA had.
    pub data_attributes: usize,
    pub queue_bytes: Option<u32>,
    pub max_addrs: Option<u32>,
    pub tso_max_size: u32,
    pub gso_max_size: u32,
    pub gso_ipv4_max_size: u32,
    pub tx_queues: u32,
    pub rx_queues: u32,
    pub qdisc: String,
    pub stats: Stats64,
    /// What else there is, but for what changes by itself or tells where the link is: in words.
    pub others: Vec<String>,
}

impl Link {
    /// Decodes one message.
    pub fn decode(message: &LinkMessage) -> Link {
        let mut l = Link {
            index: message.header.index,
            name: String::new(),
            flags: message.header.flags.bits(),
            mtu: 0,
            min_mtu: 0,
            max_mtu: 0,
            mac: [0; 6],
            link: None,
            link_netnsid: None,
            controller: None,
            operstate: State::Unknown,
            carrier: false,
            promiscuity: 0,
            allmulti: 0,
            kind: None,
            mode: None,
            port_flags: None,
            data_attributes: 0,
            queue_bytes: None,
            max_addrs: None,
            tso_max_size: 0,
            gso_max_size: 0,
            gso_ipv4_max_size: 0,
            tx_queues: 0,
            rx_queues: 0,
            qdisc: String::new(),
            stats: Stats64::default(),
            others: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(v) => l.name = v.clone(),
                LinkAttribute::Mtu(v) => l.mtu = *v,
                LinkAttribute::MinMtu(v) => l.min_mtu = *v,
                LinkAttribute::MaxMtu(v) => l.max_mtu = *v,
                LinkAttribute::Address(v) => l.mac = v.as_slice().try_into().unwrap_or_default(),
                LinkAttribute::Link(v) => l.link = Some(*v),
                LinkAttribute::LinkNetNsId(v) => l.link_netnsid = Some(*v),
                LinkAttribute::Controller(v) => l.controller = Some(*v),
                LinkAttribute::OperState(v) => l.operstate = *v,
                LinkAttribute::Carrier(v) => l.carrier = *v != 0,
                LinkAttribute::Promiscuity(v) => l.promiscuity = *v,
                LinkAttribute::AllMulticast(v) => l.allmulti = *v,
                LinkAttribute::TsoMaxSize(v) => l.tso_max_size = *v,
                LinkAttribute::GsoMaxSize(v) => l.gso_max_size = *v,
                LinkAttribute::GsoIpv4MaxSize(v) => l.gso_ipv4_max_size = *v,
                LinkAttribute::NumTxQueues(v) => l.tx_queues = *v,
                LinkAttribute::NumRxQueues(v) => l.rx_queues = *v,
                LinkAttribute::Qdisc(v) => l.qdisc = v.clone(),
                LinkAttribute::Stats64(v) => l.stats = *v,
                LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| l.decode_info(info)),
                LinkAttribute::Stats(_)
                | LinkAttribute::AfSpecUnspec(_)
                | LinkAttribute::CarrierChanges(_)
                | LinkAttribute::CarrierUpCount(_)
                | LinkAttribute::CarrierDownCount(_) => {}
                other => l.others.push(format!("{other:?}")),
            }
        }
        l
    }

    fn decode_info(&mut self, info: &LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::IpVlan(attributes)) => {
                self.data_attributes = attributes.len();
                for attribute in attributes {
                    let mut value = [0; 2];
                    if attribute.value_len() == 2 {
                        attribute.emit_value(&mut value);
                    }
                    self.decode_ipvlan(attribute.kind(), u16::from_ne_bytes(value));
                }
            }
            LinkInfo::Data(InfoData::Other(raw)) => {
                for attribute in NlasIterator::new(raw).flatten() {
                    let attribute: NlaBuffer<_> = attribute;
                    self.data_attributes += 1;
                    let long = attribute.value().try_into().ok().map(u32::from_ne_bytes);
                    if attribute.kind() == QUEUE_BYTES {
                        self.queue_bytes = long;
                    } else if attribute.kind() == MAX_ADDRS {
                        self.max_addrs = long;
                    } else if let Ok(value) = attribute.value().try_into() {
                        self.decode_ipvlan(attribute.kind(), u16::from_ne_bytes(value));
                    }
                }
            }
            _ => {}
        }
    }

    fn decode_ipvlan(&mut self, kind: u16, value: u16) {
        match kind {
            IPVLAN_MODE => self.mode = Some(value),
            IPVLAN_FLAGS => self.port_flags = Some(value),
            _ => {}
        }
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

impl Nl {
    /// RTM_NEWLINK with NLM_F_CREATE | NLM_F_EXCL; the answer is the caller's to judge.
    pub fn try_add_link(&self, spec: &LinkSpec) -> Result<Answer> {
        self.create(RouteNetlinkMessage::NewLink(spec.build_new()))
    }

    /// As `ip link replace`, without NLM_F_EXCL, for which the core looks where the link is to be before it asks the
    /// driver.
    pub fn try_replace_link(&self, spec: &LinkSpec) -> Result<Answer> {
        self.request(RouteNetlinkMessage::NewLink(spec.build_new()), NLM_F_CREATE)
    }

    /// Creates a link that must come into being, without a warning.
    pub fn add_link(&self, spec: &LinkSpec) -> Result<()> {
        granted(self.try_add_link(spec)?)
            .with_context(|| format!("adding {} {}", spec.kind, spec.name))
    }

    /// RTM_NEWLINK on an existing link: `ip link set NAME type KIND ...`.
    pub fn change_link(&self, index: u32, spec: &LinkSpec) -> Result<Answer> {
        self.request(RouteNetlinkMessage::NewLink(spec.build(index)), 0)
    }

    /// `ip link set NAME type bridge_slave hairpin on`.
    pub fn set_hairpin(&self, index: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index)
            .set_port_kind(InfoPortKind::Bridge)
            .set_port_data(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
                true,
            )]))
            .build();
        granted(self.request(RouteNetlinkMessage::NewLink(message), 0)?).context("hairpin mode")
    }

    /// RTM_SETLINK with what `build` adds to an otherwise empty message.
    pub fn set_link(
        &self,
        index: u32,
        build: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<Answer> {
        self.request(
            RouteNetlinkMessage::SetLink(build(LinkUnspec::new_with_index(index)).build()),
            0,
        )
    }

    pub fn up(&self, index: u32) -> Result<()> {
        granted(self.set_link(index, |l| l.up())?).context("setting a link up")
    }

    pub fn down(&self, index: u32) -> Result<()> {
        granted(self.set_link(index, |l| l.down())?).context("setting a link down")
    }

    pub fn try_set_mtu(&self, index: u32, mtu: u32) -> Result<Answer> {
        self.set_link(index, |l| l.mtu(mtu))
    }

    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<()> {
        granted(self.try_set_mtu(index, mtu)?).with_context(|| format!("mtu {mtu}"))
    }

    /// How large the packets may be that are to be segmented further down, with IPv6 and with IPv4.
    pub fn try_set_gso_max(&self, index: u32, size: u32) -> Result<Answer> {
        self.set_link(index, |l| {
            l.append_extra_attribute(LinkAttribute::GsoMaxSize(size))
                .append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(size))
        })
    }

    /// `ip link set … protodown`: takes the carrier away by hand.
    pub fn try_set_proto_down(&self, index: u32, down: bool) -> Result<Answer> {
        self.set_link(index, |l| {
            l.append_extra_attribute(LinkAttribute::ProtoDown(down.into()))
        })
    }

    pub fn try_set_mac(&self, index: u32, mac: [u8; 6]) -> Result<Answer> {
        self.set_link(index, |l| l.address(mac.to_vec()))
    }

    /// Moves a link into another namespace, under the same name.
    pub fn move_link(&self, index: u32, ns: i32) -> Result<()> {
        granted(self.set_link(index, |l| l.setns_by_fd(ns))?).context("moving a link")
    }

    pub fn try_del_link(&self, index: u32) -> Result<Answer> {
        self.request(
            RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(index).build()),
            0,
        )
    }

    pub fn del_link(&self, index: u32) -> Result<()> {
        granted(self.try_del_link(index)?).context("deleting a link")
    }

    /// One link by name; `None` when there is none.
    pub fn find_link(&self, name: &str) -> Result<Option<Link>> {
        self.get_link(LinkUnspec::new_with_name(name).build())
    }

    /// One link that must exist.
    pub fn link(&self, name: &str) -> Result<Link> {
        self.find_link(name)?
            .with_context(|| format!("there is no link {name}"))
    }

    /// One link by index that must exist.
    pub fn link_at(&self, index: u32) -> Result<Link> {
        self.get_link(LinkUnspec::new_with_index(index).build())?
            .with_context(|| format!("there is no link with index {index}"))
    }

    fn get_link(&self, message: LinkMessage) -> Result<Option<Link>> {
        match self.get(RouteNetlinkMessage::GetLink(message), 0) {
            Ok(objects) => Ok(objects.iter().find_map(as_link)),
            Err(e)
                if e.downcast_ref::<super::Refusal>()
                    .is_some_and(|r| r.errno == libc::ENODEV) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// All links. `name_only` asks for the short form, without IFLA_LINKINFO.
    pub fn links(&self, name_only: bool) -> Result<Vec<Link>> {
        let mut message = LinkMessage::default();
        if name_only {
            message
                .attributes
                .push(LinkAttribute::ExtMask(vec![LinkExtentMask::Other(1 << 8)]));
        }
        let objects = self.get(RouteNetlinkMessage::GetLink(message), NLM_F_DUMP)?;
        Ok(objects.iter().filter_map(as_link).collect())
    }
}

fn as_link(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(m) => Some(Link::decode(m)),
        _ => None,
    }
}
