//! What this machine has: links, addresses and routes, read from the kernel.

mod link;
mod route;

use std::{collections::BTreeMap, io, net::IpAddr};

use cni_plugin::wiring::netlink::Netlink;
use ipnetwork::IpNetwork;

pub use link::{Address, Interface};
pub(super) use route::MAIN_TABLE;
pub use route::{DefaultRoute, Routing};

/// All links and routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// In the order of their indexes.
    pub interfaces: Vec<Interface>,
    /// Of all tables that matter.
    pub routing: Routing,
}

impl Facts {
    /// Reads them in the calling thread's network namespace.
    pub fn read() -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut interfaces = link::links(&mut netlink)?;
        let mut addresses: BTreeMap<u32, Vec<Address>> = BTreeMap::new();
        for (index, address) in link::addresses(&mut netlink)? {
            addresses.entry(index).or_default().push(address);
        }
        for interface in &mut interfaces {
            interface.addresses = addresses.remove(&interface.index).unwrap_or_default();
        }
        interfaces.sort_by_key(|interface| interface.index);
        Ok(Self {
            interfaces,
            routing: route::read(&mut netlink)?,
        })
    }

    /// All addresses of interfaces.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let interfaces = self.interfaces.iter();
        interfaces.flat_map(|i| i.addresses.iter().map(|a| a.net.ip()))
    }

    /// Ranges whose addresses are local by a route alone.
    pub fn local_ranges(&self) -> impl Iterator<Item = IpNetwork> {
        let known: std::collections::BTreeSet<IpAddr> = self.addresses().collect();
        let ranges = self.routing.local.iter().copied();
        ranges.filter(move |range| {
            let single = range.prefix() == if range.is_ipv4() { 32 } else { 128 };
            !(range.ip().is_loopback() || single && known.contains(&range.ip()))
        })
    }

    /// An interface by its index.
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        let found = self.interfaces.binary_search_by_key(&index, |i| i.index);
        found.ok().and_then(|place| self.interfaces.get(place))
    }

    /// The interface that has an address.
    pub fn with_address(&self, ip: IpAddr) -> Option<&Interface> {
        let mut interfaces = self.interfaces.iter();
        interfaces.find(|i| i.has(ip))
    }
}
