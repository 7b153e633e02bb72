//! As many ports, ranges, peers and policies as objects can name: no number of them is a limit, and what they take grows
//! with what differs, not with what they name.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

use std::{collections::BTreeSet, net::IpAddr};

use proptest::prelude::*;
use proxy_agent::{
    model::{NetworkPolicy, Peer, PolicyPort, PolicyRule, Protocol},
    policy::{
        Direction, PolicyEngine, PolicyReport,
        lookup::{Question, judge},
    },
};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE, block, ip, pods, policy, rule, tcp},
    maps::PolicyMaps,
    questions,
};

/// Blocks of `INTERVALS` and cells by default.
const BLOCKS: u32 = 4096;
const STRIDES: usize = 4096;

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.namespace("x", "ns=x");
    cluster.pod("x/a", "pod=a", 1, 2);
    cluster.pod("x/b", "pod=b", 1, 3);
    cluster
}

/// Maps of default size.
fn maps() -> PolicyMaps {
    PolicyMaps::with(STRIDES, BLOCKS, 64)
}

fn synced(maps: &PolicyMaps, cluster: &Cluster) -> PolicyReport {
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    let report = engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(report.refused.is_empty(), "{:?}", report.refused);
    report
}

/// So many single ports, no two of them neighbours.
fn singles(from: u16, count: u16) -> Vec<PolicyPort> {
    (0..count).map(|n| tcp(from + 2 * n)).collect()
}

/// Single ports and ranges of all protocols.
fn mixed(count: u16) -> Vec<PolicyPort> {
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    (0..count)
        .map(|n| {
            let low = 100 + 30 * n;
            PolicyPort::Range(protocols[usize::from(n % 3)], low, low + n % 5)
        })
        .collect()
}

/// A block of either family without two parts of it: `number` below 32768.
fn holed(number: u16) -> [Peer; 2] {
    let [high, low] = number.to_be_bytes();
    let (high, v6) = (high + 16, format!("2001:db8:{number:x}"));
    [
        block(
            &format!("100.{high}.{low}.0/24"),
            &[
                &format!("100.{high}.{low}.64/26"),
                &format!("100.{high}.{low}.7/32"),
            ],
        ),
        block(
            &format!("{v6}::/48"),
            &[&format!("{v6}:8000::/49"), &format!("{v6}::7/128")],
        ),
    ]
}

/// At the edges of such blocks and of their holes.
fn around(number: u16) -> Vec<IpAddr> {
    let [high, low] = number.to_be_bytes();
    let v4 = [0, 6, 7, 8, 63, 64, 127, 128, 255];
    let v4 = v4.map(|host| ip(&format!("100.{}.{low}.{host}", high + 16)));
    let v6 = [
        "::",
        "::6",
        "::7",
        "::8",
        ":7fff:ffff::",
        ":8000::",
        ":ffff:ffff::",
    ];
    let v6 = v6.map(|host| ip(&format!("2001:db8:{number:x}{host}")));
    v4.into_iter().chain(v6).collect()
}

/// The maps answer as the oracle does.
fn agree(
    maps: &PolicyMaps,
    cluster: &Cluster,
    peers: &BTreeSet<IpAddr>,
    transports: &[(u8, u16)],
) -> Result<(), TestCaseError> {
    let contents = maps.contents();
    for endpoint in &cluster.endpoints {
        for (peer, direction) in peers.iter().flat_map(|p| Direction::BOTH.map(|d| (*p, d))) {
            for (protocol, port) in transports.iter().copied() {
                let question = Question {
                    endpoint: endpoint.id,
                    direction,
                    peer,
                    protocol,
                    port,
                };
                let answer = judge(&contents, &question).unwrap();
                let expected = questions::expected(cluster, &question);
                prop_assert_eq!(answer.allowed, expected, "{:?} {:?}", question, answer);
            }
        }
    }
    Ok(())
}

/// The ports at the edges of these, of all protocols.
fn edges(ports: &[PolicyPort]) -> Vec<(u8, u16)> {
    let mut edges = BTreeSet::from([0, 80, u16::MAX]);
    for port in ports {
        if let PolicyPort::Range(_, low, high) = port {
            edges.extend([low.saturating_sub(1), *low, *high, high.saturating_add(1)]);
        }
    }
    let protocols = [6, 17, 132];
    edges
        .into_iter()
        .flat_map(|port| protocols.map(|p| (p, port)))
        .collect()
}

#[test]
fn a_thousand_single_ports() {
    let mut cluster = cluster();
    let ports = singles(10_000, 1000);
    cluster.policy(policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![pods("")], ports.clone())]),
        None,
    ));
    let maps = maps();
    let report = synced(&maps, &cluster);
    assert!(report.usage.blocks < 60, "{:?}", report.usage);
    let peers = questions::addresses(&cluster);
    agree(&maps, &cluster, &peers, &edges(&ports)).unwrap();
}

#[test]
fn a_thousand_blocks_by_a_thousand_ports_take_one_list_and_one_class() {
    let mut cluster = cluster();
    let ports = mixed(1000);
    let blocks: Vec<Peer> = (0..1000).flat_map(holed).collect();
    let rules = || Some(vec![rule(blocks.clone(), ports.clone())]);
    cluster.policy(policy("x/p", "", rules(), rules()));
    let maps = maps();
    let report = synced(&maps, &cluster);
    let usage = report.usage;
    assert!(usage.classes < 6 && usage.blocks < 130, "{usage:?}");
    assert!(usage.cells <= 64 * 6, "{usage:?}");
    let mut peers: BTreeSet<IpAddr> = [0, 999, 1000].into_iter().flat_map(around).collect();
    peers.extend(questions::addresses(&cluster));
    cluster.endpoints.truncate(1);
    agree(&maps, &cluster, &peers, &edges(&ports[..2])).unwrap();
    let few = around(1).into_iter().take(3).collect();
    agree(&maps, &cluster, &few, &edges(&ports)[..1000]).unwrap();
}

