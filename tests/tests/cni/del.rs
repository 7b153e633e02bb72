//! DEL: succeeds whatever is left.

use serde_json::json;
use weir_tests::cni::{Container, Runtime, runtime};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

#[test]
fn twice_and_for_containers_nobody_knows() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    runtime.add(&container).unwrap();
    for _ in 0..2 {
        let deleted = runtime.del(&container).unwrap();
        assert_eq!((deleted.status, deleted.document), (Some(0), json!(null)));
        runtime.nothing_left().unwrap();
    }
    assert_eq!(container.space.links().unwrap(), ["lo"]);
    let unknown = Container::new("unknown").unwrap();
    assert_eq!(runtime.del(&unknown).unwrap().status, Some(0));
    runtime.nothing_left().unwrap();
}

#[test]
fn without_the_namespace() {
    let runtime = Runtime::new(&DUAL).unwrap();
    for netns in ["", "/nonexistent", "/proc/self/ns/net", "/etc/passwd"] {
        let container = Container::new("a").unwrap();
        runtime.add(&container).unwrap();
        let mut environment = runtime::of(&container);
        environment.retain(|(name, _)| *name != "CNI_NETNS");
        environment.push(("CNI_NETNS", netns.to_owned()));
        environment.push(("CNI_COMMAND", "DEL".to_owned()));
        let deleted = runtime
            .run(&environment, runtime.config.to_string().as_bytes())
            .unwrap();
        assert_eq!(deleted.status, Some(0), "{netns:?}: {deleted:?}");
        runtime.nothing_left().unwrap();
    }
}

#[test]
fn without_the_run_folder_it_makes_none() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let folder = runtime.paths.root().join("absent");
    let config = runtime.with(&json!({ "runDir": folder }));
    let deleted = runtime.call("DEL", Some(&container), &config).unwrap();
    assert_eq!(deleted.status, Some(0));
    assert!(!folder.exists());
    assert_eq!(runtime.del(&container).unwrap().status, Some(0));
    assert!(
        !runtime.paths.lock().exists(),
        "of a container nobody knows"
    );
}

#[test]
fn when_the_records_are_lost() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    runtime.add(&container).unwrap();
    std::fs::remove_dir_all(runtime.paths.attachments()).unwrap();
    std::fs::write(runtime.paths.ipam(), "{ half").unwrap();
    assert_eq!(runtime.del(&container).unwrap().status, Some(0));
    runtime.nothing_left().unwrap();
}

#[test]
fn addresses_come_from_the_key_and_never_from_prev_result() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let (mine, other) = (Container::new("a").unwrap(), Container::new("b").unwrap());
    let added = runtime.add(&mine).unwrap();
    // As after a reboot: an old sandbox whose addresses belong to another by now.
    let config = runtime.with(&json!({ "prevResult": added.document }));
    runtime.call("DEL", Some(&other), &config).unwrap();
    let leases = runtime.state().unwrap().leases;
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].key.container_id, "a");
}

#[test]
fn a_released_address_rests() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let (first, second) = (Container::new("a").unwrap(), Container::new("b").unwrap());
    runtime.add(&first).unwrap();
    runtime.del(&first).unwrap();
    assert_eq!(runtime.add(&second).unwrap().ips()[0], "10.244.1.3");
}
