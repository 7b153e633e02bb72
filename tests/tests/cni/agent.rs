//! ADD and the agent: what it is told, what its silence and its refusal do.

use cni_plugin::{
    attachment::Attachment,
    rpc::{Bandwidth, Call, Refusal, Reply, Response},
    wiring::name,
};
use serde_json::json;
use weir_tests::cni::{Container, FakeAgent, Runtime, runtime};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

#[test]
fn is_told_everything_and_waited_for() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let agent = &runtime.agent;
    let container = Container::new("a").unwrap();
    let config = runtime.with(&json!({ "runtimeConfig": {
        "portMappings": [{ "HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" }],
    }}));
    let added = runtime.call("ADD", Some(&container), &config).unwrap();
    let calls = agent.calls();
    let [Call::Add(add)] = calls.as_slice() else {
        panic!("{calls:?}")
    };
    assert_eq!(add.key.container_id, "a");
    assert_eq!(add.pod.to_string(), "ns/a");
    assert_eq!((add.pod.uid.as_str(), add.host_mac), ("u", [0xee; 6]));
    assert_eq!(
        added.document["interfaces"][0]["name"],
        add.host_ifname.as_str()
    );
    let ips: Vec<_> = add.ips.iter().map(ToString::to_string).collect();
    assert_eq!(ips, added.ips());
    assert_eq!(
        (add.ports[0].host_port, add.ports[0].container_port),
        (8080, 80)
    );
    assert_ne!(add.netns_cookie, 0);
    let links = runtime
        .host
        .ip(&format!("link show {}", add.host_ifname))
        .unwrap();
    assert!(
        links.starts_with(&format!("{}: ", add.host_ifindex)),
        "{links}"
    );
    runtime.del(&container).unwrap();
    assert_eq!(agent.calls().last(), Some(&Call::Del(add.key.clone())));
    assert!(
        runtime::files(&runtime.paths.tombstones())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn is_told_limits_and_tells_what_is_recorded_of_them() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let config = runtime.with(&json!({ "runtimeConfig": { "bandwidth": {
        "IngressRate": 1_000_000, "IngressBurst": u32::MAX, "EgressRate": 2_000_000, "EgressBurst": u32::MAX,
    }}}));
    let limits = |ingress_rate, egress_rate| Bandwidth {
        ingress_rate,
        ingress_burst: u32::MAX.into(),
        egress_rate,
        egress_burst: u32::MAX.into(),
    };
    let own = limits(0, 2_000_000);
    runtime.agent.answer(Some(Response::Ok(Reply {
        endpoint: 1,
        bandwidth: Some(own.clone()),
        ..Reply::default()
    })));
    runtime.call("ADD", Some(&container), &config).unwrap();
    let calls = runtime.agent.calls();
    let [Call::Add(add)] = calls.as_slice() else {
        panic!("{calls:?}")
    };
    assert_eq!(add.bandwidth, Some(limits(1_000_000, 2_000_000)));
    let record = Attachment::read(&runtime.paths.attachment(&add.key)).unwrap();
    assert_eq!(record.add.bandwidth, Some(own));

    // What an agent has made that is not there any more.
    let [entry, end] = name::queue_ifnames(&add.key);
    let make = format!("link add {entry} type veth peer name {end}");
    runtime.host.ip(&make).unwrap();
    runtime.stop_agent().unwrap();
    runtime.del(&container).unwrap();
    let links = runtime.host.links().unwrap();
    assert!(
        !links.iter().any(|link| link.starts_with(&entry)),
        "{links:?}"
    );
}

#[test]
fn its_refusal_undoes_the_add() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let agent = &runtime.agent;
    agent.answer(Some(Response::Error(Refusal {
        code: 11,
        msg: "policy of pod ns/a is not in force".into(),
        details: "no such pod".into(),
    })));
    let container = Container::new("a").unwrap();
    let added = runtime.add(&container).unwrap();
    assert_eq!(added.status, Some(1));
    assert_eq!(
        (added.code(), added.msg()),
        (11, "policy of pod ns/a is not in force")
    );
    assert_eq!(added.document["details"], "no such pod");
    runtime.nothing_left().unwrap();
}

#[test]
fn its_silence_fails_the_add() {
    let runtime = Runtime::new(&DUAL).unwrap();
    runtime.stop_agent().unwrap();
    let container = Container::new("a").unwrap();
    assert_eq!(runtime.add(&container).unwrap().code(), 11);
    runtime.nothing_left().unwrap();
    let agent = FakeAgent::start(&runtime.paths.socket()).unwrap();
    agent.answer(None);
    let added = runtime.add(&container).unwrap();
    assert_eq!(added.code(), 11, "{added:?}");
    runtime.nothing_left().unwrap();
}

#[test]
fn a_del_that_it_does_not_hear_leaves_a_tombstone() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    runtime.add(&container).unwrap();
    runtime.stop_agent().unwrap();
    runtime.del(&container).unwrap();
    runtime.nothing_left().unwrap();
    let left = runtime::files(&runtime.paths.tombstones()).unwrap();
    assert_eq!(left, ["a:eth0.json"]);
}
