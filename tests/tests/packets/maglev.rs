//! The choice that all nodes make alike for what comes from outside, whatever ids and slots backends have on each.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proxy_common::{
    address::{TCP, UDP},
    affinity::{Affinity, AffinityKey},
    frontends::{FLAG_CLUSTER_IP, FLAG_LOAD_BALANCER, FLAG_NODE_PORT},
    inside::{INSIDE_CONFIGURED, INSIDE_NODE, INSIDE_PODS},
};
use weir_tests::packets::{
    BACK, Bench, FAMILIES, Hook, Plan, REDIRECT, SHOT, Tcp, V4, V6, tcp, udp,
};

const SIZE: u16 = 1021;
/// Client ports.
const PORTS: std::ops::Range<u16> = 4000..4040;

/// A node: in which order it has the backends, and under which id their set.
#[derive(Clone, Copy)]
struct Node {
    id: u32,
    turned: bool,
}

const NODES: [Node; 2] = [
    Node {
        id: 3,
        turned: false,
    },
    Node {
        id: 8,
        turned: true,
    },
];

impl Node {
    fn backends(self, plan: &Plan) -> Vec<SocketAddr> {
        let mut backends: Vec<SocketAddr> = (8000..8007).map(|p| plan.remote_pod(p)).collect();
        if self.turned {
            backends.rotate_left(3);
            backends.reverse();
        }
        backends
    }

    fn serve(self, bench: &mut Bench, plan: &Plan, at: SocketAddr, protocol: u8, flags: u32) {
        let backends = self.backends(plan);
        bench
            .service(self.id, at, protocol, &backends, flags)
            .unwrap();
        bench
            .lead_to_table(self.id, at, protocol, &backends, SIZE)
            .unwrap();
    }
}

fn any(plan: &Plan) -> SocketAddr {
    let any = if plan.is_ipv6() {
        "[::]:30080"
    } else {
        "0.0.0.0:30080"
    };
    any.parse().unwrap()
}

/// Where XDP serves too.
fn bench() -> Bench {
    let mut bench = Bench::new().unwrap();
    bench.link("net0", [V4.node, V6.node]).unwrap();
    bench
}

/// Who gets the flow of a client.
fn chosen(
    bench: &mut Bench,
    hook: Hook,
    client: SocketAddr,
    to: SocketAddr,
    protocol: u8,
) -> SocketAddr {
    let packet = match protocol {
        TCP => tcp(client, to, Tcp::Syn, b""),
        _ => udp(client, to, b"data"),
    };
    let outcome = bench.run(hook, &packet).unwrap();
    let away = if hook == Hook::FromWire {
        BACK
    } else {
        REDIRECT
    };
    assert_eq!((outcome.action, outcome.drop), (away, None));
    let flow = bench.flow(client, to, protocol).unwrap().unwrap();
    flow.target().1
}

/// Who gets the flows of a client from each of its ports.
fn choices(
    bench: &mut Bench,
    plan: &Plan,
    to: SocketAddr,
    protocol: u8,
) -> BTreeMap<u16, SocketAddr> {
    choices_at(bench, Hook::FromNet, plan, (to, protocol))
}

fn choices_at(
    bench: &mut Bench,
    hook: Hook,
    plan: &Plan,
    (to, protocol): (SocketAddr, u8),
) -> BTreeMap<u16, SocketAddr> {
    let choose = |port| (port, chosen(bench, hook, plan.outside(port), to, protocol));
    PORTS.map(choose).collect()
}

/// Also where on one of them XDP chooses.
#[test]
fn nodes_choose_alike_for_each_flow_and_all_backends_are_chosen() {
    let hooks = [
        [Hook::FromNet, Hook::FromNet],
        [Hook::FromNet, Hook::FromWire],
        [Hook::FromWire, Hook::FromWire],
    ];
    for plan in FAMILIES {
        for protocol in [TCP, UDP] {
            // Of a NodePort each node has an address of its own.
            let places = [
                (any(&plan), [plan.node(30080); 2], FLAG_NODE_PORT),
                (plan.vip(80), [plan.vip(80); 2], FLAG_LOAD_BALANCER),
            ];
            for (at, asked, flags) in places {
                for hooks in hooks {
                    let [one, other] = [0, 1].map(|number| {
                        let mut bench = bench();
                        NODES[number].serve(&mut bench, &plan, at, protocol, flags);
                        let to = (asked[number], protocol);
                        choices_at(&mut bench, hooks[number], &plan, to)
                    });
                    assert_eq!(one, other, "{at}");
                    let all: BTreeSet<SocketAddr> = one.into_values().collect();
                    assert!(all.len() > 4, "{at}: {all:?}");
                }
            }
        }
    }
}

