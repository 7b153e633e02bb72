//! A pod that sends from addresses that are not its own: nothing of it arrives, and the drops are counted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use weir_tests::{
    datapath::drops,
    served::{Pair, serve},
    world::{Node, Place, Pod, Server, World, cluster::POD_PORT, http_get, until},
};

const PATIENCE: Duration = Duration::from_secs(5);
/// The agent counts every quarter of a minute.
const COUNTED: Duration = Duration::from_mins(1);
/// Addresses of nobody in the world.
const FOREIGN: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)),
];

/// Gives a pod addresses that are another's.
fn take(pod: &Pod, [v4, v6]: [IpAddr; 2]) {
    pod.batch(&format!(
        "addr add {v4}/32 dev eth0\naddr add {v6}/128 dev eth0 nodad\n"
    ))
    .unwrap();
}

/// Sends a datagram from an address that the pod has taken.
fn send(from: &Place, source: IpAddr, to: SocketAddr) {
    let socket = from.udp(SocketAddr::new(source, 0)).unwrap();
    socket.send_to(b"it was not me", to).unwrap();
}

fn clients(servers: &[Server]) -> Vec<IpAddr> {
    let peers = servers.iter().flat_map(Server::peers);
    peers.map(|peer| peer.ip()).collect()
}

/// Routing's own check of sources stops some of it too: without it, only the programs do.
fn check_no_sources(node: &Node) {
    let scopes = "/proc/sys/net/ipv4/conf/*/rp_filter";
    let off = format!("for scope in {scopes}; do echo 0 >$scope; done");
    node.run(&["sh", "-c", &off]).unwrap();
}

/// The counter-check: without programs, such a datagram does arrive.
#[test]
fn nothing_but_the_programs_stops_it() {
    let node = World::new("spoof-plain").unwrap().node("a").unwrap();
    let [liar, victim, server] =
        ["liar", "victim", "server"].map(|name| node.plain_pod(name).unwrap());
    check_no_sources(&node);
    let servers = serve(&server).unwrap();
    take(&liar, victim.addresses());
    for (source, to) in victim.addresses().into_iter().zip(server.at(POD_PORT)) {
        send(&liar, source, to);
        until("the datagram to arrive", PATIENCE, || {
            Ok(clients(&servers).contains(&source).then_some(()))
        })
        .unwrap();
    }
}

/// A question from the pod's own address is answered, so it is the source that decides.
fn ask_as_oneself(pod: &Pod, to: [SocketAddr; 2]) {
    for (own, to) in pod.at(0).into_iter().zip(to) {
        let socket = pod.udp(own).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"it is me", to).unwrap();
        socket.recv(&mut [0; 64]).unwrap();
    }
}

fn spoofed_sources_are_dropped(mode: &[&str]) {
    let pair = Pair::start("spoof", &["a", "b"], mode).unwrap();
    pair.await_answers().unwrap();
    let [liar, victim] = ["liar", "victim"].map(|name| pair.cluster.pod(0, name).unwrap());
    let node = pair.cluster.node(0);
    let dropped = || drops(node).unwrap().get("spoofed-source").copied();
    assert_eq!(dropped(), None, "honest pods lose nothing");

    let targets = [pair.near.at(POD_PORT), pair.far.at(POD_PORT), pair.to];
    let mut lies = 0;
    for sources in [victim.addresses(), node.addresses(), FOREIGN] {
        take(&liar, sources);
        for to in targets {
            for (source, to) in sources.into_iter().zip(to) {
                send(&liar, source, to);
                lies += 1;
                let what = format!("{source} to {to} to be dropped");
                until(&what, PATIENCE, || {
                    Ok((dropped() == Some(lies)).then_some(()))
                })
                .unwrap();
            }
        }
    }
    for to in targets {
        ask_as_oneself(&liar, to);
    }
    let honest = [pair.client.addresses(), liar.addresses()].concat();
    let seen = clients(&pair.servers);
    assert!(seen.iter().all(|peer| honest.contains(peer)), "{seen:?}");

    let line = format!("weir_drops_total{{reason=\"spoofed-source\"}} {lies}\n");
    until("the drops in the metrics", COUNTED, || {
        let (_, text) = http_get(node, ([127, 0, 0, 1], 10249).into(), "/metrics")?;
        Ok(text.contains(&line).then_some(()))
    })
    .unwrap();
}

#[test]
fn another_source_is_dropped_behind_the_socket_path() {
    spoofed_sources_are_dropped(&[]);
}

#[test]
fn another_source_is_dropped_packet_by_packet() {
    spoofed_sources_are_dropped(&["--socket-balancing", "false"]);
}

#[test]
fn another_source_is_dropped_on_the_way_through_the_stack() {
    spoofed_sources_are_dropped(&["--socket-balancing", "false", "--forwarding", "stack"]);
}
