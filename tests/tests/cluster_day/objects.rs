//! Random objects: few names, addresses and ports, so that they meet; what the API server refuses is no loss.

use serde_json::{Value, json};

use super::{dice::Dice, model::HERE};

pub(crate) const NAMESPACES: [&str; 3] = ["default", "n1", "n2"];
pub(crate) const SERVICES: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
pub(crate) const OTHER_NODES: [&str; 3] = ["b", "c", "d"];
/// Of pods anywhere, also such as endpoints name.
pub(crate) const POD_ADDRESSES: [[&str; 2]; 8] = [
    ["10.244.2.10", "fd00:244:2::a"],
    ["10.244.2.11", "fd00:244:2::b"],
    ["10.244.3.10", "fd00:244:3::a"],
    ["10.244.3.11", "fd00:244:3::b"],
    ["10.244.1.200", "fd00:244:1::c8"],
    ["10.244.1.201", "fd00:244:1::c9"],
    ["192.0.2.7", "2001:db8:7::7"],
    ["172.30.0.21", "fd30::21"],
];
const CLUSTER_IPS: [[&str; 2]; 10] = [
    ["10.96.0.20", "fd00:10:96::20"],
    ["10.96.0.21", "fd00:10:96::21"],
    ["10.96.0.22", "fd00:10:96::22"],
    ["10.96.0.23", "fd00:10:96::23"],
    ["10.96.0.24", "fd00:10:96::24"],
    ["10.96.0.25", "fd00:10:96::25"],
    ["10.96.0.26", "fd00:10:96::26"],
    ["10.96.0.27", "fd00:10:96::27"],
    ["10.96.0.28", "fd00:10:96::28"],
    ["10.96.0.29", "fd00:10:96::29"],
];
/// The last two are Services' own, for some.
const EXTERNAL: [&str; 6] = [
    "198.51.100.1",
    "198.51.100.2",
    "2001:db8::1",
    "203.0.113.1",
    "10.96.0.29",
    "fd00:10:96::29",
];
const BALANCERS: [&str; 4] = ["203.0.113.1", "203.0.113.2", "2001:db8::9", "198.51.100.1"];
/// Of clients: two have the node's own address, one is of everybody.
const RANGES: [&str; 8] = [
    "192.0.2.0/24",
    "192.0.2.77/32",
    "198.51.100.9/28",
    "172.30.0.0/16",
    "0.0.0.0/0",
    "2001:db8:1::/48",
    " fd30::/64 ",
    "2001:db8:2::7/128",
];
pub(crate) const PROTOCOLS: [&str; 8] = ["TCP", "TCP", "TCP", "TCP", "UDP", "UDP", "UDP", "SCTP"];
const PORT_NAMES: [&str; 3] = ["web", "dns", "x"];
const ZONES: [&str; 2] = ["east", "west"];

/// A label of few.
fn label(dice: &mut Dice) -> Value {
    let mut labels = json!({});
    if dice.chance(80) {
        labels["app"] = json!(dice.of(&["a", "b", "c"]));
    }
    if dice.chance(40) {
        labels["tier"] = json!(dice.of(&["x", "y", ""]));
    }
    labels
}

pub(crate) fn namespace(dice: &mut Dice) -> Value {
    let mut labels = json!({});
    if dice.chance(70) {
        labels["team"] = json!(dice.of(&["red", "blue"]));
    }
    if dice.chance(30) {
        labels["app"] = json!("a");
    }
    json!({ "metadata": { "labels": labels } })
}

pub(crate) fn node(dice: &mut Dice, name: &str) -> Value {
    let mut metadata = json!({ "labels": {} });
    if dice.chance(70) {
        metadata["labels"]["topology.kubernetes.io/zone"] = json!(dice.of(&ZONES));
    }
    let number = dice.of(&[2, 3, 4, 5]);
    let ranges = match (name, dice.below(5)) {
        (HERE, _) => vec!["10.244.1.0/24".to_owned(), "fd00:244:1::/64".to_owned()],
        (_, 0) => Vec::new(),
        (_, 1) => vec![format!("10.244.{number}.0/24")],
        (_, 2) => vec![
            format!("fd00:244:{number}::/64"),
            format!("10.244.{number}.0/24"),
        ],
        _ => vec![
            format!("10.244.{number}.0/24"),
            format!("fd00:244:{number}::/64"),
        ],
    };
    let mut spec = json!({});
    if let Some(first) = ranges.first() {
        spec = json!({ "podCIDR": first, "podCIDRs": ranges });
    }
    json!({ "metadata": metadata, "spec": spec })
}

/// Addresses of another node; of the one under test always the same.
pub(crate) fn node_status(dice: &mut Dice, name: &str) -> Value {
    let mut addresses = vec![json!({ "type": "Hostname", "address": name })];
    let mut add = |kind: &str, address: &str| {
        addresses.push(json!({ "type": kind, "address": address }));
    };
    if name == HERE {
        add("InternalIP", "172.30.0.11");
        add("InternalIP", "fd30::b");
    } else {
        for address in dice.some(&["172.30.0.21", "172.30.0.22", "172.31.0.9"], 2) {
            add("InternalIP", address);
        }
        for address in dice.some(&["fd30::21", "fd30::22"], 1) {
            add("InternalIP", address);
        }
        for address in dice.some(&["192.0.2.99"], 1) {
            add("ExternalIP", address);
        }
    }
    json!({ "addresses": addresses })
}

