//! The agent comes and goes, the kernel keeps forwarding; what changes meanwhile is caught up with.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_tests::{
    served::Pair,
    world::{Cluster, Pod, Talk, ask_tcp},
};

/// Both ways of translating.
const MODES: [&[&str]; 2] = [&[], &["--socket-balancing", "false"]];

/// Ends the traffic, also when what goes on meanwhile fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// New connections, about 100 a second, while `change` is at work; none may fail.
fn under_traffic<T>(client: &Pod, to: &[SocketAddr], change: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = Stop(&stop);
        let traffic = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                for to in to {
                    ask_tcp(client, *to)
                        .unwrap_or_else(|error| panic!("connection {count} to {to}: {error}"));
                    count += 1;
                }
                thread::sleep(Duration::from_millis(15));
            }
            count
        });
        let result = change();
        thread::sleep(Duration::from_millis(200));
        drop(end);
        assert!(traffic.join().unwrap() > 0, "no traffic");
        result
    })
}

#[test]
fn traffic_goes_on_while_the_agent_is_killed_and_comes_back() {
    for mode in MODES {
        let mut pair = Pair::start("killed", &["a", "b"], mode).unwrap();
        pair.await_answers().unwrap();
        let mut open = Talk::open(&pair.client, pair.to[0]).unwrap();
        under_traffic(&pair.client, &pair.to, || {
            pair.cluster.agent_mut(0).crash().unwrap();
            thread::sleep(Duration::from_millis(500));
            pair.cluster.agent_mut(0).restart().unwrap();
        });
        open.echo("still there").unwrap();
    }
}

#[test]
fn an_endpoint_that_goes_while_the_agent_is_down_is_gone_after_its_return() {
    let mut pair = Pair::start("catch-up", &["a"], &[]).unwrap();
    pair.await_answers().unwrap();
    pair.cluster.agent_mut(0).crash().unwrap();
    pair.cluster.endpoints("web", &[&pair.near]).unwrap();
    under_traffic(&pair.client, &pair.to, || {
        pair.cluster.agent_mut(0).restart().unwrap();
    });
    await_only(&pair.cluster, &pair.client, pair.to, "near");
}

#[test]
fn an_endpoint_removed_under_traffic_fails_no_connection() {
    for mode in MODES {
        let pair = Pair::start("removed", &["a", "b"], mode).unwrap();
        pair.await_answers().unwrap();
        under_traffic(&pair.client, &pair.to, || {
            pair.cluster.endpoints("web", &[&pair.near]).unwrap();
            await_only(&pair.cluster, &pair.client, pair.to, "near");
        });
    }
}

/// Waits until one pod alone answers in both families.
fn await_only(cluster: &Cluster, client: &Pod, to: [SocketAddr; 2], name: &str) {
    for to in to {
        cluster
            .eventually(&format!("only {name}"), || only(client, to, name))
            .unwrap();
    }
}

/// Whether many connections in a row were all answered by one.
fn only(client: &Pod, to: SocketAddr, name: &str) -> Option<()> {
    (0..30)
        .all(|_| ask_tcp(client, to).is_ok_and(|answer| answer.name == name))
        .then_some(())
}
