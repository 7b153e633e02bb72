//! Family, protocol, link: each with each.

use std::{net::IpAddr, process::Command};

use proxy_common::conntrack::{FLOW_MASQUERADED, FLOW_SOURCE_TRANSLATED, FLOW_STACK};
use proxy_common::inside::INSIDE_CONFIGURED;
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT};

use super::{ALL, Carries, at, is_of_node, went};

/// A link, how it is made, somebody beyond it and the node's address there, by family.
struct Way {
    link: &'static str,
    make: &'static [&'static str],
    to: [&'static str; 2],
    own: [&'static str; 2],
}

const WAYS: [Way; 5] = [
    Way {
        link: "net0",
        make: &[],
        to: ["192.0.2.9", "fd00:3::9"],
        own: ["192.0.2.1", "fd00:3::1"],
    },
    Way {
        link: "net0",
        make: &[
            "route add 203.0.113.0/24 via 192.0.2.9",
            "route add 2001:db8::/64 via fd00:3::9",
        ],
        to: ["203.0.113.5", "2001:db8::5"],
        own: ["192.0.2.1", "fd00:3::1"],
    },
    Way {
        link: "net1",
        make: &[
            "link add net1 type veth peer name net1-peer",
            "link set net1-peer up",
            "link set net1 up",
            "address add 198.51.100.1/24 dev net1",
            "address add fd00:51::1/64 dev net1 nodad",
        ],
        to: ["198.51.100.9", "fd00:51::9"],
        own: ["198.51.100.1", "fd00:51::1"],
    },
    Way {
        link: "mac0",
        make: &[
            "link add link net0 name mac0 type macvlan mode bridge",
            "link set mac0 up",
            "address add 198.51.7.1/24 dev mac0",
            "address add fd00:7::1/64 dev mac0 nodad",
        ],
        to: ["198.51.7.9", "fd00:7::9"],
        own: ["198.51.7.1", "fd00:7::1"],
    },
    Way {
        link: "tun0",
        make: &[
            "tuntap add tun0 mode tun",
            "link set tun0 up",
            "address add 198.51.8.1/24 dev tun0",
            "address add fd00:8::1/64 dev tun0 nodad",
        ],
        to: ["198.51.8.9", "fd00:8::9"],
        own: ["198.51.8.1", "fd00:8::1"],
    },
];

impl Way {
    fn bench(&self) -> Bench {
        let mut bench = Bench::masquerading().unwrap();
        for line in self.make {
            let done = Command::new("ip").args(line.split(' ')).status().unwrap();
            assert!(done.success(), "ip {line}");
        }
        bench.link(self.link, self.own.map(parsed)).unwrap();
        bench
    }

    fn of(&self, plan: &Plan) -> [IpAddr; 2] {
        let family = usize::from(plan.is_ipv6());
        [self.to[family], self.own[family]].map(parsed)
    }
}

fn parsed(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn whatever_leaves_the_cluster_has_the_links_address_and_its_answers_come_back() {
    for way in WAYS {
        let mut bench = way.bench();
        for plan in FAMILIES {
            for carries in ALL {
                there_and_back(&mut bench, &plan, &way, carries);
            }
        }
    }
}

fn there_and_back(bench: &mut Bench, plan: &Plan, way: &Way, carries: Carries) {
    let [to, own] = way.of(plan);
    let what = format!("{carries:?} to {to} by {}", way.link);
    let (pod, server) = (plan.pod(4000), at(to, carries.port(443)));
    let outcome = bench
        .run(Hook::FromPod, &carries.asks(pod, server))
        .unwrap();
    went(&outcome, REDIRECT, &what);
    let (ours, there) = carries.ends(&outcome.bytes, false);
    assert_eq!((ours.ip(), there), (own, server), "{what}");
    assert_eq!(weir_tests::packets::see(&outcome.bytes).hops, 63, "{what}");
    assert!(is_of_node(ours.port()), "{what}: {ours}");
    // One record, by both tuples.
    let number = carries.number(plan.is_ipv6());
    let [from, asked] = carries.tuple(pod, server);
    let forth = bench.flow(from, asked, number).unwrap().unwrap();
    let [us, they] = carries.tuple(ours, server);
    let back = bench.flow(they, us, number).unwrap().unwrap();
    assert_eq!(
        (forth.slot, forth.direction, back.direction),
        (back.slot, 0, 1)
    );
    assert_eq!(forth.target(), (us, they), "{what}");
    assert_eq!(back.target(), (asked, from), "{what}");
    let flags = FLOW_MASQUERADED | FLOW_SOURCE_TRANSLATED;
    assert_eq!(forth.flags() & (flags | FLOW_STACK), flags, "{what}");
    assert_eq!(forth.facts.endpoint, [1, 0], "{what}");

    let outcome = bench
        .run(Hook::FromNet, &carries.answers(server, ours))
        .unwrap();
    went(&outcome, REDIRECT, &what);
    assert_eq!(carries.ends(&outcome.bytes, true), (server, pod), "{what}");
    let again = bench
        .run(Hook::FromPod, &carries.asks(pod, server))
        .unwrap();
    assert_eq!(carries.ends(&again.bytes, false), (ours, server), "{what}");
    // Nobody else's packets are taken for answers.
    let other = at(plan.second, carries.port(443));
    let forged = carries.answers(other, ours);
    let outcome = bench.run(Hook::FromNet, &forged).unwrap();
    assert_eq!((outcome.action, outcome.bytes), (NEXT, forged), "{what}");
}

#[test]
fn off_per_family() {
    use proxy_common::node::{NODE_FORWARD_BPF, NODE_MASQUERADE4, NODE_MASQUERADE6};
    let mut bench = Bench::masquerading().unwrap();
    for (flag, masqueraded) in [(NODE_MASQUERADE4, false), (NODE_MASQUERADE6, true)] {
        bench.set_flags(NODE_FORWARD_BPF | flag).unwrap();
        for plan in FAMILIES {
            for carries in ALL {
                let (pod, server) = (plan.pod(4001), plan.outside(carries.port(443)));
                let asked = carries.asks(pod, server);
                let outcome = bench.run(Hook::FromPod, &asked).unwrap();
                if plan.is_ipv6() == masqueraded {
                    went(&outcome, REDIRECT, "on");
                } else {
                    assert_eq!((outcome.action, outcome.bytes), (NEXT, asked), "off");
                }
            }
            bench.end_all().unwrap();
        }
    }
}

#[test]
fn a_flow_that_has_begun_stays_as_it_is() {
    use proxy_common::node::NODE_FORWARD_BPF;
    use weir_tests::packets::MASQUERADE;
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let ask = |bench: &mut Bench, port| {
            let (pod, server) = (plan.pod(port), plan.outside(443));
            let asked = Carries::Udp.asks(pod, server);
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            (outcome.action, Carries::Udp.ends(&outcome.bytes, false).0)
        };
        let (action, ours) = ask(&mut bench, 1);
        assert_eq!((action, ours.ip()), (REDIRECT, plan.node));
        bench.set_flags(NODE_FORWARD_BPF).unwrap();
        assert_eq!(ask(&mut bench, 1), (REDIRECT, ours), "turned off");
        assert_eq!(ask(&mut bench, 2), (NEXT, plan.pod(2)));
        bench.set_flags(NODE_FORWARD_BPF | MASQUERADE).unwrap();
        assert_eq!(ask(&mut bench, 2), (NEXT, plan.pod(2)), "turned on");
        // Its packets are left as they are where they leave, too.
        let packet = Carries::Udp.asks(plan.pod(2), plan.outside(443));
        let outcome = bench.run(Hook::ToNetForwarded, &packet).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, packet));
        bench
            .inside(
                plan.outside,
                if plan.is_ipv6() { 128 } else { 32 },
                INSIDE_CONFIGURED,
            )
            .unwrap();
        assert_eq!(ask(&mut bench, 1), (REDIRECT, ours), "inside now");
        assert_eq!(ask(&mut bench, 3), (NEXT, plan.pod(3)));
    }
}

#[test]
fn a_flow_follows_the_service_that_comes_after_it() {
    let mut bench = Bench::masquerading().unwrap();
    let mut id = 0;
    for plan in FAMILIES {
        for carries in [Carries::Udp, Carries::Tcp] {
            id += 1;
            let (pod, server, backend) = (plan.pod(4000), plan.outside(53), plan.neighbour(53));
            let asked = carries.asks(pod, server);
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            went(&outcome, REDIRECT, "to the world");
            assert_eq!(carries.ends(&outcome.bytes, false).0.ip(), plan.node);
            let protocol = carries.number(plan.is_ipv6());
            bench.service(id, server, protocol, &[backend], 0).unwrap();
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            went(&outcome, REDIRECT, "to the Service");
            assert_eq!(carries.ends(&outcome.bytes, false), (pod, backend));
        }
    }
}
