//! What this machine has: links and their addresses, read from the kernel.

use std::{io, net::IpAddr};

use cni_plugin::wiring::{inspect, netlink::Netlink};
use ipnetwork::IpNetwork;

/// A link and its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// MTU.
    pub mtu: u32,
    /// Addresses with their prefixes.
    pub addresses: Vec<IpNetwork>,
}

/// All links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// In the order of their indexes.
    pub interfaces: Vec<Interface>,
}

impl Facts {
    /// Reads them in the calling thread's network namespace.
    pub fn read() -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let addresses = inspect::all_addresses(&mut netlink)?;
        let mut interfaces: Vec<_> = inspect::links(&mut netlink)?
            .into_iter()
            .map(|link| Interface {
                addresses: addresses
                    .iter()
                    .filter(|(index, _)| *index == link.index)
                    .map(|(_, address)| *address)
                    .collect(),
                name: link.name,
                index: link.index,
                mtu: link.mtu,
            })
            .collect();
        interfaces.sort_by_key(|i| i.index);
        Ok(Self { interfaces })
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.interfaces
            .iter()
            .flat_map(|i| i.addresses.iter().map(IpNetwork::ip))
    }

    /// The link towards the other nodes: the named one, else the one that carries one of these addresses.
    pub fn uplink(&self, name: &str, internal: &[IpAddr]) -> Option<&Interface> {
        self.interfaces.iter().find(|i| {
            if name.is_empty() {
                i.addresses.iter().any(|a| internal.contains(&a.ip()))
            } else {
                i.name == name
            }
        })
    }
}
