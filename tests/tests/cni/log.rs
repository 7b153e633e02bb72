//! What the plugin says is kept on the node, whatever the runtime does with its standard error.

use std::{fs, os::unix::fs::symlink};

use cni_plugin::log;
use serde_json::json;
use weir_tests::cni::{Container, Runtime};

#[test]
fn refusals_and_warnings_are_kept_with_whose_they_are() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let container = Container::new("a").unwrap();
    let read = || log::read(&runtime.paths.log()).unwrap();
    runtime.add(&container).unwrap();
    runtime.del(&container).unwrap();
    assert!(read().is_empty(), "nothing was said: {:?}", read());
    let config = runtime.with(&json!({ "timeoutSeconds": 0 }));
    let refused = runtime.call("ADD", Some(&container), &config).unwrap();
    let config = runtime.with(&json!({ "cniVersion": "9.9.9" }));
    let deleted = runtime.call("DEL", Some(&container), &config).unwrap();
    assert_eq!(deleted.status, Some(0));
    let entries = read();
    let told: Vec<_> = entries
        .iter()
        .map(|e| {
            (
                e.verb.as_str(),
                e.container_id.as_str(),
                e.ifname.as_str(),
                e.pod.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [("ADD", "a", "eth0", "ns/a"), ("DEL", "a", "eth0", "ns/a")]
    );
    assert!(entries[0].text.starts_with(refused.msg()), "{entries:?}");
    assert!(deleted.stderr.contains(&entries[1].text), "{entries:?}");
}

#[test]
fn a_full_disk_costs_the_log_alone() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    symlink("/dev/full", runtime.paths.log()).unwrap();
    let container = Container::new("a").unwrap();
    assert_eq!(runtime.add(&container).unwrap().status, Some(0));
    let config = runtime.with(&json!({ "cniVersion": "9.9.9" }));
    let deleted = runtime.call("DEL", Some(&container), &config).unwrap();
    assert_eq!(deleted.status, Some(0), "{deleted:?}");
    fs::remove_file(runtime.paths.log()).unwrap();
    runtime.nothing_left().unwrap();
}
