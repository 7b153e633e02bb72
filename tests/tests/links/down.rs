//! The node's link goes down and comes up again, and gets another name: what the machine still has stays in force, and what it
//! lost on the way is put back.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use proxy_agent::datapath::Table as _;
use proxy_common::{
    address::{octets4, octets6},
    node::ADDRESS_NODE_PORT,
};
use weir_tests::{
    datapath::reader,
    world::{Node, ask_tcp, cluster::POD_PORT, until},
};

use super::lab::{HOST_PORT, Lab, NODE_PORT};

/// Longer than between two looks at the machine.
const DOWN: Duration = Duration::from_secs(8);
/// Who asks a frontend of which one backend is away asks again, and may be led there many times.
const LUCK: Duration = Duration::from_mins(1);
/// What is Weir's comes back within this time.
const BACK: Duration = Duration::from_secs(10);

/// By what the node is known, to programs and to the plugin.
#[derive(Debug, PartialEq)]
struct Known {
    addresses: [IpAddr; 2],
    /// Addresses that `NodePort`s have, but for those of one link alone: the kernel makes them when it comes up.
    serving: BTreeMap<IpAddr, u32>,
    pod_ranges: serde_json::Value,
}

fn known(node: &Node) -> Known {
    let reader = reader(node).unwrap();
    let maps = reader.maps();
    let config = maps.node_config.get(&0).unwrap().unwrap();
    let v4 = maps.node_addresses4.entries().unwrap().into_iter();
    let v4 = v4.map(|(address, flags)| (IpAddr::from(octets4(address)), flags));
    let v6 = maps.node_addresses6.entries().unwrap().into_iter();
    let v6 = v6.map(|(address, flags)| (Ipv6Addr::from(octets6(address)), flags));
    let v6 = v6.filter(|(address, _)| !address.is_unicast_link_local());
    let all = v4.chain(v6.map(|(address, flags)| (address.into(), flags)));
    let serving = all.filter(|(_, flags)| flags & ADDRESS_NODE_PORT != 0);
    let file = fs::read(node.file("/run/weir/node.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    Known {
        addresses: [
            octets4(config.address4).into(),
            octets6(config.address6).into(),
        ],
        serving: serving.collect(),
        pod_ranges: file["podCidrs"].clone(),
    }
}

/// Routes to the other node's pods.
fn routes(node: &Node) -> String {
    let of = |family| node.run(&["ip", family, "route", "show", "proto", "87"]);
    format!("{}{}", of("-4").unwrap(), of("-6").unwrap())
}

/// What needs no link still works: a pod of the node, its `hostPort`, and a `NodePort` by the node's own address.
fn serves_itself(lab: &Lab) {
    let node = lab.node();
    ask_tcp(node, SocketAddr::new(lab.near.ipv4().into(), POD_PORT)).unwrap();
    let own = node.ipv4().into();
    ask_tcp(&lab.near, SocketAddr::new(own, HOST_PORT)).unwrap();
    // Of its backends one is behind the link.
    let at = SocketAddr::new(own, NODE_PORT);
    until("an answer of the NodePort", LUCK, || {
        Ok(ask_tcp(&lab.near, at).ok())
    })
    .unwrap();
}

#[test]
fn what_the_machine_still_has_stays_while_its_link_is_down_or_renamed() {
    let lab = Lab::start("down", &[]);
    let (node, outside) = (lab.node(), lab.cluster.world().outside());
    // Else the kernel takes addresses of IPv6 away with the link, and whoever configures the host sets them anew.
    let keep = "echo 1 >/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down";
    node.run(&["sh", "-c", keep]).unwrap();
    lab.serves(outside, node.addresses());
    let (before, ways) = (known(node), routes(node));
    assert_eq!(ways.lines().count(), 2, "{ways}");

    node.batch("link set eth0 down\n").unwrap();
    let end = Instant::now() + DOWN;
    while Instant::now() < end {
        assert_eq!(known(node), before, "while the link is down");
        serves_itself(&lab);
        thread::sleep(Duration::from_millis(500));
    }
    node.batch("link set eth0 up\n").unwrap();
    until("routes to be back", BACK, || {
        Ok((routes(node) == ways).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", routes(node)));
    lab.serves(outside, node.addresses());

    node.batch("link set eth0 down\nlink set eth0 name lan0\nlink set lan0 up\n")
        .unwrap();
    let renamed = ways.replace("eth0", "lan0");
    until("routes by the new name", BACK, || {
        Ok((routes(node) == renamed).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", routes(node)));
    assert_eq!(known(node), before, "by another name");
    serves_itself(&lab);
    lab.serves(outside, node.addresses());
}
