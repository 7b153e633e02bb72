//! Balancing at the socket, on the real kernel: real sockets of pods and of the node, Services written
//! straight into the maps, no tc program in the way.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use proxy_agent::datapath::{Datapath, Table as _};
use proxy_common::{
    backends::{MemberKey, SlotKey},
    frontends::{FLAG_INTERNAL_DROP, FLAG_NODE_PORT},
    node::NODE_SOCKET_BALANCING,
};
use weir_tests::{
    datapath::{self, ServicePort},
    served::serve_on,
    world::{Node, Place, Pod, Server, World, ask_tcp, until},
};

const VIPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 10)),
];

/// A node with its datapath, a client pod and server pods that answer with their names on port 8080.
struct Scene {
    // Dropped in this order: servers end before their pods.
    servers: Vec<Server>,
    pods: Vec<Pod>,
    client: Pod,
    datapath: Datapath,
    node: Node,
}

impl Scene {
    fn new(name: &str, backends: usize) -> Self {
        let node = World::new(name).unwrap().node("a").unwrap();
        let datapath = datapath::open(&node).unwrap();
        let client = node.plain_pod("client").unwrap();
        let mut scene = Self {
            servers: Vec::new(),
            pods: Vec::new(),
            client,
            datapath,
            node,
        };
        for index in 0..backends {
            let pod = scene.node.plain_pod(&format!("s{index}")).unwrap();
            scene.serve(&pod, 8080);
            scene.pods.push(pod);
        }
        scene
    }

    fn serve(&mut self, pod: &Pod, port: u16) {
        self.servers.extend(serve_on(pod, &[port]).unwrap());
    }

    /// Addresses of all servers, by family.
    fn backends(&self, family: usize) -> Vec<SocketAddr> {
        self.pods.iter().map(|p| p.at(8080)[family]).collect()
    }

    /// Declares TCP and UDP Services in both families with all servers behind them; returns where.
    fn services(&self) -> [SocketAddr; 2] {
        let frontends = VIPS.map(|ip| SocketAddr::new(ip, 80));
        for (family, at) in frontends.into_iter().enumerate() {
            let id = 10 * (family as u32 + 1);
            self.write(&ServicePort::tcp(id, at, &self.backends(family)));
            self.write(&ServicePort::udp(id + 1, at, &self.backends(family)));
        }
        frontends
    }

    fn write(&self, port: &ServicePort) {
        port.write(self.datapath.maps()).unwrap();
    }

    fn set_flags(&self, flags: u32) {
        let mut config = self.datapath.maps().node_config.clone();
        let mut value = config.get(&0).unwrap().unwrap();
        value.flags = flags;
        config.set(&0, &value).unwrap();
    }
}

#[test]
fn processes_reach_services_and_believe_to_talk_to_them() {
    let scene = Scene::new("reach", 2);
    let names = ["s0", "s1"];
    for at in scene.services() {
        let places: [&Place; 2] = [&scene.client, &scene.node];
        for place in places {
            let tcp = ask_tcp(place, at).unwrap();
            assert!(names.contains(&tcp.name.as_str()));
            assert_eq!(tcp.peer, at, "getpeername");
        }
    }
    let clients: BTreeSet<IpAddr> = scene
        .servers
        .iter()
        .flat_map(Server::peers)
        .map(|peer| peer.ip())
        .collect();
    for address in scene.client.addresses() {
        assert!(
            clients.contains(&address),
            "the client's own address arrives"
        );
    }
}

/// Where a flow follows its Service: a socket would keep a backend that is gone.
#[test]
fn datagrams_are_left_to_the_packet_path() {
    let scene = Scene::new("connected", 1);
    let nobody = SocketAddr::new(VIPS[0], 53);
    scene.write(&ServicePort::udp(40, nobody, &[]));
    for at in scene.services().into_iter().chain([nobody]) {
        let socket = udp(&scene.client, at);
        socket
            .connect(at)
            .expect("it never fails for want of endpoints");
        assert_eq!(socket.peer_addr().unwrap(), at);
    }
}

