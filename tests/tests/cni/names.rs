//! Names at their longest, and IPv6 only where there is some.

use weir_tests::cni::{Container, Runtime, runtime};

/// The alias of the host side of a pod whose namespace and name have so many bytes together.
fn alias(runtime: &Runtime, bytes: usize, end: char) -> String {
    let container = Container::new("a").unwrap();
    let mut environment = runtime::of(&container);
    environment.retain(|(name, _)| *name != "CNI_ARGS");
    let name = format!("{}{end}", "p".repeat(bytes - 65));
    let arguments = format!("K8S_POD_NAMESPACE={};K8S_POD_NAME={name}", "n".repeat(63));
    environment.push(("CNI_ARGS", arguments));
    environment.push(("CNI_COMMAND", "ADD".to_owned()));
    let added = runtime
        .run(&environment, runtime.config.to_string().as_bytes())
        .unwrap();
    assert_eq!(added.status, Some(0), "{bytes}: {added:?}");
    let host = added.document["interfaces"][0]["name"].as_str().unwrap();
    let link = runtime.host.ip(&format!("link show {host}")).unwrap();
    runtime.del(&container).unwrap();
    link.split("alias ").nth(1).unwrap().trim().to_owned()
}

#[test]
fn a_pod_may_have_the_longest_name() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    for bytes in [200, 253, 254, 255, 256, 317] {
        let (one, other) = (alias(&runtime, bytes, 'x'), alias(&runtime, bytes, 'y'));
        assert_ne!(one, other, "two pods are told apart");
        let whole = one.ends_with('x') && one.len() == bytes;
        assert_eq!(whole, bytes <= 254, "{one}");
    }
    runtime.nothing_left().unwrap();
}

#[test]
fn ipv6_is_switched_on_only_where_there_is_an_address() {
    for (ranges, on) in [
        (&["10.244.1.0/24"][..], false),
        (&["10.244.1.0/24", "fd00::/64"], true),
    ] {
        let runtime = Runtime::new(ranges).unwrap();
        let container = Container::new("a").unwrap();
        for group in ["all", "default", "lo"] {
            container
                .space
                .sysctl(&format!("ipv6/conf/{group}/disable_ipv6"), "1")
                .unwrap();
        }
        let added = runtime.add(&container).unwrap();
        assert_eq!(added.status, Some(0), "{added:?}");
        let addresses = container.space.ip("-6 -o addr").unwrap();
        assert_eq!(addresses.contains("eth0"), on, "{addresses}");
        assert_eq!(addresses.contains("::1/128"), on, "{addresses}");
        let host = runtime.host.ip("-6 -o addr show scope link").unwrap();
        assert_eq!(host.contains("fe80::1/64"), on, "{host}");
        assert_eq!(host.lines().count(), usize::from(on), "{host}");
    }
}
