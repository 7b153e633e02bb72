//! Every error code.

use std::fs;

use cni_plugin::{clock, heartbeat};
use serde_json::{Value, json};
use weir_tests::cni::{Container, Outcome, Runtime, runtime};

const RANGE: [&str; 1] = ["10.244.1.0/24"];

fn expect(outcome: &Outcome, code: u64, msg: &str) {
    assert_eq!((outcome.code(), outcome.msg()), (code, msg), "{outcome:?}");
    assert_eq!(outcome.status, Some(1));
    assert!(outcome.document["cniVersion"].is_string());
}

/// An ADD whose environment is changed.
fn add_with(runtime: &Runtime, container: &Container, name: &'static str, value: &str) -> Outcome {
    let mut environment = runtime::of(container);
    environment.push(("CNI_COMMAND", "ADD".to_owned()));
    environment.retain(|(n, _)| *n != name);
    environment.push((name, value.to_owned()));
    runtime
        .run(&environment, runtime.config.to_string().as_bytes())
        .unwrap()
}

#[test]
fn of_the_environment() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    let add = |name, value| add_with(&runtime, &c, name, value);
    expect(&add("CNI_COMMAND", "FOO"), 4, "unknown CNI_COMMAND: FOO");
    expect(
        &add("CNI_CONTAINERID", ""),
        4,
        "required env variables [CNI_CONTAINERID] missing",
    );
    expect(
        &add("CNI_CONTAINERID", "../x"),
        4,
        "invalid characters in containerID",
    );
    expect(
        &add("CNI_IFNAME", "sixteencharacter"),
        4,
        "interface name is too long: CNI_IFNAME may have 15 bytes",
    );
    let bare = runtime
        .run(&[("CNI_COMMAND", "ADD".into())], b"{}")
        .unwrap();
    expect(
        &bare,
        4,
        "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing",
    );
    let person = runtime.run(&[], b"").unwrap();
    assert_eq!((person.status, &person.document), (Some(0), &Value::Null));
    assert!(person.stderr.contains("CNI plugin"));
}

#[test]
fn of_the_configuration() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    let call = |verb, keys: Value| runtime.call(verb, Some(&c), &runtime.with(&keys)).unwrap();
    expect(
        &call("ADD", json!({ "cniVersion": "9.9.9" })),
        1,
        "incompatible CNI versions",
    );
    expect(
        &call("GC", json!({ "cniVersion": "1.0.0" })),
        1,
        "config version does not allow GC",
    );
    expect(
        &call("STATUS", json!({ "cniVersion": "1.0.0" })),
        1,
        "config version does not allow STATUS",
    );
    expect(
        &call("CHECK", json!({ "cniVersion": "0.3.1" })),
        1,
        "config version does not allow CHECK",
    );
    let ipam = call("ADD", json!({ "ipam": { "type": "host-local" } }));
    expect(
        &ipam,
        2,
        r#"unsupported field "ipam": {"type":"host-local"}"#,
    );
    expect(
        &call("ADD", json!({ "name": "" })),
        7,
        "missing network name",
    );
    expect(
        &call("ADD", json!({ "name": "a/b" })),
        7,
        "invalid characters found in network name",
    );
    expect(
        &call("ADD", json!({ "prevResult": {} })),
        7,
        "weir must be the first plugin of the network's list",
    );
    let file = runtime.paths.root().join("file");
    fs::write(&file, "").unwrap();
    fs::copy(runtime.paths.node(), runtime.paths.root().join("copy")).unwrap();
    let del = call("STATUS", json!({ "runDir": file }));
    assert_eq!(del.code(), 50, "{del:?}");
    runtime.nothing_left().unwrap();
}

#[test]
fn of_reading_and_writing() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    fs::create_dir(runtime.paths.lock()).unwrap();
    let added = runtime.add(&c).unwrap();
    assert_eq!(added.code(), 5, "{added:?}");
    assert!(added.msg().starts_with("lock "), "{added:?}");
    assert_eq!(c.space.links().unwrap(), ["lo"]);
}

#[test]
fn of_the_namespace() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    for netns in ["/nonexistent", "/etc/passwd"] {
        let added = add_with(&runtime, &c, "CNI_NETNS", netns);
        assert_eq!(added.code(), 8, "{added:?}");
        assert!(added.msg().contains(netns), "{added:?}");
    }
    let own = add_with(&runtime, &c, "CNI_NETNS", &runtime.host.path());
    assert_eq!(own.code(), 8);
    assert_eq!(
        own.document["details"],
        "it is the plugin's own network namespace"
    );
}

#[test]
fn of_the_kernel() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    // The kernel makes a number of `%d`, so that nobody finds the interface by this name.
    let added = add_with(&runtime, &c, "CNI_IFNAME", "e%d");
    assert_eq!(added.code(), 101, "{added:?}");
    assert!(added.msg().contains("pod interface e%d"), "{added:?}");
    runtime.nothing_left().unwrap();
}

