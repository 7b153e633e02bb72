//! Other nodes: what is known of them stays known while the API server says less (design, "what it owns heals").

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::model::{HERE, list, parsed, text};

/// A Node whose object is gone is kept for five minutes; the day brings each back long before.
pub(crate) const LONGEST_ABSENCE: Duration = Duration::from_mins(3);

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// `InternalIP`s in the order of the Node.
    internal: Vec<IpAddr>,
    others: Vec<IpAddr>,
    ranges: Vec<IpNetwork>,
    pub(crate) zone: String,
    pub(crate) gone: Option<Instant>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes(BTreeMap<String, Known>);

/// Where the pods of a range may be led to: by any of these gateways, of nodes that claim the same range; none is the tunnel.
pub(crate) type Routes = BTreeMap<IpNetwork, BTreeSet<Option<IpAddr>>>;

impl Nodes {
    /// Takes note of a Node, or that there is none.
    pub(crate) fn note(&mut self, name: &str, object: Option<&Value>) {
        let Some(object) = object else {
            if let Some(known) = self.0.get_mut(name) {
                known.gone.get_or_insert_with(Instant::now);
            }
            return;
        };
        let mut new = Known::of(object);
        self.0
            .retain(|other, known| other == name || known.gone.is_none() || !known.overlaps(&new));
        if let Some(old) = self.0.get(name) {
            new.remember(old);
        }
        self.0.insert(name.to_owned(), new);
    }

    /// An agent that starts anew knows what the one before knew, and then hears of what is there now. Of its own node it has other
    /// notes.
    pub(crate) fn recall(&mut self, mut before: Self, objects: impl Fn(&str) -> Option<Value>) {
        before.0.remove(HERE);
        let now = std::mem::take(&mut self.0);
        let there = now
            .into_keys()
            .filter_map(|name| Some((objects(&name)?, name)));
        for (object, name) in there {
            let mut new = Known::of(&object);
            if let Some(old) = before.0.remove(&name) {
                new.remember(&old);
            }
            self.0.insert(name, new);
        }
        for (name, mut known) in before.0 {
            let mut others = self.0.values().filter(|other| other.gone.is_none());
            if !others.any(|other| known.overlaps(other)) {
                known.gone.get_or_insert_with(Instant::now);
                self.0.insert(name, known);
            }
        }
    }

    /// Whether the agent has this on disk for the next one.
    pub(crate) fn are_kept(&self, file: &Value) -> bool {
        let all = file["nodes"].as_array().into_iter().flatten();
        let all = all.filter(|node| node["name"] != HERE);
        let kept: BTreeMap<&str, &Value> = all
            .filter_map(|node| Some((node["name"].as_str()?, node)))
            .collect();
        let mut wanted = self.0.iter().filter(|(name, _)| *name != HERE);
        let is_kept = |(name, known): (&String, &Known)| {
            kept.get(name.as_str()).is_some_and(|node| {
                let (ips, ranges) = (list(node, "/internalIps"), list(node, "/podCidrs"));
                let ips: BTreeSet<IpAddr> =
                    ips.iter().filter_map(|ip| parsed(ip.as_str()?)).collect();
                let ranges = ranges.iter().filter_map(|range| parsed(range.as_str()?));
                let ranges: BTreeSet<IpAddr> =
                    ranges.map(|range: IpNetwork| range.network()).collect();
                node["gone"].is_null() == known.gone.is_none()
                    && ips == known.internal.iter().copied().collect()
                    && ranges == known.ranges.iter().map(IpNetwork::network).collect()
            })
        };
        let count = wanted.clone().count();
        kept.len() == count && wanted.all(is_kept)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Known> {
        self.0.get(name)
    }

    /// Names of those that have been gone for long.
    pub(crate) fn overdue(&self) -> impl Iterator<Item = &str> {
        let absent = self.0.iter().filter(|(_, known)| {
            known
                .gone
                .is_some_and(|since| since.elapsed() > LONGEST_ABSENCE)
        });
        absent.map(|(name, _)| name.as_str())
    }

    /// Whether one has pods in a family in which it has no address.
    pub(crate) fn has_silent(&self) -> bool {
        let silent = |known: &Known| {
            let mut ranges = known.ranges.iter();
            ranges.any(|range| {
                let mut internal = known.internal.iter();
                !internal.any(|ip| ip.is_ipv4() == range.is_ipv4())
            })
        };
        self.0.values().any(silent)
    }

    /// Addresses of all nodes.
    pub(crate) fn addresses(&self) -> BTreeSet<IpAddr> {
        let all = self.0.values();
        all.flat_map(|known| known.internal.iter().chain(&known.others))
            .copied()
            .collect()
    }

    /// Routes to other nodes' pods, by the first address that is `on_link`, else by the tunnel, whose ends are reached by the default
    /// route.
    pub(crate) fn routes(&self, on_link: impl Fn(&IpAddr) -> bool) -> Routes {
        let mut routes = Routes::new();
        for (_, known) in self.0.iter().filter(|(name, _)| *name != HERE) {
            for range in &known.ranges {
                let family = |ip: &&IpAddr| ip.is_ipv4() == range.is_ipv4();
                let mut gateways = known.internal.iter().filter(family);
                let gateway = gateways.find(|ip| on_link(ip)).copied();
                if gateway.is_some() || !known.internal.is_empty() {
                    routes.entry(*range).or_default().insert(gateway);
                }
            }
        }
        routes
    }
}

impl Known {
    /// Its first internal address of a family.
    pub(crate) fn internal(&self, ipv6: bool) -> Option<IpAddr> {
        let mut internal = self.internal.iter().copied();
        internal.find(|ip| ip.is_ipv6() == ipv6)
    }

    fn of(object: &Value) -> Self {
        let mut ranges = list(object, "/spec/podCIDRs").to_vec();
        if ranges.is_empty() {
            ranges.extend(object.pointer("/spec/podCIDR").cloned());
        }
        let mut known = Self {
            ranges: ranges.iter().filter_map(|r| parsed(r.as_str()?)).collect(),
            zone: text(object, "/metadata/labels/topology.kubernetes.io~1zone").to_owned(),
            ..Self::default()
        };
        for address in list(object, "/status/addresses") {
            let Some(ip) = parsed(text(address, "/address")) else {
                continue;
            };
            match text(address, "/type") {
                "InternalIP" => known.internal.push(ip),
                "ExternalIP" => known.others.push(ip),
                _ => {}
            }
        }
        known
    }

    /// By family: what is said of one family is all of it.
    fn remember(&mut self, old: &Self) {
        for v4 in [true, false] {
            let ours = |ip: &&IpAddr| ip.is_ipv4() == v4;
            if self.internal.iter().find(ours).is_none() {
                self.internal.extend(old.internal.iter().filter(ours));
            }
            let ours = |range: &&IpNetwork| range.is_ipv4() == v4;
            if self.ranges.iter().find(ours).is_none() {
                self.ranges.extend(old.ranges.iter().filter(ours));
            }
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let same = self.internal.iter().any(|ip| other.internal.contains(ip));
        let within = |a: &IpNetwork, b: &IpNetwork| a.contains(b.ip()) || b.contains(a.ip());
        let mut ranges = self.ranges.iter();
        same || ranges.any(|a| other.ranges.iter().any(|b| within(a, b)))
    }
}
