//! Conversion keeps what is valid and names what is not.

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as networking},
    serde::de::DeserializeOwned,
};
use serde_json::{Value, json};

use super::*;
use crate::model::{LoadBalancer, Peer, Pod, PolicyPort};

fn convert<T: Convert + DeserializeOwned>(object: Value) -> Converted {
    let object: T = serde_json::from_value(object).unwrap();
    object.convert(&Interner::new("a")).unwrap()
}

fn problems(converted: &Converted) -> Vec<String> {
    converted.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_keeps_its_valid_addresses() {
    let converted = convert::<core::Service>(json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "clusterIPs": ["10.96.0.300", "fd00::5"],
            "externalIPs": ["192.0.2.7", "nowhere"],
            "ports": [{"port": 80}, {"port": 0}, {"port": 53, "protocol": "QUIC"}]
        },
        "status": {"loadBalancer": {"ingress": [
            {"ip": "198.51.100.1", "ipMode": "VIP"}, {"ip": "198.51.100.2", "ipMode": "Proxy"},
            {"hostname": "lb.example"}
        ]}}
    }));
    assert_eq!(
        problems(&converted),
        [
            r#"spec.clusterIPs[0]: "10.96.0.300" is not an IP address"#,
            r#"spec.externalIPs[1]: "nowhere" is not an IP address"#,
            "spec.ports[1]: 0 is not a port number",
            r#"spec.ports[2]: "QUIC" is not TCP, UDP or SCTP"#,
        ]
    );
    let Some(Object::Service(service)) = converted.object else {
        panic!("no Service");
    };
    let text = |ips: &[std::net::IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    let cluster_ips: Vec<_> = service.cluster_ips.iter().collect();
    assert_eq!(text(&cluster_ips), ["fd00::5"]);
    assert_eq!(text(service.external_ips()), ["192.0.2.7"]);
    assert_eq!(text(service.load_balancer_ips()), ["198.51.100.1"]);
    assert_eq!(service.ports.len(), 1);
}

#[test]
fn a_load_balancer_says_what_it_asks_for() {
    let converted = convert::<core::Service>(json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "annotations": {
                "weir.dev/load-balancer-ips": "192.0.2.1, 2001:db8::1",
                "weir.dev/address-pool": "lan",
                "weir.dev/allow-shared-ip": "key"
            }
        },
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "weir.dev/load-balancer", "loadBalancerIP": "192.0.2.9",
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}]}}
    }));
    assert!(problems(&converted).is_empty());
    let Some(Object::Service(service)) = converted.object else {
        panic!("no Service");
    };
    let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let expected = LoadBalancer {
        uid: "u".into(),
        version: "7".into(),
        class: Some("weir.dev/load-balancer".into()),
        families: [true, true],
        needs_both: true,
        requested: ips(&["192.0.2.1", "2001:db8::1"]),
        mistake: None,
        pool: Some("lan".into()),
        sharing: Some("key".into()),
        given: ips(&["192.0.2.1", "192.0.2.2"]),
    };
    assert_eq!(service.load_balancer(), Some(&expected));
}

#[test]
fn conditions_that_are_nil_have_their_defaults() {
    let converted = convert::<discovery::EndpointSlice>(json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-21T04:00:00Z"}
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}, {"name": "all"}],
        "endpoints": [
            {"addresses": ["10.0.0.1", "10.0.0.2"]},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false}, "nodeName": "a"},
            {"addresses": ["fd00::1"]}
        ]
    }));
    assert_eq!(
        problems(&converted),
        [r#"endpoints[2]: "fd00::1" is not of the slice's addressType"#]
    );
    assert!(converted.triggered.is_some());
    let Some(Object::EndpointSlice(slice)) = converted.object else {
        panic!("no slice");
    };
    assert_eq!(slice.ports.len(), 1);
    let seen: Vec<_> = slice.endpoints.iter().collect();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].conditions.ready && seen[0].conditions.serving);
    assert!(!seen[1].conditions.ready && seen[1].conditions.serving);
    assert!(!seen[0].placement.here && seen[1].placement.here);
}

#[test]
fn foreign_objects_are_not_looked_at() {
    for label in FOREIGN {
        let object = json!({"metadata": {"name": "web", "labels": {label: ""}}});
        let service: core::Service = serde_json::from_value(object).unwrap();
        assert_eq!(service.convert(&Interner::new("a")), None);
    }
}