#[test]
fn of_an_mtu_that_no_interface_can_have() {
    let runtime = Runtime::new(&["10.244.1.0/24", "fd00:244:1::/64"]).unwrap();
    let whole = fs::read_to_string(runtime.paths.node()).unwrap();
    let set = |mtu: &str| fs::write(runtime.paths.node(), whole.replace("1400", mtu)).unwrap();
    // The node's link is `lo`, say.
    set("65536");
    let c = Container::new("a").unwrap();
    let added = runtime.add(&c).unwrap();
    assert_eq!(added.document["interfaces"][1]["mtu"], 65535, "{added:?}");
    let checked = runtime.check(&c, &added.document).unwrap();
    assert_eq!(checked.status, Some(0), "{checked:?}");
    runtime.del(&c).unwrap();
    set("1279");
    let c = Container::new("b").unwrap();
    for verb in ["ADD", "STATUS"] {
        let refused = runtime.call(verb, Some(&c), &runtime.config).unwrap();
        let why = refused.document["details"].to_string();
        assert!(
            why.contains("MTU 1279 of Node n is too small: IPv6 needs 1280"),
            "{refused:?}"
        );
    }
    runtime.nothing_left().unwrap();
}

#[test]
fn of_a_container_that_is_no_pod() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    for arguments in [
        "",
        "IgnoreUnknown=1",
        "K8S_POD_NAMESPACE=ns",
        "K8S_POD_NAME=p",
    ] {
        let added = add_with(&runtime, &c, "CNI_ARGS", arguments);
        assert_eq!(added.code(), 4, "{added:?}");
        assert!(
            added
                .msg()
                .starts_with("the container is no Kubernetes pod"),
            "{added:?}"
        );
    }
    runtime.nothing_left().unwrap();
    assert!(runtime.agent.calls().is_empty());
}

#[test]
fn of_a_time_that_is_none() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    for seconds in [0, 61, u64::MAX] {
        let keys = json!({ "timeoutSeconds": seconds });
        let added = runtime.call("ADD", Some(&c), &runtime.with(&keys)).unwrap();
        expect(&added, 7, &format!("timeoutSeconds is {seconds}"));
        let deleted = runtime.call("DEL", Some(&c), &runtime.with(&keys)).unwrap();
        assert_eq!(deleted.status, Some(0));
    }
}

#[test]
fn of_a_lock_that_is_held_names_the_holder() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    let held =
        cni_plugin::ipam::lock::lock(&runtime.paths.lock(), std::time::Instant::now()).unwrap();
    let config = runtime.with(&json!({ "timeoutSeconds": 1 }));
    let added = runtime.call("ADD", Some(&c), &config).unwrap();
    assert_eq!(added.code(), 11, "{added:?}");
    let why = added.document["details"].to_string();
    let me = format!("held by process {} (", std::process::id());
    assert!(why.contains(&me), "{added:?}");
    drop(held);
    assert_eq!(runtime.add(&c).unwrap().status, Some(0));
}

#[test]
fn of_a_node_that_is_not_ready() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    let text = "the weir agent has not initialised this node since boot";
    let status = || runtime.call("STATUS", None, &runtime.config).unwrap();
    assert_eq!(status().status, Some(0));
    let heart = runtime.paths.heartbeat();
    // No beat, one of a moment ago, one of an older version, one of the future.
    assert_eq!(status().status, Some(0));
    heartbeat::beat(&heart).unwrap();
    assert_eq!(status().status, Some(0));
    for text in ["", "99999999999"] {
        fs::write(&heart, text).unwrap();
        assert_eq!(status().status, Some(0), "{text:?}");
    }
    fs::write(&heart, (clock::now() - 90).to_string()).unwrap();
    assert_eq!(status().code(), 51);
    for none in ["10.9.9.0/31", "10.9.9.0/32", "fd00::/127", "fd00::/128"] {
        runtime
            .write_node(&["10.244.1.0/24", "fd00:1::/64"])
            .unwrap();
        runtime.write_node(&[none]).unwrap();
        expect(&status(), 50, text);
        let why = status().document["details"].to_string();
        assert!(
            why.contains(&format!("range {none} of Node n has no address")),
            "{why}"
        );
    }
    let why = "another node may have them";
    runtime.write_closed(&["10.244.1.0/24"], Some(why)).unwrap();
    for (outcome, code) in [(status(), 50), (runtime.add(&c).unwrap(), 11)] {
        expect(&outcome, code, text);
        assert!(outcome.document["details"].as_str().unwrap().contains(why));
    }
    runtime.write_node(&[]).unwrap();
    expect(&status(), 50, text);
    assert!(
        status().document["details"]
            .as_str()
            .unwrap()
            .contains("spec.podCIDRs")
    );
    fs::remove_file(runtime.paths.node()).unwrap();
    expect(&status(), 50, text);
    let added = runtime.add(&c).unwrap();
    expect(&added, 11, text);
    assert!(
        added.document["details"]
            .as_str()
            .unwrap()
            .contains("pod ns/a")
    );
    runtime.nothing_left().unwrap();
}

#[test]
fn version_needs_nothing() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let version = runtime
        .run(&[("CNI_COMMAND", "VERSION".into())], b"")
        .unwrap();
    assert_eq!(
        version.document,
        json!({ "cniVersion": "1.1.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] })
    );
}
