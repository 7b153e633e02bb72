//! Limits of bandwidth between real sockets: what gets through, from the first byte, on every way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "world_bandwidth/lab.rs"]
mod lab;

use std::{io::ErrorKind, net::SocketAddr};

use lab::{Lab, PORT, RATE, annotations, must_be_limited, told};
use serde_json::json;
use weir_tests::{
    in_every_mode,
    modes::Mode,
    served::{await_answer, serve},
    world::{Node, Place, Pod, ask_tcp, bulk::Transport, cluster::POD_PORT},
};

in_every_mode![what_a_pod_is_sent_is_limited, what_a_pod_sends_is_limited];

fn what_a_pod_is_sent_is_limited(mode: Mode) {
    let lab = Lab::start("ingress", mode);
    let limited = lab.limited("limited", &annotations(Some("20M"), None));
    let service = lab.service(&limited);
    let by_service = service.map(|ip| SocketAddr::new(ip, 80));
    let outside = lab.cluster.world().outside();
    let ways: [(&Place, [SocketAddr; 2]); 5] = [
        (&lab.near, limited.at(PORT)),
        (&lab.far, limited.at(PORT)),
        (outside, limited.at(PORT)),
        (lab.cluster.node(0), limited.at(PORT)),
        (&lab.near, by_service),
    ];
    for (from, all) in ways {
        lab.is_limited(from, all, &limited);
    }
    // Others are not.
    for to in lab.near.at(PORT) {
        lab.is_free(&lab.far, to, &lab.near);
    }
}

fn what_a_pod_sends_is_limited(mode: Mode) {
    let lab = Lab::start("egress", mode);
    let limited = lab.limited("limited", &annotations(None, Some("20M")));
    let node: &Node = lab.cluster.node(0);
    let service = lab.service(&lab.near).map(|ip| SocketAddr::new(ip, 80));
    let outside = lab.cluster.world().outside();
    let world = Lab::outside();
    let host = node.addresses().map(|ip| SocketAddr::new(ip, PORT));
    let ways: [(&Place, [SocketAddr; 2]); 5] = [
        (&lab.near, lab.near.at(PORT)),
        (&lab.far, lab.far.at(PORT)),
        (outside, world),
        (node, host),
        (&lab.near, service),
    ];
    for (at, all) in ways {
        lab.is_limited(&limited, all, at);
    }
    // What it is sent is not.
    for to in limited.at(PORT) {
        lab.is_free(&lab.near, to, &limited);
    }
}

#[test]
fn a_pod_that_asks_itself_by_a_service_is_limited() {
    let lab = Lab::start("hairpin", &["--socket-balancing", "false"]);
    let limited = lab.limited("limited", &annotations(Some("20M"), Some("40M")));
    let service = lab.service(&limited).map(|ip| SocketAddr::new(ip, 80));
    lab.is_limited(&limited, service, &limited);
}

#[test]
fn annotations_are_followed_and_leave_nothing() {
    let mut lab = Lab::start("follow", &[]);
    let pod = lab.limited("pod", &annotations(None, None));
    let limits = |lab: &Lab, both: [Option<u64>; 2]| {
        let seen = lab.cluster.eventually(&format!("limits {both:?}"), || {
            (lab.limits_of(&pod) == both).then_some(())
        });
        seen.unwrap();
    };
    limits(&lab, [None, None]);
    lab.is_free(&lab.near, pod.at(PORT)[0], &pod);
    let both = annotations(Some("20M"), Some("40M"));
    lab.cluster.annotate(&pod, &both).unwrap();
    limits(&lab, [Some(20_000_000), Some(40_000_000)]);
    lab.is_limited(&lab.near, pod.at(PORT), &pod);

    // With the agent, without, and with the next one.
    lab.cluster.agent_mut(0).crash().unwrap();
    lab.is_limited(&lab.far, pod.at(PORT), &pod);
    let before = lab.passed();
    lab.cluster.agent_mut(0).restart().unwrap();
    limits(&lab, [Some(20_000_000), Some(40_000_000)]);
    lab.is_limited(&lab.near, pod.at(PORT), &pod);
    // What waits in them waits on: they are the same.
    let after = lab.passed();
    let counts = before.iter().zip(&after);
    assert!(
        before.len() == 2 && counts.into_iter().all(|(before, after)| before <= after),
        "{before:?} {after:?}"
    );

    // What makes no sense leaves what is in force; the rest is followed.
    let odd = annotations(Some("999"), Some("20M"));
    lab.cluster.annotate(&pod, &odd).unwrap();
    limits(&lab, [Some(20_000_000), Some(20_000_000)]);
    lab.is_limited(&pod, lab.near.at(PORT), &lab.near);
    let log = lab.cluster.agent(0).log();
    let why = "resource is unreasonably small (< 1kbit)";
    assert!(log.contains(why), "{log}");

    lab.cluster
        .annotate(&pod, &annotations(None, None))
        .unwrap();
    limits(&lab, [None, None]);
    lab.is_free(&lab.near, pod.at(PORT)[0], &pod);
    lab.is_free(&pod, lab.near.at(PORT)[0], &lab.near);
    assert_eq!((lab.left().as_str(), lab.paces()), ("", 0));
}

