//! Each case of upstream's netpol suite (kubernetes/test/e2e/network/netpol), by number of
//! its inventory: namespaces x, y, z with pods a, b, c each, ports 80 and 81, and who reaches whom.
//!
//! What is expected is written here as upstream writes it: everything is open but what a case closes.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

#[path = "policy_upstream/case.rs"]
mod case;

use case::{Case, Flow};
use proxy_agent::model::{NetworkPolicy, Peer, PolicyPort, PolicyRule, Protocol};
use weir_tests::policy::cluster::{
    anything, block, both, named, namespaces, pods, policy, rule, sctp, tcp, udp,
};

fn ingress(name: &str, selector: &str, rules: Vec<PolicyRule>) -> NetworkPolicy {
    policy(name, selector, Some(rules), None)
}

fn egress(name: &str, selector: &str, rules: Vec<PolicyRule>) -> NetworkPolicy {
    policy(name, selector, None, Some(rules))
}

/// One rule on `x/a`: only `peers` may reach it.
fn only(number: u32, peers: Vec<Peer>, open: impl Fn(&Flow<'_>) -> bool) {
    Case::new(
        number,
        vec![ingress("x/p", "pod=a", vec![rule(peers, vec![])])],
    )
    .expect(|f| !f.is("*", "x/a") || open(f));
}

#[test]
fn cases_1_to_13_select_pods_and_namespaces() {
    Case::new(1, vec![ingress("x/deny", "", vec![])]).expect(|f| !f.is("*", "x/*"));
    Case::new(2, vec![policy("x/deny", "", Some(vec![]), Some(vec![]))])
        .expect(|f| !f.is("*", "x/*") && !f.is("x/*", "*"));
    only(3, vec![pods("pod=b")], |f| f.is("x/b", "*"));
    let all = rule(vec![both("", "")], vec![]);
    Case::new(
        4,
        vec![
            ingress("x/deny", "", vec![]),
            ingress("x/allow", "pod=a", vec![all]),
        ],
    )
    .expect(|f| !f.is("*", "x/*") || f.is("*", "x/a"));
    only(5, vec![namespaces("")], |_| true);
    only(6, vec![namespaces("ns=y")], |f| f.is("y/*", "*"));
    only(7, vec![pods("pod in b")], |f| f.is("x/b", "*"));
    only(8, vec![namespaces("ns in y")], |f| f.is("y/*", "*"));
    only(9, vec![pods("pod in b"), namespaces("ns notin x")], |f| {
        f.is("x/b", "*") || f.is("y/*", "*") || f.is("z/*", "*")
    });
    only(10, vec![both("ns notin x", "pod in b")], |f| {
        f.is("y/b", "*") || f.is("z/b", "*")
    });
    only(11, vec![both("ns notin x", "pod in b,c")], |f| {
        ["y/b", "y/c", "z/b", "z/c"]
            .iter()
            .any(|from| f.is(from, "*"))
    });
    only(12, vec![pods("pod=b"), pods("pod=c")], |f| {
        f.is("x/b", "*") || f.is("x/c", "*")
    });
    only(13, vec![both("ns=y", "pod=a")], |f| f.is("y/a", "*"));
}

#[test]
fn cases_14_to_19_name_ports() {
    let to_81 = || rule(vec![namespaces("ns=y")], vec![tcp(81)]);
    Case::new(14, vec![ingress("x/p", "pod=a", vec![to_81()])])
        .expect(|f| !f.is("*", "x/a") || f.is("y/*", "*") && f.tcp(81));
    let to_80 = rule(vec![namespaces("ns=y")], vec![tcp(80)]);
    let mut case = Case::new(15, vec![ingress("x/p", "pod=a", vec![to_81()])]);
    case.expect(|f| !f.is("*", "x/a") || f.is("y/*", "*") && f.tcp(81));
    case.cluster.policy(ingress("x/q", "pod=a", vec![to_80]));
    case.expect(|f| !f.is("*", "x/a") || f.is("y/*", "*") && (f.tcp(80) || f.tcp(81)));
    Case::new(16, vec![ingress("x/allow", "", vec![anything()])]).expect(|_| true);
    let name = || named(Protocol::Tcp, "serve-81-tcp");
    Case::new(
        17,
        vec![ingress("x/p", "", vec![rule(vec![], vec![name()])])],
    )
    .expect(|f| !f.is("*", "x/*") || f.tcp(81));
    let from_x = rule(
        vec![namespaces("ns=x")],
        vec![named(Protocol::Tcp, "serve-80-tcp")],
    );
    Case::new(18, vec![ingress("x/p", "", vec![from_x])])
        .expect(|f| !f.is("*", "x/*") || f.is("x/*", "*") && f.tcp(80));
    Case::new(
        19,
        vec![egress("x/p", "pod=a", vec![rule(vec![], vec![name()])])],
    )
    .expect(|f| !f.is("x/a", "*") || f.tcp(81));
}

#[test]
fn cases_20_to_24_change_while_in_force() {
    let mut case = Case::new(20, vec![ingress("x/p", "", vec![anything()])]);
    case.expect(|_| true);
    case.cluster.policy(ingress("x/p", "", vec![]));
    case.expect(|f| !f.is("*", "x/*"));
    let from_ns2 = rule(vec![namespaces("ns2=updated")], vec![]);
    let mut case = Case::new(21, vec![ingress("x/p", "pod=a", vec![from_ns2])]);
    case.expect(|f| !f.is("*", "x/a"));
    case.cluster.namespace("y", "ns=y ns2=updated");
    case.expect(|f| !f.is("*", "x/a") || f.is("y/*", "*"));
    let from_pod2 = rule(vec![pods("pod2=updated")], vec![]);
    let mut case = Case::new(22, vec![ingress("x/p", "pod=a", vec![from_pod2])]);
    case.expect(|f| !f.is("*", "x/a"));
    case.cluster.change_pod("x/b", |pod| {
        pod.labels.set("pod2", "updated");
    });
    case.expect(|f| !f.is("*", "x/a") || f.is("x/b", "*"));
    only(23, vec![pods("")], |f| f.is("x/*", "*"));
    let mut case = Case::new(24, vec![ingress("x/p", "target=isolated", vec![])]);
    case.expect(|_| true);
    case.cluster.change_pod("x/a", |pod| {
        pod.labels.set("target", "isolated");
    });
    case.expect(|f| !f.is("*", "x/a"));
}

#[test]
fn cases_25_to_33_egress_both_directions_and_stacks() {
    Case::new(25, vec![egress("x/p", "pod=a", vec![])]).expect(|f| !f.is("x/a", "*"));
    Case::new(26, vec![egress("x/p", "", vec![])]).expect(|f| !f.is("x/*", "*"));
    let mut case = Case::new(
        27,
        vec![policy("x/p", "pod=a", Some(vec![]), Some(vec![anything()]))],
    );
    case.expect(|f| !f.is("*", "x/a"));
    case.cluster
        .policy(policy("x/p", "pod=a", Some(vec![]), Some(vec![])));
    case.expect(|f| !f.is("*", "x/a") && !f.is("x/a", "*"));
    let to_y = || rule(vec![both("ns=y", "pod=a")], vec![]);
    Case::new(
        28,
        vec![
            egress("x/client", "pod=a", vec![to_y()]),
            ingress(
                "y/server",
                "pod in a,b",
                vec![rule(vec![both("ns=x", "pod=a")], vec![])],
            ),
        ],
    )
    .expect(|f| {
        let leaves = !f.is("x/a", "*") || f.is("*", "y/a");
        let enters = !(f.is("*", "y/a") || f.is("*", "y/b")) || f.is("x/a", "*");
        leaves && enters
    });
    Case::new(29, vec![egress("x/p", "pod=a", vec![to_y()])])
        .expect(|f| !f.is("x/a", "*") || f.is("*", "y/a"));
    let any_tcp = rule(vec![], vec![PolicyPort::All(Protocol::Tcp)]);
    Case::new(30, vec![ingress("x/p", "pod=a", vec![any_tcp])])
        .expect(|f| !f.is("*", "x/a") || f.protocol == Protocol::Tcp);
    let mut case = Case::new(31, vec![ingress("x/deny", "", vec![])]);
    case.expect(|f| !f.is("*", "x/*"));
    case.cluster
        .policy(ingress("x/allow", "", vec![anything()]));
    case.expect(|_| true);
    let mut case = Case::new(32, vec![egress("x/deny", "", vec![])]);
    case.expect(|f| !f.is("x/*", "*"));
    case.cluster.policy(egress("x/allow", "", vec![anything()]));
    case.expect(|_| true);
    let mut case = Case::new(33, vec![policy("x/deny", "", Some(vec![]), Some(vec![]))]);
    case.expect(|f| !f.is("*", "x/*") && !f.is("x/*", "*"));
    case.cluster.remove_policy("x/deny");
    case.expect(|_| true);
}

#[test]
fn cases_34_to_36_blocks_hold_addresses_of_pods() {
    // y/b is host 14, in both families.
    let exact = || vec![block("10.0.1.14/32", &[]), block("fd00:10:1::e/128", &[])];
    Case::new(
        34,
        vec![egress("x/p", "pod=a", vec![rule(exact(), vec![])])],
    )
    .expect(|f| !f.is("x/a", "*") || f.is("*", "y/b"));
    let around = vec![
        block("10.0.0.0/8", &["10.0.1.14/32"]),
        block("fd00:10::/32", &["fd00:10:1::e/128"]),
    ];
    let mut case = Case::new(
        35,
        vec![egress("x/p", "pod=a", vec![rule(around.clone(), vec![])])],
    );
    case.expect(|f| !f.is("x/a", "y/b"));
    case.number = 36;
    let both = vec![rule(around, vec![]), rule(exact(), vec![])];
    case.cluster.policy(egress("x/p", "pod=a", both));
    case.expect(|_| true);
}

#[test]
fn cases_37_to_42_protocols_and_the_label_of_namespaces() {
    let mut case = Case::new(
        37,
        vec![ingress(
            "x/in",
            "pod=a",
            vec![rule(vec![pods("pod=b")], vec![])],
        )],
    );
    case.cluster.policy(egress(
        "x/out",
        "pod=a",
        vec![rule(vec![pods("pod=b")], vec![])],
    ));
    case.expect(|f| {
        (!f.is("*", "x/a") || f.is("x/b", "*")) && (!f.is("x/a", "*") || f.is("*", "x/b"))
    });
    let is = |p: Protocol, port: u16| {
        move |f: &Flow<'_>| !f.is("*", "x/a") || f.protocol == p && f.port == port
    };
    let on_a = |port| vec![ingress("x/p", "pod=a", vec![rule(vec![], vec![port])])];
    Case::new(38, on_a(sctp(81))).expect(is(Protocol::Sctp, 81));
    Case::new(39, on_a(sctp(80))).expect(is(Protocol::Sctp, 80));
    Case::new(40, on_a(udp(81))).expect(is(Protocol::Udp, 81));
    only(41, vec![namespaces("kubernetes.io/metadata.name=y")], |f| {
        f.is("y/*", "*")
    });
    let not_y = rule(
        vec![namespaces("kubernetes.io/metadata.name notin y")],
        vec![],
    );
    Case::new(42, vec![egress("x/p", "pod=a", vec![not_y])])
        .expect(|f| !f.is("x/a", "*") || !f.is("*", "y/*"));
}

#[test]
fn cases_43_to_48_are_the_same_for_udp_and_sctp() {
    for (first, protocol) in [(43, Protocol::Udp), (46, Protocol::Sctp)] {
        let port = |n| PolicyPort::Range(protocol, n, n);
        Case::new(first, vec![ingress("x/deny", "", vec![])]).expect(|f| !f.is("*", "x/*"));
        let on_81 = rule(vec![namespaces("ns=y")], vec![port(81)]);
        Case::new(first + 1, vec![ingress("x/p", "pod=a", vec![on_81])]).expect(|f| {
            !f.is("*", "x/a") || f.is("y/*", "*") && f.protocol == protocol && f.port == 81
        });
        let from_ya = rule(vec![both("ns=y", "pod=a")], vec![port(80)]);
        Case::new(first + 2, vec![ingress("x/p", "pod=a", vec![from_ya])]).expect(|f| {
            !f.is("*", "x/a") || f.is("y/a", "*") && f.protocol == protocol && f.port == 80
        });
    }
}

/// The port shapes of cyclonus' generator that no case above has.
#[test]
fn port_shapes_of_cyclonus() {
    let on_a = |ports| vec![ingress("x/p", "pod=a", vec![rule(vec![], ports)])];
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let range = |low, high| vec![PolicyPort::Range(protocol, low, high)];
        Case::new(0, on_a(range(53, 80)))
            .expect(|f| !f.is("*", "x/a") || f.protocol == protocol && f.port == 80);
        Case::new(0, on_a(range(53, 84))).expect(|f| !f.is("*", "x/a") || f.protocol == protocol);
        Case::new(0, on_a(range(8000, 8010))).expect(|f| !f.is("*", "x/a"));
    }
    // A name of another protocol, and a name that nobody serves.
    Case::new(0, on_a(vec![named(Protocol::Udp, "serve-80-tcp")])).expect(|f| !f.is("*", "x/a"));
    Case::new(0, on_a(vec![named(Protocol::Tcp, "nobody")])).expect(|f| !f.is("*", "x/a"));
    Case::new(0, on_a(vec![tcp(80), udp(81)]))
        .expect(|f| !f.is("*", "x/a") || f.tcp(80) || f.protocol == Protocol::Udp && f.port == 81);
}
