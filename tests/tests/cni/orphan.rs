//! An ADD that goes on after the DEL of its key: it must end without anything, whoever has its addresses by then.

use std::{process::Child, time::Duration};

use cni_plugin::{
    node_file::boot_id,
    rpc::{Key, Reply, Response},
};
use serde_json::json;
use weir_tests::{
    cni::{Container, Runtime, runtime},
    world::until,
};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

/// An ADD that waits for the agent, everything wired.
fn waiting(runtime: &Runtime, container: &Container, seconds: u64) -> Child {
    runtime.agent.answer(None);
    let before = runtime.agent.calls().len();
    let mut environment = runtime::of(container);
    environment.push(("CNI_COMMAND", "ADD".to_owned()));
    let config = runtime
        .with(&json!({ "timeoutSeconds": seconds }))
        .to_string();
    let child = runtime.start(&environment, config.as_bytes()).unwrap();
    until("the ADD to ask the agent", Duration::from_secs(10), || {
        Ok((runtime.agent.calls().len() > before).then_some(()))
    })
    .unwrap();
    runtime.agent.answer(Some(Response::Ok(Reply {
        endpoint: 1,
        ..Reply::default()
    })));
    child
}

fn key() -> Key {
    Key {
        container_id: "a".into(),
        ifname: "eth0".into(),
    }
}

#[test]
fn whose_addresses_were_given_back_keeps_no_interface() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let orphan = waiting(&runtime, &container, 10);
    // As if its DEL had been there before its interface was.
    let soon = std::time::Instant::now() + Duration::from_secs(5);
    let boot = boot_id().unwrap();
    cni_plugin::ledger::give_back(&runtime.paths, &key(), None, &boot, false, soon).unwrap();
    let other = Container::new("b").unwrap();
    let added = runtime.add(&other).unwrap();
    // The orphan's interface still has the first: that address is in use, lease or not.
    assert_eq!(added.ips(), ["10.244.1.3", "fd00:244:1::3"], "{added:?}");
    runtime.agent.release();
    let orphan = runtime::finish(orphan).unwrap();
    assert_eq!(
        (orphan.code(), orphan.msg()),
        (
            11,
            "the network of pod ns/a was deleted while ADD was at work"
        ),
        "{orphan:?}"
    );
    assert_eq!(container.space.links().unwrap(), ["lo"]);
    let checked = runtime.check(&other, &added.document).unwrap();
    assert_eq!(checked.status, Some(0), "{checked:?}");
    runtime.del(&other).unwrap();
    runtime.nothing_left().unwrap();
}

#[test]
fn leaves_what_a_later_add_of_its_key_has_made() {
    for deleted in [true, false] {
        let runtime = Runtime::new(&DUAL).unwrap();
        let (old, new) = (Container::new("a").unwrap(), Container::new("a").unwrap());
        let orphan = waiting(&runtime, &old, 2);
        if deleted {
            runtime.del(&old).unwrap();
        }
        let added = runtime.add(&new).unwrap();
        assert_eq!(added.status, Some(0), "{added:?}");
        let calls = runtime.agent.calls().len();
        // It waits until its time is over.
        let orphan = runtime::finish(orphan).unwrap();
        assert_ne!(orphan.code(), 0, "{orphan:?}");
        assert_eq!(
            runtime.agent.calls().len(),
            calls,
            "the agent must not forget the new one"
        );
        assert_eq!(old.space.links().unwrap(), ["lo"]);
        let checked = runtime.check(&new, &added.document).unwrap();
        assert_eq!(checked.status, Some(0), "{checked:?}");
        assert_eq!(runtime.state().unwrap().leases.len(), 1);
        runtime.del(&new).unwrap();
        runtime.nothing_left().unwrap();
    }
}

#[test]
fn whose_interface_is_gone_ends_at_once() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let orphan = waiting(&runtime, &container, 30);
    runtime.del(&container).unwrap();
    runtime.agent.release();
    let began = std::time::Instant::now();
    let orphan = runtime::finish(orphan).unwrap();
    assert_ne!(orphan.code(), 0, "{orphan:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    runtime.nothing_left().unwrap();
}