#[test]
fn with_affinity_the_address_of_the_client_chooses() {
    for plan in FAMILIES {
        let mut all = BTreeSet::new();
        for node in NODES {
            // Ports and addresses of the Service port do not count either.
            for (at, to, flags) in [
                (any(&plan), plan.node(30080), FLAG_NODE_PORT),
                (plan.vip(80), plan.vip(80), FLAG_LOAD_BALANCER),
            ] {
                let mut bench = bench();
                node.serve(&mut bench, &plan, at, TCP, flags);
                bench.stick(at, TCP, 600).unwrap();
                let hooks = [Hook::FromNet, Hook::FromWire, Hook::FromWire, Hook::FromNet];
                for (port, hook) in PORTS.zip(hooks) {
                    let client = plan.outside(port);
                    all.insert(chosen(&mut bench, hook, client, to, TCP));
                }
            }
        }
        assert_eq!(all.len(), 1, "{all:?}");
    }
}

/// A pod or a node of the cluster comes one way, so its affinity ends with its time-out; so it is for nobody from outside, whom
/// routers may spread over nodes that know nothing of each other.
#[test]
fn affinity_of_the_clusters_own_ends_with_its_time_out() {
    for plan in FAMILIES {
        for (reason, leaves) in [
            (None, false),
            (Some(INSIDE_CONFIGURED), false),
            (Some(INSIDE_PODS), true),
            (Some(INSIDE_NODE), true),
        ] {
            let mut bench = Bench::new().unwrap();
            let to = plan.node(30080);
            NODES[0].serve(&mut bench, &plan, any(&plan), TCP, FLAG_NODE_PORT);
            bench.stick(any(&plan), TCP, 600).unwrap();
            let bits = if plan.is_ipv6() { 128 } else { 32 };
            let named = reason.map(|reason| bench.inside(plan.outside, bits, reason));
            named.transpose().unwrap();
            let before = choices(&mut bench, &plan, to, TCP).into_values();
            let before: BTreeSet<SocketAddr> = before.collect();
            assert_eq!(before.len(), 1, "in time, {reason:?}");
            let mut after = BTreeSet::new();
            for port in 5000..5040 {
                time_out(&mut bench);
                let client = plan.outside(port);
                after.insert(chosen(&mut bench, Hook::FromNet, client, to, TCP));
            }
            assert_eq!(after.len() > 1, leaves, "afterwards, {reason:?}: {after:?}");
        }
    }
}

/// Makes the last connection of each client ten minutes older.
fn time_out(bench: &mut Bench) {
    let mut clients = bench.hash::<AffinityKey, Affinity>("AFFINITY").unwrap();
    let all: Vec<_> = clients.iter().map(Result::unwrap).collect();
    for (client, mut last) in all {
        last.last_used = last.last_used.wrapping_sub(600);
        clients.insert(client, last, 0).unwrap();
    }
}

#[test]
fn a_table_of_a_larger_set_or_that_is_not_whole_leads_to_nobody_who_left() {
    for plan in FAMILIES {
        let node = NODES[0];
        let (at, to) = (any(&plan), plan.node(30080));
        let mut bench = Bench::new().unwrap();
        node.serve(&mut bench, &plan, at, TCP, FLAG_NODE_PORT);
        let before = choices(&mut bench, &plan, to, TCP);
        bench.end_all().unwrap();
        bench.shrink(at, TCP, 4).unwrap();
        let (stay, gone) = (
            node.backends(&plan)[..4].to_vec(),
            &node.backends(&plan)[4..],
        );
        let after = choices(&mut bench, &plan, to, TCP);
        for (port, backend) in &after {
            assert!(stay.contains(backend), "{backend}");
            let kept = before[port];
            assert!(
                gone.contains(&kept) || kept == *backend,
                "{kept} to {backend}"
            );
        }
        bench.end_all().unwrap();
        for chunk in 0..5 {
            bench.remove_chunk(node.id, SIZE, chunk).unwrap();
        }
        let backends = choices(&mut bench, &plan, to, TCP).into_values();
        let backends: BTreeSet<SocketAddr> = backends.collect();
        assert!(backends.len() > 1 && backends.iter().all(|b| stay.contains(b)));
    }
}

