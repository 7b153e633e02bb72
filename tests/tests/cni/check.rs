//! CHECK: passes right after ADD, and names what is broken.

use weir_tests::cni::{Container, Runtime};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

/// How something breaks, in the pod or on the host (`HOST` is the host's interface), and what CHECK says.
const BREAKAGES: [(bool, &str, &str); 13] = [
    (
        true,
        "link set eth0 down",
        "interface eth0 of the container is down",
    ),
    (
        true,
        "link set eth0 mtu 1450",
        "interface eth0 of the container has an MTU of 1450, more than 1400",
    ),
    (
        false,
        "link set HOST mtu 1300",
        "interface HOST of the host has an MTU of 1300, not 1400",
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
        "link set HOST address 02:00:00:00:00:01",
        "interface HOST of the host has another hardware address than ee:ee:ee:ee:ee:ee",
    ),
    (
        false,
        "neigh del 10.244.1.2 dev HOST",
        "the host does not know the hardware address of 10.244.1.2 on HOST",
    ),
    (
        false,
        "neigh replace fd00:244:1::2 lladdr 02:00:00:00:00:01 dev HOST",
        "the host does not know the hardware address of fd00:244:1::2 on HOST",
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
fn an_mtu_that_a_later_plugin_made_smaller_is_right_in_every_version() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let mut runtime = Runtime::new(&DUAL).unwrap();
        runtime.config["cniVersion"] = version.into();
        let container = Container::new("a").unwrap();
        // As `tuning` does it: the result is passed on as it was.
        let result = runtime.add(&container).unwrap().document;
        container.space.ip("link set eth0 mtu 1300").unwrap();
        let checked = runtime.check(&container, &result).unwrap();
        assert_eq!(checked.status, Some(0), "{version}: {checked:?}");
    }
}

#[test]
fn a_hardware_address_that_a_later_plugin_chose_is_right_once_the_host_knows_it() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let result = runtime.add(&container).unwrap().document;
    let mac = "02:00:00:00:00:99";
    container
        .space
        .ip(&format!("link set eth0 address {mac}"))
        .unwrap();
    let checked = runtime.check(&container, &result).unwrap();
    assert_eq!(checked.code(), 102, "{checked:?}");
    let host = &runtime.host.links().unwrap()[1];
    for ip in ["10.244.1.2", "fd00:244:1::2"] {
        runtime
            .host
            .ip(&format!("neigh replace {ip} lladdr {mac} dev {host}"))
            .unwrap();
    }
    let checked = runtime.check(&container, &result).unwrap();
    assert_eq!(checked.status, Some(0), "{checked:?}");
}

#[test]
fn an_absent_agent_is_no_breakage() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    let added = runtime.add(&container).unwrap().document;
    runtime.stop_agent().unwrap();
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
