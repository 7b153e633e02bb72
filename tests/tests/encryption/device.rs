//! The device without an agent: keys, peers and what the kernel makes of them.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use proxy_agent::{
    config::{Configuration, Encryption},
    node::encryption::{
        Encrypted, Peer, Ready, files::PRESENT, keeper::Keeper, key::PublicKey, link,
        rotation::Shown,
    },
    subject::Repairs,
};
use tempfile::TempDir;
use weir_tests::world::{Node, Server, World, ask_tcp, until};

use super::{
    bed::{PATIENCE, PORT, WIREGUARD},
    unable::has_wireguard,
    watch::Watch,
};

const MTU: u32 = 1440;

/// What a node's agent would have.
struct Side {
    node: Node,
    keeper: Keeper,
    config: Configuration,
    _folder: TempDir,
}

impl Side {
    fn new(node: Node) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Configuration {
            run_dir: folder.path().to_owned(),
            ..Configuration::default()
        };
        config.encryption.mode = Encryption::Wireguard;
        Self {
            node,
            keeper: Keeper::default(),
            config,
            _folder: folder,
        }
    }

    /// Does something in the node's network.
    fn here<T: Send>(&mut self, work: impl FnOnce(&mut Keeper, &Configuration) -> T + Send) -> T {
        let netns = self.node.netns().try_clone().unwrap();
        let (keeper, config) = (&mut self.keeper, &self.config);
        let enter_and_work = || {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work(keeper, config)
        };
        thread::scope(|scope| scope.spawn(enter_and_work).join()).unwrap()
    }

    fn prepare(&mut self) -> Ready {
        self.prepare_shown(None)
    }

    /// With this key at its Node.
    fn prepare_shown(&mut self, own: Option<PublicKey>) -> Ready {
        let shown = Shown { own, shared: false };
        self.here(|keeper, config| keeper.prepare(config, shown, &mut Repairs::default()))
    }

    /// Its key, with the device made and up.
    fn key(&mut self) -> PublicKey {
        let Ready::Able(key) = self.prepare() else {
            panic!("{:?}", self.keeper.problem());
        };
        self.here(|_, config| link::set_up(config.encryption.port).unwrap());
        key
    }

    /// Makes another node its only peer.
    fn meet(&mut self, other: &Node, key: PublicKey) {
        let own = other.addresses().map(|ip| ip.to_string());
        let allowed = other.pod_ranges().into_iter().chain(own);
        let peer = Peer {
            node: other.name().to_owned(),
            endpoint: SocketAddr::new(other.ipv4().into(), WIREGUARD),
            allowed: allowed.map(|range| range.parse().unwrap()).collect(),
        };
        let encrypted = Encrypted {
            peers: [(key, peer)].into(),
            mtu: MTU,
            ..Encrypted::default()
        };
        self.prepare();
        self.here(|keeper, _| {
            let failed = keeper.bring(&encrypted, 0, &mut Repairs::default());
            assert_eq!(failed, [""; 0]);
            keeper.leave(&encrypted).unwrap();
        });
        self.prepare();
        let device = self.keeper.device();
        let keys: Vec<PublicKey> = device.peers.keys().copied().collect();
        assert_eq!(keys, [key]);
        assert_eq!(device.peers[&key].allowed, encrypted.peers[&key].allowed);
        assert_eq!(device.port, WIREGUARD);
    }

    /// Gives the node's network addresses as pods have them, and ways to the other's.
    fn address(&self, other: &Node) {
        let [v4, v6] = pods(&self.node);
        let [far4, far6] = other.pod_ranges();
        let script = format!(
            "addr add {v4}/32 dev weir_wg\n\
             addr add {v6}/128 dev weir_wg nodad\n\
             route replace {far4} dev weir_wg src {v4}\n\
             route replace {far6} dev weir_wg src {v6}\n"
        );
        self.node.batch(&script).unwrap();
    }

    /// Waits until hands are shaken with a key.
    fn await_handshake(&mut self, key: PublicKey) {
        until("a handshake", PATIENCE, || {
            self.prepare();
            let shaken = self.keeper.device().peers[&key].handshake;
            Ok((shaken > Duration::ZERO).then_some(()))
        })
        .unwrap();
    }
}