pub(crate) fn service(dice: &mut Dice) -> Value {
    let mut spec = json!({ "ports": service_ports(dice) });
    let kind = dice.below(10);
    if kind == 0 {
        spec["type"] = json!("ExternalName");
        spec["externalName"] = json!("elsewhere.example");
        return json!({ "metadata": {}, "spec": spec });
    }
    spec["type"] = json!(["ClusterIP", "NodePort", "LoadBalancer"][kind % 3]);
    families(dice, &mut spec, kind == 1);
    if dice.chance(30) {
        spec["internalTrafficPolicy"] = json!("Local");
    }
    if spec["type"] != "ClusterIP" && dice.chance(50) {
        spec["externalTrafficPolicy"] = json!("Local");
    }
    affinity(dice, &mut spec);
    if dice.chance(30) {
        spec["externalIPs"] = json!(dice.some(&EXTERNAL, 2));
    }
    if spec["type"] != "ClusterIP" {
        node_ports(dice, &mut spec);
    }
    if spec["type"] == "LoadBalancer" && dice.chance(40) {
        spec["loadBalancerSourceRanges"] = source_ranges(dice);
    }
    json!({ "metadata": { "labels": service_labels(dice) }, "spec": spec })
}

pub(crate) fn source_ranges(dice: &mut Dice) -> Value {
    json!(dice.some(&RANGES, 3))
}

pub(crate) fn service_labels(dice: &mut Dice) -> Value {
    match dice.below(20) {
        0 => json!({ "service.kubernetes.io/service-proxy-name": "another" }),
        1 => json!({ "service.kubernetes.io/headless": "" }),
        _ => json!({}),
    }
}

pub(crate) fn affinity(dice: &mut Dice, spec: &mut Value) {
    let clientip = dice.chance(30);
    spec["sessionAffinity"] = json!(if clientip { "ClientIP" } else { "None" });
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("sessionAffinityConfig");
    }
    if clientip {
        let seconds = dice.of(&[1, 60, 10800]);
        spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": seconds } });
    }
}

fn families(dice: &mut Dice, spec: &mut Value, headless: bool) {
    let order = dice.of(&[&[0, 1][..], &[1, 0], &[0], &[1], &[0], &[0, 1]]);
    let names: Vec<&str> = order.iter().map(|n| ["IPv4", "IPv6"][*n]).collect();
    let [v4, v6] = [dice.below(CLUSTER_IPS.len()), dice.below(CLUSTER_IPS.len())];
    let ips: Vec<&str> = order
        .iter()
        .map(|n| CLUSTER_IPS[[v4, v6][*n]][*n])
        .collect();
    let ips = if headless { vec!["None"] } else { ips };
    if headless {
        spec["type"] = json!("ClusterIP");
    }
    spec["ipFamilies"] = json!(names);
    spec["ipFamilyPolicy"] = json!(if order.len() == 1 {
        "SingleStack"
    } else {
        "RequireDualStack"
    });
    spec["clusterIP"] = json!(ips[0]);
    spec["clusterIPs"] = json!(ips);
}

pub(crate) fn service_ports(dice: &mut Dice) -> Value {
    let count = dice.below(3) + 1;
    let mut names = PORT_NAMES.to_vec();
    let ports = (0..count).map(|_| {
        let name = names.remove(dice.below(names.len()));
        let name = if count == 1 && dice.chance(40) {
            ""
        } else {
            name
        };
        json!({ "name": name, "port": dice.of(&[80, 443, 53]), "protocol": dice.of(&PROTOCOLS) })
    });
    ports.collect()
}

/// Chosen here, not by the API server, so that a seed repeats them.
pub(crate) fn node_ports(dice: &mut Dice, spec: &mut Value) {
    let none = spec["type"] == "LoadBalancer" && dice.chance(20);
    if spec["type"] == "LoadBalancer" {
        spec["allocateLoadBalancerNodePorts"] = json!(!none);
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        if !none {
            port["nodePort"] = json!(30000 + dice.below(12));
        }
    }
}

pub(crate) fn balancer(dice: &mut Dice) -> Value {
    let ingress = dice.some(&BALANCERS, 2).into_iter().map(|ip| {
        let mode = if dice.chance(25) { "Proxy" } else { "VIP" };
        json!({ "ip": ip, "ipMode": mode })
    });
    let mut ingress: Vec<Value> = ingress.collect();
    if dice.chance(20) {
        ingress.push(json!({ "hostname": "balancer.example" }));
    }
    json!({ "loadBalancer": { "ingress": ingress } })
}

