//! Address conflicts: addresses of this node's links that are other nodes' pods'.

use std::fmt;

use ipnetwork::IpNetwork;

use super::{desired::Desired, facts::Facts};

/// Such an address.
#[derive(Debug, PartialEq, Eq)]
pub struct Astray<'a> {
    /// The link that has it.
    pub link: &'a str,
    /// It, with its prefix.
    pub address: IpNetwork,
    /// Of whose pods it is.
    node: &'a str,
    /// Their range.
    range: IpNetwork,
}

impl fmt::Display for Astray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            link,
            address,
            node,
            range,
        } = self;
        write!(
            f,
            "{link} has {}, which is of the pods of node {node} ({range}): what this node sends to a pod there ends here",
            address.ip()
        )
    }
}

/// All of them.
pub fn all<'a>(desired: &'a Desired, facts: &'a Facts) -> impl Iterator<Item = Astray<'a>> {
    let links = facts.interfaces.iter();
    let all = links.flat_map(|link| link.addresses.iter().map(move |at| (&link.name, at.net)));
    all.filter_map(|(link, address)| {
        let mut ranges = desired.ways.keys();
        let (node, range) = ranges.find(|(_, range)| range.contains(address.ip()))?;
        Some(Astray {
            link,
            address,
            node,
            range: *range,
        })
    })
}
