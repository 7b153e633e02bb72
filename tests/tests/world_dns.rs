//! A cache of DNS on the node (`NodeLocal DNSCache`): at a link-local address, and where it has taken the address of the cluster's
//! DNS Service, with policies in force.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_tests::{
    in_every_mode,
    modes::Mode,
    world::{Cluster, Place, Server, ask_tcp, ask_udp, ask_udp_connected},
};

in_every_mode![a_cache_on_the_node_serves_pods_that_may_ask_it];

const PORT: u16 = 53;
/// As `NodeLocal DNSCache` has it by default, and one of IPv6 beside it.
const LINK_LOCAL: [&str; 2] = ["169.254.20.10", "fd00:20::10"];
const VIP: &str = "10.96.0.10";

fn answers(place: &Place, at: SocketAddr) -> Vec<Option<String>> {
    vec![
        ask_udp(place, at, b"?").ok().map(|answer| answer.name),
        ask_udp_connected(place, at, b"?")
            .ok()
            .map(|answer| answer.name),
        ask_tcp(place, at).ok().map(|answer| answer.name),
    ]
}

fn policy(cluster: &Cluster, egress: &Value) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "client", "namespace": "default" },
        "spec": {
            "podSelector": { "matchLabels": { "app": "client" } },
            "policyTypes": ["Ingress", "Egress"],
            "egress": egress,
        },
    });
    cluster
        .manifests()
        .apply_objects("policy.yaml", &[object])
        .unwrap();
}

/// Waits until all ways of asking are answered.
fn until(cluster: &Cluster, place: &Place, at: SocketAddr, by: &str) {
    let wanted = vec![Some(by.to_owned()); 3];
    let what = format!("{at} to be answered by {by}");
    let reached = cluster.eventually(&what, || (answers(place, at) == wanted).then_some(()));
    reached
        .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", answers(place, at), cluster.logs()));
}

/// Waits until nobody answers. The ways of asking differ in nothing that policy looks at, and silence takes its time.
fn until_none(cluster: &Cluster, place: &Place, at: SocketAddr) {
    let what = format!("{at} not to be answered");
    let denied = cluster.eventually(&what, || ask_udp(place, at, b"?").is_err().then_some(()));
    denied.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.logs()));
}

fn a_cache_on_the_node_serves_pods_that_may_ask_it(mode: Mode) {
    let cluster = Cluster::start("node-dns", &["a", "b"], mode).unwrap();
    let node = cluster.node(0);
    for address in LINK_LOCAL.into_iter().chain([VIP]) {
        let (length, nodad) = if address.contains(':') {
            (128, " nodad")
        } else {
            (32, "")
        };
        let words = format!("addr add {address}/{length} dev lo{nodad}\n");
        node.batch(&words).unwrap();
    }
    let local = LINK_LOCAL.map(|ip| SocketAddr::new(ip.parse().unwrap(), PORT));
    let vip = SocketAddr::new(VIP.parse().unwrap(), PORT);
    let mut servers = Vec::new();
    for at in local.into_iter().chain([vip]) {
        servers.push(Server::udp(node, at, "cache").unwrap());
        servers.push(Server::tcp(node, at, "cache").unwrap());
    }
    let dns = cluster.pod(1, "dns").unwrap();
    for at in dns.at(PORT) {
        servers.push(Server::udp(&dns, at, "dns").unwrap());
        servers.push(Server::tcp(&dns, at, "dns").unwrap());
    }
    let client = cluster.pod(0, "client").unwrap();
    for at in local {
        until(&cluster, &client, at, "cache");
    }

    // Whoever is isolated asks if a policy names the address.
    policy(&cluster, &json!([]));
    for at in local {
        until_none(&cluster, &client, at);
    }
    let blocks = local.map(|at| {
        let length = if at.is_ipv6() { 128 } else { 32 };
        json!({ "ipBlock": { "cidr": format!("{}/{length}", at.ip()) } })
    });
    let ports = json!([{ "protocol": "UDP", "port": PORT }, { "protocol": "TCP", "port": PORT }]);
    policy(&cluster, &json!([{ "to": blocks, "ports": ports }]));
    for at in local {
        until(&cluster, &client, at, "cache");
    }

    // The Service's address is the Service's for pods, though the cache has it too, and who may ask its pods may ask it.
    let spec = json!({ "clusterIP": VIP, "clusterIPs": [VIP], "ports": service_ports() });
    let objects = [
        weir_tests::world::manifests::service("dns", &spec),
        weir_tests::world::manifests::slice(
            "dns",
            &service_ports(),
            &[(dns.at(PORT)[0].ip().to_string(), cluster.node(1).name())],
        ),
    ];
    cluster
        .manifests()
        .apply_objects("dns.yaml", &objects)
        .unwrap();
    let other = cluster.pod(0, "other").unwrap();
    until(&cluster, &other, vip, "dns");
    until_none(&cluster, &client, vip);
    let selector = json!({ "podSelector": { "matchLabels": { "app": "dns" } } });
    policy(&cluster, &json!([{ "to": [selector], "ports": ports }]));
    until(&cluster, &client, vip, "dns");
    for at in local {
        until_none(&cluster, &client, at);
    }
}

fn service_ports() -> Value {
    json!([
        { "name": "udp", "protocol": "UDP", "port": PORT },
        { "name": "tcp", "protocol": "TCP", "port": PORT },
    ])
}
