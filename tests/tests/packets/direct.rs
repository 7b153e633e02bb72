//! Pod to pod: tracking, time-outs, forged sources, ways out of the node.

use proxy_common::{
    address::{TCP, UDP},
    conntrack::{FLOW_FIN_LOCAL, FLOW_FIN_REMOTE, FLOW_FROM_REMOTE, FLOW_REMOTE_POD, FLOW_REPLIED},
    endpoints::{ENDPOINT_SHAPED, Endpoint, LocalPod},
};
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, REDIRECT, SHOT, Tcp, ping, see, tcp, udp};

#[test]
fn a_connection_between_pods_is_tracked_at_both_ends() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let (a, b) = (plan.pod(4000), plan.neighbour(80));
        let syn = tcp(a, b, Tcp::Syn, b"");
        let outcome = bench.run(Hook::FromPod, &syn).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        assert_eq!(
            outcome.bytes, syn,
            "between pods of a node nothing is changed"
        );
        let sent = bench.flow(1, a, b, TCP).unwrap().unwrap();
        let received = bench.flow(2, b, a, TCP).unwrap().unwrap();
        assert!(sent.new && received.new);
        assert_eq!(
            (sent.state.flags, received.state.flags),
            (0, FLOW_FROM_REMOTE)
        );

        let answer = tcp(b, a, Tcp::SynAck, b"");
        let outcome = bench.run(Hook::FromNeighbour, &answer).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (REDIRECT, answer));
        let sent = bench.flow(1, a, b, TCP).unwrap().unwrap();
        let received = bench.flow(2, b, a, TCP).unwrap().unwrap();
        assert!(
            !sent.new && !received.new,
            "answered flows do not stay where they may be evicted"
        );
        assert_eq!(sent.state.flags, FLOW_REPLIED);
        assert_eq!(received.state.flags, FLOW_FROM_REMOTE | FLOW_REPLIED);
    }
}

#[test]
fn closing_shortens_the_life_of_a_flow_and_a_syn_reopens_it() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let (a, b) = (plan.pod(4000), plan.neighbour(80));
        let expires = |bench: &mut Bench| bench.flow(1, a, b, TCP).unwrap().unwrap().state.expires;
        bench.run(Hook::FromPod, &tcp(a, b, Tcp::Syn, b"")).unwrap();
        let begun = expires(&mut bench);
        bench
            .run(Hook::FromNeighbour, &tcp(b, a, Tcp::SynAck, b""))
            .unwrap();
        let open = expires(&mut bench);
        assert!(
            open - begun > 7000,
            "an open connection lives long: {begun} {open}"
        );
        bench.run(Hook::FromPod, &tcp(a, b, Tcp::Fin, b"")).unwrap();
        assert!(expires(&mut bench) >= open, "one side may go on sending");
        bench
            .run(Hook::FromNeighbour, &tcp(b, a, Tcp::Fin, b""))
            .unwrap();
        let closing = bench.flow(1, a, b, TCP).unwrap().unwrap().state;
        assert!(
            begun > closing.expires,
            "closed: {begun} {}",
            closing.expires
        );
        let fins = FLOW_FIN_LOCAL | FLOW_FIN_REMOTE;
        assert_eq!(closing.flags & fins, fins);
        bench.run(Hook::FromPod, &tcp(a, b, Tcp::Syn, b"")).unwrap();
        let again = bench.flow(1, a, b, TCP).unwrap().unwrap();
        assert_eq!(again.state.flags, 0, "{again:?}");
        assert!(
            again.state.expires < open,
            "unanswered, it lives shortly: {again:?}"
        );
    }
}

#[test]
fn only_own_addresses_are_sent_from() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        for forged in [
            plan.neighbour(1),
            plan.node(1),
            plan.outside(1),
            plan.vip(1),
        ] {
            let outcome = bench
                .run(Hook::FromPod, &udp(forged, plan.remote_pod(53), b"?"))
                .unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (SHOT, Some("spoofed-source"))
            );
        }
    }
}

#[test]
fn an_unregistered_interface_is_shut() {
    let mut bench = Bench::new().unwrap();
    let mut endpoints = bench.hash::<u32, Endpoint>("ENDPOINTS").unwrap();
    let keys: Vec<u32> = endpoints.keys().map(Result::unwrap).collect();
    for key in keys {
        endpoints.remove(&key).unwrap();
    }
    for plan in FAMILIES {
        let packet = udp(plan.pod(1), plan.neighbour(2), b"");
        for hook in [Hook::FromPod, Hook::ToPod] {
            let outcome = bench.run(hook, &packet).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (SHOT, Some("unknown-endpoint"))
            );
        }
    }
}

#[test]
fn pods_of_other_nodes_are_reached_by_the_routes() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let (a, b) = (plan.pod(4000), plan.remote_pod(53));
        let outcome = bench.run(Hook::FromPod, &udp(a, b, b"?")).unwrap();
        assert_eq!(outcome.action, REDIRECT);
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination, seen.hops), (a, b, 63));
        let entry = bench.flow(1, a, b, UDP).unwrap().unwrap();
        assert_eq!(entry.state.flags, FLOW_REMOTE_POD);
        let outcome = bench.run(Hook::FromNet, &udp(b, a, b"!")).unwrap();
        assert_eq!(outcome.action, REDIRECT, "the answer goes to the pod");
    }
}

