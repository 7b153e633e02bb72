//! Addresses that somebody else on the machine uses are never given out; those that rest are, by a clock that cannot
//! jump.

use std::time::Duration;

use weir_tests::{
    cni::{Container, Runtime},
    world::until,
};

const DUAL: [&str; 2] = ["10.244.1.0/29", "fd00:244:1::/64"];

/// What another plugin's pod, or the machine, leaves in the host's namespace; and the address that is in use by it.
const SIGNS: [(&str, &str); 8] = [
    // ptp, Calico: a route to the pod alone.
    ("route add 10.244.1.2 dev old", "10.244.1.2"),
    (
        "route add 10.244.1.2/32 via 198.51.100.9 dev old",
        "10.244.1.2",
    ),
    ("-6 route add fd00:244:1::2 dev old", "fd00:244:1::2"),
    // bridge: what the bridge has learnt.
    (
        "neigh add 10.244.1.2 lladdr 02:00:00:00:00:01 dev old nud permanent",
        "10.244.1.2",
    ),
    (
        "neigh add 10.244.1.2 lladdr 02:00:00:00:00:01 dev old nud stale",
        "10.244.1.2",
    ),
    (
        "-6 neigh add fd00:244:1::2 lladdr 02:00:00:00:00:01 dev old nud reachable",
        "fd00:244:1::2",
    ),
    // The bridge's own address, since the agent wrote `node.json`.
    ("addr add 10.244.1.2/29 dev old", "10.244.1.2"),
    ("addr add fd00:244:1::2/64 dev old nodad", "fd00:244:1::2"),
];

#[test]
fn what_others_use_is_not_given_out() {
    for (sign, taken) in SIGNS {
        let runtime = Runtime::new(&DUAL).unwrap();
        for command in [
            "link add old type veth peer name oldpeer",
            "link set oldpeer up",
            "addr add 198.51.100.1/24 dev old",
            "link set old up",
            sign,
        ] {
            runtime.host.ip(command).unwrap();
        }
        if sign.starts_with("addr") {
            // The kernel makes an address its own a moment later.
            until("the address to be local", Duration::from_secs(5), || {
                let way = runtime.host.ip(&format!("route get {taken}"))?;
                Ok(way.contains("local").then_some(()))
            })
            .unwrap();
        }
        let container = Container::new("a").unwrap();
        let ips = runtime.add(&container).unwrap().ips();
        let expected = ["10.244.1.2", "fd00:244:1::2"].map(|ip| {
            let third = ip.replace("1.2", "1.3").replace("::2", "::3");
            if ip == taken { third } else { ip.to_owned() }
        });
        assert_eq!(ips, expected, "{sign}");
    }
}

#[test]
fn a_range_that_others_use_up_says_so_and_serves_when_they_are_gone() {
    let runtime = Runtime::new(&["10.244.1.0/30"]).unwrap();
    runtime
        .host
        .ip("link add old type veth peer name oldpeer")
        .unwrap();
    runtime.host.ip("link set oldpeer up").unwrap();
    runtime.host.ip("link set old up").unwrap();
    for ip in ["10.244.1.2", "10.244.1.3"] {
        runtime.host.ip(&format!("route add {ip} dev old")).unwrap();
    }
    let container = Container::new("a").unwrap();
    let full = runtime.add(&container).unwrap();
    assert_eq!(
        (full.code(), full.msg()),
        (
            100,
            "no free pod IPv4 in 10.244.1.0/30 (0 used, 0 cooling, 2 in use by others)"
        )
    );
    assert!(runtime.state().unwrap().leases.is_empty());
    runtime.host.ip("link del old").unwrap();
    assert_eq!(runtime.add(&container).unwrap().status, Some(0));
}

#[test]
fn a_step_of_the_calendar_keeps_no_address_back() {
    let runtime = Runtime::new(&["10.244.1.0/29"]).unwrap();
    for n in 0..6 {
        let container = Container::new(&format!("c{n}")).unwrap();
        assert_eq!(runtime.add(&container).unwrap().status, Some(0));
        runtime.del(&container).unwrap();
    }
    // As an older version left it, which stamped by the calendar.
    let mut state = runtime.state().unwrap();
    assert_eq!(state.released.len(), 6);
    for released in &mut state.released {
        released.at = 1_800_000_000;
    }
    state.write(&runtime.paths.ipam()).unwrap();
    let container = Container::new("next").unwrap();
    assert_eq!(
        runtime.add(&container).unwrap().code(),
        100,
        "they rest from now on"
    );
    until("a rest under pressure", Duration::from_secs(20), || {
        Ok((runtime.add(&container)?.status == Some(0)).then_some(()))
    })
    .unwrap();
}
