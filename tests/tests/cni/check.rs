//! CHECK: passes right after ADD, and names what is broken.

use weir_tests::cni::{Container, FakeAgent, Runtime};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

/// How something breaks, in the pod or on the host (`HOST` is the host's interface), and what CHECK says.
const BREAKAGES: [(bool, &str, &str); 8] = [
    (
        true,
        "link set eth0 down",
        "interface eth0 of the container is down",
    ),
    (
        true,
        "addr del 10.244.1.2/32 dev eth0",
        "eth0 of the container lacks 10.244.1.2",
    ),
    (
        true,
        "addr del fd00:244:1::2/128 dev eth0",
        "eth0 of the container lacks fd00:244:1::2",
    ),
    (
        true,
        "route del default",
        "the container lacks the default route via 169.254.1.1",
    ),
    (
        true,
        "-6 route del default",
        "the container lacks the default route via fe80::1",
    ),
    (
        true,
        "neigh del 169.254.1.1 dev eth0",
        "the container lacks the neighbour 169.254.1.1",
    ),
    (
        false,
        "route del 10.244.1.2",
        "the host lacks the route to 10.244.1.2 on HOST",
    ),
    (
        false,
        "link del HOST",
        "interface eth0 of the container is gone",
    ),
];

#[test]
fn names_what_is_broken() {
    for (pod, breakage, expected) in BREAKAGES {
        let runtime = Runtime::new(&DUAL).unwrap();
        let _agent = FakeAgent::start(&runtime.paths.socket()).unwrap();
        let container = Container::new("a").unwrap();
        let added = runtime.add(&container).unwrap().document;
        let sound = runtime.check(&container, &added).unwrap();
        assert_eq!(
            (sound.status, sound.stderr.as_str()),
            (Some(0), ""),
            "{sound:?}"
        );
        let host = &runtime.host.links().unwrap()[1];
        let at = if pod { &container.space } else { &runtime.host };
        at.ip(&breakage.replace("HOST", host)).unwrap();
        let broken = runtime.check(&container, &added).unwrap();
        assert_eq!(broken.code(), 102, "{breakage}: {broken:?}");
        assert_eq!(broken.msg(), expected.replace("HOST", host));
    }
}

#[test]
fn an_absent_agent_is_no_breakage() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let added = runtime.add(&container).unwrap().document;
    assert_eq!(runtime.check(&container, &added).unwrap().code(), 11);
}

#[test]
fn an_unknown_container_and_a_missing_result_have_their_codes() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let added = runtime.add(&container).unwrap().document;
    let stranger = Container::new("b").unwrap();
    assert_eq!(runtime.check(&stranger, &added).unwrap().code(), 3);
    let bare = runtime
        .call("CHECK", Some(&container), &runtime.config)
        .unwrap();
    assert_eq!((bare.code(), bare.msg()), (7, "missing prevResult"));
}