#[test]
fn the_stack_has_what_leaves_the_cluster_or_has_no_hops_left() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let packet = udp(plan.pod(4000), plan.outside(53), b"?");
        let outcome = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, packet));
        let mut last = udp(plan.pod(4000), plan.remote_pod(53), b"?");
        if plan.is_ipv6() {
            last[21] = 1;
        } else {
            last[22] = 1;
            let (ip, _) = etherparse::Ipv4Header::from_slice(&last[14..]).unwrap();
            last[24..26].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
        }
        let outcome = bench.run(Hook::FromPod, &last).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, last));
    }
}

#[test]
fn what_leaves_through_the_stack_comes_back_through_it() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (pod, vip, server) = (plan.pod(4000), plan.vip(443), plan.outside(6443));
        bench.service(id, vip, TCP, &[server], 0).unwrap();
        let outcome = bench
            .run(Hook::FromPod, &tcp(pod, vip, Tcp::Syn, b""))
            .unwrap();
        assert_eq!(
            (outcome.action, see(&outcome.bytes).destination),
            (NEXT, server)
        );
        let answer = tcp(server, pod, Tcp::SynAck, b"");
        let outcome = bench.run(Hook::FromNet, &answer).unwrap();
        assert_eq!(
            (outcome.action, &outcome.bytes),
            (NEXT, &answer),
            "netfilter sees the pair"
        );
        let outcome = bench.run(Hook::ToPod, &answer).unwrap();
        assert_eq!((outcome.action, see(&outcome.bytes).source), (NEXT, vip));
        // Connections that begin outside pass it by both ways.
        let (pod, outside) = (plan.pod(80), plan.outside(5000));
        let syn = tcp(outside, pod, Tcp::Syn, b"");
        assert_eq!(bench.run(Hook::FromNet, &syn).unwrap().action, REDIRECT);
        let answer = tcp(pod, outside, Tcp::SynAck, b"");
        assert_eq!(bench.run(Hook::FromPod, &answer).unwrap().action, REDIRECT);
    }
}

#[test]
fn without_bpf_forwarding_the_stack_has_everything() {
    let mut bench = Bench::new().unwrap();
    bench.configure(0).unwrap();
    for plan in FAMILIES {
        for to in [plan.neighbour(80), plan.remote_pod(80), plan.outside(80)] {
            let packet = tcp(plan.pod(4000), to, Tcp::Syn, b"");
            let outcome = bench.run(Hook::FromPod, &packet).unwrap();
            assert_eq!((outcome.action, outcome.bytes), (NEXT, packet));
        }
    }
}

#[test]
fn a_shaped_pod_is_reached_through_its_queue() {
    let mut bench = Bench::new().unwrap();
    for (plan, map) in FAMILIES.into_iter().zip(["LOCAL_PODS4", "LOCAL_PODS6"]) {
        if plan.is_ipv6() {
            shape::<[u32; 4]>(&mut bench, map);
        } else {
            shape::<u32>(&mut bench, map);
        }
        let packet = udp(plan.pod(1), plan.neighbour(2), b"");
        let outcome = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!(outcome.action, REDIRECT);
        assert_eq!(outcome.bytes[..12], [2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2]);
    }
}

fn shape<K: aya::Pod>(bench: &mut Bench, map: &str) {
    let mut pods = bench.hash::<K, LocalPod>(map).unwrap();
    let all: Vec<(K, LocalPod)> = pods.iter().map(Result::unwrap).collect();
    for (key, pod) in all {
        let flags = ENDPOINT_SHAPED;
        pods.insert(key, LocalPod { flags, ..pod }, 0).unwrap();
    }
}

#[test]
fn echoes_are_tracked_by_their_identifier() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let request = ping(plan.pod, plan.neighbour, 7, false);
        assert_eq!(bench.run(Hook::FromPod, &request).unwrap().action, REDIRECT);
        let protocol = if plan.is_ipv6() { 58 } else { 1 };
        let entry = bench
            .flow(1, plan.pod(7), plan.neighbour(7), protocol)
            .unwrap();
        assert!(entry.is_some());
        let reply = ping(plan.neighbour, plan.pod, 7, true);
        assert_eq!(
            bench.run(Hook::FromNeighbour, &reply).unwrap().action,
            REDIRECT
        );
    }
}

#[test]
fn other_protocols_than_ip_are_the_stacks() {
    let mut bench = Bench::new().unwrap();
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 8, 6]);
    arp.extend([0; 46]);
    for hook in [Hook::FromPod, Hook::ToPod, Hook::FromNet, Hook::ToNet] {
        assert_eq!(bench.run(hook, &arp).unwrap().action, NEXT);
    }
}