/// By times of departure where the kernel has a queue for them, else by token buckets; and whoever takes a piece away finds it
/// back.
#[test]
fn who_breaks_the_best_way_that_the_kernel_has_finds_it_healed() {
    let lab = Lab::start("ways", &[]);
    // An emulated machine has no more to give.
    let pod = lab.limited("pod", &annotations(Some("4M"), Some("4M")));
    let way = if lab.has_departures() {
        "edt"
    } else {
        "bucket"
    };
    let both = [Some(way.to_owned()), Some(way.to_owned())];
    assert_eq!(lab.ways_of(&pod), both);
    let limited = |lab: &Lab| {
        let pairs: [(&Place, &Pod); 2] = [(&lab.near, &pod), (&pod, &lab.near)];
        for (from, at) in pairs {
            for to in at.at(PORT) {
                let arrived = lab.send(from, to, at, Transport::Tcp);
                must_be_limited(&arrived, RATE / 5, &format!("{way}, to {to}"));
            }
        }
    };
    limited(&lab);
    let (side, entries) = (lab.side(&pod), lab.entries());
    let [entry] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    lab.run(&["tc", "qdisc", "del", "dev", &side, "root"]);
    lab.run(&["tc", "qdisc", "del", "dev", entry, "root"]);
    if way == "edt" {
        lab.run(&["tc", "qdisc", "del", "dev", entry, "clsact"]);
    }
    let healed = lab.cluster.eventually("limits again", || {
        let filters = lab.run(&["tc", "filter", "show", "dev", entry, "egress"]);
        let programs = way == "bucket" || filters.contains("to_queue");
        (programs && lab.ways_of(&pod) == both).then_some(())
    });
    healed.unwrap();
    limited(&lab);
}

#[test]
fn a_del_takes_all_away_also_while_no_agent_is_there() {
    let mut lab = Lab::start("gone", &[]);
    for crash in [false, true] {
        let both = annotations(Some("20M"), Some("20M"));
        let pod = lab.limited("pod", &both);
        assert_ne!(lab.left(), "");
        if crash {
            lab.cluster.agent_mut(0).crash().unwrap();
        }
        drop(pod);
        assert_eq!(lab.left(), "");
    }
    lab.cluster.agent_mut(0).restart().unwrap();
    let forgotten = lab
        .cluster
        .eventually("no limits", || (lab.paces() == 0).then_some(()));
    forgotten.unwrap();
}

/// A burst of one bit, as a runtime might tell it.
#[test]
fn a_limit_below_one_packet_lets_whole_packets_through() {
    let lab = Lab::start("small", &[]);
    let both = annotations(Some("2M"), Some("2M"));
    let mut told = told(&both);
    for key in ["IngressBurst", "EgressBurst"] {
        told[key] = json!(1);
    }
    let pod = lab.cluster.annotated_pod(0, "pod", &both, &told).unwrap();
    for to in pod.at(PORT) {
        let arrived = lab.send(&lab.near, to, &pod, Transport::Tcp);
        must_be_limited(&arrived, RATE / 10, &format!("to {to}"));
    }
    for to in lab.far.at(PORT) {
        let arrived = lab.send(&pod, to, &lab.far, Transport::Tcp);
        must_be_limited(&arrived, RATE / 10, &format!("from the pod to {to}"));
    }
    // The least that there is, beyond what its bucket holds at first.
    let least = annotations(Some("1k"), Some("1k"));
    let pod = lab.limited("least", &least);
    let _servers = serve(&pod).unwrap();
    for to in pod.at(POD_PORT) {
        await_answer(&lab.cluster, &lab.near, to).unwrap();
    }
}

/// Refusals, policy, pieces of datagrams, the gateway: what a limited pod sends is seen by the same programs.
#[test]
fn what_is_limited_is_judged_as_ever() {
    let lab = Lab::start("judged", &["--socket-balancing", "false"]);
    let pod = lab.limited("pod", &annotations(Some("20M"), Some("20M")));
    let _servers = serve(&lab.near).unwrap();
    let nobody = lab.cluster.service("nobody", 11, &[], &json!({})).unwrap();
    for ip in nobody {
        let refused = lab.cluster.eventually("a refusal", || {
            let error = ask_tcp(&pod, SocketAddr::new(ip, 80)).err()?;
            (error.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
        refused.unwrap();
    }
    for to in lab.near.at(POD_PORT) {
        await_answer(&lab.cluster, &pod, to).unwrap();
        lab.large_datagram(&pod, &lab.near, to.ip());
        let own = pod.addresses()[usize::from(to.is_ipv6())];
        lab.large_datagram(&lab.near, &pod, own);
    }
    pod.run(&["sh", "-c", "ip neigh flush all; ip -6 neigh flush all"])
        .unwrap();
    for to in lab.near.at(POD_PORT) {
        await_answer(&lab.cluster, &pod, to).unwrap();
    }
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "none", "namespace": "default" },
        "spec": { "podSelector": { "matchLabels": { "app": "pod" } }, "policyTypes": ["Egress"] },
    });
    let manifests = lab.cluster.manifests();
    manifests.apply_objects("policy.yaml", &[policy]).unwrap();
    for to in lab.near.at(POD_PORT) {
        let denied = lab
            .cluster
            .eventually("a verdict", || ask_tcp(&pod, to).err().map(drop));
        denied.unwrap();
    }
    manifests.remove("policy.yaml").unwrap();
    for to in lab.near.at(POD_PORT) {
        await_answer(&lab.cluster, &pod, to).unwrap();
    }
}
