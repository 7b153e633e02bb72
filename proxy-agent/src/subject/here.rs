//! What subjects tell each other of this node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;

use crate::{
    api::listen::ListenOn,
    datapath::SharedDatapath,
    model::{HostPort, LocalEndpoint, Wire},
    subject::growth::InVain,
};

/// This node, as its subjects know it. Each value has one subject that tells it.
#[derive(Debug)]
pub struct Here {
    /// The programs and the maps.
    pub datapath: SharedDatapath,
    /// By pods: all endpoints.
    pub endpoints: Told<Vec<LocalEndpoint>>,
    /// By pods: the `hostPort`s of each pod (`namespace/name`), in the order in which they were wired.
    pub host_ports: Told<Vec<(String, Vec<HostPort>)>>,
    /// By pods: the host's sides of their interfaces.
    pub wires: Told<Vec<Wire>>,
    /// By policy: the endpoints whose policy is in force.
    pub policed: Told<BTreeSet<u32>>,
    /// By Services: they were brought in step once.
    pub serving: Told<bool>,
    /// By Services: pods whose `hostPort`s are not in force, and why.
    pub no_host_ports: Told<BTreeMap<String, String>>,
    /// By the node: its own addresses that reach pods, in order, also those that its Node object does not name.
    pub addresses: Told<Vec<IpAddr>>,
    /// By the node: ranges all of whose addresses are its own, and too many to be named one by one.
    pub ranges: Told<Vec<IpNetwork>>,
    /// By the node: where health check node ports are served.
    pub listen_on: Told<ListenOn>,
    /// By who makes maps larger: those that do not grow though somebody waits for it.
    pub in_vain: Told<InVain>,
}

impl Here {
    /// Nothing is told yet.
    pub fn new(datapath: SharedDatapath) -> Self {
        Self {
            datapath,
            endpoints: Told::default(),
            host_ports: Told::default(),
            wires: Told::default(),
            policed: Told::default(),
            serving: Told::default(),
            no_host_ports: Told::default(),
            addresses: Told::default(),
            ranges: Told::default(),
            listen_on: Told::default(),
            in_vain: Told::default(),
        }
    }

    /// How often something new was told.
    pub const fn version(&self) -> u64 {
        let Self {
            datapath: _,
            endpoints,
            host_ports,
            wires,
            policed,
            serving,
            no_host_ports,
            addresses,
            ranges,
            listen_on,
            in_vain,
        } = self;
        endpoints.version
            + host_ports.version
            + wires.version
            + policed.version
            + serving.version
            + no_host_ports.version
            + addresses.version
            + ranges.version
            + listen_on.version
            + in_vain.version
    }
}

/// A value that one subject tells and others read.
#[derive(Debug, Default)]
pub struct Told<T> {
    value: T,
    version: u64,
}

impl<T: PartialEq> Told<T> {
    /// Tells it, if it is anything new.
    pub fn tell(&mut self, value: T) {
        if self.value != value {
            self.value = value;
            self.version += 1;
        }
    }

    /// The value, if it is another than at the version that the reader has `seen`.
    pub fn news(&self, seen: &mut u64) -> Option<&T> {
        let new = std::mem::replace(seen, self.version) != self.version;
        new.then_some(&self.value)
    }

    /// The value.
    pub const fn get(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn news_are_told_to_each_reader_once() {
        let mut told = Told::<u32>::default();
        let (mut first, mut second) = (0, 0);
        assert_eq!(told.news(&mut first), None, "as it begins");
        told.tell(1);
        told.tell(1);
        assert_eq!(told.news(&mut first), Some(&1));
        assert_eq!(told.news(&mut first), None);
        told.tell(2);
        assert_eq!(told.news(&mut second), Some(&2));
    }
}
