//! Entries of the other maps, each from one schema to the other.

use proxy_common::{
    address::mapped,
    affinity::{Affinity, AffinityKey, CLIENT_NETNS},
    endpoints::Endpoint,
    node::NodeConfig,
    sockets::Client,
    v1,
};

/// An endpoint with its id, from one with its interface.
pub(super) fn endpoint_up(ifindex: u32, old: &v1::Endpoint) -> (u32, Endpoint) {
    let v1::Endpoint {
        id,
        address4,
        address6,
        pod_mac,
        host_mac,
        flags,
    } = *old;
    let endpoint = Endpoint {
        ifindex,
        address4,
        address6,
        pod_mac,
        host_mac,
        flags,
    };
    (id, endpoint)
}

/// The inverse of [`endpoint_up`].
pub(super) fn endpoint_down(id: u32, new: &Endpoint) -> (u32, v1::Endpoint) {
    let Endpoint {
        ifindex,
        address4,
        address6,
        pod_mac,
        host_mac,
        flags,
    } = *new;
    let endpoint = v1::Endpoint {
        id,
        address4,
        address6,
        pod_mac,
        host_mac,
        flags,
    };
    (ifindex, endpoint)
}

/// How packets get into a pod.
pub(super) const fn local_pod(id: u32, endpoint: &Endpoint) -> v1::LocalPod {
    v1::LocalPod {
        ifindex: endpoint.ifindex,
        endpoint: id,
        pod_mac: endpoint.pod_mac,
        host_mac: endpoint.host_mac,
        flags: endpoint.flags,
    }
}

/// The node. It does not masquerade, and how long flows live is as by default, until the agent says it.
pub(super) fn node_up(old: &v1::NodeConfig) -> NodeConfig {
    NodeConfig {
        flags: old.flags & v1::NODE_FLAGS,
        host_device: old.host_device,
        netns_cookie: old.netns_cookie,
        address4: old.address4,
        address6: old.address6,
        source_port_min: old.source_port_min,
        source_port_max: old.source_port_max,
        ..NodeConfig::default()
    }
}

/// The inverse of [`node_up`]; `unanswered` as many flows may each processor begin until the agent says it.
pub(super) const fn node_down(new: &NodeConfig, unanswered: u32) -> v1::NodeConfig {
    v1::NodeConfig {
        flags: new.flags & v1::NODE_FLAGS,
        host_device: new.host_device,
        netns_cookie: new.netns_cookie,
        address4: new.address4,
        address6: new.address6,
        source_port_min: new.source_port_min,
        source_port_max: new.source_port_max,
        unanswered,
        pad: 0,
    }
}

/// Who a network namespace is, in both schemas: the first one's socket programs know the namespace only.
pub(super) fn clients(
    config: &NodeConfig,
    pods: impl IntoIterator<Item = (u64, Client)>,
) -> Vec<(u64, Client)> {
    let own = Client {
        address4: config.address4,
        address6: config.address6,
        flags: 0,
    };
    let own = (config.netns_cookie != 0).then_some((config.netns_cookie, own));
    own.into_iter().chain(pods).collect()
}

const fn namespace(cookie: u64) -> [u32; 4] {
    [CLIENT_NETNS, 0, (cookie >> 32) as u32, cookie as u32]
}

fn addresses(client: &Client) -> Vec<[u32; 4]> {
    let v4 = (client.address4 != 0).then(|| mapped(client.address4));
    let v6 = (client.address6 != [0; 4]).then_some(client.address6);
    v4.into_iter().chain(v6).collect()
}

/// Affinities that the newer programs look for by an address, of those that are kept by a namespace.
pub(super) fn affinity_up(
    entries: &[(AffinityKey, Affinity)],
    clients: &[(u64, Client)],
) -> Vec<(AffinityKey, Affinity)> {
    let mut more = Vec::new();
    for (cookie, client) in clients {
        let kept = entries
            .iter()
            .filter(|(key, _)| key.client == namespace(*cookie));
        for (key, value) in kept {
            let keys = addresses(client).into_iter();
            more.extend(keys.map(|client| (AffinityKey { client, ..*key }, *value)));
        }
    }
    more
}

/// The inverse of [`affinity_up`].
pub(super) fn affinity_down(
    entries: &[(AffinityKey, Affinity)],
    clients: &[(u64, Client)],
) -> Vec<(AffinityKey, Affinity)> {
    let mut more = Vec::new();
    for (cookie, client) in clients {
        let addresses = addresses(client);
        let kept = entries
            .iter()
            .filter(|(key, _)| addresses.contains(&key.client));
        more.extend(kept.map(|(key, value)| {
            let client = namespace(*cookie);
            (AffinityKey { client, ..*key }, *value)
        }));
    }
    more
}

#[cfg(test)]
mod tests {
    use proxy_common::address::address4;

    use super::*;

    #[test]
    fn an_endpoint_goes_down_and_comes_up_as_it_was() {
        let endpoint = Endpoint {
            ifindex: 9,
            address4: address4([10, 0, 0, 1]),
            address6: [1, 2, 3, 4],
            pod_mac: [1; 6],
            host_mac: [2; 6],
            flags: 1,
        };
        let (ifindex, old) = endpoint_down(7, &endpoint);
        assert_eq!((ifindex, old.id), (9, 7));
        assert_eq!(endpoint_up(ifindex, &old), (7, endpoint));
        let pod = local_pod(7, &endpoint);
        assert_eq!((pod.ifindex, pod.endpoint, pod.pod_mac), (9, 7, [1; 6]));
    }

    #[test]
    fn a_node_comes_up_as_it_went_down() {
        let node = NodeConfig {
            flags: 3,
            host_device: 4,
            netns_cookie: 5,
            address4: 6,
            address6: [7; 4],
            source_port_min: 8,
            source_port_max: 9,
            ..NodeConfig::default()
        };
        assert_eq!(node_up(&node_down(&node, 64)), node);
    }

    #[test]
    fn an_affinity_is_found_by_namespace_and_by_address() {
        let config = NodeConfig {
            netns_cookie: 1 << 32 | 2,
            address4: 6,
            ..NodeConfig::default()
        };
        let clients = clients(&config, []);
        let kept = |client| {
            let value = Affinity {
                backend: 11,
                last_used: 12,
            };
            (
                AffinityKey {
                    client,
                    service: 10,
                },
                value,
            )
        };
        let (by_namespace, by_address) = (kept([CLIENT_NETNS, 0, 1, 2]), kept(mapped(6)));
        assert_eq!(affinity_up(&[by_namespace], &clients), [by_address]);
        assert_eq!(affinity_down(&[by_address], &clients), [by_namespace]);
        assert_eq!(affinity_up(&[kept([CLIENT_NETNS, 0, 1, 3])], &clients), []);
    }
}