/// The first address of each range of a node.
fn pods(node: &Node) -> [IpAddr; 2] {
    node.pod_ranges().map(|range| {
        let range = range.split('/').next().unwrap();
        let first = range.strip_suffix('0').unwrap_or(range);
        format!("{first}1").parse().unwrap()
    })
}

fn asks(from: &Side, to: &Side) {
    for ip in pods(&to.node) {
        let at = SocketAddr::new(ip, PORT);
        let _server = Server::tcp(&to.node, at, to.node.name()).unwrap();
        until(&format!("an answer of {at}"), PATIENCE, || {
            Ok(ask_tcp(&from.node, at).ok())
        })
        .unwrap();
    }
}

#[test]
fn devices_shake_hands_and_take_only_what_peers_may_send() {
    let world = World::new("device").unwrap();
    let mut a = Side::new(world.node("a").unwrap());
    let mut b = Side::new(world.node("b").unwrap());
    if !has_wireguard() {
        assert_eq!(a.prepare(), Ready::Unable);
        let problem = a.keeper.problem().unwrap();
        assert!(
            problem.contains("this kernel has no WireGuard"),
            "{problem}"
        );
        return;
    }
    let watch = Watch::on(world.outside());
    let (key_a, key_b) = (a.key(), b.key());
    assert_ne!(key_a, key_b);
    a.meet(&b.node, key_b);
    b.meet(&a.node, key_a);
    // Before anybody has sent anything.
    a.await_handshake(key_b);
    b.await_handshake(key_a);
    a.address(&b.node);
    b.address(&a.node);
    asks(&a, &b);
    asks(&b, &a);
    let seen = watch.take();
    assert_eq!(seen.clear, [""; 0]);
    assert!(seen.encrypted > 0);
    // One that speaks for an address that it does not have.
    let errors = |side: &Side| -> u64 {
        let file = "/sys/class/net/weir_wg/statistics/rx_frame_errors";
        let read = side.node.run(&["cat", file]).unwrap();
        read.trim().parse().unwrap()
    };
    let before = errors(&b);
    let [to, _] = pods(&b.node);
    for forged in ["10.244.9.9", "10.244.2.200", "198.51.100.1"] {
        a.node
            .batch(&format!("addr add {forged}/32 dev lo\n"))
            .unwrap();
        let forged: IpAddr = forged.parse().unwrap();
        let socket = a.node.udp(SocketAddr::new(forged, 4000)).unwrap();
        socket.send_to(b"!", SocketAddr::new(to, PORT)).unwrap();
    }
    until("forged packets to be dropped", PATIENCE, || {
        Ok((errors(&b) >= before + 3).then_some(()))
    })
    .unwrap();
    // Another key of the first, of which the second hears; the other's connections find a way again.
    std::fs::remove_file(a.config.run_dir.join(PRESENT)).unwrap();
    assert_eq!(a.prepare(), Ready::Able(key_a), "nobody can know another");
    let new = a.keeper.published().unwrap();
    assert_ne!(new, key_a);
    assert_eq!(a.prepare_shown(Some(new)), Ready::Able(new));
    b.meet(&a.node, new);
    b.await_handshake(new);
    asks(&a, &b);
    asks(&b, &a);
    // The device is gone, and comes back with the same key.
    a.node.batch("link del weir_wg\n").unwrap();
    assert_eq!(a.key(), new);
    a.meet(&b.node, key_b);
    a.address(&b.node);
    asks(&a, &b);
    assert_eq!(watch.take().clear, [""; 0]);
    let mtu = a.node.run(&["cat", "/sys/class/net/weir_wg/mtu"]).unwrap();
    assert_eq!(mtu.trim(), MTU.to_string());
}
