//! On which node something is, as far as this node's agent knows.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Context;
use crate::api::messages::{Names, Status};

/// Ranges of pods, and whose they are.
#[derive(Debug, Default)]
pub struct Whereabouts {
    /// The node that was asked; empty if there was no answer.
    pub here: String,
    ranges: Vec<(IpNetwork, String)>,
}

impl Whereabouts {
    /// Asks the agent.
    pub async fn ask(context: &Context) -> Self {
        let status = context.client.get::<Status>("/v1/status").await;
        status.map(|status| Self::of(&status)).unwrap_or_default()
    }

    fn of(status: &Status) -> Self {
        let ways = status.ways.iter();
        let ranges = ways.filter_map(|way| Some((way.range.parse().ok()?, way.node.clone())));
        Self {
            here: status.agent.node.clone(),
            ranges: ranges.collect(),
        }
    }

    /// The other node that has an address, or is at it.
    pub fn node<'a>(&'a self, names: &'a Names, address: IpAddr) -> Option<&'a str> {
        let name = names.addresses.get(&address);
        let itself = name.and_then(|name| name.strip_prefix("node/"));
        let holders = self
            .ranges
            .iter()
            .filter(|(range, _)| range.contains(address));
        let holder = holders.max_by_key(|(range, _)| range.prefix());
        let node = itself.or_else(|| holder.map(|(_, node)| node.as_str()));
        node.filter(|node| *node != self.here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::messages::WayStatus;

    #[test]
    fn addresses_are_of_the_node_that_has_the_range() {
        let mut status = Status::default();
        status.agent.node = "a".to_owned();
        let way = |node: &str, range: &str| WayStatus {
            node: node.to_owned(),
            range: range.to_owned(),
            way: "direct".to_owned(),
        };
        status.ways = vec![way("b", "10.1.1.0/24"), way("c", "fd00:2::/64")];
        let mut names = Names::default();
        for (address, name) in [("192.0.2.1", "node/a"), ("192.0.2.2", "node/b")] {
            names
                .addresses
                .insert(address.parse().unwrap(), name.to_owned());
        }
        let whereabouts = Whereabouts::of(&status);
        for (address, node) in [
            ("10.1.1.7", Some("b")),
            ("fd00:2::7", Some("c")),
            ("10.1.2.7", None),
            ("192.0.2.1", None),
            ("192.0.2.2", Some("b")),
        ] {
            assert_eq!(whereabouts.node(&names, address.parse().unwrap()), node);
        }
    }
}
