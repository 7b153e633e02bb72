//! Kinds of links that lead by another one, and a TUN device.

use std::{net::SocketAddr, os::fd::AsFd as _, thread};

use nix::sched::{CloneFlags, setns};
use proxy_agent::node::encryption::{key::PrivateKey, plan::Change, wire::WireGuard};
use weir_tests::world::{Network, Node, Place, Tun};

/// UDP port of WireGuard.
const PORT: u16 = 51820;
/// By which the others lead.
const UPLINKS: Network = Network { number: 0 };

/// A kind.
pub(super) struct Kind {
    /// Of the link.
    pub(super) name: &'static str,
    how: How,
    /// What it carries: IPv4, IPv6.
    pub(super) families: [bool; 2],
    /// Whether its frames have an Ethernet header.
    pub(super) ethernet: bool,
}

/// How it is made.
#[derive(Clone, Copy)]
enum How {
    Tun,
    WireGuard,
    /// `ip link add NAME type` this, between two IPv4 addresses, with these words behind them.
    Over4(&'static str, &'static str),
    /// The same between IPv6 addresses.
    Over6(&'static str, &'static str),
}

/// All.
pub(super) const KINDS: [Kind; 9] = [
    bare("tun0", How::Tun, [true; 2]),
    bare("wg0", How::WireGuard, [true; 2]),
    bare("ipip1", How::Over4("ipip", ""), [true, false]),
    // What `sit` carries of IPv4 would come by `ipip`, between the same addresses.
    bare("sit1", How::Over4("sit", ""), [false, true]),
    bare("gre1", How::Over4("gre", ""), [true; 2]),
    bare("six1", How::Over6("ip6tnl", "mode any"), [true; 2]),
    bare("gre6", How::Over6("ip6gre", ""), [true; 2]),
    Kind {
        ethernet: true,
        ..bare("tap4", How::Over4("gretap", ""), [true; 2])
    },
    Kind {
        ethernet: true,
        ..bare("tap6", How::Over6("ip6gretap", ""), [true; 2])
    },
];

const fn bare(name: &'static str, how: How, families: [bool; 2]) -> Kind {
    Kind {
        name,
        how,
        families,
        ethernet: false,
    }
}

impl Kind {
    /// Makes one in each place, without addresses and not up; none if the kernel has no such kind.
    pub(super) fn make(&self, node: &Node, outside: &Place) -> Option<Vec<Tun>> {
        let ends = [(&**node, 11), (outside, 1)];
        match self.how {
            How::Tun => {
                return Some(vec![Tun::between(self.name, [node, outside]).unwrap()]);
            }
            How::WireGuard if !self.add(ends, [""; 2], "wireguard") => return None,
            How::WireGuard => self.meet(ends),
            How::Over4(kind, words) | How::Over6(kind, words) => {
                let family = usize::from(matches!(self.how, How::Over6(..)));
                let ways = [(11, 1), (1, 11)].map(|(own, other)| {
                    let [own, other] = [own, other].map(|last| UPLINKS.member(last)[family]);
                    format!("local {own} remote {other} {words}")
                });
                let ways = ways.each_ref().map(String::as_str);
                if !self.add(ends, ways, kind) {
                    return None;
                }
            }
        }
        Some(Vec::new())
    }

    /// Whether both could be made.
    fn add(&self, ends: [(&Place, u8); 2], ways: [&str; 2], kind: &str) -> bool {
        ends.into_iter().zip(ways).all(|((place, _), way)| {
            let line = format!("link add {} type {kind} {way}\n", self.name);
            let made = place.batch(&line).map_err(|error| format!("{error:#}"));
            match made {
                Err(error) if error.contains("Unknown device type") => false,
                made => made.is_ok_and(|()| true) || panic!("{line}"),
            }
        })
    }

    /// Makes the devices peers of each other.
    fn meet(&self, ends: [(&Place, u8); 2]) {
        let keys = [1, 2].map(|byte| PrivateKey([byte << 3; 32]));
        for (this, (place, _)) in ends.into_iter().enumerate() {
            let (_, other) = ends[1 - this];
            let change = Change::Set {
                endpoint: Some(SocketAddr::new(UPLINKS.member(other)[0], PORT)),
                allowed: ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap()).into(),
                keepalive: 0,
            };
            let (key, peer) = (&keys[this], keys[1 - this].public());
            let set = || {
                setns(place.netns().as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                let mut device = WireGuard::of(self.name).unwrap();
                device.set(key, PORT).unwrap();
                device.set_peer(peer, &change).unwrap();
            };
            thread::scope(|scope| scope.spawn(set).join()).unwrap();
        }
    }
}
