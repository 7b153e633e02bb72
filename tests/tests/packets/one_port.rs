//! A client that uses one port of its own for several flows which end at the same backend: the answers must be told apart.

use std::net::SocketAddr;

use proxy_common::{
    address::{TCP, UDP},
    frontends::FLAG_EXTERNAL_IP,
};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, REDIRECT, Tcp, see, tcp, udp};

fn packet(protocol: u8, from: SocketAddr, to: SocketAddr, what: Tcp) -> Vec<u8> {
    match protocol {
        TCP => tcp(from, to, what, b""),
        _ => udp(from, to, b"?"),
    }
}

/// A bench, a protocol, the hooks by which questions and answers come.
struct Talk {
    bench: Bench,
    protocol: u8,
    forth: Hook,
    back: Hook,
}

impl Talk {
    fn sent(&mut self, hook: Hook, [from, to]: [SocketAddr; 2], what: Tcp) -> [SocketAddr; 2] {
        let sent = packet(self.protocol, from, to, what);
        let outcome = self.bench.run(hook, &sent).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (REDIRECT, None),
            "{from} > {to}"
        );
        let seen = see(&outcome.bytes);
        [seen.source, seen.destination]
    }

    /// The client opens a flow; from whom the backend sees it come.
    fn ask(&mut self, client: SocketAddr, frontend: SocketAddr, backend: SocketAddr) -> SocketAddr {
        let [from, to] = self.sent(self.forth, [client, frontend], Tcp::Syn);
        assert_eq!((from.ip(), to), (client.ip(), backend));
        from
    }

    fn answer(&mut self, backend: SocketAddr, seen: SocketAddr) -> [SocketAddr; 2] {
        self.sent(self.back, [backend, seen], Tcp::SynAck)
    }
}

/// Two Services of one backend, asked from one port: twice, for the second packet must go the way of the first.
fn told_apart(ends: fn(&Plan) -> [SocketAddr; 2], [forth, back]: [Hook; 2]) {
    for (id, plan) in (1..).zip(FAMILIES) {
        for protocol in [TCP, UDP] {
            let [client, backend] = ends(&plan);
            let frontends = [plan.vip(80), plan.vip(81)];
            let mut bench = Bench::new().unwrap();
            for (number, vip) in (id..).step_by(10).zip(frontends) {
                let kind = FLAG_EXTERNAL_IP;
                bench
                    .service(number, vip, protocol, &[backend], kind)
                    .unwrap();
            }
            let mut talk = Talk {
                bench,
                protocol,
                forth,
                back,
            };
            let seen = frontends.map(|frontend| talk.ask(client, frontend, backend));
            assert_eq!(seen[0], client);
            assert_ne!(seen[1].port(), client.port());
            assert!(seen[1].port() >= 1024);
            for (seen, frontend) in seen.into_iter().zip(frontends) {
                assert_eq!(talk.answer(backend, seen), [frontend, client]);
                let more = talk.sent(forth, [client, frontend], Tcp::Ack);
                assert_eq!(more, [seen, backend]);
            }
        }
    }
}

#[test]
fn two_services_with_a_backend_here() {
    let ends = |plan: &Plan| [plan.pod(4000), plan.neighbour(8080)];
    told_apart(ends, [Hook::FromPod, Hook::FromNeighbour]);
}

#[test]
fn two_services_with_a_backend_elsewhere() {
    let ends = |plan: &Plan| [plan.pod(4000), plan.remote_pod(8080)];
    told_apart(ends, [Hook::FromPod, Hook::FromNet]);
}

#[test]
fn two_services_asked_from_outside() {
    let ends = |plan: &Plan| [plan.outside(4000), plan.pod(8080)];
    told_apart(ends, [Hook::FromNet, Hook::FromPod]);
}

#[test]
fn two_ports_by_which_a_pod_reaches_itself() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let (pod, server) = (plan.pod(4000), plan.pod(8080));
        let mut bench = Bench::new().unwrap();
        for (number, port) in (id..).step_by(10).zip([80, 81]) {
            bench
                .service(number, plan.vip(port), TCP, &[server], 0)
                .unwrap();
        }
        let mut talk = Talk {
            bench,
            protocol: TCP,
            forth: Hook::FromPod,
            back: Hook::FromPod,
        };
        for port in [80, 81] {
            let vip = plan.vip(port);
            let [from, to] = talk.sent(Hook::FromPod, [pod, vip], Tcp::Syn);
            assert_eq!((from.ip(), to), (vip.ip(), server));
            assert_eq!(from.port() == pod.port(), port == 80);
            assert_eq!(talk.answer(server, from), [vip, pod]);
        }
    }
}

#[test]
fn a_service_and_its_backend_itself() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.neighbour(5353));
        let mut bench = Bench::new().unwrap();
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let mut talk = Talk {
            bench,
            protocol: UDP,
            forth: Hook::FromPod,
            back: Hook::FromNeighbour,
        };
        assert_eq!(talk.ask(client, backend, backend), client);
        let seen = talk.ask(client, vip, backend);
        assert_ne!(seen, client);
        assert_eq!(talk.answer(backend, client), [backend, client]);
        assert_eq!(talk.answer(backend, seen), [vip, client]);
    }
}

#[test]
fn affinity_keeps_its_backend_and_changes_the_port() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let (sticky, vip) = (plan.vip(80), plan.vip(81));
        let backends = [plan.neighbour(8080), plan.remote_pod(8080)];
        let mut bench = Bench::new().unwrap();
        bench.service(id, sticky, UDP, &backends, 0).unwrap();
        bench.stick(sticky, UDP, 100).unwrap();
        let mut talk = Talk {
            bench,
            protocol: UDP,
            forth: Hook::FromPod,
            back: Hook::FromPod,
        };
        let first = [plan.pod(4001), sticky];
        let [_, backend] = talk.sent(Hook::FromPod, first, Tcp::Syn);
        talk.bench
            .service(id + 10, vip, UDP, &[backend], 0)
            .unwrap();
        let client = plan.pod(4000);
        assert_eq!(talk.ask(client, vip, backend), client);
        assert_ne!(talk.ask(client, sticky, backend), client);
    }
}
