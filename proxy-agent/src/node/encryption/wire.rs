//! What the agent and the kernel tell each other of the device: generic netlink, family `wireguard`
//! (<https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/wireguard.h>).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnetwork::IpNetwork;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_generic::{
    GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute,
    WireguardCmd, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_GENERIC};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};
use proxy_common::tunnel::ENCRYPTION_DEVICE;

use super::{
    key::{PrivateKey, PublicKey},
    plan::Change,
};

const FAMILY: &str = "wireguard";
/// Seconds for which a peer that is greeted is said to be silent: the kernel then sends it something at once, before which hands are
/// shaken (<https://elixir.bootlin.com/linux/v6.12/source/drivers/net/wireguard/netlink.c#L469>).
const GREETING: u16 = 1;
/// How long an answer of the kernel is waited for, in seconds.
const PATIENCE: i64 = 2;

/// The device as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// None while it has no key.
    pub private: Option<PrivateKey>,
    /// The public half.
    pub public: Option<PublicKey>,
    /// UDP port.
    pub port: u16,
    /// By key.
    pub peers: BTreeMap<PublicKey, Present>,
}

/// A peer as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Where it takes packets: as configured, or where its last one came from.
    pub endpoint: Option<SocketAddr>,
    /// Addresses of which it may send.
    pub allowed: BTreeSet<IpNetwork>,
    /// Seconds between two empty packets; 0 for none.
    pub keepalive: u16,
    /// When hands were shaken last, since the epoch; zero: never.
    pub handshake: Duration,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// A way to the device of the namespace in which it was opened.
#[derive(Debug)]
pub struct WireGuard {
    socket: Socket,
    family: u16,
    sequence: u32,
    device: String,
}

impl WireGuard {
    /// Opens one in the calling thread's namespace. `NotFound`: the kernel has no WireGuard.
    pub fn open() -> io::Result<Self> {
        Self::of(ENCRYPTION_DEVICE)
    }

    /// As [`Self::open`], to the device of this name.
    pub fn of(device: &str) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddress::new(0, 0))?;
        let mut wire = Self {
            socket,
            family: 0,
            sequence: 0,
            device: device.to_owned(),
        };
        wire.family = wire.resolve()?;
        Ok(wire)
    }

    fn resolve(&mut self) -> io::Result<u16> {
        let question = GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.to_owned())],
        });
        let answers = self.ask(question, NLM_F_ACK)?;
        let attributes = answers.into_iter().flat_map(|answer| answer.payload.nlas);
        let mut ids = attributes.filter_map(|attribute| match attribute {
            GenlCtrlAttrs::FamilyId(id) => Some(id),
            _ => None,
        });
        ids.next().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The device; an error if there is none.
    pub fn read(&mut self) -> io::Result<Device> {
        let question = self.message(WireguardCmd::GetDevice, Vec::new());
        let mut device = Device::default();
        for answer in self.ask(question, NLM_F_DUMP)? {
            device.take(answer.payload.attributes);
        }
        Ok(device)
    }

    /// Sets the node's own key and port.
    pub fn set(&mut self, private: &PrivateKey, port: u16) -> io::Result<()> {
        let attributes = vec![
            WireguardAttribute::PrivateKey(private.0),
            WireguardAttribute::ListenPort(port),
        ];
        self.change(attributes)
    }

    /// Carries out a change of one peer.
    pub fn set_peer(&mut self, key: PublicKey, change: &Change) -> io::Result<()> {
        self.change(vec![WireguardAttribute::Peers(vec![told(key, change)])])
    }

    /// Shakes hands with a peer before the first packet, and leaves it with this keepalive.
    pub fn greet(&mut self, key: PublicKey, keepalive: u16) -> io::Result<()> {
        for seconds in [0, GREETING, keepalive] {
            let attributes = vec![
                WireguardPeerAttribute::PublicKey(key.0),
                WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
                WireguardPeerAttribute::PersistentKeepalive(seconds),
            ];
            let peer = WireguardPeer(attributes);
            self.change(vec![WireguardAttribute::Peers(vec![peer])])?;
        }
        Ok(())
    }

    fn change(&mut self, attributes: Vec<WireguardAttribute>) -> io::Result<()> {
        let question = self.message(WireguardCmd::SetDevice, attributes);
        self.ask(question, NLM_F_ACK).map(drop)
    }

    fn message(
        &self,
        cmd: WireguardCmd,
        mut attributes: Vec<WireguardAttribute>,
    ) -> GenlMessage<WireguardMessage> {
        attributes.insert(0, WireguardAttribute::IfName(self.device.clone()));
        let mut message = GenlMessage::from_payload(WireguardMessage { cmd, attributes });
        message.set_resolved_family_id(self.family);
        message
    }

    fn ask<T>(&mut self, question: T, flags: u16) -> io::Result<Vec<T>>
    where
        T: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        self.answers()
    }

    fn answers<T: NetlinkDeserializable>(&self) -> io::Result<Vec<T>> {
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while rest.len() >= size_of::<u32>() * 4 {
                let answer = NetlinkMessage::<T>::deserialize(rest).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                })?;
                let length = (answer.header.length as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                if answer.header.sequence_number != self.sequence {
                    continue; // Left over from a question that was given up.
                }
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
        }
    }
}

