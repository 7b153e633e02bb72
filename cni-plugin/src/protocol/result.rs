//! The result of ADD, in the shape of the configuration's version.

use std::net::IpAddr;

use serde::Serialize;

use super::version::Version;

/// The document on stdout.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddResult {
    cni_version: &'static str,
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
    routes: Vec<Route>,
    dns: Dns,
}

/// An interface that exists after ADD.
#[derive(Clone, Debug, Serialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Hardware address.
    pub mac: String,
    /// MTU, since 1.1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Its namespace, for the container's side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Ip {
    /// Before 1.0.0 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    interface: usize,
}

#[derive(Clone, Debug, Serialize)]
struct Route {
    dst: &'static str,
    gw: IpAddr,
}

/// The runtime takes the pod's DNS from the kubelet.
#[derive(Clone, Debug, Serialize)]
struct Dns {}

/// An address in a result.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix.
    pub prefix: u8,
    /// Gateway of a default route through it.
    pub gateway: Option<IpAddr>,
}

impl AddResult {
    /// A result whose addresses are on `interfaces[on]`.
    pub fn new(
        version: Version,
        mut interfaces: Vec<Interface>,
        on: usize,
        addresses: &[Address],
    ) -> Self {
        if version < Version::V1_1 {
            for interface in &mut interfaces {
                interface.mtu = None;
            }
        }
        Self {
            cni_version: version.as_str(),
            interfaces,
            ips: addresses.iter().map(|a| ip(version, on, a)).collect(),
            routes: addresses.iter().filter_map(default_route).collect(),
            dns: Dns {},
        }
    }
}

fn ip(version: Version, interface: usize, address: &Address) -> Ip {
    let family = if address.ip.is_ipv4() { "4" } else { "6" };
    Ip {
        version: (version < Version::V1).then_some(family),
        address: format!("{}/{}", address.ip, address.prefix),
        gateway: address.gateway,
        interface,
    }
}

fn default_route(address: &Address) -> Option<Route> {
    let dst = if address.ip.is_ipv4() {
        "0.0.0.0/0"
    } else {
        "::/0"
    };
    address.gateway.map(|gw| Route { dst, gw })
}

/// A hardware address as text.
pub fn mac(octets: [u8; 6]) -> String {
    octets.map(|o| format!("{o:02x}")).join(":")
}

impl AddResult {
    /// The document.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}
