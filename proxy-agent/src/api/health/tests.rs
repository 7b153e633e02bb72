use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Fault, ProxyHealth};
use crate::{
    model::{Kind, ObjectName},
    observe::{Changes, Converted, Object, Store, Update},
    watchdog::Watchdog,
};

const TIMEOUT: Duration = Duration::from_millis(200);

fn change(store: &Store, name: &str) {
    store.update([Update::Apply(Box::new(Converted {
        kind: Kind::Namespace,
        name: ObjectName::new("", name),
        object: Some(Object::Namespace(crate::model::Namespace::default())),
        triggered: None,
        problems: Vec::new(),
    }))]);
}

fn health(store: &Arc<Store>) -> ProxyHealth {
    ProxyHealth::new(TIMEOUT, Arc::clone(store), Watchdog::default())
}

#[test]
fn what_only_another_container_mends_ends_this_one_and_no_traffic() {
    let store = Store::new();
    let health = health(&store);
    let fault = |ends| {
        let text = "no folder".to_owned();
        health.set_fault(Some(Fault { text, ends }));
        (health.livez().healthy, health.healthz().healthy)
    };
    assert_eq!(fault(false), (true, true));
    assert_eq!(fault(true), (false, true));
    assert_eq!(health.livez().problems, ["no folder"]);
    health.set_fault(None);
    assert!(health.livez().healthy);
}

#[test]
fn a_change_waits_from_its_arrival_until_it_is_dealt_with() {
    let store = Store::new();
    let health = health(&store);
    let mut changes = Changes::new(Arc::clone(&store), Duration::ZERO);
    change(&store, "a");
    sleep(TIMEOUT * 2);
    assert!(health.healthy(), "starting up");
    health.begin();
    let report = health.healthz();
    assert!(!report.healthy, "nobody looks at it");
    assert!(report.problems[0].contains("to be looked at"), "{report:?}");

    // Taken, but whoever took it hangs.
    changes.take(&store.read());
    change(&store, "b");
    assert!(!health.healthy());
    changes.done();
    assert!(health.healthy(), "the second one is not late");
    sleep(TIMEOUT * 2);
    assert!(!health.healthy());
}

#[test]
fn what_the_kernel_does_not_take_is_late_after_the_time_out() {
    let health = health(&Store::new());
    health.begin();
    health.behind("Services", Instant::now(), "set FRONTENDS4: EPERM");
    assert!(health.healthy(), "in time");
    health.in_step("policy");
    sleep(TIMEOUT * 2);
    // The oldest counts.
    health.behind("Services", Instant::now(), "set FRONTENDS4: ENOMEM");
    let report = health.healthz();
    assert!(!report.healthy);
    let problem = &report.problems[0];
    assert!(
        problem.starts_with("Services: changes not applied for"),
        "{problem}"
    );
    assert!(problem.ends_with("set FRONTENDS4: ENOMEM"), "{problem}");
    health.in_step("Services");
    assert!(health.healthy());
}

#[tokio::test(start_paused = true)]
async fn livez_looks_at_the_tasks_and_not_at_the_node() {
    let watchdog = Watchdog::default();
    let health = ProxyHealth::new(TIMEOUT, Store::new(), watchdog.clone());
    health.begin();
    health.set_eligible(false);
    assert!(!health.healthz().node_eligible);
    assert!(health.livez().node_eligible);
    let _pulse = watchdog.register_with("main loop", Duration::from_secs(5));
    assert!(health.livez().healthy);
    tokio::time::advance(Duration::from_secs(9)).await;
    let report = health.livez();
    assert_eq!(
        report.problems,
        ["main loop has stood still for 9 s (limit 5 s)"]
    );
    assert!(!report.healthy && health.healthz().healthy);
}