impl Device {
    /// A peer with many ranges comes in several messages.
    fn take(&mut self, attributes: Vec<WireguardAttribute>) {
        for attribute in attributes {
            match attribute {
                WireguardAttribute::PrivateKey(key) if key != [0; 32] => {
                    self.private = Some(PrivateKey(key));
                }
                WireguardAttribute::PublicKey(key) if key != [0; 32] => {
                    self.public = Some(PublicKey(key));
                }
                WireguardAttribute::ListenPort(port) => self.port = port,
                WireguardAttribute::Peers(peers) => {
                    for peer in peers {
                        self.take_peer(peer);
                    }
                }
                _ => {}
            }
        }
    }

    fn take_peer(&mut self, WireguardPeer(attributes): WireguardPeer) {
        let key = attributes.iter().find_map(|attribute| match attribute {
            WireguardPeerAttribute::PublicKey(key) => Some(PublicKey(*key)),
            _ => None,
        });
        let Some(key) = key else { return };
        let peer = self.peers.entry(key).or_default();
        for attribute in attributes {
            match attribute {
                WireguardPeerAttribute::Endpoint(at) => peer.endpoint = Some(at),
                WireguardPeerAttribute::PersistentKeepalive(seconds) => peer.keepalive = seconds,
                WireguardPeerAttribute::LastHandshake(at) => {
                    let seconds = u64::try_from(at.seconds).unwrap_or(0);
                    peer.handshake = Duration::from_secs(seconds);
                }
                WireguardPeerAttribute::RxBytes(bytes) => peer.received = bytes,
                WireguardPeerAttribute::TxBytes(bytes) => peer.sent = bytes,
                WireguardPeerAttribute::AllowedIps(ips) => {
                    peer.allowed.extend(ips.iter().filter_map(range));
                }
                _ => {}
            }
        }
    }
}

fn range(WireguardAllowedIp(attributes): &WireguardAllowedIp) -> Option<IpNetwork> {
    let (mut ip, mut prefix) = (None, None);
    for attribute in attributes {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(at) => ip = Some(*at),
            WireguardAllowedIpAttr::Cidr(bits) => prefix = Some(*bits),
            _ => {}
        }
    }
    IpNetwork::new(ip?, prefix?).ok()
}

/// A peer as the kernel is told.
fn told(PublicKey(key): PublicKey, change: &Change) -> WireguardPeer {
    let mut attributes = vec![WireguardPeerAttribute::PublicKey(key)];
    match change {
        Change::Remove => {
            attributes.push(WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe));
        }
        Change::Set {
            endpoint,
            allowed,
            keepalive,
        } => {
            let flags = WireguardPeerFlags::ReplaceAllowedIps;
            attributes.push(WireguardPeerAttribute::Flags(flags));
            attributes.extend(endpoint.map(WireguardPeerAttribute::Endpoint));
            attributes.push(WireguardPeerAttribute::PersistentKeepalive(*keepalive));
            let ips = allowed.iter().map(|range| allowed_ip(*range)).collect();
            attributes.push(WireguardPeerAttribute::AllowedIps(ips));
        }
    }
    WireguardPeer(attributes)
}

fn allowed_ip(range: IpNetwork) -> WireguardAllowedIp {
    let family = match range.network() {
        IpAddr::V4(_) => WireguardAddressFamily::Ipv4,
        IpAddr::V6(_) => WireguardAddressFamily::Ipv6,
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(range.network()),
        WireguardAllowedIpAttr::Cidr(range.prefix()),
    ])
}
