//! What pods reach, and as whom they are seen.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use weir_tests::world::{Place, Server, Talk, ask_tcp, ask_udp, set_tx_checksum, until};

use super::bed::{Bed, MODES, PORT};

/// As somebody in the pod would do it; its output.
fn tool(place: &Place, words: &[&str]) -> String {
    place.run(words).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn the_internet_answers_pods_that_it_does_not_know() {
    for mode in MODES {
        let bed = Bed::start("out", mode, &[]);
        for offload in [true, false] {
            set_tx_checksum(&bed.pod, "eth0", offload).unwrap();
            for to in bed.internet.at(PORT) {
                bed.asks(&bed.pod, to);
                bed.asks(&bed.other, to);
                bed.talks(&bed.pod, to).stream(1 << 20).unwrap();
            }
        }
        bed.seen_only(bed.node().addresses());
        bed.is_tight();
    }
}

#[test]
fn ping_and_traceroute_show_the_way() {
    for mode in MODES {
        let bed = Bed::start("ping", mode, &[]);
        for (to, routers) in bed
            .internet
            .addresses()
            .into_iter()
            .zip(bed.internet.routers())
        {
            let family = if to.is_ipv4() { "-4" } else { "-6" };
            let address = to.to_string();
            for size in ["56", "4000"] {
                for pod in [&bed.pod, &bed.other] {
                    let ping = [
                        "busybox", "ping", family, "-c", "2", "-W", "3", "-s", size, &address,
                    ];
                    let said = tool(pod, &ping);
                    assert!(said.contains("2 packets received"), "{said}");
                }
            }
            let trace = if to.is_ipv4() {
                "traceroute"
            } else {
                "traceroute6"
            };
            let trace = [
                "busybox", trace, "-n", "-q", "1", "-w", "3", "-m", "6", &address,
            ];
            let said = tool(&bed.pod, &trace);
            let hops: Vec<&str> = said
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().nth(1))
                .collect();
            let way = [
                routers[0].to_string(),
                routers[1].to_string(),
                address.clone(),
            ];
            assert!(
                hops.len() == 4 && hops[1..] == way,
                "{said}\n{}",
                bed.said()
            );
        }
        bed.is_tight();
    }
}

/// Both ways there is no room for full packets, and whoever sends them is told.
#[test]
fn the_way_may_be_narrow() {
    for mode in MODES {
        let bed = Bed::start("narrow", mode, &[]);
        bed.internet.narrow(1280).unwrap();
        for to in bed.internet.at(PORT) {
            bed.talks(&bed.pod, to).stream(1 << 20).unwrap();
            // Datagrams are cut once the pod knows.
            let large = vec![7; 4000];
            until(
                "a large datagram and its answer",
                Duration::from_secs(20),
                || Ok(ask_udp(&bed.pod, to, &large).ok()),
            )
            .unwrap();
        }
        bed.seen_only(bed.node().addresses());
        bed.is_tight();
    }
}

#[test]
fn two_pods_use_one_port_of_their_own() {
    for mode in MODES {
        let bed = Bed::start("oneport", mode, &[]);
        for (family, to) in bed.internet.at(PORT).into_iter().enumerate() {
            let mut talks: Vec<Talk> = [&bed.pod, &bed.other]
                .into_iter()
                .map(|pod| {
                    let from = SocketAddr::new(pod.addresses()[family], 4000);
                    Talk::open_from(pod, from, to).unwrap()
                })
                .collect();
            for talk in talks.iter_mut().chain(&mut [bed.talks(&bed.pod, to)]) {
                talk.echo("there and back").unwrap();
            }
        }
        bed.seen_only(bed.node().addresses());
        bed.is_tight();
    }
}

/// By another link they have the node's address there; of its containers and its own sockets nothing changes.
#[test]
fn each_link_has_its_own_name_and_the_nodes_traffic_is_its_own() {
    for mode in MODES {
        let bed = Bed::start("links", mode, &[]);
        let second = bed.node().nic("eth1", 1).unwrap();
        let outside = bed.cluster.world().outside();
        let there = weir_tests::world::Network { number: 1 }.fabric();
        for (ip, own) in there.into_iter().zip(second) {
            let at = SocketAddr::new(ip, PORT);
            let server = Server::tcp(outside, at, "there").unwrap();
            // What is lost while the link is new is sent again.
            let answer = || Ok(ask_tcp(&bed.pod, at).ok());
            until("an answer by a new link", Duration::from_secs(20), answer).unwrap();
            seen_by(&server, own);
        }
        // The host's own port is not given to pods, nor is it changed.
        for (family, to) in bed.internet.at(PORT).into_iter().enumerate() {
            let from = SocketAddr::new(bed.node().addresses()[family], 20_001);
            let mut own = Talk::open_from(bed.node(), from, to).unwrap();
            let from = SocketAddr::new(bed.pod.addresses()[family], 20_001);
            let mut pods = Talk::open_from(&bed.pod, from, to).unwrap();
            for talk in [&mut own, &mut pods] {
                talk.echo("there and back").unwrap();
            }
        }
        bed.is_tight();
    }
}

fn seen_by(server: &Server, own: IpAddr) {
    let peers = server.peers();
    assert!(
        !peers.is_empty() && peers.iter().all(|peer| peer.ip() == own),
        "{peers:?}"
    );
}

impl Bed {
    fn asks_tcp(&self, place: &Place, to: SocketAddr) {
        ask_tcp(place, to).unwrap_or_else(|error| panic!("{to}: {error}\n{}", self.said()));
    }
}

/// Between pods, and from pods to nodes, everybody is who he is.
#[test]
fn inside_pods_are_seen_as_themselves() {
    for mode in MODES {
        let bed = Bed::start("inside", mode, &[]);
        let far = bed.cluster.pod(1, "far").unwrap();
        let node = bed.cluster.node(1);
        let own = bed.pod.addresses();
        for (family, own) in own.into_iter().enumerate() {
            for (place, ip) in [
                (&*far, far.addresses()[family]),
                (&*bed.other, bed.other.addresses()[family]),
                (&**node, node.addresses()[family]),
            ] {
                let at = SocketAddr::new(ip, PORT);
                let server = Server::tcp(place, at, "there").unwrap();
                bed.asks_tcp(&bed.pod, at);
                seen_by(&server, own);
            }
        }
    }
}
