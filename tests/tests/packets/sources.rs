//! Source ranges of load balancers' addresses: who may begin a flow, by which hook, and what stays.

use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use proxy_common::{
    address::{TCP, UDP},
    frontends::{
        FLAG_CLUSTER_IP, FLAG_EXTERNAL_IP, FLAG_LOAD_BALANCER, FLAG_NODE_PORT, FLAG_SOURCES,
    },
};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, Outcome, Plan, REDIRECT, SHOT, Tcp, see, tcp, udp,
};

const RESTRICTED: u32 = FLAG_LOAD_BALANCER | FLAG_SOURCES;
const DROPPED: (i32, Option<&str>) = (SHOT, Some("source-range"));
const SERVED: (i32, Option<&str>) = (REDIRECT, None);

fn opening(protocol: u8, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match protocol {
        TCP => tcp(from, to, Tcp::Syn, b""),
        _ => udp(from, to, b"data"),
    }
}

fn of(outcome: &Outcome) -> (i32, Option<&'static str>) {
    (outcome.action, outcome.drop)
}

/// A range of the plan's family that has nobody of the plan.
fn nobody(plan: &Plan) -> IpNetwork {
    let text = if plan.is_ipv6() {
        "2001:db8::/32"
    } else {
        "203.0.113.0/24"
    };
    text.parse().unwrap()
}

/// The range of one address.
fn only(address: std::net::IpAddr) -> IpNetwork {
    IpNetwork::from(address)
}

/// By hook: who asks, and who serves.
fn askers(plan: &Plan) -> [(Hook, SocketAddr, SocketAddr); 4] {
    [
        (Hook::FromNet, plan.outside(4000), plan.pod(8080)),
        (Hook::FromPod, plan.pod(4001), plan.neighbour(8080)),
        (Hook::ToNet, plan.node(4002), plan.remote_pod(8080)),
        (Hook::FromHost, plan.node(4003), plan.remote_pod(8080)),
    ]
}

#[test]
fn who_is_in_no_range_is_dropped_wherever_it_asks() {
    for protocol in [TCP, UDP] {
        let mut bench = Bench::new().unwrap();
        for (family, plan) in (0..).zip(FAMILIES) {
            for (number, (hook, client, backend)) in (1..).zip(askers(&plan)) {
                let id = 10 * family + number;
                let to = plan.vip(80 + u16::try_from(number).unwrap());
                bench
                    .service(id, to, protocol, &[backend], RESTRICTED)
                    .unwrap();
                bench.serve_only(id, &[nobody(&plan)]).unwrap();
                let packet = opening(protocol, client, to);
                let outcome = bench.run(hook, &packet).unwrap();
                assert_eq!(of(&outcome), DROPPED, "{hook:?} {to}");
                bench.serve_only(id, &[only(client.ip())]).unwrap();
                let outcome = bench.run(hook, &packet).unwrap();
                assert_eq!(of(&outcome), SERVED, "{hook:?} {to}");
                assert_eq!(see(&outcome.bytes).destination, backend, "{hook:?}");
            }
        }
    }
}

#[test]
fn ranges_are_those_of_their_service_port_and_of_its_load_balancer_addresses() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).step_by(10).zip(FAMILIES) {
        let (client, backend) = (plan.outside(4000), plan.pod(8080));
        let any = SocketAddr::new(
            if plan.is_ipv6() {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            } else {
                std::net::Ipv4Addr::UNSPECIFIED.into()
            },
            30080,
        );
        // One Service port: all its frontends have its id.
        for (at, flags) in [
            (plan.vip(80), FLAG_CLUSTER_IP),
            (any, FLAG_NODE_PORT),
            (plan.vip(81), FLAG_EXTERNAL_IP),
            (plan.vip(82), RESTRICTED),
        ] {
            bench.service(id, at, TCP, &[backend], flags).unwrap();
        }
        // Another one lets everybody in.
        bench
            .service(id + 1, plan.vip(83), TCP, &[backend], RESTRICTED)
            .unwrap();
        bench.serve_only(id, &[nobody(&plan)]).unwrap();
        let all = if plan.is_ipv6() { "::/0" } else { "0.0.0.0/0" };
        bench.serve_only(id + 1, &[all.parse().unwrap()]).unwrap();
        for (to, expected) in [
            (plan.vip(80), SERVED),
            (plan.node(30080), SERVED),
            (plan.vip(81), SERVED),
            (plan.vip(82), DROPPED),
            (plan.vip(83), SERVED),
        ] {
            let mut client = client;
            client.set_port(4000 + to.port() % 100);
            let outcome = bench.run(Hook::FromNet, &opening(TCP, client, to)).unwrap();
            assert_eq!(of(&outcome), expected, "{to}");
        }
    }
}

#[test]
fn nobody_is_told_that_nobody_serves_what_he_may_not_use() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, to) = (plan.outside(4000), plan.vip(80));
        bench.service(id, to, TCP, &[], RESTRICTED).unwrap();
        let syn = tcp(client, to, Tcp::Syn, b"");
        assert_eq!(of(&bench.run(Hook::FromNet, &syn).unwrap()), DROPPED);
        bench.serve_only(id, &[only(client.ip())]).unwrap();
        let refused = (REDIRECT, Some("no-backend"));
        assert_eq!(of(&bench.run(Hook::FromNet, &syn).unwrap()), refused);
    }
}

#[test]
fn flows_that_live_stay_when_their_range_goes() {
    for protocol in [TCP, UDP] {
        let mut bench = Bench::new().unwrap();
        for (id, plan) in (1..).zip(FAMILIES) {
            let (client, to, backend) = (plan.outside(4000), plan.vip(80), plan.pod(8080));
            let flags = FLAG_LOAD_BALANCER;
            bench.service(id, to, protocol, &[backend], flags).unwrap();
            let first = opening(protocol, client, to);
            assert_eq!(of(&bench.run(Hook::FromNet, &first).unwrap()), SERVED);
            // As if somebody named a range that the client is not in.
            bench
                .service(id, to, protocol, &[backend], RESTRICTED)
                .unwrap();
            let more = match protocol {
                TCP => tcp(client, to, Tcp::Ack, b"more"),
                _ => udp(client, to, b"more"),
            };
            let outcome = bench.run(Hook::FromNet, &more).unwrap();
            assert_eq!(of(&outcome), SERVED);
            assert_eq!(see(&outcome.bytes).destination, backend);
            let another = opening(protocol, plan.outside(4001), to);
            assert_eq!(of(&bench.run(Hook::FromNet, &another).unwrap()), DROPPED);
        }
    }
}

#[test]
fn a_client_is_found_among_many_ranges() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (to, backend) = (plan.vip(80), plan.pod(8080));
        bench.service(id, to, UDP, &[backend], RESTRICTED).unwrap();
        let ranges = (0..500_u16).map(|n| {
            let text = if plan.is_ipv6() {
                format!("2001:db8:{n:x}::/48")
            } else {
                format!("198.{}.{}.0/24", 18 + n / 256, n % 256)
            };
            text.parse().unwrap()
        });
        let mut ranges: Vec<IpNetwork> = ranges.collect();
        ranges.push(only(plan.outside));
        bench.serve_only(id, &ranges).unwrap();
        let packet = udp(plan.outside(4000), to, b"data");
        assert_eq!(of(&bench.run(Hook::FromNet, &packet).unwrap()), SERVED);
    }
}
