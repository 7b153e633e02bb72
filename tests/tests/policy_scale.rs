//! A large cluster: 1 000 policies, 100 pods of this node, 10 000 pods in all. One change costs what it
//! changes. (Times are printed, not judged.)

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]
#![expect(clippy::print_stdout, reason = "figures for the reader of the test")]

use std::time::{Duration, Instant};

use proxy_agent::{
    model::Peer,
    policy::{PolicyEngine, PolicyTables, lookup::judge},
};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE, block, both, pods, policy, rule, tcp},
    maps::PolicyMaps,
    questions,
};

const NAMESPACES: usize = 50;

/// The first hundred pods are on the node under test.
fn large() -> Cluster {
    let mut cluster = Cluster::new();
    for n in 0..NAMESPACES {
        cluster.namespace(&format!("n{n}"), &format!("team=t{}", n % 7));
    }
    for n in 0..10_000_usize {
        let name = format!("n{}/p{n}", n % NAMESPACES);
        let labels = format!(
            "app=a{} tier=t{} pod-template-hash=h{}",
            n % 97,
            n % 3,
            n % 1999
        );
        let local = n < 100;
        let (node, host) = if local { (1, n as u8 + 2) } else { (2, 2) };
        cluster.pod(&name, &labels, node, host);
        if !local {
            let high = (n / 250 + 10) as u8;
            let address = format!("10.1.{high}.{}", n % 250 + 2);
            cluster.change_pod(&name, |pod| pod.ips = vec![address.parse().unwrap()].into());
        }
    }
    for n in 0..1000_usize {
        let name = format!("n{}/policy{n}", n % NAMESPACES);
        cluster.policy(policy(
            &name,
            ["", "tier=t1", "tier in t0,t2"][n % 3],
            Some(vec![rule(
                peers(n),
                vec![tcp(80), tcp(8000 + (n % 50) as u16)],
            )]),
            (n % 4 == 0).then(|| vec![rule(peers(n + 1), vec![])]),
        ));
    }
    cluster
}

fn peers(n: usize) -> Vec<Peer> {
    match n % 5 {
        0 => vec![pods(&format!("app=a{}", n % 97))],
        1 => vec![both(&format!("team=t{}", n % 7), "")],
        2 => vec![block(
            &format!("10.{}.0.0/16", n % 9),
            &[&format!("10.{}.3.0/24", n % 9)],
        )],
        3 => vec![both("", &format!("app in a{},a{}", n % 97, (n + 5) % 97))],
        _ => vec![pods("tier=t1"), block("192.0.2.0/24", &[])],
    }
}

fn sync(engine: &mut PolicyEngine, now: Instant, cluster: &Cluster, what: &str) -> usize {
    let start = Instant::now();
    let report = engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    println!(
        "{what}: {:?}, {} entries and lists, {} words, {:?}",
        start.elapsed(),
        report.writes,
        report.committed,
        report.usage
    );
    report.writes
}

/// Some of all pairs are judged as the oracle judges them.
fn agree(maps: &PolicyMaps, cluster: &Cluster) {
    let contents = maps.contents();
    for endpoint in cluster.endpoints.iter().step_by(23) {
        for peer in cluster.snapshot.pods.values().step_by(997) {
            for question in questions::between(endpoint.id, peer.ips.iter().next().unwrap()) {
                let answer = judge(&contents, &question).unwrap();
                let expected = questions::expected(cluster, &question);
                assert_eq!(answer.allowed, expected, "{question:?} {answer:?}");
            }
        }
    }
}

#[test]
fn one_change_costs_what_it_changes() {
    let mut cluster = large();
    assert_eq!(cluster.endpoints.len(), 100);
    let maps = PolicyMaps::with(1 << 13, 1 << 14, 128);
    let tables: PolicyTables = maps.tables();
    let mut engine = PolicyEngine::new(tables, OWN_NODE);
    let mut now = Instant::now();
    sync(&mut engine, now, &cluster, "full compile");

    agree(&maps, &cluster);

    assert_eq!(sync(&mut engine, now, &cluster, "nothing changed"), 0);
    cluster.change_pod("n7/p4957", |pod| {
        pod.ips = vec!["10.1.77.77".parse().unwrap()].into();
    });
    assert_eq!(sync(&mut engine, now, &cluster, "a pod moves"), 2);
    cluster.change_pod("n7/p4957", |pod| {
        pod.labels.set("app", "a3");
    });
    assert!(sync(&mut engine, now, &cluster, "a pod changes its label") <= 1);
    now += Duration::from_secs(2);
    cluster.remove_policy("n0/policy0");
    sync(&mut engine, now, &cluster, "a policy goes");
    now += Duration::from_secs(2);
    sync(&mut engine, now, &cluster, "twins are joined");
    cluster.policy(policy(
        "n0/new",
        "tier=t1",
        Some(vec![rule(vec![pods("app=a9")], vec![])]),
        None,
    ));
    sync(&mut engine, now, &cluster, "a policy comes");
    cluster.pod("n3/fresh", "app=a9 tier=t1", 1, 120);
    sync(&mut engine, now, &cluster, "a pod comes to this node");
    assert!(engine.ready(120));
    agree(&maps, &cluster);
}
