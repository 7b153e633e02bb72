//! GC.

use serde_json::{Value, json};
use weir_tests::cni::{Container, Runtime};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

/// Two containers, GC with this list; the containers that have addresses afterwards.
fn left_after(valid: Option<Value>) -> Vec<String> {
    left_after_key("cni.dev/valid-attachments", valid)
}

fn left_after_key(key: &str, valid: Option<Value>) -> Vec<String> {
    let runtime = Runtime::new(&DUAL).unwrap();
    let containers = ["a", "b"].map(|id| Container::new(id).unwrap());
    for container in &containers {
        assert_eq!(runtime.add(container).unwrap().status, Some(0));
    }
    let mut config = runtime.config.clone();
    if let Some(valid) = valid {
        config[key] = valid;
    }
    let collected = runtime.call("GC", None, &config).unwrap();
    assert_eq!(
        (collected.status, collected.document),
        (Some(0), json!(null))
    );
    let left: Vec<_> = runtime
        .state()
        .unwrap()
        .leases
        .into_iter()
        .map(|l| l.key.container_id)
        .collect();
    assert_eq!(runtime.host.links().unwrap().len(), 1 + left.len());
    left
}

#[test]
fn a_list_keeps_what_it_names() {
    let valid =
        json!([{ "containerID": "b", "ifname": "eth0" }, { "containerID": "a", "ifname": "eth1" }]);
    assert_eq!(left_after(Some(valid)), ["b"]);
}

#[test]
fn the_name_of_the_drafts_is_understood_alone() {
    let key = "cni.dev/attachments";
    let valid = json!([{ "containerID": "b", "ifname": "eth0" }]);
    assert_eq!(left_after_key(key, Some(valid)), ["b"]);
    assert!(left_after_key(key, Some(json!(null))).is_empty());
}

#[test]
fn null_and_empty_keep_nothing() {
    assert!(left_after(Some(json!(null))).is_empty());
    assert!(left_after(Some(json!([]))).is_empty());
}

#[test]
fn no_list_keeps_everything() {
    assert_eq!(left_after(None), ["a", "b"]);
}
