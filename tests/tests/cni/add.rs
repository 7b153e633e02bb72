//! ADD.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use serde_json::json;
use weir_tests::cni::{Container, Runtime, Space};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

/// One request and its answer, at the first attempt: an address that is not usable at once shows here.
fn ask(server: &Space, client: &Space, at: &str) {
    let at: SocketAddr = at.parse().unwrap();
    let listener = server.inside(|| Ok(TcpListener::bind(at)?)).unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        from.ip()
    });
    let text = client
        .inside(|| {
            let mut stream = TcpStream::connect_timeout(&at, Duration::from_millis(900))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
        .unwrap_or_else(|error| panic!("{at}: {error:#}"));
    assert_eq!(text, "hello");
    serving.join().unwrap();
}

#[test]
fn the_result_is_exact() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("0123abc").unwrap();
    let added = runtime.add(&container).unwrap();
    assert_eq!(added.status, Some(0), "{added:?}");
    let host = &added.document["interfaces"][0]["name"];
    assert_eq!(
        runtime.host.links().unwrap(),
        ["lo", host.as_str().unwrap()]
    );
    let mac = &added.document["interfaces"][1]["mac"];
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": host, "mac": "ee:ee:ee:ee:ee:ee", "mtu": 1400 },
            { "name": "eth0", "mac": mac, "mtu": 1400, "sandbox": container.space.path() },
        ],
        "ips": [
            { "address": "10.244.1.2/32", "gateway": "169.254.1.1", "interface": 1 },
            { "address": "fd00:244:1::2/128", "gateway": "fe80::1", "interface": 1 },
        ],
        "routes": [
            { "dst": "0.0.0.0/0", "gw": "169.254.1.1" },
            { "dst": "::/0", "gw": "fe80::1" },
        ],
        "dns": {},
    });
    assert_eq!(added.document, expected);
    let link = container.space.ip("link show eth0").unwrap();
    assert!(
        link.contains("mtu 1400") && link.contains(mac.as_str().unwrap()),
        "{link}"
    );
}

#[test]
fn the_result_is_in_the_version_of_the_configuration() {
    let runtime = Runtime::new(&DUAL).unwrap();
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let container = Container::new(&format!("v{version}")).unwrap();
        let config = runtime.with(&json!({ "cniVersion": version }));
        let added = runtime.call("ADD", Some(&container), &config).unwrap();
        assert_eq!(added.document["cniVersion"], version, "{added:?}");
        assert_eq!(added.document["interfaces"][0].get("mtu"), None);
        let old = version != "1.0.0";
        assert_eq!(
            added.document["ips"][0].get("version"),
            old.then_some(&json!("4"))
        );
        assert_eq!(
            added.document["ips"][1].get("version"),
            old.then_some(&json!("6"))
        );
    }
}

#[test]
fn host_and_pods_reach_each_other_at_once() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let (a, b) = (Container::new("a").unwrap(), Container::new("b").unwrap());
    runtime.add(&a).unwrap();
    ask(&a.space, &runtime.host, "10.244.1.2:80");
    ask(&a.space, &runtime.host, "[fd00:244:1::2]:80");
    let second = runtime.add(&b).unwrap();
    assert_eq!(second.ips(), ["10.244.1.3", "fd00:244:1::3"]);
    ask(&b.space, &a.space, "10.244.1.3:80");
    ask(&b.space, &a.space, "[fd00:244:1::3]:80");
    ask(&runtime.host, &b.space, "192.0.2.1:80");
    ask(&runtime.host, &b.space, "[2001:db8::1]:80");
}

#[test]
fn the_hosts_side_is_in_operation_when_the_plugin_is_done() {
    let runtime = Runtime::new(&DUAL).unwrap();
    for number in 0..30 {
        let container = Container::new(&format!("c{number}")).unwrap();
        let added = runtime.add(&container).unwrap();
        let host = added.document["interfaces"][0]["name"].clone();
        let link = runtime
            .host
            .ip(&format!("link show {}", host.as_str().unwrap()))
            .unwrap();
        assert!(link.contains("state UP"), "pod {number}: {link}");
    }
}

