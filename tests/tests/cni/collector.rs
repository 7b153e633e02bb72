//! The agent's collector over real interfaces: what is dead goes, what lives stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cni_plugin::{
    attachment::{Attachment, State},
    clock,
    ipam::file::write_json,
    node_file::boot_id,
    rpc::Key,
    wiring::netlink::Netlink,
};
use proxy_agent::pod::collector::{Memory, Sweep, second_look, sweep};
use weir_tests::cni::{Container, Runtime};

fn look(runtime: &Runtime, memory: &mut Memory) -> Sweep {
    let boot = boot_id().unwrap();
    let swept = runtime
        .host
        .inside(|| Ok(sweep(&runtime.paths, &boot, &BTreeSet::new(), memory)))
        .unwrap();
    assert!(swept.errors.is_empty(), "{:?}", swept.errors);
    swept
}

/// Changes the record of a container.
fn change(runtime: &Runtime, id: &str, change: impl FnOnce(&mut Attachment)) {
    let key = Key {
        container_id: id.into(),
        ifname: "eth0".into(),
    };
    let path = runtime.paths.attachment(&key);
    let mut record = Attachment::read(&path).unwrap();
    change(&mut record);
    write_json(&path, &record).unwrap();
}

fn links(runtime: &Runtime) -> usize {
    runtime.host.links().unwrap().len() - 1
}

#[test]
fn an_add_is_undone_when_its_time_is_over_and_not_before() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let ids = [
        "at-work",
        "undoing",
        "abandoned",
        "stamped-by-calendar",
        "ready",
    ];
    let containers = ids.map(|id| Container::new(id).unwrap());
    for container in &containers {
        assert_eq!(runtime.add(container).unwrap().status, Some(0));
    }
    let now = clock::now();
    let creating = |id, since, until| {
        change(&runtime, id, |record| {
            record.state = State::Creating;
            (record.since, record.until) = (since, until);
        });
    };
    creating("at-work", now - 50, now + 60);
    creating("undoing", now - 50, now - 5);
    creating("abandoned", now - 100, now - 60);
    creating("stamped-by-calendar", 1_800_000_000, 0);
    change(&runtime, "ready", |record| {
        record.since = now - 10_000.min(now);
    });
    let swept = look(&runtime, &mut Memory::default());
    let dead: Vec<_> = swept
        .dead
        .iter()
        .map(|key| key.container_id.as_str())
        .collect();
    assert_eq!(dead, ["abandoned"]);
    assert_eq!(links(&runtime), 4);
    assert_eq!(runtime.state().unwrap().leases.len(), 4);
}

#[test]
fn what_has_no_interface_is_released_and_what_has_no_record_is_removed_at_the_second_look() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let (gone, lost) = (
        Container::new("gone").unwrap(),
        Container::new("lost").unwrap(),
    );
    let added = runtime.add(&gone).unwrap();
    let kept = runtime.add(&lost).unwrap();
    let host = added.document["interfaces"][0]["name"].as_str().unwrap();
    runtime.host.ip(&format!("link del {host}")).unwrap();
    change(&runtime, "gone", |record| {
        record.since = clock::now() - 500.min(clock::now());
    });
    let mut memory = Memory::default();
    let swept = look(&runtime, &mut memory);
    assert_eq!(swept.dead.len(), 1);
    assert_eq!(runtime.state().unwrap().leases.len(), 1);
    // Without record and lease the interface is nobody's, if it names no pod.
    let host = kept.document["interfaces"][0]["name"].as_str().unwrap();
    let mut command = runtime.host.command("ip");
    let unnamed = command.args(["link", "set", host, "alias", ""]).status();
    assert!(unnamed.unwrap().success());
    fs::remove_dir_all(runtime.paths.attachments()).unwrap();
    fs::remove_file(runtime.paths.ipam()).unwrap();
    look(&runtime, &mut memory);
    assert_eq!(links(&runtime), 1, "may be new");
    look(&runtime, &mut memory);
    runtime.nothing_left().unwrap();
}

#[test]
fn the_interface_of_a_pod_that_lives_is_looked_for_by_name_before_it_is_removed() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let ids = ["lives", "gone", "creating", "no-record"];
    let containers = ids.map(|id| Container::new(id).unwrap());
    for container in &containers {
        runtime.add(container).unwrap();
    }
    let gone = runtime.host.ip("-br link").unwrap();
    let keys = ids.map(|id| Key {
        container_id: id.into(),
        ifname: "eth0".into(),
    });
    let host = cni_plugin::wiring::name::host_ifname(&keys[1]);
    assert!(gone.contains(&host));
    runtime.host.ip(&format!("link del {host}")).unwrap();
    change(&runtime, "creating", |record| {
        record.state = State::Creating;
    });
    let read = |key: &Key| Attachment::read(&runtime.paths.attachment(key)).unwrap();
    let records: Vec<Attachment> = keys[..3].iter().map(read).collect();
    let by_key: BTreeMap<&Key, &Attachment> = records.iter().map(|r| (r.key(), r)).collect();
    // As if a list had lacked all of them.
    let dead = runtime
        .host
        .inside(|| Ok(second_look(&mut Netlink::open()?, keys.to_vec(), &by_key)?))
        .unwrap();
    let dead: Vec<_> = dead.iter().map(|key| key.container_id.as_str()).collect();
    assert_eq!(dead, ["gone", "creating"]);
}
