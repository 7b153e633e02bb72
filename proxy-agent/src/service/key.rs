//! Keys of frontends of both families, and their text.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proxy_common::{
    address::{address4, address6, octets4, octets6},
    frontends::{FrontendKey4, FrontendKey6},
};

use crate::model::Protocol;

/// A frontend of either family. The unspecified address stands for all of the node's: a `NodePort` or a
/// `hostPort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendKey {
    /// In `FRONTENDS4`.
    V4(FrontendKey4),
    /// In `FRONTENDS6`.
    V6(FrontendKey6),
}

impl FrontendKey {
    /// From an address and a port in host order.
    pub fn new(address: IpAddr, port: u16, protocol: Protocol) -> Self {
        let (port, protocol) = (port.to_be(), protocol.number());
        match address {
            IpAddr::V4(a) => Self::V4(FrontendKey4 {
                address: address4(a.octets()),
                port,
                protocol,
                pad: 0,
            }),
            IpAddr::V6(a) => Self::V6(FrontendKey6 {
                address: address6(a.octets()),
                port,
                protocol,
                pad: 0,
            }),
        }
    }

    /// The key of a port on all of the node's addresses.
    pub fn on_node(ipv6: bool, port: u16, protocol: Protocol) -> Self {
        let any = if ipv6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        Self::new(any, port, protocol)
    }

    /// The same port on all of the node's addresses.
    #[must_use]
    pub fn on_all(mut self) -> Self {
        match &mut self {
            Self::V4(key) => key.address = address4(Ipv4Addr::UNSPECIFIED.octets()),
            Self::V6(key) => key.address = address6(Ipv6Addr::UNSPECIFIED.octets()),
        }
        self
    }

    /// Address that clients use; unspecified for all of the node's.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::V4(k) => octets4(k.address).into(),
            Self::V6(k) => octets6(k.address).into(),
        }
    }

    /// Port that clients use, host order.
    pub fn port(&self) -> u16 {
        u16::from_be(match self {
            Self::V4(k) => k.port,
            Self::V6(k) => k.port,
        })
    }

    /// IP protocol number.
    pub fn protocol(&self) -> u8 {
        match self {
            Self::V4(k) => k.protocol,
            Self::V6(k) => k.protocol,
        }
    }
}

impl fmt::Display for FrontendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            a if a.is_unspecified() && a.is_ipv6() => write!(f, "[node]:{}", self.port())?,
            a if a.is_unspecified() => write!(f, "node:{}", self.port())?,
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port())?,
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port())?,
        }
        f.write_str("/")?;
        f.write_str(&Protocol::name_of(self.protocol()))
    }
}