#[test]
fn the_host_never_asks_for_a_pod_and_the_pod_never_for_its_gateway() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    runtime.add(&container).unwrap();
    for space in [&runtime.host, &container.space] {
        for family in ["-4", "-6"] {
            let known = space
                .ip(&format!("{family} neigh show nud permanent"))
                .unwrap();
            assert!(known.contains("PERMANENT"), "{known}");
        }
    }
    let addresses = container.space.ip("-6 addr").unwrap();
    assert!(!addresses.contains("tentative"), "{addresses}");
}

#[test]
fn one_family_is_enough() {
    for (range, ip) in [("10.9.0.0/24", "10.9.0.2"), ("fd09::/64", "fd09::2")] {
        let runtime = Runtime::new(&[range]).unwrap();
        let container = Container::new("a").unwrap();
        assert_eq!(runtime.add(&container).unwrap().ips(), [ip]);
        runtime.del(&container).unwrap();
        runtime.nothing_left().unwrap();
    }
}

#[test]
fn thirty_at_once_get_addresses_of_their_own() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let containers: Vec<_> = (0..30)
        .map(|n| Container::new(&format!("c{n}")).unwrap())
        .collect();
    let ips: Vec<String> = thread::scope(|scope| {
        let adding: Vec<_> = containers
            .iter()
            .map(|container| scope.spawn(|| runtime.add(container).unwrap()))
            .collect();
        adding
            .into_iter()
            .flat_map(|added| {
                let added = added.join().unwrap();
                assert_eq!(added.status, Some(0), "{added:?}");
                added.ips()
            })
            .collect()
    });
    assert_eq!(ips.iter().collect::<BTreeSet<_>>().len(), 60);
    thread::scope(|scope| {
        for container in &containers {
            scope.spawn(|| runtime.del(container).unwrap());
        }
    });
    runtime.nothing_left().unwrap();
}

#[test]
fn an_interface_that_is_there_is_left_alone() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    runtime.add(&container).unwrap();
    let again = runtime.add(&container).unwrap();
    assert_eq!(
        (again.code(), again.msg()),
        (100, "interface eth0 exists in the container")
    );
    assert_eq!(runtime.state().unwrap().leases.len(), 1);
}

#[test]
fn a_full_range_says_so_and_takes_nothing() {
    let runtime = Runtime::new(&["10.244.1.0/29", "fd00::/64"]).unwrap();
    let containers: Vec<_> = (0..7)
        .map(|n| Container::new(&format!("c{n}")).unwrap())
        .collect();
    for container in &containers[..6] {
        assert_eq!(runtime.add(container).unwrap().status, Some(0));
    }
    let full = runtime.add(&containers[6]).unwrap();
    assert_eq!(full.code(), 100);
    assert_eq!(
        full.msg(),
        "no free pod IPv4 in 10.244.1.0/29 (6 used, 0 cooling)"
    );
    assert_eq!(runtime.state().unwrap().leases.len(), 6);
    assert_eq!(containers[6].space.links().unwrap(), ["lo"]);
    runtime.del(&containers[0]).unwrap();
    let cooling = runtime.add(&containers[6]).unwrap();
    assert_eq!(
        cooling.msg(),
        "no free pod IPv4 in 10.244.1.0/29 (5 used, 1 cooling)"
    );
}

#[test]
fn what_an_earlier_boot_gave_is_forgotten() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let old = Container::new("old").unwrap();
    runtime.add(&old).unwrap();
    runtime
        .host
        .ip(&format!("link del {}", &runtime.host.links().unwrap()[1]))
        .unwrap();
    for path in [
        runtime.paths.ipam(),
        runtime.paths.attachments().join("old:eth0.json"),
    ] {
        let text = std::fs::read_to_string(&path).unwrap();
        let boot = cni_plugin::node_file::boot_id().unwrap();
        std::fs::write(&path, text.replace(&boot, "another-boot")).unwrap();
    }
    let new = Container::new("new").unwrap();
    assert_eq!(
        runtime.add(&new).unwrap().ips(),
        ["10.244.1.2", "fd00:244:1::2"]
    );
    // The runtime takes the old sandbox down now: what the new pod has is not touched.
    let late = runtime.del(&old).unwrap();
    assert_eq!(late.status, Some(0));
    assert_eq!(runtime.state().unwrap().leases.len(), 1);
    ask(&new.space, &runtime.host, "10.244.1.2:80");
}
