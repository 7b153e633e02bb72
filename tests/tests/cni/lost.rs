//! Files of the plugin that are lost: what the interfaces tell, and what the runtime tells of them later.

use std::{collections::BTreeSet, fs, time::Duration};

use cni_plugin::{
    attachment::Attachment,
    keep::{self, Kept},
    node_file::boot_id,
    rpc::Key,
    salvage,
    wiring::{name, netlink::Netlink},
};
use proxy_agent::pod::collector::{Memory, sweep};
use serde_json::json;
use weir_tests::cni::{Container, Runtime};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

fn key(id: &str) -> Key {
    Key {
        container_id: id.into(),
        ifname: "eth0".into(),
    }
}

/// As somebody who cleans up: the folder stays.
fn lose(runtime: &Runtime) {
    fs::remove_dir_all(runtime.paths.attachments()).unwrap();
    fs::remove_file(runtime.paths.ipam()).unwrap();
}

/// Writes what is known again, as the agent does.
fn kept(runtime: &Runtime, known: &[Attachment]) -> Kept {
    let soon = std::time::Instant::now() + Duration::from_secs(5);
    let boot = boot_id().unwrap();
    let keep = || Ok(keep::keep(&runtime.paths, &boot, known, soon));
    runtime.host.inside(keep).unwrap().unwrap()
}

/// What interfaces tell of attachments that are nobody's.
fn unnamed(runtime: &Runtime) -> Vec<Attachment> {
    let look = || {
        let mut netlink = Netlink::open()?;
        let links = salvage::links(&mut netlink)?;
        let boot = boot_id()?;
        let of = |_| Vec::new();
        let paths = &runtime.paths;
        Ok(salvage::unnamed(
            &mut netlink,
            paths,
            &boot,
            &[],
            &links,
            &of,
        )?)
    };
    let found = runtime.host.inside(look).unwrap();
    found.into_iter().map(|one| one.attachment).collect()
}

/// Containers with a network, whose files are gone and made again by what the interfaces tell.
fn stood_in(runtime: &Runtime, ids: &[&'static str]) -> Vec<Container> {
    let containers = ids.iter().map(|id| Container::new(id).unwrap());
    let containers: Vec<Container> = containers.collect();
    for container in &containers {
        assert_eq!(runtime.add(container).unwrap().status, Some(0));
    }
    lose(runtime);
    let found = unnamed(runtime);
    assert_eq!(found.len(), ids.len());
    assert_eq!(kept(runtime, &found).records.len(), ids.len());
    assert_eq!(kept(runtime, &found), Kept::default(), "once");
    containers
}

/// Containers that have addresses.
fn leased(runtime: &Runtime) -> Vec<String> {
    let leases = runtime.state().unwrap().leases.into_iter();
    let mut ids: Vec<String> = leases.map(|lease| lease.key.container_id).collect();
    ids.sort();
    ids
}

#[test]
fn what_is_known_is_written_again_as_it_was() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let [one, gone] = ["one", "gone"].map(|id| Container::new(id).unwrap());
    for container in [&one, &gone] {
        assert_eq!(runtime.add(container).unwrap().status, Some(0));
    }
    let records = ["one", "gone"].map(|id| {
        let path = runtime.paths.attachment(&key(id));
        Attachment::read(&path).unwrap()
    });
    let is_whole = || keep::is_whole(&runtime.paths, &boot_id().unwrap(), &records).unwrap();
    assert!(is_whole());
    runtime.del(&gone).unwrap();
    lose(&runtime);
    assert!(!is_whole());
    let written = kept(&runtime, &records);
    let path = runtime.paths.attachment(&key("one"));
    assert_eq!(
        written.records.as_slice(),
        [path.as_path()],
        "whose interface is there"
    );
    assert_eq!(Attachment::read(&path).unwrap(), records[0]);
    assert_eq!(leased(&runtime), ["one"]);
    // What is damaged is as good as gone.
    fs::write(&path, "{\"state\":\"re").unwrap();
    assert_eq!(kept(&runtime, &records).records, [path]);
    runtime.del(&one).unwrap();
    runtime.nothing_left().unwrap();
}

#[test]
fn an_address_that_another_has_by_now_is_not_taken_from_it() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let one = Container::new("one").unwrap();
    assert_eq!(runtime.add(&one).unwrap().status, Some(0));
    let path = runtime.paths.attachment(&key("one"));
    let mut record = Attachment::read(&path).unwrap();
    lose(&runtime);
    let other = Container::new("other").unwrap();
    let added = runtime.add(&other).unwrap();
    record.add.ips = added.ips().iter().map(|ip| ip.parse().unwrap()).collect();
    let written = kept(&runtime, &[record]);
    assert_eq!(written.conflicts.len(), 1, "{written:?}");
    assert!(written.conflicts[0].contains("given to container other"));
    assert_eq!(leased(&runtime), ["other"]);
}

#[test]
fn a_del_or_a_check_names_what_stood_in() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let one = Container::new("one").unwrap();
    let added = runtime.add(&one).unwrap();
    lose(&runtime);
    let found = unnamed(&runtime);
    assert!(name::is_stand_in(found[0].key()), "{found:?}");
    kept(&runtime, &found);
    let checked = runtime.check(&one, &added.document).unwrap();
    assert_eq!(checked.status, Some(0), "{checked:?}");
    assert_eq!(leased(&runtime), ["one"]);
    runtime.del(&one).unwrap();
    runtime.nothing_left().unwrap();

    let two = stood_in(&runtime, &["two"]);
    runtime.del(&two[0]).unwrap();
    runtime.nothing_left().unwrap();
}

#[test]
fn gc_names_those_of_its_list_and_undoes_the_others() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let _containers = stood_in(&runtime, &["a", "b"]);
    let mut config = runtime.config.clone();
    config["cni.dev/valid-attachments"] = json!([{ "containerID": "b", "ifname": "eth0" }]);
    let collected = runtime.call("GC", None, &config).unwrap();
    assert_eq!(collected.status, Some(0), "{collected:?}");
    assert_eq!(leased(&runtime), ["b"]);
    assert_eq!(runtime.host.links().unwrap().len(), 2);
}

#[test]
fn the_collector_keeps_the_interface_of_a_pod_that_nobody_has_noted() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let one = Container::new("one").unwrap();
    assert_eq!(runtime.add(&one).unwrap().status, Some(0));
    lose(&runtime);
    let mut memory = Memory::default();
    let boot = boot_id().unwrap();
    for _ in 0..3 {
        let look = || Ok(sweep(&runtime.paths, &boot, &BTreeSet::new(), &mut memory));
        let swept = runtime.host.inside(look).unwrap();
        assert_eq!(swept.salvaged.len(), 1, "{swept:?}");
        assert_eq!(swept.salvaged[0].attachment.add.pod.name, "one");
    }
    assert_eq!(runtime.host.links().unwrap().len(), 2);
}
