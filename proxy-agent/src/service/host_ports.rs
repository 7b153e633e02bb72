//! `hostPort`s of this node's pods: what the maps should hold for them, as a value made from all pods that are
//! wired.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use proxy_common::frontends::{FLAG_HOST_PORT, FLAG_MEMBERS};

use super::{
    choice::{Choice, Server},
    desired::{DesiredFrontend, DesiredPort, Scope},
    key::FrontendKey,
};
use crate::model::{HostPort, Protocol};

/// Everything that the `hostPort`s of all pods want in the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPorts {
    wanted: BTreeMap<Arc<str>, Vec<DesiredPort>>,
    /// Of pods that another one has displaced: what, and who has it.
    lost: BTreeMap<Arc<str>, BTreeMap<FrontendKey, Arc<str>>>,
}

impl HostPorts {
    /// From pods (`namespace/name`) in the order in which they were wired. Of two that want the same the
    /// later one has it: while a pod is replaced, both of them live.
    pub fn of(pods: impl IntoIterator<Item = (String, Vec<HostPort>)>) -> Self {
        let mut holders: BTreeMap<_, (Arc<str>, HostPort)> = BTreeMap::new();
        let mut displaced = BTreeSet::new();
        for (pod, ports) in pods {
            let pod: Arc<str> = pod.into();
            for port in ports {
                let former = holders.insert(port.key(), (Arc::clone(&pod), port));
                displaced.extend(former.map(|(former, _)| (former, port.key())));
            }
        }
        let mut lost: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (pod, key) in displaced {
            let holder = holders.get(&key).map(|(holder, _)| holder);
            // A pod that is made anew under its name displaces nobody.
            if let Some(holder) = holder.filter(|holder| **holder != pod) {
                let of_pod: &mut BTreeMap<_, _> = lost.entry(pod).or_default();
                of_pod.insert(key, Arc::clone(holder));
            }
        }
        let mut wanted: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (pod, port) in holders.into_values() {
            wanted.entry(pod).or_default().push(port.desired());
        }
        Self { wanted, lost }
    }

    /// Pods that another one has displaced, with what they want and who has it.
    pub fn lost(&self) -> impl Iterator<Item = (&Arc<str>, String)> {
        self.lost.iter().map(|(pod, keys)| {
            let words = keys
                .iter()
                .map(|(key, holder)| format!("{key} belongs to pod/{holder} now"));
            (pod, words.collect::<Vec<_>>().join("; "))
        })
    }

    /// What a pod's want.
    pub fn of_pod(&self, pod: &str) -> &[DesiredPort] {
        self.wanted.get(pod).map_or(&[], Vec::as_slice)
    }

    /// All pods that have some.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<str>> {
        self.wanted.keys()
    }

    /// Pods whose are not the same here and there.
    pub fn changed<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a Arc<str>> {
        let all = self.pods().chain(other.pods());
        all.filter(|pod| self.of_pod(pod) != other.of_pod(pod))
            .collect()
    }
}

impl HostPort {
    fn key(&self) -> FrontendKey {
        FrontendKey::new(self.address, self.port, self.protocol)
    }

    fn name(&self) -> Arc<str> {
        if self.address.is_unspecified() {
            self.port.to_string().into()
        } else {
            SocketAddr::new(self.address, self.port).to_string().into()
        }
    }

    fn desired(&self) -> DesiredPort {
        let server = Server {
            address: self.to.ip(),
            port: self.to.port(),
            local: true,
        };
        let members = self.protocol == Protocol::Udp;
        DesiredPort {
            name: self.name(),
            protocol: self.protocol,
            ipv6: self.to.is_ipv6(),
            affinity_seconds: 0,
            members,
            choice: Choice {
                cluster: vec![server],
                local: vec![server],
                any: true,
                ..Choice::default()
            },
            sources: BTreeSet::new(),
            frontends: vec![DesiredFrontend {
                key: self.key(),
                flags: FLAG_HOST_PORT | if members { FLAG_MEMBERS } else { 0 },
                internal: Scope::Cluster,
                external: Scope::Cluster,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: &str, to: &str, protocol: Protocol) -> HostPort {
        HostPort {
            address: address.parse().unwrap(),
            port: 80,
            protocol,
            to: to.parse().unwrap(),
        }
    }

    fn keys(wanted: &HostPorts, pod: &str) -> Vec<String> {
        let frontends = wanted.of_pod(pod).iter().flat_map(|p| &p.frontends);
        frontends.map(|f| f.key.to_string()).collect()
    }

    #[test]
    fn of_two_pods_the_later_one_has_it() {
        let here = port("0.0.0.0", "10.1.0.2:8080", Protocol::Tcp);
        let there = port("0.0.0.0", "10.1.0.3:8080", Protocol::Tcp);
        let older = ("ns/old".to_owned(), vec![here]);
        let newer = ("ns/new".to_owned(), vec![there]);
        let both = HostPorts::of([older.clone(), newer]);
        assert_eq!(keys(&both, "ns/old"), [""; 0]);
        assert_eq!(keys(&both, "ns/new"), ["node:80/TCP"]);
        let after = HostPorts::of([older]);
        let changed: Vec<&str> = both.changed(&after).iter().map(|p| &***p).collect();
        assert_eq!(changed, ["ns/new", "ns/old"]);
        let told: Vec<_> = both.lost().map(|(pod, why)| (&**pod, why)).collect();
        let why = "node:80/TCP belongs to pod/ns/new now".to_owned();
        assert_eq!(told, [("ns/old", why)]);
        assert_eq!(after.lost().count(), 0);
    }

    #[test]
    fn another_address_or_protocol_is_another_frontend() {
        let ports = [
            port("127.0.0.1", "10.1.0.2:8080", Protocol::Tcp),
            port("192.0.2.1", "10.1.0.3:8080", Protocol::Tcp),
            port("192.0.2.1", "10.1.0.4:8080", Protocol::Udp),
            port("::", "[fd00::2]:8080", Protocol::Udp),
        ];
        let pods = ports.iter().enumerate();
        let wanted = HostPorts::of(pods.map(|(n, port)| (format!("ns/{n}"), vec![*port])));
        assert_eq!(keys(&wanted, "ns/0"), ["127.0.0.1:80/TCP"]);
        assert_eq!(keys(&wanted, "ns/1"), ["192.0.2.1:80/TCP"]);
        assert_eq!(keys(&wanted, "ns/2"), ["192.0.2.1:80/UDP"]);
        assert_eq!(keys(&wanted, "ns/3"), ["[node]:80/UDP"]);
        let names = wanted.pods().flat_map(|pod| wanted.of_pod(pod));
        let names: Vec<&str> = names.map(|p| &*p.name).collect();
        assert_eq!(
            names,
            ["127.0.0.1:80", "192.0.2.1:80", "192.0.2.1:80", "80"]
        );
    }
}