/// `near`: addresses of pods of the node, IPv4 and IPv6.
pub(crate) fn slice(dice: &mut Dice, near: &[[String; 2]]) -> Value {
    let kind = dice.of(&["IPv4", "IPv4", "IPv4", "IPv6", "IPv6", "FQDN"]);
    let ports = (0..dice.below(4)).map(|_| slice_port(dice));
    let ports: Vec<Value> = ports.collect();
    let hints = dice.below(4);
    let endpoints = (0..dice.below(6)).map(|_| endpoint(dice, near, kind, hints));
    let endpoints: Vec<Value> = endpoints.collect();
    let mut labels = json!({});
    match dice.below(20) {
        0 => {}
        1 => labels["kubernetes.io/service-name"] = json!("nobody"),
        2 => labels["kubernetes.io/service-name"] = json!(""),
        _ => labels["kubernetes.io/service-name"] = json!(dice.of(&SERVICES)),
    }
    if dice.chance(3) {
        labels["service.kubernetes.io/headless"] = json!("");
    }
    json!({
        "metadata": { "labels": labels }, "addressType": kind,
        "ports": ports, "endpoints": endpoints,
    })
}

fn slice_port(dice: &mut Dice) -> Value {
    let mut port = json!({
        "name": dice.of(&["", "web", "web", "dns", "x"]), "protocol": dice.of(&PROTOCOLS),
    });
    if dice.chance(92) {
        port["port"] = json!(dice.of(&[8080, 8081, 53]));
    }
    port
}

fn endpoint(dice: &mut Dice, near: &[[String; 2]], kind: &str, hints: usize) -> Value {
    let pair = match dice.below(POD_ADDRESSES.len() + near.len()) {
        n if n < near.len() => near[n].clone(),
        n => POD_ADDRESSES[n - near.len()].map(str::to_owned),
    };
    let [v4, v6] = pair;
    let address = match kind {
        "IPv4" => v4,
        "IPv6" => v6,
        _ => "name.example".to_owned(),
    };
    let mut endpoint = json!({ "addresses": [address] });
    match dice.below(8) {
        0..3 => {}
        3 | 4 => endpoint["conditions"] = json!({ "ready": true }),
        5 => endpoint["conditions"] = json!({ "ready": false, "serving": dice.chance(50) }),
        6 => {
            let serving = dice.chance(70);
            endpoint["conditions"] =
                json!({ "ready": false, "serving": serving, "terminating": true });
        }
        _ => {
            endpoint["conditions"] = json!({ "ready": true, "serving": true, "terminating": true });
        }
    }
    if dice.chance(75) {
        endpoint["nodeName"] = json!(dice.of(&[HERE, HERE, "b", "c"]));
    }
    if hints == 1 || hints == 3 && dice.chance(70) {
        endpoint["hints"]["forZones"] = json!([{ "name": dice.of(&ZONES) }]);
    }
    if hints == 2 || hints == 3 && dice.chance(40) {
        endpoint["hints"]["forNodes"] = json!([{ "name": dice.of(&[HERE, "b"]) }]);
    }
    endpoint
}

pub(crate) fn pod(dice: &mut Dice, node: &str) -> Value {
    let mut spec = json!({
        "containers": [{ "name": "main", "image": "none", "ports": container_ports(dice) }],
        "terminationGracePeriodSeconds": 30,
    });
    if !node.is_empty() {
        spec["nodeName"] = json!(node);
    }
    if node != HERE && dice.chance(15) {
        spec["hostNetwork"] = json!(true);
    }
    if dice.chance(20) {
        let restart = if dice.chance(70) {
            json!("Always")
        } else {
            Value::Null
        };
        spec["initContainers"] = json!([{
            "name": "side", "image": "none", "restartPolicy": restart,
            "ports": [{ "name": "side", "containerPort": 8080 }],
        }]);
    }
    json!({ "metadata": { "labels": pod_labels(dice) }, "spec": spec })
}

pub(crate) fn pod_labels(dice: &mut Dice) -> Value {
    label(dice)
}

fn container_ports(dice: &mut Dice) -> Value {
    let names = dice.some(&PORT_NAMES, 2).into_iter();
    let ports = names.map(|name| {
        let protocol = dice.of(&PROTOCOLS);
        json!({ "name": name, "containerPort": dice.of(&[80, 8080, 53]), "protocol": protocol })
    });
    ports.collect()
}

/// Of a pod that is not on the node.
pub(crate) fn pod_status(dice: &mut Dice) -> Value {
    let [v4, v6] = dice.of(&POD_ADDRESSES);
    let phase = dice.of(&[
        "Pending",
        "Running",
        "Running",
        "Running",
        "Succeeded",
        "Failed",
    ]);
    let ips: &[&str] = match dice.below(6) {
        0 => &[],
        1 => &[v4],
        2 => &[v6, v4],
        _ => &[v4, v6],
    };
    status(phase, ips)
}

/// A pod's status with these addresses.
pub(crate) fn status(phase: &str, ips: &[&str]) -> Value {
    let mut status = json!({ "phase": phase });
    if let Some(first) = ips.first() {
        let all: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
        status["podIP"] = json!(first);
        status["podIPs"] = json!(all);
    }
    status
}
