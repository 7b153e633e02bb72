//! Pod to pod: tracking, time-outs, forged sources, ways out of the node.

use proxy_common::{
    address::{TCP, UDP},
    conntrack::{FLOW_ASSURED, FLOW_REPLIED},
    endpoints::{ENDPOINT_QUEUED, ENDPOINT_SHAPED, Endpoint},
};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, NEXT, REDIRECT, SHOT, Tcp, ping, see, segment, tcp, udp,
};

#[test]
fn a_connection_between_pods_is_one_flow() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let (a, b) = (plan.pod(4000), plan.neighbour(80));
        let syn = tcp(a, b, Tcp::Syn, b"");
        let outcome = bench.run(Hook::FromPod, &syn).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        assert_eq!(
            rest(&outcome.bytes),
            rest(&syn),
            "between pods of a node no packet is changed"
        );
        assert_eq!(
            outcome.bytes[..6],
            [2, 0, 0, 0, 1, 1],
            "the pod's own address"
        );
        let sent = bench.flow(a, b, TCP).unwrap().unwrap();
        let received = bench.flow(b, a, TCP).unwrap().unwrap();
        assert_eq!(sent.slot, received.slot, "both directions are one flow");
        assert_eq!((sent.direction, received.direction), (0, 1));
        assert_eq!((sent.flags(), sent.facts.endpoint), (0, [1, 2]));
        assert_eq!(sent.targets, [(a, b), (b, a)]);

        let answer = tcp(b, a, Tcp::SynAck, b"");
        let outcome = bench.run(Hook::FromNeighbour, &answer).unwrap();
        assert_eq!(
            (outcome.action, rest(&outcome.bytes)),
            (REDIRECT, rest(&answer))
        );
        assert_eq!(
            bench.flow(a, b, TCP).unwrap().unwrap().flags(),
            FLOW_REPLIED
        );
        bench.run(Hook::FromPod, &tcp(a, b, Tcp::Ack, b"")).unwrap();
        let flags = bench.flow(b, a, TCP).unwrap().unwrap().flags();
        assert_eq!(flags, FLOW_REPLIED | FLOW_ASSURED);
    }
}

/// A frame behind its hardware addresses.
fn rest(frame: &[u8]) -> &[u8] {
    &frame[12..]
}

#[test]
fn closing_shortens_the_life_of_a_flow_and_a_syn_reopens_it() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let (a, b) = (plan.pod(4000), plan.neighbour(80));
        let expires = |bench: &mut Bench| bench.flow(a, b, TCP).unwrap().unwrap().facts.expires;
        bench.run(Hook::FromPod, &tcp(a, b, Tcp::Syn, b"")).unwrap();
        let begun = expires(&mut bench);
        bench
            .run(Hook::FromNeighbour, &tcp(b, a, Tcp::SynAck, b""))
            .unwrap();
        bench.run(Hook::FromPod, &tcp(a, b, Tcp::Ack, b"")).unwrap();
        let open = expires(&mut bench);
        assert!(open - begun > 80_000, "it lives for a day: {begun} {open}");
        let fin = segment(a, b, Tcp::Fin, [1001, 501]);
        bench.run(Hook::FromPod, &fin).unwrap();
        let left = expires(&mut bench);
        assert!(
            left > begun + 3000 && left < open,
            "its receiver may be gone: {left}"
        );
        let elsewhere = segment(b, a, Tcp::Ack, [501, 1001]);
        bench.run(Hook::FromNeighbour, &elsewhere).unwrap();
        assert!(
            expires(&mut bench) >= open,
            "who speaks and has not acknowledged it goes on"
        );
        let answer = segment(b, a, Tcp::Ack, [501, 1002]);
        bench.run(Hook::FromNeighbour, &answer).unwrap();
        let half = expires(&mut bench);
        assert!(
            half > begun + 3000 && half < open,
            "one side may go on sending for an hour: {half}"
        );
        let fin = segment(b, a, Tcp::Fin, [501, 1002]);
        bench.run(Hook::FromNeighbour, &fin).unwrap();
        assert!(expires(&mut bench) >= half);
        let last = segment(a, b, Tcp::Ack, [1002, 502]);
        bench.run(Hook::FromPod, &last).unwrap();
        let closing = bench.flow(a, b, TCP).unwrap().unwrap();
        assert!(begun > closing.facts.expires, "closed: {closing:?}");
        assert!(closing.facts.head.is_closed());
        bench.run(Hook::FromPod, &tcp(a, b, Tcp::Syn, b"")).unwrap();
        let again = bench.flow(a, b, TCP).unwrap().unwrap();
        assert_eq!(again.flags(), 0, "{again:?}");
        assert!(
            again.facts.expires < open,
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
    let mut interfaces = bench.hash::<u32, u32>("INTERFACES").unwrap();
    let keys: Vec<u32> = interfaces.keys().map(Result::unwrap).collect();
    for key in keys {
        interfaces.remove(&key).unwrap();
    }
    for id in 1..=2 {
        let mut endpoints = bench.array("ENDPOINTS").unwrap();
        endpoints.set(id, Endpoint::default(), 0).unwrap();
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
        let entry = bench.flow(a, b, UDP).unwrap().unwrap();
        assert_eq!((entry.flags(), entry.facts.endpoint), (0, [1, 0]));
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
    let mut endpoints = bench.array::<Endpoint>("ENDPOINTS").unwrap();
    let pod = endpoints.get(&2, 0).unwrap();
    let flags = ENDPOINT_SHAPED;
    endpoints.set(2, Endpoint { flags, ..pod }, 0).unwrap();
    for plan in FAMILIES {
        let packet = udp(plan.pod(1), plan.neighbour(2), b"");
        let outcome = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!(outcome.action, REDIRECT);
        assert_eq!(outcome.bytes[..12], [2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2]);
    }
}

/// Gives the pod these flags.
fn flag(bench: &mut Bench, flags: u32) {
    let mut endpoints = bench.array::<Endpoint>("ENDPOINTS").unwrap();
    let pod = endpoints.get(&1, 0).unwrap();
    endpoints.set(1, Endpoint { flags, ..pod }, 0).unwrap();
}

#[test]
fn what_a_limited_pod_sends_goes_through_its_queue_before_anybody_judges_it() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let packet = udp(plan.pod(1), plan.neighbour(2), b"");
        // While its flow is not known, and when it is.
        for is_known in [false, true] {
            flag(&mut bench, ENDPOINT_QUEUED);
            let outcome = bench.run(Hook::FromPod, &packet).unwrap();
            assert_eq!((outcome.action, &outcome.bytes), (REDIRECT, &packet));
            let flow = bench.flow(plan.pod(1), plan.neighbour(2), UDP).unwrap();
            assert_eq!(flow.is_some(), is_known);
            flag(&mut bench, 0);
            let outcome = bench.run(Hook::FromPod, &packet).unwrap();
            assert_eq!(outcome.action, REDIRECT);
            assert_ne!(outcome.bytes, packet, "delivered");
        }
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
            .flow(plan.pod(7), plan.neighbour(7), protocol)
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
