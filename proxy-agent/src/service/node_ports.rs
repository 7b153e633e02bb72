//! `NODE_PORTS`: which ports may be more than the node's own sockets'.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    image::Image,
    key::FrontendKey,
    plan::Step,
    pool::{server4, server6},
};
use crate::datapath::words::{Words, set_bit};

/// How often each port is used by a frontend, or by a backend on an address of the node.
#[derive(Clone, Debug, Default)]
pub struct NodePorts {
    uses: BTreeMap<u16, u32>,
    /// The node's own addresses, in order; none before they are known.
    own: Option<Vec<IpAddr>>,
    /// Frontends on a single one of them: they come before those on all.
    narrow: BTreeSet<FrontendKey>,
}

/// What a step does to the uses of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It will be used once more.
    More(u16),
    /// It will be used once less.
    Less(u16),
}

impl NodePorts {
    /// The node's own addresses from now on, in order; false if they are nothing new. [`Self::recount`] must follow.
    pub fn set_own(&mut self, addresses: &[IpAddr]) -> bool {
        let changed = self.own.as_deref() != Some(addresses);
        if changed {
            self.own = Some(addresses.to_vec());
        }
        changed
    }

    /// Frontends on a single address of the node.
    pub fn narrow(&self) -> impl Iterator<Item = &FrontendKey> {
        self.narrow.iter()
    }

    /// Notes a frontend that comes or goes.
    pub fn note(&mut self, step: &Step) {
        match step {
            Step::Frontend(key, _) if self.is_own(key.address()) => {
                self.narrow.insert(*key);
            }
            Step::RemoveFrontend(key, _) => {
                self.narrow.remove(key);
            }
            _ => {}
        }
    }

    /// What a step that is not done yet will change.
    pub fn change(&self, step: &Step, image: &Image) -> Option<Use> {
        let (address, port, more) = match step {
            Step::Frontend(key, _) => {
                return match image.frontend(key) {
                    None => Some(Use::More(key.port())),
                    Some(_) => None,
                };
            }
            Step::RemoveFrontend(key, _) => {
                return image.frontend(key).map(|_| Use::Less(key.port()));
            }
            Step::Backend4(id, backend) if image.pool4.get(*id).is_none() => {
                let server = server4(backend);
                (server.address, server.port, true)
            }
            Step::Backend6(id, backend) if image.pool6.get(*id).is_none() => {
                let server = server6(backend);
                (server.address, server.port, true)
            }
            Step::RemoveBackend(id) => {
                let v4 = image.pool4.get(*id).map(|backend| server4(&backend));
                let server =
                    v4.or_else(|| image.pool6.get(*id).map(|backend| server6(&backend)))?;
                (server.address, server.port, false)
            }
            _ => return None,
        };
        let kind = if more { Use::More } else { Use::Less };
        self.is_own(address).then_some(kind(port))
    }

    /// To be called before the step: its port is known before what it leads to.
    pub fn before(&self, change: Option<Use>, words: &mut dyn Words) {
        if let Some(Use::More(port)) = change {
            set_bit(words, port.into(), true);
        }
    }

    /// To be called once the step is done.
    pub fn after(&mut self, change: Option<Use>, words: &mut dyn Words) {
        match change {
            Some(Use::More(port)) => *self.uses.entry(port).or_default() += 1,
            Some(Use::Less(port)) => {
                let uses = self.uses.entry(port).or_default();
                *uses = uses.saturating_sub(1);
                if *uses == 0 {
                    self.uses.remove(&port);
                    // Without the addresses what else uses it is not known.
                    if self.own.is_some() {
                        set_bit(words, port.into(), false);
                    }
                }
            }
            None => {}
        }
    }

    /// Counts anew by what the maps hold. Before the addresses are known nothing is cleared.
    pub fn recount(&mut self, image: &Image, words: &mut dyn Words) {
        let keys = image.frontends().map(|(key, _)| key);
        self.narrow = keys.filter(|key| self.is_own(key.address())).collect();
        let frontends = image.frontends();
        let v4 = image.pool4.entries().map(|(_, backend)| server4(&backend));
        let v6 = image.pool6.entries().map(|(_, backend)| server6(&backend));
        let backends = v4.chain(v6).filter(|server| self.is_own(server.address));
        let ports = backends.map(|server| server.port);
        let mut uses = BTreeMap::new();
        for port in frontends.map(|(key, _)| key.port()).chain(ports) {
            *uses.entry(port).or_default() += 1;
        }
        self.uses = uses;
        self.state(words);
    }