#[test]
fn what_does_not_come_from_outside_chooses_at_random() {
    for plan in FAMILIES {
        let node = NODES[0];
        let (at, to) = (plan.vip(80), plan.vip(80));
        let mut bench = Bench::new().unwrap();
        node.serve(&mut bench, &plan, at, TCP, FLAG_LOAD_BALANCER);
        let pods = |bench: &mut Bench| -> Vec<SocketAddr> {
            let choose = |port| chosen(bench, Hook::FromPod, plan.pod(port), to, TCP);
            PORTS.map(choose).collect()
        };
        let first = pods(&mut bench);
        bench.end_all().unwrap();
        assert_ne!(pods(&mut bench), first);
        // Nor does what comes for a cluster IP.
        let mut bench = Bench::new().unwrap();
        node.serve(&mut bench, &plan, at, TCP, FLAG_CLUSTER_IP);
        let first = choices(&mut bench, &plan, to, TCP);
        bench.end_all().unwrap();
        assert_ne!(choices(&mut bench, &plan, to, TCP), first);
    }
}

#[test]
fn a_port_that_is_taken_at_the_chosen_backend_is_exchanged_not_the_backend() {
    for plan in FAMILIES {
        let mut bench = Bench::new().unwrap();
        let backend = plan.pod(8080);
        let (at, balanced) = (any(&plan), plan.vip(80));
        let backends = [backend, plan.pod(8081)];
        for (id, at, flags) in [(3, at, FLAG_NODE_PORT), (4, balanced, FLAG_LOAD_BALANCER)] {
            bench.service(id, at, TCP, &backends, flags).unwrap();
            bench.lead_to_table(id, at, TCP, &backends, SIZE).unwrap();
            bench.stick(at, TCP, 600).unwrap();
        }
        let client = plan.outside(PORTS.start);
        let one = chosen(&mut bench, Hook::FromNet, client, plan.node(30080), TCP);
        let other = chosen(&mut bench, Hook::FromNet, client, balanced, TCP);
        assert_eq!(one, other);
    }
}

/// With one port a backend has room for one client of the node's name.
#[test]
fn a_backend_without_ports_left_means_another_one_whatever_chooses() {
    for plan in FAMILIES {
        let backends = [plan.remote_pod(8080), plan.remote_pod(8081)];
        let at = any(&plan);
        for (protocol, table, affinity) in [TCP, UDP].into_iter().flat_map(|protocol| {
            [(false, false), (true, false), (false, true), (true, true)]
                .map(|(t, a)| (protocol, t, a))
        }) {
            let mut bench = Bench::new().unwrap();
            bench.source_ports(20000, 20000).unwrap();
            bench
                .service(3, at, protocol, &backends, FLAG_NODE_PORT)
                .unwrap();
            if table {
                bench
                    .lead_to_table(3, at, protocol, &backends, SIZE)
                    .unwrap();
            }
            if affinity {
                bench.stick(at, protocol, 600).unwrap();
            }
            let to = plan.node(30080);
            // All that a table leads to the same backend are among them.
            for first in PORTS {
                let mut served = [first, first + 100].map(|port| {
                    chosen(&mut bench, Hook::FromNet, plan.outside(port), to, protocol)
                });
                served.sort();
                assert_eq!(served, backends, "table {table}, affinity {affinity}");
                let third = match protocol {
                    TCP => tcp(plan.outside(first + 200), to, Tcp::Syn, b""),
                    _ => udp(plan.outside(first + 200), to, b"data"),
                };
                let outcome = bench.run(Hook::FromNet, &third).unwrap();
                assert_eq!(
                    (outcome.action, outcome.drop),
                    (SHOT, Some("no-source-port"))
                );
                bench.end_all().unwrap();
            }
        }
    }
}
