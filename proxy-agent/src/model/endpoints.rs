//! The endpoints of a slice, packed: at 10 000 Services with 10 endpoints each they are what the agent's
//! memory is spent on. An IPv4 endpoint takes 8 bytes; where it runs and whom it is hinted for is shared.

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
    v4: Box<[Packed<[u8; 4]>]>,
    v6: Box<[Packed<[u8; 16]>]>,
    placements: Box<[Arc<Placement>]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed<A> {
    address: A,
    placement: u16,
    conditions: Conditions,
}

impl Endpoints {
    /// Packs endpoints. A slice has at most 1 000; what would not fit 65 535 placements is left out.
    pub fn new(endpoints: impl IntoIterator<Item = (IpAddr, Conditions, Arc<Placement>)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut placements: Vec<Arc<Placement>> = Vec::new();
        for (address, conditions, placement) in endpoints {
            let known = placements.iter().rposition(|p| *p == placement);
            let Ok(index) = u16::try_from(known.unwrap_or(placements.len())) else {
                continue;
            };
            if known.is_none() {
                placements.push(placement);
            }
            match address {
                IpAddr::V4(a) => v4.push(packed(a.octets(), index, conditions)),
                IpAddr::V6(a) => v6.push(packed(a.octets(), index, conditions)),
            }
        }
        Self {
            v4: v4.into(),
            v6: v6.into(),
            placements: placements.into(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The endpoints in their order.
    pub fn iter(&self) -> impl Iterator<Item = Endpoint<'_>> {
        let v4 = self.v4.iter();
        let v4 = v4.map(|p| self.unpack(IpAddr::V4(Ipv4Addr::from(p.address)), p));
        let v6 = self.v6.iter();
        v4.chain(v6.map(|p| self.unpack(IpAddr::V6(Ipv6Addr::from(p.address)), p)))
    }

    fn unpack<A>(&self, address: IpAddr, packed: &Packed<A>) -> Endpoint<'_> {
        Endpoint {
            address,
            conditions: packed.conditions,
            placement: &self.placements[usize::from(packed.placement)],
        }
    }
}

const fn packed<A>(address: A, placement: u16, conditions: Conditions) -> Packed<A> {
    Packed {
        address,
        placement,
        conditions,
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
        assert_eq!(size_of::<Packed<[u8; 4]>>(), 10);
    }
}
