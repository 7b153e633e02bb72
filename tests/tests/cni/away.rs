//! An agent that is away: hung, dead, or ending while it is asked.

use std::{
    fs,
    os::{fd::AsRawFd as _, unix::net::UnixListener},
    time::{Duration, Instant},
};

use cni_plugin::{
    clock, heartbeat,
    rpc::{Call, Key},
};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen, socket},
};
use serde_json::json;
use weir_tests::{
    cni::{Container, FakeAgent, Runtime, runtime},
    world::until,
};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];
/// For so long an ADD may hold the runtime's lock once the agent is known to be away.
const ONE_SECOND: Duration = Duration::from_secs(1);

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

/// What a call gave, and how long it took beyond what starting one takes.
fn held<T>(runtime: &Runtime, call: impl FnOnce() -> T) -> (T, Duration) {
    let (started, start) = timed(|| runtime.call("VERSION", None, &runtime.config));
    started.unwrap();
    let (done, took) = timed(call);
    (done, took.saturating_sub(start))
}

/// A listener that accepts nothing, with its queue full.
fn hung(runtime: &Runtime) -> (UnixListener, Vec<std::os::fd::OwnedFd>) {
    let path = runtime.paths.socket();
    fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        match connect(fd.as_raw_fd(), &UnixAddr::new(&path).unwrap()) {
            Ok(()) => waiting.push(fd),
            Err(Errno::EAGAIN) => return (listener, waiting),
            Err(errno) => panic!("{errno}"),
        }
    }
}

#[test]
fn del_ends_in_time_and_add_gives_up_at_once_when_its_queue_is_full() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let (one, two) = (Container::new("a").unwrap(), Container::new("b").unwrap());
    runtime.add(&one).unwrap();
    let _hung = hung(&runtime);
    let (deleted, took) = timed(|| runtime.del(&one).unwrap());
    assert_eq!(deleted.status, Some(0));
    assert!(took < Duration::from_secs(8), "{took:?}");
    runtime.nothing_left().unwrap();
    assert_eq!(
        runtime::files(&runtime.paths.tombstones()).unwrap().len(),
        1
    );
    let (added, took) = held(&runtime, || runtime.add(&two).unwrap());
    assert_eq!(added.code(), 11, "{added:?}");
    assert!(took < ONE_SECOND, "{took:?}");
    runtime.nothing_left().unwrap();
}

#[test]
fn del_ends_in_time_though_the_agent_hangs_and_the_lock_is_held() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    runtime.add(&container).unwrap();
    runtime.agent.answer(None);
    let held = cni_plugin::ipam::lock::lock(&runtime.paths.lock(), Instant::now()).unwrap();
    let (deleted, took) = timed(|| runtime.del(&container).unwrap());
    assert_eq!(deleted.status, Some(0));
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(deleted.stderr.contains("held by process"), "{deleted:?}");
    drop(held);
    runtime.del(&container).unwrap();
    runtime.nothing_left().unwrap();
}

#[test]
fn add_makes_nothing_while_it_is_dead_or_has_stopped_beating() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let config = runtime.with(&json!({ "timeoutSeconds": 30 }));
    let refused = |why: &str| {
        let add = || runtime.call("ADD", Some(&container), &config).unwrap();
        let (added, took) = held(&runtime, add);
        assert_eq!(added.code(), 11, "{why}: {added:?}");
        assert!(took < ONE_SECOND, "{why}: {took:?}");
        runtime.nothing_left().unwrap();
        assert!(
            runtime.state().unwrap().cursors.is_empty(),
            "{why}: took an address"
        );
    };
    runtime.agent.answer(None);
    let heart = runtime.paths.heartbeat();
    fs::write(&heart, (clock::now() - 60).to_string()).unwrap();
    refused("hung");
    fs::remove_file(&heart).unwrap();
    runtime.stop_agent().unwrap();
    refused("dead");
    fs::remove_file(runtime.paths.node()).unwrap();
    refused("never ready");
}

#[test]
fn add_gives_up_an_agent_that_stops_beating_while_it_is_asked() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let heart = runtime.paths.heartbeat();
    heartbeat::beat(&heart).unwrap();
    runtime.agent.answer(None);
    let mut environment = runtime::of(&container);
    environment.push(("CNI_COMMAND", "ADD".to_owned()));
    let config = runtime.with(&json!({ "timeoutSeconds": 30 })).to_string();
    let child = runtime.start(&environment, config.as_bytes()).unwrap();
    until("the ADD to ask the agent", Duration::from_secs(10), || {
        Ok((!runtime.agent.calls().is_empty()).then_some(()))
    })
    .unwrap();
    fs::write(&heart, (clock::now() - 60).to_string()).unwrap();
    let (added, took) = timed(|| runtime::finish(child).unwrap());
    assert_eq!(added.code(), 11, "{added:?}");
    assert!(took < ONE_SECOND, "{took:?}");
    runtime.nothing_left().unwrap();
}

#[test]
fn an_agent_that_ends_while_it_is_asked_is_asked_once_more() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let agent = &runtime.agent;
    let (one, two) = (Container::new("a").unwrap(), Container::new("b").unwrap());
    agent.hang_up(1);
    let added = runtime.add(&one).unwrap();
    assert_eq!(added.status, Some(0), "{added:?}");
    let calls = agent.calls();
    assert!(
        matches!(calls.as_slice(), [Call::Add(a), Call::Add(b)] if a == b),
        "{calls:?}"
    );
    agent.hang_up(3);
    let added = runtime.add(&two).unwrap();
    assert_eq!(added.code(), 11, "{added:?}");
    assert_eq!(runtime.state().unwrap().leases.len(), 1);
    assert_eq!(two.space.links().unwrap(), ["lo"]);
}

#[test]
fn a_tombstone_does_not_outlive_another_add_of_its_key() {
    let runtime = Runtime::new(&DUAL).unwrap();
    runtime.add(&Container::new("a").unwrap()).unwrap();
    runtime.stop_agent().unwrap();
    runtime.del(&Container::new("a").unwrap()).unwrap();
    let tombstones = || runtime::files(&runtime.paths.tombstones()).unwrap();
    assert_eq!(tombstones(), ["a:eth0.json"]);
    let agent = FakeAgent::start(&runtime.paths.socket()).unwrap();
    let again = Container::new("a").unwrap();
    assert_eq!(runtime.add(&again).unwrap().status, Some(0));
    assert!(tombstones().is_empty());
    let key = Key {
        container_id: "a".into(),
        ifname: "eth0".into(),
    };
    assert!(matches!(agent.calls().as_slice(), [Call::Add(add)] if add.key == key));
}
