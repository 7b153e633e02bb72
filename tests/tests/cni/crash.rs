//! A plugin that is killed: whatever it had done, DEL undoes it, and no address is lost.

use std::{
    fs::File,
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use weir_tests::{
    cni::{Container, Runtime, runtime},
    world::until,
};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

/// Starts an ADD, kills it after what `wait` waits for.
fn kill_after(runtime: &Runtime, container: &Container, wait: impl FnOnce()) {
    let mut environment = runtime::of(container);
    environment.push(("CNI_COMMAND", "ADD".to_owned()));
    let mut child = runtime
        .start(&environment, runtime.config.to_string().as_bytes())
        .unwrap();
    wait();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn at_any_time_del_undoes_it() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let agent = &runtime.agent;
    agent.answer(None);
    for n in 0..40 {
        let container = Container::new(&format!("c{n}")).unwrap();
        kill_after(&runtime, &container, || {
            thread::sleep(Duration::from_micros(n * 400));
        });
        agent.answer(Some(cni_plugin::rpc::Response::Ok(
            cni_plugin::rpc::Reply::default(),
        )));
        let deleted = runtime.del(&container).unwrap();
        assert_eq!(deleted.status, Some(0), "{deleted:?}");
        agent.answer(None);
        assert_eq!(
            runtime.host.links().unwrap(),
            ["lo"],
            "killed after {n} steps"
        );
        assert!(
            runtime.state().unwrap().leases.is_empty(),
            "killed after {n} steps"
        );
    }
    // Whatever was being written when the kill came is swept once it is old.
    age(&runtime.paths.attachments());
    age(runtime.paths.root());
    let mut config = runtime.config.clone();
    config["cni.dev/valid-attachments"] = serde_json::json!([]);
    let collected = runtime.call("GC", None, &config).unwrap();
    assert_eq!(collected.status, Some(0), "{collected:?}");
    runtime.nothing_left().unwrap();
}

/// Makes the files of a folder two minutes older.
pub(crate) fn age(folder: &Path) {
    let then = SystemTime::now() - Duration::from_mins(2);
    for file in runtime::files(folder).unwrap() {
        let path = folder.join(file);
        if path.is_file() {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

#[test]
fn what_a_kill_left_half_written_is_collected() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let left = [
        runtime.paths.root().join(".ipam.json.4711"),
        runtime.paths.attachments().join(".a:eth0.json.4711"),
    ];
    std::fs::create_dir_all(runtime.paths.attachments()).unwrap();
    let mut config = runtime.config.clone();
    config["cni.dev/valid-attachments"] = serde_json::json!([]);
    for path in &left {
        std::fs::write(path, "{").unwrap();
    }
    runtime.call("GC", None, &config).unwrap();
    assert!(left.iter().all(|path| path.exists()), "may be at work");
    age(runtime.paths.root());
    age(&runtime.paths.attachments());
    runtime.call("GC", None, &config).unwrap();
    runtime.nothing_left().unwrap();
}

#[test]
fn an_add_of_the_same_key_goes_on_from_there() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let agent = &runtime.agent;
    agent.answer(None);
    let container = Container::new("a").unwrap();
    kill_after(&runtime, &container, || {
        // All is wired when the plugin tells the agent.
        until("the ADD to ask the agent", Duration::from_secs(10), || {
            Ok((!agent.calls().is_empty()).then_some(()))
        })
        .unwrap();
    });
    assert_eq!(runtime.state().unwrap().leases.len(), 1);
    // A new namespace under the old key, the old interface still there.
    let again = Container::new("a").unwrap();
    agent.answer(Some(cni_plugin::rpc::Response::Ok(
        cni_plugin::rpc::Reply::default(),
    )));
    let added = runtime.add(&again).unwrap();
    assert_eq!(added.ips(), ["10.244.1.2", "fd00:244:1::2"], "{added:?}");
    runtime.del(&again).unwrap();
    runtime.nothing_left().unwrap();
}
