//! Which peers the device lacks, which are not as they should be, and which are nobody's any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use ipnetwork::IpNetwork;

use super::{Peer, key::PublicKey, wire::Present};

/// What is to be done with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is made, or its ranges are put in the place of those that it has.
    Set {
        /// None: it stays where its packets come from.
        endpoint: Option<SocketAddr>,
        /// All its ranges. The kernel takes each from the peer that has it.
        allowed: BTreeSet<IpNetwork>,
        /// Seconds between two empty packets.
        keepalive: u16,
    },
    /// It is removed.
    Remove,
}

/// The difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be made or set right.
    pub set: Vec<(PublicKey, Change)>,
    /// To be removed, once nothing leads to them.
    pub remove: Vec<PublicKey>,
}

/// Compares. Peers that have ranges of one that is to be set are set after it if they lack none: what is taken from them is not
/// theirs.
pub fn plan(
    desired: &BTreeMap<PublicKey, Peer>,
    actual: &BTreeMap<PublicKey, Present>,
    keepalive: u16,
) -> Plan {
    let set = desired.iter().filter_map(|(key, peer)| {
        let present = actual.get(key);
        let is_right = |present: &Present| {
            present.allowed == peer.allowed
                && present.keepalive == keepalive
                && present.endpoint == Some(peer.endpoint)
        };
        if present.is_some_and(is_right) {
            return None;
        }
        let at = present.and_then(|present| present.endpoint);
        let change = Change::Set {
            endpoint: Some(peer.endpoint).filter(|wanted| at != Some(*wanted)),
            allowed: peer.allowed.clone(),
            keepalive,
        };
        Some((*key, change))
    });
    let gone = actual.keys().filter(|key| !desired.contains_key(key));
    Plan {
        set: set.collect(),
        remove: gone.copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    /// What the kernel makes of a change
    /// (<https://elixir.bootlin.com/linux/v6.12/source/drivers/net/wireguard/netlink.c#L360>).
    fn carry_out(device: &mut BTreeMap<PublicKey, Present>, key: PublicKey, change: &Change) {
        let Change::Set {
            endpoint,
            allowed,
            keepalive,
        } = change
        else {
            device.remove(&key);
            return;
        };
        for other in device.values_mut() {
            other.allowed.retain(|range| !allowed.contains(range));
        }
        let peer = device.entry(key).or_default();
        peer.allowed.clone_from(allowed);
        peer.endpoint = endpoint.or(peer.endpoint);
        peer.keepalive = *keepalive;
    }

    /// Nodes, each with a key of few, and an address and ranges of its own.
    fn nodes() -> impl Strategy<Value = BTreeMap<PublicKey, Peer>> {
        btree_set((0_u8..6, 0_u8..6), 0..6).prop_map(|pairs| {
            let (mut keys, mut peers) = (BTreeSet::new(), BTreeMap::new());
            let mut numbers = BTreeSet::new();
            for (key, number) in pairs {
                if keys.insert(key) && numbers.insert(number) {
                    peers.insert(PublicKey([key; 32]), peer(number));
                }
            }
            peers
        })
    }

    fn peer(number: u8) -> Peer {
        let range = |text: String| text.parse().unwrap();
        Peer {
            node: format!("n{number}"),
            endpoint: SocketAddr::from(([192, 0, 2, number], 51871)),
            allowed: [
                range(format!("10.244.{number}.0/24")),
                range(format!("fd00:{number}::/64")),
                range(format!("192.0.2.{number}/32")),
            ]
            .into(),
        }
    }

    fn as_told(
        device: &BTreeMap<PublicKey, Present>,
    ) -> BTreeMap<PublicKey, (Option<SocketAddr>, BTreeSet<IpNetwork>, u16)> {
        let told =
            |(key, p): (&PublicKey, &Present)| (*key, (p.endpoint, p.allowed.clone(), p.keepalive));
        device.iter().map(told).collect()
    }

    proptest! {
        /// Whatever the device has, and whatever keys and ranges have changed hands: it has what is wanted, and then nothing is
        /// to be done.
        #[test]
        fn a_plan_makes_the_device_as_it_should_be(
            steps in prop::collection::vec((nodes(), 0_u16..2), 1..6),
            roams in prop::collection::vec(0_u8..6, 0..3),
        ) {
            let mut device = BTreeMap::new();
            for (wanted, keepalive) in steps {
                for key in &roams {
                    if let Some(peer) = device.get_mut(&PublicKey([*key; 32])) {
                        let peer: &mut Present = peer;
                        peer.endpoint = Some(SocketAddr::from(([198, 51, 100, 1], 1)));
                    }
                }
                let Plan { set, remove } = plan(&wanted, &device, keepalive);
                for (key, change) in &set {
                    carry_out(&mut device, *key, change);
                }
                // Meanwhile nothing that is wanted has been taken from who has it.
                for (key, peer) in &wanted {
                    prop_assert_eq!(&device[key].allowed, &peer.allowed);
                }
                for key in remove {
                    carry_out(&mut device, key, &Change::Remove);
                }
                let expected: BTreeMap<_, _> = wanted
                    .iter()
                    .map(|(key, p)| (*key, (Some(p.endpoint), p.allowed.clone(), keepalive)))
                    .collect();
                prop_assert_eq!(as_told(&device), expected);
                prop_assert_eq!(plan(&wanted, &device, keepalive), Plan::default());
            }
        }
    }
}