#[test]
fn invalid_parts_of_a_policy_open_nothing() {
    let converted = convert::<networking::NetworkPolicy>(json!({
        "metadata": {"name": "p"},
        "spec": {
            "podSelector": {},
            "ingress": [
                {"ports": [{"port": 80, "endPort": 70}], "from": [{"podSelector": {}}]},
                {"ports": [{"port": 80, "endPort": 90}, {"port": "dns", "protocol": "UDP"}],
                 "from": [{"ipBlock": {"cidr": "10.0.0.1/8", "except": ["bad"]}}]}
            ]
        }
    }));
    assert_eq!(
        problems(&converted),
        [
            "spec.ingress[0].ports[0]: endPort 70 is less than port 80",
            r#"spec.ingress[1].peers[0]: "bad" is not a CIDR range"#,
        ]
    );
    let Some(Object::NetworkPolicy(policy)) = converted.object else {
        panic!("no policy");
    };
    assert_eq!(policy.egress, None);
    let rules = policy.ingress.unwrap();
    assert_eq!(*rules[0].peers, [Peer::Nothing]);
    assert_eq!(*rules[1].peers, [Peer::Nothing]);
    assert_eq!(
        *rules[1].ports,
        [
            PolicyPort::Range(Protocol::Tcp, 80, 90),
            PolicyPort::Named(Protocol::Udp, "dns".into()),
        ]
    );
}

/// A pod as a Deployment's controller makes it.
fn pod(number: u32) -> Value {
    json!({
        "metadata": {
            "name": format!("web-6d4cf56db6-{number}"), "namespace": "shop",
            "uid": format!("0d57a7c2-4f4c-4a1c-9c6f-{number:012}"),
            "labels": {"app": "web", "pod-template-hash": "6d4cf56db6"},
        },
        "spec": {"nodeName": "b", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": format!("10.0.0.{number}")}, {"ip": "fd00::1"}]},
    })
}

#[test]
fn pods_of_a_workload_are_small_and_share_what_they_have_in_common() {
    let interner = Interner::new("a");
    let [one, other] = [1, 2].map(|number| {
        let object: core::Pod = serde_json::from_value(pod(number)).unwrap();
        match object.convert(&interner).unwrap().object {
            Some(Object::Pod(pod)) => pod,
            _ => panic!("no pod"),
        }
    });
    assert!(one.labels.is(&other.labels));
    assert!(one.named_ports.is(&other.named_ports));
    assert!(arcstr::ArcStr::ptr_eq(&one.node, &other.node));
    assert_eq!((one.labels.get("app"), &*one.node), (Some("web"), "b"));
    assert_eq!(one.extras, None);
    assert!(one.uid != other.uid && one.ips != other.ips);
    // With its counters it is in the allocator's class of 112 bytes, and its name is the only other thing it has alone.
    assert!(size_of::<Pod>() <= 96, "{} bytes", size_of::<Pod>());
}

#[test]
fn what_few_pods_have_is_kept() {
    let converted = convert::<core::Pod>(json!({
        "metadata": {
            "name": "etcd-a", "uid": "not-a-uuid", "labels": {"ok": "yes", "bad": "a\u{0}b"},
            "annotations": {
                "kubernetes.io/config.mirror": "5f0e", "kubernetes.io/config.hash": "7c1d",
                "kubernetes.io/egress-bandwidth": "1M",
            },
        },
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 2379, "hostPort": 2379}]}]},
    }));
    assert_eq!(
        problems(&converted),
        [r#"metadata.labels: "bad": "a\0b" has a NUL"#]
    );
    let Some(Object::Pod(pod)) = converted.object else {
        panic!("no pod");
    };
    assert_eq!(pod.labels, [("ok", "yes")].into_iter().collect());
    for (uid, is_its) in [
        ("not-a-uuid", true),
        ("7c1d", true),
        ("", true),
        ("5f0e", false),
    ] {
        assert_eq!(pod.is(uid), is_its, "{uid:?}");
    }
    assert_eq!(pod.limits().unwrap().egress, Some(Ok(1_000_000)));
    assert_eq!(pod.host_ports()[0].host_port, 2379);
}

#[test]
fn equal_selectors_ports_and_peers_of_policies_are_one() {
    let interner = Interner::new("a");
    let [one, other] = ["one", "other"].map(|name| {
        let object: networking::NetworkPolicy = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "podSelector": {"matchLabels": {"app": "web"}},
                "ingress": [{"ports": [{"port": 80}], "from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}]
            }
        }))
        .unwrap();
        match object.convert(&interner).unwrap().object {
            Some(Object::NetworkPolicy(policy)) => policy,
            _ => panic!("no policy"),
        }
    });
    let selectors = [&one, &other].map(|policy| &policy.pod_selector.requirements);
    assert!(selectors[0].is(selectors[1]));
    let [one, other] = [one, other].map(|policy| policy.ingress.unwrap()[0].clone());
    assert!(one.ports.is(&other.ports) && one.peers.is(&other.peers));
}
