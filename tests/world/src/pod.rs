//! A pod: a netns in its node, an `eth0` with two addresses, a cgroup.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
};

use anyhow::{Context as _, Result};

use super::{leak, node::Node, place::Place, plugin::Attachment};

/// Who made the pod's interface, and so who takes it away.
pub enum Wiring {
    /// The world: the end of the netns is the end of the interface.
    Plain,
    /// The CNI plugin: DEL.
    Plugin(Attachment),
}

/// A pod; taken down when dropped.
pub struct Pod {
    name: String,
    node: Node,
    place: Place,
    wiring: Wiring,
    addresses: (Ipv4Addr, Ipv6Addr),
}

impl Pod {
    /// An empty pod: netns `name` in the node's `/run/netns`, `lo` up, cgroup below the node's.
    pub(super) fn netns(node: &Node, name: &str) -> Result<Place> {
        node.run(&["ip", "netns", "add", name])?;
        node.run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        let cgroup = node.cgroup_root().child("pods")?.child(name)?;
        Place::new(
            &node.file(&format!("/run/netns/{name}")),
            &node.holder().namespace("mnt"),
            &node.holder().namespace("uts"),
            cgroup,
        )
    }

    pub(super) fn new(
        name: &str,
        node: &Node,
        place: Place,
        wiring: Wiring,
        addresses: (Ipv4Addr, Ipv6Addr),
    ) -> Self {
        Self {
            name: name.to_owned(),
            node: node.clone(),
            place,
            wiring,
            addresses,
        }
    }

    /// Name, also the name of its netns inside the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.addresses.0
    }

    /// IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.addresses.1
    }

    /// Both addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.ipv4().into(), self.ipv6().into()]
    }

    /// Both addresses with a port.
    pub fn at(&self, port: u16) -> [SocketAddr; 2] {
        self.addresses()
            .map(|address| SocketAddr::new(address, port))
    }

    fn take_down(&mut self) -> Result<()> {
        if let Wiring::Plugin(attachment) = &self.wiring {
            self.node.unwire();
            attachment.delete(&self.node)?;
        }
        self.place
            .cgroup()
            .remove()
            .with_context(|| format!("end pod {}", self.name))?;
        self.node.run(&["ip", "netns", "delete", &self.name])?;
        Ok(())
    }
}

impl Deref for Pod {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        leak::report(self.take_down());
    }
}