#[test]
fn ipv6_sockets_reach_ipv4_services() {
    let scene = Scene::new("mapped", 2);
    let [v4, _] = scene.services();
    let IpAddr::V4(vip) = v4.ip() else {
        unreachable!("the first frontend is IPv4")
    };
    let mapped = SocketAddr::new(vip.to_ipv6_mapped().into(), v4.port());
    let tcp = ask_tcp(&scene.client, mapped).unwrap();
    assert_eq!(tcp.peer, mapped);
}

#[test]
fn a_frontend_without_endpoints_refuses_at_once() {
    let scene = Scene::new("refuse", 0);
    for at in scene.services() {
        let places: [&Place; 2] = [&scene.client, &scene.node];
        for place in places {
            let error = ask_tcp(place, at).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        }
    }
}

#[test]
fn what_is_to_be_dropped_is_left_to_the_packet_path() {
    let scene = Scene::new("drop", 1);
    // The frontend is the address of a real server: what passes untranslated is seen to arrive there.
    let at = scene.backends(0)[0];
    let mut port = ServicePort::tcp(10, at, &[]);
    port.flags |= FLAG_INTERNAL_DROP;
    scene.write(&port);
    assert_eq!(ask_tcp(&scene.client, at).unwrap().name, "s0");
    port.flags &= !FLAG_INTERNAL_DROP;
    scene.write(&port);
    let error = ask_tcp(&scene.client, at).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn connections_are_spread() {
    let scene = Scene::new("spread", 4);
    for at in scene.services() {
        let seen: BTreeSet<String> = (0..100)
            .map(|_| ask_tcp(&scene.client, at).unwrap().name)
            .collect();
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
}

#[test]
fn the_protocol_is_part_of_the_frontend() {
    let scene = Scene::new("protocol", 2);
    let at = SocketAddr::new(VIPS[0], 53);
    let backends = scene.backends(0);
    scene.write(&ServicePort::tcp(10, at, &backends[..1]));
    scene.write(&ServicePort::udp(11, at, &backends[1..]));
    for _ in 0..8 {
        assert_eq!(ask_tcp(&scene.client, at).unwrap().name, "s0");
    }
}

#[test]
fn affinity_holds_until_it_times_out_or_the_backend_leaves() {
    let scene = Scene::new("affinity", 4);
    let mut maps = scene.datapath.maps().clone();
    for (family, ip) in VIPS.into_iter().enumerate() {
        let at = SocketAddr::new(ip, 80);
        let mut port = ServicePort::tcp(10 + family as u32, at, &scene.backends(family));
        port.affinity_seconds = 600;
        scene.write(&port);
        let first = ask_tcp(&scene.client, at).unwrap().name;
        for _ in 0..20 {
            assert_eq!(ask_tcp(&scene.client, at).unwrap().name, first);
        }
        // Another client has its own: among enough of them, somebody gets another backend. Here the client
        // moves because its backend is no longer a member.
        let (key, entry) = affinity_of(&scene, port.id);
        let member = MemberKey {
            set: port.id,
            backend: entry.backend,
        };
        maps.backend_members.remove(&member).unwrap();
        let moved = until("another backend", Duration::from_secs(10), || {
            let name = ask_tcp(&scene.client, at)?.name;
            Ok((name != first).then_some(name))
        });
        let moved = moved.unwrap();
        for _ in 0..20 {
            assert_eq!(ask_tcp(&scene.client, at).unwrap().name, moved);
        }
        // An entry that is too old counts as absent: it is written anew.
        let (_, mut entry) = affinity_of(&scene, port.id);
        let fresh = entry.last_used;
        entry.last_used = fresh.wrapping_sub(600);
        maps.affinity.set(&key, &entry).unwrap();
        let seen: BTreeSet<String> = (0..40)
            .map(|_| {
                maps.affinity.set(&key, &entry).unwrap();
                ask_tcp(&scene.client, at).unwrap().name
            })
            .collect();
        assert!(seen.len() > 1, "{seen:?}");
        let (_, entry) = affinity_of(&scene, port.id);
        assert!(entry.last_used >= fresh, "the time-out began anew");
    }
}

#[test]
fn node_ports_serve_on_node_addresses_and_the_nodes_loopback() {
    let scene = Scene::new("nodeport", 1);
    let anywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for family in 0..2 {
        let at = SocketAddr::new(anywhere[family], 30080);
        let id = 10 * (family as u32 + 1);
        let mut port = ServicePort::tcp(id, at, &scene.backends(family));
        port.flags |= FLAG_NODE_PORT;
        scene.write(&port);
        let on_node = SocketAddr::new(scene.node.addresses()[family], 30080);
        let on_loopback = SocketAddr::new(loopback[family], 30080);
        let from_node: &Place = &scene.node;
        let from_pod: &Place = &scene.client;
        for (place, to) in [
            (from_pod, on_node),
            (from_node, on_node),
            (from_node, on_loopback),
        ] {
            let tcp = ask_tcp(place, to).unwrap();
            assert_eq!((tcp.name.as_str(), tcp.peer), ("s0", to));
        }
        // A pod's loopback is the pod's.
        let error = ask_tcp(from_pod, on_loopback).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let of_pod = Server::tcp(from_pod, on_loopback, "own").unwrap();
        assert_eq!(ask_tcp(from_pod, on_loopback).unwrap().name, "own");
        drop(of_pod);
        // Another address of the machine that serves no node ports is left alone.
        let gateway = SocketAddr::new(scene.backends(family)[0].ip(), 30080);
        let error = ask_tcp(from_pod, gateway).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn balancing_can_be_turned_off() {
    let scene = Scene::new("off", 2);
    // The frontend is the address of a real server: what passes untranslated is seen to arrive there.
    let backends = scene.backends(0);
    scene.write(&ServicePort::tcp(10, backends[0], &backends[1..]));
    assert_eq!(ask_tcp(&scene.client, backends[0]).unwrap().name, "s1");
    scene.set_flags(0);
    assert_eq!(ask_tcp(&scene.client, backends[0]).unwrap().name, "s0");
    scene.set_flags(NODE_SOCKET_BALANCING);
    assert_eq!(ask_tcp(&scene.client, backends[0]).unwrap().name, "s1");
}

#[test]
fn a_slot_that_is_being_edited_gives_way() {
    let scene = Scene::new("slots", 3);
    let mut maps = scene.datapath.maps().clone();
    let backends = scene.backends(0);
    // Untranslated, s2 would answer.
    scene.write(&ServicePort::tcp(10, backends[2], &backends[..2]));
    maps.backend_slots
        .remove(&SlotKey { set: 10, index: 1 })
        .unwrap();
    for _ in 0..20 {
        assert_eq!(ask_tcp(&scene.client, backends[2]).unwrap().name, "s0");
    }
    maps.backend_slots
        .remove(&SlotKey { set: 10, index: 0 })
        .unwrap();
    assert_eq!(ask_tcp(&scene.client, backends[2]).unwrap().name, "s2");
}

#[test]
fn a_pod_reaches_itself_through_a_service() {
    let scene = Scene::new("hairpin", 1);
    for at in scene.services() {
        let pod = &scene.pods[0];
        assert_eq!(ask_tcp(pod, at).unwrap().peer, at);
    }
}

fn affinity_of(
    scene: &Scene,
    service: u32,
) -> (
    proxy_common::affinity::AffinityKey,
    proxy_common::affinity::Affinity,
) {
    let all = scene.datapath.maps().affinity.entries().unwrap();
    all.into_iter()
        .find(|(key, _)| key.service == service)
        .unwrap()
}

fn udp(place: &Place, towards: SocketAddr) -> UdpSocket {
    let any: IpAddr = if towards.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = place.udp(SocketAddr::new(any, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    socket
}
