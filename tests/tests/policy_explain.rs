//! `policy why` reads the maps and names what decides, and what nearly did.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

use proxy_agent::policy::{
    Direction, PolicyEngine,
    explain::{Explanation, explain},
    lookup::{Question, judge},
};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE, block, ip, namespaces, pods, policy, rule, tcp},
    maps::PolicyMaps,
};

fn compiled() -> (PolicyMaps, PolicyEngine) {
    let mut cluster = Cluster::new();
    cluster
        .namespace("shop", "team=red")
        .namespace("ops", "team=ops");
    cluster.pod("shop/db", "app=db", 1, 2);
    cluster.pod("shop/web", "app=web", 1, 3);
    cluster.pod("shop/other", "app=other", 2, 4);
    cluster.pod("ops/probe", "app=probe", 2, 5);
    let rules = vec![
        rule(vec![pods("app=web")], vec![tcp(5432)]),
        rule(vec![namespaces("team=ops")], vec![]),
        rule(
            vec![block("192.0.2.0/24", &["192.0.2.7/32"])],
            vec![tcp(5432)],
        ),
    ];
    cluster.policy(policy("shop/db", "app=db", Some(rules), None));
    let maps = PolicyMaps::new(64);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    (maps, engine)
}

fn why(maps: &PolicyMaps, engine: &PolicyEngine, peer: &str, port: u16) -> (bool, Explanation) {
    let contents = maps.contents();
    let question = Question {
        endpoint: 2,
        direction: Direction::Ingress,
        peer: ip(peer),
        protocol: 6,
        port,
    };
    let answer = judge(&contents, &question).unwrap();
    let name = |cookie| {
        engine
            .cookies()
            .name(cookie)
            .map_or_else(String::new, ToString::to_string)
    };
    let explanation = explain(&contents, &answer, &engine.names(), name).unwrap();
    (answer.allowed, explanation)
}

#[test]
fn the_rule_the_peer_and_the_near_miss_are_named() {
    let (maps, engine) = compiled();
    let (allowed, e) = why(&maps, &engine, "10.0.1.3", 5432);
    assert!(allowed);
    assert_eq!(e.policies, ["shop/db"]);
    assert_eq!(e.peer, ["pods app=web of namespace shop"]);
    assert_eq!(e.passes.as_deref(), Some("5432/TCP"));

    let (allowed, e) = why(&maps, &engine, "10.0.1.3", 80);
    assert!(!allowed);
    assert_eq!(
        e.hints,
        ["for this peer shop/db ingress[0] only lets pass 5432/TCP"]
    );

    let (allowed, e) = why(&maps, &engine, "10.0.2.4", 5432);
    assert!(!allowed && e.peer.is_empty());
    assert!(
        e.hints.iter().any(|h| h.contains(
            "shop/db ingress[1] lets pass everything for all pods of namespaces team=ops"
        )),
        "{e:?}"
    );

    let (allowed, e) = why(&maps, &engine, "192.0.2.7", 5432);
    assert!(
        !allowed && e.peer.is_empty(),
        "taken out of the block: {e:?}"
    );
    let (_, e) = why(&maps, &engine, "10.0.2.99", 5432);
    assert!(e.hints[0].contains("no pod is known to have it"), "{e:?}");
    let (_, e) = why(&maps, &engine, "192.168.0.2", 5432);
    assert!(e.hints[0].contains("a node's"), "{e:?}");
}

/// What another policy calls the peers that a rule lets in is nothing that the rule says.
#[test]
fn hints_name_what_the_rule_names_and_nothing_else() {
    let mut cluster = Cluster::new();
    cluster.namespace("shop", "team=red");
    cluster.pod("shop/db", "app=db", 1, 2);
    cluster.pod("shop/other", "app=other", 1, 3);
    cluster.pod("shop/web", "app=web", 2, 4);
    let one = rule(
        vec![block("10.0.2.4/32", &[]), pods("app=web")],
        vec![tcp(5432)],
    );
    let none = rule(vec![pods("app=absent")], vec![]);
    cluster.policy(policy("shop/db", "app=db", Some(vec![one, none]), None));
    let wide = rule(
        vec![block("10.0.0.0/8", &[]), namespaces("team=red")],
        vec![],
    );
    cluster.policy(policy("shop/wide", "app=other", Some(vec![wide]), None));
    let maps = PolicyMaps::new(64);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    for peer in ["10.111.2.3", "198.51.100.7", "10.0.1.3"] {
        let (allowed, e) = why(&maps, &engine, peer, 5432);
        assert!(!allowed);
        assert_eq!(
            e.hints,
            [
                "rule shop/db ingress[0] lets pass 5432/TCP for ipBlock 10.0.2.4/32 or pods app=web of namespace shop",
                "rule shop/db ingress[1] lets pass everything for pods app=absent of namespace shop",
            ],
            "{peer}"
        );
    }
    let (allowed, e) = why(&maps, &engine, "10.0.2.4", 5432);
    assert!(allowed && e.hints.is_empty(), "{e:?}");
}
