//! The endpoints of a slice, packed: at 10 000 Services with 10 endpoints each they are what the agent's
//! memory is spent on. An IPv4 endpoint takes 6 bytes; all but its address is shared with endpoints like it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::SharedList;

/// An endpoint of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// `addresses[0]`.
    pub address: IpAddr,
    /// `conditions`, defaults filled in.
    pub conditions: Conditions,
    /// Where it runs and whom it is hinted for.
    pub placement: &'a Placement,
}

/// What an endpoint has beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointState {
    /// `conditions`, defaults filled in.
    pub conditions: Conditions,
    /// Where it runs and whom it is hinted for.
    pub placement: Placement,
}

/// `conditions` of an endpoint. Those that are nil have their defaults: ready and serving, not terminating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conditions {
    /// `conditions.ready`.
    pub ready: bool,
    /// `conditions.serving`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            ready: true,
            serving: true,
            terminating: false,
        }
    }
}

/// Where an endpoint runs and whom it is hinted for, as seen from this node: of the others it does not matter
/// which one it is, and so most endpoints are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Placement {
    /// `nodeName` is this node's.
    pub here: bool,
    /// `hints.forNodes`.
    pub for_nodes: NodeHint,
    /// `hints.forZones[].name`.
    pub for_zones: Box<[Arc<str>]>,
}

/// Which nodes an endpoint is hinted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NodeHint {
    /// No hint.
    #[default]
    None,
    /// For others than this one.
    Others,
    /// For this one, and perhaps for others.
    Here,
}

impl NodeHint {
    /// From the nodes that are named, as seen from a node.
    pub fn of<'a>(mut nodes: impl Iterator<Item = &'a str>, here: &str) -> Self {
        match nodes.next() {
            None => Self::None,
            Some(first) if first == here || nodes.any(|node| node == here) => Self::Here,
            Some(_) => Self::Others,
        }
    }
}

/// The endpoints of one slice, all of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// How many octets an address has; then for each endpoint its address, and where in `states` its state is.
    packed: Box<[u8]>,
    states: SharedList<EndpointState>,
}

impl Endpoints {
    /// Packs endpoints; `share` gives a copy of the list that others have, too. What is not of the first
    /// one's family is left out, as is what would not fit 65 535 states (a slice has at most 1 000 endpoints).
    pub fn new(
        endpoints: impl IntoIterator<Item = (IpAddr, EndpointState)>,
        share: impl FnOnce(Vec<EndpointState>) -> SharedList<EndpointState>,
    ) -> Self {
        let mut packed = Vec::new();
        let mut states: Vec<EndpointState> = Vec::new();
        for (address, state) in endpoints {
            let octets = if address.is_ipv4() { 4 } else { 16 };
            if packed.is_empty() {
                packed.push(octets);
            }
            let known = states.iter().position(|known| *known == state);
            let at = u16::try_from(known.unwrap_or(states.len()));
            let Some(at) = at.ok().filter(|_| packed[0] == octets) else {
                continue;
            };
            if known.is_none() {
                states.push(state);
            }
            match address {
                IpAddr::V4(address) => packed.extend(address.octets()),
                IpAddr::V6(address) => packed.extend(address.octets()),
            }
            packed.extend(at.to_le_bytes());
        }
        Self {
            packed: packed.into(),
            states: share(states),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// The endpoints in their order.
    pub fn iter(&self) -> impl Iterator<Item = Endpoint<'_>> {
        self.records().filter_map(|record| self.unpack(record))
    }

    fn records(&self) -> std::slice::ChunksExact<'_, u8> {
        let (octets, records) = self.packed.split_first().unwrap_or((&0, &[]));
        records.chunks_exact(usize::from(*octets) + size_of::<u16>())
    }

    fn unpack(&self, record: &[u8]) -> Option<Endpoint<'_>> {
        let (address, at) = record.split_last_chunk()?;
        let address = match address.len() {
            4 => Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into(),
            _ => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(),
        };
        let EndpointState {
            conditions,
            placement,
        } = self.states.get(usize::from(u16::from_le_bytes(*at)))?;
        Some(Endpoint {
            address,
            conditions: *conditions,
            placement,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> impl Strategy<Value = EndpointState> {
        let zones = prop::collection::vec("[ab]".prop_map(Arc::from), 0..2);
        let hint = prop_oneof![
            Just(NodeHint::None),
            Just(NodeHint::Others),
            Just(NodeHint::Here)
        ];
        let bits = any::<[bool; 4]>();
        (bits, hint, zones).prop_map(|([ready, serving, terminating, here], for_nodes, zones)| {
            EndpointState {
                conditions: Conditions {
                    ready,
                    serving,
                    terminating,
                },
                placement: Placement {
                    here,
                    for_nodes,
                    for_zones: zones.into(),
                },
            }
        })
    }

    fn endpoints() -> impl Strategy<Value = Vec<(IpAddr, EndpointState)>> {
        let address = prop_oneof![
            any::<Ipv4Addr>().prop_map(IpAddr::V4).boxed(),
            any::<Ipv6Addr>().prop_map(IpAddr::V6).boxed(),
        ];
        prop::collection::vec((address, state()), 0..300)
    }

    proptest! {
        #[test]
        fn endpoints_come_back_as_they_went_in(mut endpoints in endpoints()) {
            let packed = Endpoints::new(endpoints.clone(), SharedList::from);
            if let Some((first, _)) = endpoints.first().cloned() {
                endpoints.retain(|(address, _)| address.is_ipv4() == first.is_ipv4());
            }
            let unpacked: Vec<(IpAddr, EndpointState)> = packed.iter().map(|endpoint| {
                let Endpoint { address, conditions, placement } = endpoint;
                (address, EndpointState { conditions, placement: placement.clone() })
            }).collect();
            prop_assert_eq!(packed.len(), endpoints.len());
            prop_assert_eq!(packed.is_empty(), endpoints.is_empty());
            prop_assert_eq!(unpacked, endpoints);
        }
    }

    #[test]
    fn an_endpoint_takes_six_bytes() {
        let endpoint = |host| ([10, 0, 0, host].into(), EndpointState::default());
        let packed = Endpoints::new((0..10).map(endpoint), SharedList::from);
        assert_eq!((packed.packed.len(), packed.states.len()), (1 + 10 * 6, 1));
    }

    #[test]
    fn a_hint_counts_for_this_node_wherever_it_stands() {
        let hint = |nodes: &[&str]| NodeHint::of(nodes.iter().copied(), "a");
        assert_eq!(hint(&[]), NodeHint::None);
        assert_eq!(hint(&["b", "c"]), NodeHint::Others);
        assert_eq!(hint(&["a"]), NodeHint::Here);
        assert_eq!(hint(&["b", "a"]), NodeHint::Here);
    }
}
