//! A plugin that is killed: whatever it had done, DEL undoes it, and no address is lost.

use std::{thread, time::Duration};

use weir_tests::{
    cni::{Container, FakeAgent, Runtime, runtime},
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
    let agent = FakeAgent::start(&runtime.paths.socket()).unwrap();
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
        assert!(
            runtime::files(&runtime.paths.attachments())
                .unwrap()
                .iter()
                .all(|f| f.starts_with('.'))
        );
    }
}

#[test]
fn an_add_of_the_same_key_goes_on_from_there() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let agent = FakeAgent::start(&runtime.paths.socket()).unwrap();
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
