//! The plugin under the name `loopback`.

use serde_json::json;
use weir_tests::cni::{Container, Runtime};

#[test]
fn sets_lo_up() {
    let mut runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let loopback = folder.path().join("loopback");
    std::fs::copy(&runtime.plugin, &loopback).unwrap();
    runtime.plugin = loopback;
    // As containerd 1.6 and 1.7 configure it.
    runtime.config = json!({ "cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback" });
    let container = Container::new("a").unwrap();
    let added = runtime.add(&container).unwrap();
    assert_eq!(added.status, Some(0), "{added:?}");
    assert_eq!(added.document["ips"][0]["address"], "127.0.0.1/8");
    assert_eq!(added.document["ips"][0]["version"], "4");
    assert!(
        container
            .space
            .ip("link show lo")
            .unwrap()
            .contains("LOWER_UP")
    );
    assert_eq!(added.document["ips"][1]["address"], "::1/128");
    assert_eq!(runtime.del(&container).unwrap().status, Some(0));
    // Where IPv6 is off there is no such address to tell of.
    let container = Container::new("b").unwrap();
    let key = "ipv6/conf/all/disable_ipv6";
    container.space.sysctl(key, "1").unwrap();
    let added = runtime.add(&container).unwrap();
    assert_eq!(
        added.document["ips"].as_array().unwrap().len(),
        1,
        "{added:?}"
    );
}