#[test]
fn blocks_that_change_nothing_take_no_prefix() {
    let mut cluster = cluster();
    let mut blocks: Vec<Peer> = (0..1000)
        .map(|n| {
            let [high, low] = u16::to_be_bytes(n);
            block(&format!("100.{}.{low}.0/24", 16 + high), &[])
        })
        .collect();
    blocks.push(block("100.0.0.0/8", &[]));
    cluster.policy(policy("x/p", "", Some(vec![rule(blocks, vec![])]), None));
    let maps = maps();
    let report = synced(&maps, &cluster);
    assert!(report.usage.cidrs < 10, "{:?}", report.usage);
    agree(
        &maps,
        &cluster,
        &BTreeSet::from([ip("100.16.0.1"), ip("100.200.0.1"), ip("99.0.0.1")]),
        &[(6, 80)],
    )
    .unwrap();
}

#[test]
fn two_hundred_policies_on_one_pod() {
    let mut cluster = cluster();
    for n in 0..200_u16 {
        let rules = vec![rule(holed(n).into(), singles(1000 + 100 * n, 100))];
        cluster.policy(policy(&format!("x/p{n}"), "pod=a", Some(rules), None));
    }
    let maps = maps();
    let report = synced(&maps, &cluster);
    let usage = report.usage;
    assert!(usage.classes < 220 && usage.blocks < 200 * 7, "{usage:?}");
    let peers: BTreeSet<IpAddr> = [0, 7, 199, 200].into_iter().flat_map(around).collect();
    let ports: Vec<PolicyPort> = [0, 7, 199]
        .into_iter()
        .flat_map(|n| singles(1000 + 100 * n, 6))
        .collect();
    agree(&maps, &cluster, &peers, &edges(&ports)).unwrap();
}

#[test]
fn all_ports_of_all_protocols_one_by_one() {
    let mut cluster = cluster();
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let rules = (0..8_u16).map(|part| {
        let all = protocols
            .into_iter()
            .flat_map(|p| (0..=u16::MAX).map(move |n| (p, n)));
        let own = all
            .filter(|(_, n)| n % 16 == 2 * part)
            .map(|(p, n)| PolicyPort::Range(p, n, n));
        rule(vec![], own.collect())
    });
    cluster.policy(policy("x/p", "pod=a", Some(rules.collect()), None));
    let maps = PolicyMaps::with(64, 8192, 64);
    synced(&maps, &cluster);
    let transports: Vec<_> = (0..=u16::MAX)
        .step_by(777)
        .flat_map(|n| [6, 17, 132].map(|p| (p, n)))
        .collect();
    agree(
        &maps,
        &cluster,
        &BTreeSet::from([ip("8.8.8.8")]),
        &transports,
    )
    .unwrap();
}

/// A rule with many ports and many peers.
fn large_rule() -> impl Strategy<Value = PolicyRule> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let port = (protocol, 0..400_u16, 0..4_u16);
    let port = port.prop_map(|(p, low, len)| PolicyPort::Range(p, 3 * low, 3 * low + len));
    let peer = (0..40_u16, any::<bool>(), any::<bool>()).prop_map(|(n, ipv6, whole)| {
        let peer = holed(n)[usize::from(ipv6)].clone();
        match peer {
            Peer::Block { cidr, .. } if whole => Peer::Block {
                cidr,
                except: Box::default(),
            },
            other => other,
        }
    });
    let peers = prop_oneof![
        5 => prop::collection::vec(peer, 0..60),
        1 => Just(vec![pods("pod=b")]),
    ];
    let ports = prop::collection::vec(port, 0..300);
    (ports, peers).prop_map(|(ports, peers)| rule(peers, ports))
}

fn large_policy() -> impl Strategy<Value = NetworkPolicy> {
    let rules = || prop::option::of(prop::collection::vec(large_rule(), 0..4));
    let pods = prop::sample::select(vec!["", "pod=a", "pod=b"]);
    (0..5_u8, pods, rules(), rules())
        .prop_map(|(n, pods, ingress, egress)| policy(&format!("x/p{n}"), pods, ingress, egress))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn large_policies_agree_with_the_oracle(
        policies in prop::collection::vec(large_policy(), 1..6),
        ports in prop::collection::vec((prop::sample::select(vec![6_u8, 17, 132]), 0..1210_u16), 30),
        blocks in prop::collection::btree_set(0..41_u16, 4),
    ) {
        let mut cluster = cluster();
        let maps = PolicyMaps::with(64, 1 << 15, 64);
        let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
        let mut peers: BTreeSet<IpAddr> = blocks.into_iter().flat_map(around).collect();
        peers.insert(ip("10.0.1.3"));
        // One after the other, so that classes are split, joined and moved.
        for policy in policies {
            cluster.policy(policy);
            let report = engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
            prop_assert!(report.refused.is_empty(), "{:?}", report.refused);
            agree(&maps, &cluster, &peers, &ports)?;
        }
    }
}
