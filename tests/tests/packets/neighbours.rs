//! Neighbour discovery and multicast listeners, IPv6: what a link needs passes under any policy, but only on the link.

use std::net::IpAddr;

use weir_tests::packets::{Bench, Hook, NEXT, SHOT, V6, icmpv6};

/// Types of neighbour discovery that a pod may send.
const DISCOVERY: [u8; 3] = [133, 135, 136];
/// Types of multicast listeners.
const LISTENERS: [u8; 4] = [130, 131, 132, 143];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The pod and its neighbour are denied everything.
fn denied() -> Bench {
    let mut bench = Bench::new().unwrap();
    bench.policy(1, 0, 0).unwrap();
    bench.policy(2, 0, 0).unwrap();
    bench
}

fn verdict(bench: &mut Bench, hook: Hook, packet: &[u8]) -> (i32, Option<&'static str>) {
    let outcome = bench.run(hook, packet).unwrap();
    (outcome.action, outcome.drop)
}

#[test]
fn what_a_link_needs_passes_under_any_policy() {
    let mut bench = denied();
    let (own, none, link) = (V6.pod, address("::"), address("fe80::2"));
    for to in ["ff02::1:ff00:1", "fe80::1"]
        .map(address)
        .into_iter()
        .chain([V6.node])
    {
        for (kind, from) in DISCOVERY
            .iter()
            .flat_map(|kind| [(*kind, own), (*kind, none), (*kind, link)])
        {
            let packet = icmpv6(from, to, kind, 255, &[0; 16]);
            assert_eq!(
                verdict(&mut bench, Hook::FromPod, &packet),
                (NEXT, None),
                "{kind} from {from} to {to}"
            );
        }
    }
    for (kind, from) in LISTENERS
        .iter()
        .flat_map(|kind| [(*kind, none), (*kind, link)])
    {
        let packet = icmpv6(from, address("ff02::16"), kind, 1, &[0; 16]);
        assert_eq!(
            verdict(&mut bench, Hook::FromPod, &packet),
            (NEXT, None),
            "{kind} from {from}"
        );
    }
    let asked = icmpv6(address("fe80::1"), own, 135, 255, &[0; 16]);
    assert_eq!(
        verdict(&mut bench, Hook::ToPodFromHost, &asked),
        (NEXT, None)
    );
    let queried = icmpv6(address("fe80::1"), address("ff02::1"), 130, 1, &[0; 16]);
    assert_eq!(
        verdict(&mut bench, Hook::ToPodFromHost, &queried),
        (NEXT, None)
    );
}

#[test]
fn beyond_the_link_these_types_are_traffic_like_any_other() {
    let mut bench = denied();
    for kind in DISCOVERY.into_iter().chain(LISTENERS) {
        for (to, hops) in [
            (V6.outside, 255),
            (V6.remote_pod, 255),
            (V6.neighbour, 255),
            (V6.neighbour, 64),
            (V6.node, 64),
        ] {
            let packet = icmpv6(V6.pod, to, kind, hops, b"anything at all");
            assert_eq!(
                verdict(&mut bench, Hook::FromPod, &packet),
                (SHOT, Some("no-policy")),
                "{kind} to {to}, {hops} hops"
            );
        }
        // Forwarded by the stack of this node or of another.
        let packet = icmpv6(V6.remote_pod, V6.pod, kind, 63, b"anything at all");
        assert_eq!(
            verdict(&mut bench, Hook::ToPod, &packet),
            (SHOT, Some("no-policy")),
            "{kind} to the pod"
        );
    }
}

#[test]
fn a_pod_is_no_router_and_speaks_for_nobody_else() {
    let mut bench = Bench::new().unwrap();
    let spoofed = (SHOT, Some("spoofed-source"));
    let router = icmpv6(address("fe80::2"), address("ff02::1"), 134, 255, &[0; 16]);
    assert_eq!(verdict(&mut bench, Hook::FromPod, &router), spoofed);
    let other = icmpv6(V6.neighbour, address("ff02::1:ff00:1"), 136, 255, &[0; 16]);
    assert_eq!(verdict(&mut bench, Hook::FromPod, &other), spoofed);
}