    /// Writes what was counted, whatever somebody else wrote.
    pub fn state(&self, words: &mut dyn Words) {
        let keep = if self.own.is_some() { 0 } else { u64::MAX };
        let mut wanted: Vec<u64> = (0..words.len()).map(|i| words.get(i) & keep).collect();
        for port in self.uses.keys() {
            if let Some(word) = wanted.get_mut(usize::from(*port) / 64) {
                *word |= 1 << (port % 64);
            }
        }
        for (index, word) in (0..).zip(wanted) {
            if words.get(index) != word {
                words.set(index, word);
            }
        }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let own = self.own.as_deref().unwrap_or_default();
        address.is_loopback() || own.binary_search(&address).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proxy_common::{
        backends::Backend4,
        frontends::{BackendSet, FLAG_CLUSTER_IP, FLAG_EXTERNAL_IP, FLAG_NODE_PORT, Frontend},
        node::NODE_PORT_WORDS,
    };

    use super::*;
    use crate::{
        datapath::{MemoryWords, words::set_bits},
        model::Protocol,
        service::{choice::Server, key::FrontendKey, pool::Backend as _},
    };

    /// Ports and the maps that they are of.
    struct Node {
        ports: NodePorts,
        image: Image,
        words: MemoryWords,
    }

    impl Node {
        fn new() -> Self {
            Self {
                ports: NodePorts::default(),
                image: Image::default(),
                words: MemoryWords::new(NODE_PORT_WORDS),
            }
        }

        fn own(&mut self, addresses: &[&str]) {
            let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            if self.ports.set_own(&addresses) {
                self.ports.recount(&self.image, &mut self.words);
            }
        }

        /// Does a step; gives the ports that were set just before it.
        fn step(&mut self, step: &Step) -> Vec<u32> {
            let change = self.ports.change(step, &self.image);
            self.ports.before(change, &mut self.words);
            let before = self.set();
            self.image.done(step, std::time::Instant::now());
            self.ports.after(change, &mut self.words);
            before
        }

        fn set(&self) -> Vec<u32> {
            set_bits(&self.words)
        }
    }

    fn key(address: &str, port: u16, protocol: Protocol) -> FrontendKey {
        FrontendKey::new(address.parse().unwrap(), port, protocol)
    }

    fn frontend(key: FrontendKey, service: u32, flags: u32) -> Step {
        let value = Frontend {
            service,
            flags,
            affinity_seconds: 0,
            maglev: 0,
            internal: BackendSet::default(),
            external: BackendSet::default(),
        };
        Step::Frontend(key, value)
    }

    fn backend(id: u32, address: &str, port: u16) -> Step {
        let server = Server {
            address: address.parse().unwrap(),
            port,
            local: true,
        };
        Step::Backend4(id, Backend4::new(&server, Protocol::Tcp).unwrap())
    }

    #[test]
    fn a_port_is_set_before_it_is_used_and_until_nobody_uses_it() {
        let mut node = Node::new();
        node.own(&["192.0.2.1"]);
        let (tcp, udp) = (
            key("0.0.0.0", 30_000, Protocol::Tcp),
            key("192.0.2.1", 30_000, Protocol::Udp),
        );
        assert_eq!(node.step(&frontend(tcp, 1, FLAG_NODE_PORT)), [30_000]);
        node.step(&frontend(udp, 2, FLAG_EXTERNAL_IP));
        // The same once more.
        node.step(&frontend(tcp, 1, FLAG_NODE_PORT));
        assert_eq!(
            node.step(&backend(7, "192.0.2.1", 65_535)),
            [30_000, 65_535]
        );
        assert_eq!(node.step(&backend(8, "10.0.0.1", 82)), [30_000, 65_535]);
        let vip = key("10.96.0.1", 80, Protocol::Tcp);
        assert_eq!(
            node.step(&frontend(vip, 3, FLAG_CLUSTER_IP)),
            [80, 30_000, 65_535]
        );
        node.step(&Step::RemoveFrontend(vip, 3));
        node.step(&Step::RemoveFrontend(tcp, 1));
        assert_eq!(node.set(), [30_000, 65_535]);
        assert_eq!(node.step(&Step::RemoveFrontend(udp, 2)), [30_000, 65_535]);
        assert_eq!(node.set(), [65_535]);
        node.step(&Step::RemoveBackend(7));
        node.step(&Step::RemoveBackend(8));
        assert_eq!(node.set(), [0; 0]);
    }

    #[test]
    fn nothing_is_cleared_before_the_nodes_addresses_are_known() {
        let mut node = Node::new();
        // Of a former agent, and still used.
        set_bit(&mut node.words, 9000, true);
        let wild = key("::", 30_001, Protocol::Udp);
        node.step(&frontend(wild, 1, FLAG_NODE_PORT));
        node.step(&backend(7, "192.0.2.9", 9000));
        node.step(&Step::RemoveFrontend(wild, 1));
        node.ports.recount(&node.image, &mut node.words);
        assert_eq!(node.set(), [9000, 30_001]);
        node.own(&["192.0.2.9"]);
        assert_eq!(node.set(), [9000]);
        node.own(&["192.0.2.8"]);
        assert_eq!(node.set(), [0; 0]);
    }
}
