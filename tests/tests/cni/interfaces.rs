//! Two interfaces of one container: each has its own way out, and neither ends the other's.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::cni::{Container, Runtime};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];

/// A container with these interfaces, in this order, and the results of their ADDs.
fn wired(runtime: &Runtime, names: &[&str]) -> (Container, Vec<Value>) {
    let container = Container::new("a").unwrap();
    let results = names.iter().map(|name| {
        let added = runtime
            .call_for("ADD", &container, name, &runtime.config)
            .unwrap();
        assert_eq!(added.status, Some(0), "{name}: {added:?}");
        added.document
    });
    let results = results.collect();
    (container, results)
}

fn ips(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().unwrap().iter();
    let bare = ips.map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap());
    bare.map(|ip| ip.parse().unwrap()).collect()
}

/// The host asks a server at an address of the container, whose packets come back by that address' interface.
fn must_serve(runtime: &Runtime, container: &Container, name: &str, ip: IpAddr) {
    let at = SocketAddr::new(ip, 80);
    let listener = container
        .space
        .inside(|| Ok(TcpListener::bind(at)?))
        .unwrap();
    let serving = thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
    let text = runtime
        .host
        .inside(|| {
            let mut stream = TcpStream::connect_timeout(&at, Duration::from_millis(900))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
        .unwrap();
    assert_eq!(text, "hello");
    serving.join().unwrap();
    let to = if ip.is_ipv4() {
        "192.0.2.1"
    } else {
        "2001:db8::1"
    };
    let way = container
        .space
        .ip(&format!("route get {to} from {ip}"))
        .unwrap();
    assert!(way.contains(&format!("dev {name} ")), "{name}: {way}");
}

fn must_be_whole(runtime: &Runtime, container: &Container, name: &str, result: &Value) {
    let config = runtime.with(&json!({ "prevResult": result }));
    let checked = runtime.call_for("CHECK", container, name, &config).unwrap();
    assert_eq!(checked.status, Some(0), "{name}: {checked:?}");
    for ip in ips(result) {
        must_serve(runtime, container, name, ip);
    }
}

fn del(runtime: &Runtime, container: &Container, name: &str) {
    let deleted = runtime
        .call_for("DEL", container, name, &runtime.config)
        .unwrap();
    assert_eq!(
        (deleted.status, deleted.stderr.as_str()),
        (Some(0), ""),
        "{deleted:?}"
    );
}

/// Routes and rules of a container, without what the kernel makes by itself.
fn ways(container: &Container) -> String {
    let show = |what: &str| container.space.ip(what).unwrap();
    [
        "route show table main",
        "-6 route show table main",
        "rule",
        "-6 rule",
    ]
    .map(show)
    .join("")
}

#[test]
fn each_has_its_own_way_and_goes_alone() {
    for first_goes in [false, true] {
        let runtime = Runtime::new(&DUAL).unwrap();
        let names = ["eth0", "eth1", "net2"];
        let (container, results) = wired(&runtime, &names);
        for (name, result) in names.iter().zip(&results) {
            must_be_whole(&runtime, &container, name, result);
        }
        // What is not bound to another address leaves by the first.
        let way = container.space.ip("route get 192.0.2.1").unwrap();
        assert!(way.contains("dev eth0 "), "{way}");
        let goes = usize::from(!first_goes);
        del(&runtime, &container, names[goes]);
        for (n, name) in names.iter().enumerate().filter(|(n, _)| *n != goes) {
            must_be_whole(&runtime, &container, name, &results[n]);
        }
        for name in names {
            del(&runtime, &container, name);
        }
        runtime.nothing_left().unwrap();
        assert_eq!(ways(&container), ways(&Container::new("fresh").unwrap()));
    }
}

#[test]
fn check_names_what_a_second_one_lacks() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let (container, results) = wired(&runtime, &["eth0", "eth1"]);
    let config = runtime.with(&json!({ "prevResult": results[1] }));
    let ip = ips(&results[1])[0];
    container.space.ip(&format!("rule del from {ip}")).unwrap();
    let checked = runtime
        .call_for("CHECK", &container, "eth1", &config)
        .unwrap();
    assert_eq!(
        (checked.code(), checked.msg()),
        (
            102,
            format!("the container lacks the rule for packets from {ip}").as_str()
        )
    );
    must_be_whole(&runtime, &container, "eth0", &results[0]);
}

#[test]
fn beside_another_plugins_interface_its_routes_stay() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let container = Container::new("a").unwrap();
    for command in [
        "link add net1 type veth peer name peer1",
        "link set peer1 up",
        "addr add 198.51.100.2/24 dev net1",
        "link set net1 up",
        "route add default via 198.51.100.1",
    ] {
        container.space.ip(command).unwrap();
    }
    let before = container.space.ip("route get 203.0.113.1").unwrap();
    let added = runtime.add(&container).unwrap();
    assert_eq!(added.status, Some(0), "{added:?}");
    must_be_whole(&runtime, &container, "eth0", &added.document);
    assert_eq!(container.space.ip("route get 203.0.113.1").unwrap(), before);
    runtime.del(&container).unwrap();
    assert_eq!(container.space.ip("route get 203.0.113.1").unwrap(), before);
}
