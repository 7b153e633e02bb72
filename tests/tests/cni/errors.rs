//! Every error code.

use std::{
    fs,
    time::{Duration, SystemTime},
};

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
    let text = fs::read_to_string(runtime.paths.node()).unwrap();
    fs::write(runtime.paths.node(), text.replace("1400", "1000000")).unwrap();
    let added = runtime.add(&c).unwrap();
    assert_eq!(added.code(), 101, "{added:?}");
    assert!(
        added.msg().starts_with("create veth pair eth0 and weir"),
        "{added:?}"
    );
    runtime.nothing_left().unwrap();
}

#[test]
fn of_a_node_that_is_not_ready() {
    let runtime = Runtime::new(&RANGE).unwrap();
    let c = Container::new("a").unwrap();
    let text = "the weir agent has not initialised this node since boot";
    let status = || runtime.call("STATUS", None, &runtime.config).unwrap();
    assert_eq!(status().status, Some(0));
    fs::write(runtime.paths.heartbeat(), "").unwrap();
    assert_eq!(status().status, Some(0));
    let heart = fs::File::options()
        .write(true)
        .open(runtime.paths.heartbeat())
        .unwrap();
    heart
        .set_modified(SystemTime::now() - Duration::from_secs(90))
        .unwrap();
    assert_eq!(status().code(), 51);
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
