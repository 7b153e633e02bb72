//! Nodes change their addresses, go and come back, under traffic.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use weir_tests::world::{Agent, Node, Place, Server, Talk, ask_tcp, manifests::node_object, until};

use super::bed::{Bed, Mode, PATIENCE, PORT, serve};

/// Nodes on one link, by both ways; agents go by their Nodes.
pub(super) const WAYS: [Mode; 3] = [
    &["--node-address="],
    &["--node-address=", "--routing", "tunnel"],
    &["--node-address=", "--forwarding", "stack"],
];

/// Between two words.
const BEAT: Duration = Duration::from_millis(2);

/// Words on these connections meanwhile, all of which must come back; and how long the longest took.
pub(super) fn under_traffic(talks: &mut [Talk], bed: &Bed, change: impl FnOnce()) -> Duration {
    let over = AtomicBool::new(false);
    let mut longest = Duration::ZERO;
    thread::scope(|scope| {
        let going = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for talk in &mut *talks {
                    let began = Instant::now();
                    talk.echo("still there")
                        .unwrap_or_else(|error| panic!("{error}\n{}", bed.said()));
                    longest = longest.max(began.elapsed());
                }
                thread::sleep(BEAT);
            }
        });
        let end = End(&over);
        change();
        drop(end);
        going.join().unwrap();
    });
    longest
}

/// Ends the traffic, also when what goes on meanwhile fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives a node other addresses on its link.
fn move_to(node: &Node, new: [IpAddr; 2]) {
    let [v4, v6] = new;
    node.batch(&format!(
        "addr flush dev eth0 scope global\n\
         addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\n\
         route replace default via 172.30.0.1\nroute replace ::/0 via fd30::1\n"
    ))
    .unwrap();
}

/// The Node of a node with these addresses.
pub(super) fn tell(bed: &Bed, node: &Node, new: [IpAddr; 2]) {
    let listed = new.iter();
    let listed: Vec<_> = listed
        .map(|ip| json!({ "type": "InternalIP", "address": ip }))
        .collect();
    let mut object = node_object(node);
    object["status"]["addresses"] = listed.into();
    let file = format!("node-{}.yaml", node.name());
    bed.cluster
        .manifests()
        .apply_objects(&file, &[object])
        .unwrap();
}

/// Connections that wait as long as a stream may stand still.
pub(super) fn talks(bed: &Bed, to: &[SocketAddr]) -> Vec<Talk> {
    let open = |to: &SocketAddr| {
        let mut talk =
            Talk::open(&bed.near, *to).unwrap_or_else(|error| panic!("{error}\n{}", bed.said()));
        talk.stream(1 << 16).unwrap();
        talk
    };
    to.iter().map(open).collect()
}

/// Waits until an agent leads to this address what is for the pods of another node.
fn await_way(agent: &Agent, bed: &Bed, mode: Mode, to: IpAddr) {
    let words = to.to_string();
    until("the new way", PATIENCE, || {
        let said = if mode.contains(&"tunnel") {
            agent.proxyctl(&["dump", "tunnels"])?
        } else {
            let routes = ["ip", "route", "show", "proto", "87"];
            bed.node().run(&routes)?
        };
        let mut all = said.split_whitespace();
        Ok(all.any(|word| word == words).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
}

/// Asks by a datagram every few milliseconds until one is answered: a segment that is lost would be sent again after a second only.
fn await_datagram(bed: &Bed, from: &Place, to: SocketAddr) {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.udp(any.parse().unwrap()).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(BEAT * 5)).unwrap();
    let mut answer = [0; 64];
    until(&format!("an answer of {to}"), PATIENCE, || {
        // Refused while there is no way.
        socket.send(b"?").ok();
        Ok(socket.recv(&mut answer).ok())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
}

/// Pods keep theirs, and so all that they say to each other goes on; out of the cluster they speak in the new name.
#[test]
fn a_node_changes_its_addresses() {
    for mode in WAYS {
        let bed = Bed::on_a_link("moved", &["a", "b"], mode);
        let mut talks = talks(&bed, &bed.far.at(PORT));
        let node = bed.cluster.node(1);
        let new: [IpAddr; 2] = ["172.30.0.112".parse().unwrap(), "fd30::70".parse().unwrap()];
        let longest = under_traffic(&mut talks, &bed, || {
            move_to(node, new);
            let told = Instant::now();
            tell(&bed, node, new);
            await_way(bed.cluster.agent(0), &bed, mode, new[0]);
            println!("{mode:?}: a new way {:?} after the event", told.elapsed());
            for (far, near) in bed.far.at(PORT).into_iter().zip(bed.near.at(PORT)) {
                await_datagram(&bed, &bed.near, far);
                await_datagram(&bed, &bed.far, near);
            }
            println!("{mode:?}: all answer {:?} after the event", told.elapsed());
            for to in bed.far.at(PORT) {
                bed.asks(&bed.near, to, "far");
                bed.streams(&bed.near, to);
            }
        });
        println!("{mode:?}: the longest word took {longest:?}");
        for (own, there) in new.into_iter().zip(["172.30.0.1", "fd30::1"]) {
            let at = SocketAddr::new(there.parse().unwrap(), PORT);
            let server = Server::tcp(bed.cluster.world().outside(), at, "there").unwrap();
            until("the new name", PATIENCE, || {
                ask_tcp(&bed.far, at)?;
                let last = server.peers().last().copied();
                Ok(last.filter(|peer| peer.ip() == own))
            })
            .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", server.peers(), bed.said()));
        }
    }
}

/// With other addresses, as a machine that is set up anew. The others do not notice; connections that it had go on.
#[test]
fn a_node_goes_and_comes_back() {
    for mode in WAYS {
        let bed = Bed::on_a_link("lost", &["a", "b", "c"], mode);
        let lost = bed.cluster.pod(2, "lost").unwrap();
        let _servers = serve(&lost);
        let mut others = talks(&bed, &bed.far.at(PORT));
        let mut frozen = talks(&bed, &lost.at(PORT));
        let node = bed.cluster.node(2);
        let new: [IpAddr; 2] = ["172.30.0.113".parse().unwrap(), "fd30::71".parse().unwrap()];
        let longest = under_traffic(&mut others, &bed, || {
            node.batch("link set eth0 down\n").unwrap();
            bed.cluster.manifests().remove("node-c.yaml").unwrap();
            until("the node to be missed", PATIENCE, || {
                let log = bed.cluster.agent(0).log();
                Ok(log.contains("Node is gone from the API").then_some(()))
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
            node.batch("link set eth0 up\n").unwrap();
            move_to(node, new);
            let told = Instant::now();
            tell(&bed, node, new);
            for to in lost.at(PORT) {
                await_datagram(&bed, &bed.near, to);
            }
            println!("{mode:?}: it answers {:?} after the event", told.elapsed());
            for to in lost.at(PORT) {
                bed.asks(&bed.near, to, "lost");
            }
        });
        println!("{mode:?}: the longest word of others took {longest:?}");
        for talk in &mut frozen {
            talk.stream(1 << 16)
                .unwrap_or_else(|error| panic!("{error}\n{}", bed.said()));
        }
    }
}
