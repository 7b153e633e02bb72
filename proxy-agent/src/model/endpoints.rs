//! The endpoints of a slice, packed: at 10 000 Services with 10 endpoints each they are what the agent's
//! memory is spent on. An IPv4 endpoint takes 7 bytes; where it runs and whom it is hinted for is shared.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

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

/// `conditions` of an endpoint. Those that are nil have their defaults: ready and serving, not terminating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// Where an endpoint runs and whom it is hinted for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Placement {
    /// `nodeName`.
    pub node: Option<Arc<str>>,
    /// `hints.forZones[].name`.
    pub for_zones: Box<[Arc<str>]>,
    /// `hints.forNodes[].name`.
    pub for_nodes: Box<[Arc<str>]>,
}

/// The endpoints of one slice, all of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// How many octets an address has; then for each endpoint its address, where in `placements` its
    /// placement is, and its conditions.
    packed: Box<[u8]>,
    placements: Box<[Arc<Placement>]>,
}

/// After the address: place of the placement, conditions.
const TAIL: usize = 3;

impl Endpoints {
    /// Packs endpoints. What is not of the first one's family is left out, as is what would not fit 65 535
    /// placements (a slice has at most 1 000 endpoints).
    pub fn new(endpoints: impl IntoIterator<Item = (IpAddr, Conditions, Arc<Placement>)>) -> Self {
        let mut packed = Vec::new();
        let mut placements: Vec<Arc<Placement>> = Vec::new();
        for (address, conditions, placement) in endpoints {
            let octets = if address.is_ipv4() { 4 } else { 16 };
            if packed.is_empty() {
                packed.push(octets);
            }
            let known = placements.iter().rposition(|p| *p == placement);
            let place = u16::try_from(known.unwrap_or(placements.len()));
            let Some(place) = place.ok().filter(|_| packed[0] == octets) else {
                continue;
            };
            if known.is_none() {
                placements.push(placement);
            }
            match address {
                IpAddr::V4(address) => packed.extend(address.octets()),
                IpAddr::V6(address) => packed.extend(address.octets()),
            }
            packed.extend(place.to_le_bytes());
            packed.push(conditions.pack());
        }
        Self {
            packed: packed.into(),
            placements: placements.into(),
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
        records.chunks_exact(usize::from(*octets) + TAIL)
    }

    fn unpack(&self, record: &[u8]) -> Option<Endpoint<'_>> {
        let (address, &[low, high, conditions]) = record.split_last_chunk()?;
        let address = match address.len() {
            4 => Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into(),
            _ => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(),
        };
        let place = usize::from(u16::from_le_bytes([low, high]));
        Some(Endpoint {
            address,
            conditions: Conditions::unpack(conditions),
            placement: self.placements.get(place)?,
        })
    }
}

impl Conditions {
    const fn pack(self) -> u8 {
        self.ready as u8 | (self.serving as u8) << 1 | (self.terminating as u8) << 2
    }

    const fn unpack(bits: u8) -> Self {
        Self {
            ready: bits & 1 != 0,
            serving: bits & 2 != 0,
            terminating: bits & 4 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_back_as_they_went_in() {
        let here = Arc::new(Placement {
            node: Some("a".into()),
            ..Placement::default()
        });
        let nowhere = Arc::new(Placement::default());
        let terminating = Conditions {
            ready: false,
            serving: true,
            terminating: true,
        };
        let packed = Endpoints::new([
            (
                "10.0.0.1".parse().unwrap(),
                Conditions::default(),
                Arc::clone(&here),
            ),
            ("10.0.0.2".parse().unwrap(), terminating, nowhere),
            ("10.0.0.3".parse().unwrap(), Conditions::default(), here),
        ]);
        let seen: Vec<_> = packed
            .iter()
            .map(|e| {
                (
                    e.address.to_string(),
                    e.conditions.terminating,
                    e.placement.node.is_some(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("10.0.0.1".into(), false, true),
                ("10.0.0.2".into(), true, false),
                ("10.0.0.3".into(), false, true),
            ]
        );
        assert_eq!(packed.placements.len(), 2);
        assert_eq!(packed.packed.len(), 1 + 3 * 7);
    }
}
