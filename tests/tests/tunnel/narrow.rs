//! A router on the way between nodes has less room than their links.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_tests::world::{Place, Pod, Talk, until};

use super::bed::{Bed, MODES, Mode, PATIENCE, PORT};

/// Bytes of a datagram that needs all the room that pods have been given.
const FULL: usize = 1500 - 70 - 48;
/// Port of who sends datagrams back.
const ECHO: u16 = PORT + 1;

/// What is put around a packet.
fn around(mode: Mode) -> u32 {
    if mode.contains(&"ipv6") { 70 } else { 50 }
}

impl Bed {
    /// Has the router pass only packets of this length to nodes, and tell who sends longer ones.
    fn narrow(&self, mtu: u32) {
        for node in [0, 1] {
            let [v4, v6] = self.cluster.node(node).addresses();
            let routes = format!(
                "route replace {v4}/32 dev br0 mtu lock {mtu}\nroute replace {v6}/128 dev br0 mtu lock {mtu}\n"
            );
            self.cluster.world().outside().batch(&routes).unwrap();
        }
    }

    /// Has the router count what comes in pieces.
    fn count_pieces(&self) {
        let rules = "table inet pieces {\n\
             counter pieces { }\n\
             chain watch {\n\
             type filter hook prerouting priority -450\n\
             ip frag-off & 0x3fff != 0 counter name pieces\n\
             exthdr frag exists counter name pieces\n\
             }\n\
             }\n";
        let outside = self.cluster.world().outside();
        outside.run_with_input(&["nft", "-f", "-"], rules).unwrap();
    }

    fn pieces(&self) -> u64 {
        let listed = ["nft", "list", "counter", "inet", "pieces", "pieces"];
        let text = self.cluster.world().outside().run(&listed).unwrap();
        let mut words = text.split_whitespace();
        words.find(|word| *word == "packets");
        words.next().unwrap().parse().unwrap()
    }

    /// Connections from one pod to another carry much in both directions.
    fn carries(&self, from: &Pod, to: &Pod, what: &str) {
        for to in to.at(PORT) {
            let talk = Talk::open(from, to).and_then(|mut talk| talk.stream(1 << 18));
            talk.unwrap_or_else(|error| panic!("{what}: {to}: {error}\n{}", self.said()));
        }
    }

    /// Datagrams as long as pods may send them come and go, cut by whoever may.
    fn datagrams(&self, from: &Pod, to: &Pod, what: &str) {
        for at in to.at(ECHO) {
            let server = to.udp(at).unwrap();
            server
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| send_back(&server, &over));
                let done = until(&format!("{what}: long datagrams of {at}"), PATIENCE, || {
                    Ok(is_sent_back(from, at))
                });
                over.store(true, Ordering::Relaxed);
                done.unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
            });
        }
    }
}

fn send_back(server: &UdpSocket, over: &AtomicBool) {
    let mut room = [0; FULL + 1];
    while !over.load(Ordering::Relaxed) {
        if let Ok((length, from)) = server.recv_from(&mut room) {
            // Refused when its sender was told that it is too long: the next one is cut.
            server.send_to(&room[..length], from).ok();
        }
    }
}

/// Whether several datagrams one after the other come back.
fn is_sent_back(from: &Place, to: SocketAddr) -> Option<()> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.udp(any.parse().unwrap()).unwrap();
    socket.connect(to).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut room = [0; FULL + 1];
    for byte in 0..4 {
        let sent = [byte; FULL];
        socket.send(&sent).ok()?;
        let length = socket.recv(&mut room).ok()?;
        (room[..length] == sent).then_some(())?;
    }
    Some(())
}

/// Whether new sockets forbid others to cut their datagrams.
fn forbid_cutting(pod: &Pod, forbid: bool) {
    let (file, value) = (
        "/proc/sys/net/ipv4/ip_no_pmtu_disc",
        if forbid { "0" } else { "1" },
    );
    pod.run(&["sh", "-c", &format!("echo {value} >{file}")])
        .unwrap();
}

/// Of every kind, by every way: who sends too much is told, by whoever knows it first; nothing is cut on the network.
#[test]
fn a_router_may_have_less_room() {
    for mode in MODES {
        let bed = Bed::start("router", mode, &[]);
        bed.count_pieces();
        let open = |(from, to): (&Pod, SocketAddr)| Talk::open(from, to).unwrap();
        let forth = bed.far.at(PORT).map(|to| open((&bed.near, to)));
        let back = bed.near.at(PORT).map(|to| open((&bed.far, to)));
        let mut talks: Vec<Talk> = forth.into_iter().chain(back).collect();
        for talk in &mut talks {
            talk.stream(1 << 18).unwrap();
        }
        bed.narrow(1290 + around(mode));
        for talk in &mut talks {
            talk.stream(1 << 18)
                .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{}", bed.said()));
        }
        bed.carries(&bed.near, &bed.far, "forth");
        bed.carries(&bed.far, &bed.near, "back");
        for forbid in [true, false] {
            for pod in [&bed.near, &bed.far] {
                forbid_cutting(pod, forbid);
            }
            bed.datagrams(&bed.near, &bed.far, "forth");
            bed.datagrams(&bed.far, &bed.near, "back");
        }
        assert_eq!(bed.pieces(), 0, "{mode:?}\n{}", bed.said());
        // The node's own processes, to which the kernel tells it.
        for to in bed.far.at(PORT) {
            bed.streams(bed.node(), to);
        }
        bed.is_tight();
    }
}

/// Nobody may be told that 1280 bytes of IPv6 are too much: what is around them is cut where it must be.
#[test]
fn a_router_may_have_too_little_room_for_ipv6() {
    for mode in [MODES[0], MODES[2]] {
        let bed = Bed::start("little", mode, &[]);
        bed.narrow(1300);
        bed.carries(&bed.near, &bed.far, "forth");
        bed.carries(&bed.far, &bed.near, "back");
        bed.datagrams(&bed.near, &bed.far, "forth");
        bed.datagrams(&bed.far, &bed.near, "back");
        bed.is_tight();
    }
}
