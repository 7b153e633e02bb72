//! More links of a node: NICs in networks of their own, containers behind a bridge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::{
    node::Node,
    place::Place,
    pod::{Pod, Wiring},
};

/// Addresses of the fabric and of a node in a network: 172.30.NUMBER.0/24 and `fd30:NUMBER::/64`, as of the first.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Distinguishes it; 0 is that of the uplinks.
    pub number: u8,
}

impl Network {
    /// A member's addresses.
    pub fn member(self, last: u8) -> [IpAddr; 2] {
        let number = u16::from(self.number);
        [
            Ipv4Addr::new(172, 30, self.number, last).into(),
            Ipv6Addr::new(0xfd30, number, 0, 0, 0, 0, 0, last.into()).into(),
        ]
    }

    /// The fabric's addresses.
    pub fn fabric(self) -> [IpAddr; 2] {
        self.member(1)
    }

    /// `ip` commands that put a member's addresses on a link.
    fn addresses(self, link: &str, last: u8) -> String {
        let [v4, v6] = self.member(last);
        format!("addr add {v4}/24 dev {link}\naddr add {v6}/64 dev {link} nodad\n")
    }
}

impl Node {
    /// Another NIC, in a network of its own. Gives the node's addresses there; the fabric has those of
    /// [`Network::fabric`].
    pub fn nic(&self, name: &str, number: u8) -> Result<[IpAddr; 2]> {
        let network = Network { number };
        let world = self.world();
        let bridge = format!("br{number}");
        if world
            .outside()
            .run(&["ip", "link", "show", &bridge])
            .is_err()
        {
            world.outside().batch(&format!(
                "link add {bridge} type bridge\nlink set {bridge} up\n{}",
                network.addresses(&bridge, 1)
            ))?;
        }
        let last = 10 + self.index();
        let port = format!("port{number}-{last}");
        let holder = world.fabric_holder();
        self.batch(&format!(
            "link add {name} mtu 1500 type veth peer name {port} mtu 1500 netns {holder}\n\
             {}link set {name} up\n",
            network.addresses(name, last)
        ))?;
        let plug = format!("link set {port} master {bridge} up\n");
        world.outside().batch(&plug)?;
        Ok(network.member(last))
    }

    /// Puts a member's addresses of a network on a link that is there.
    pub fn address(&self, link: &str, network: Network) -> Result<[IpAddr; 2]> {
        let last = 10 + self.index();
        self.batch(&network.addresses(link, last))?;
        Ok(network.member(last))
    }

    /// A container that has nothing to do with Kubernetes, behind a bridge of the node that is made if need be, and
    /// outside of the agent's cgroup: no socket hook sees it. The node's addresses in that network are its gateways.
    pub fn container(&self, name: &str, bridge: &str, number: u8) -> Result<Pod> {
        let network = Network { number };
        let gateways = network.member(1);
        if self.run(&["ip", "link", "show", bridge]).is_err() {
            self.batch(&format!(
                "link add {bridge} type bridge\nlink set {bridge} up\n{}",
                network.addresses(bridge, 1)
            ))?;
        }
        self.run(&["ip", "netns", "add", name])?;
        self.run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        let cgroup = self.world().cgroup();
        let place = Place::new(
            &self.file(&format!("/run/netns/{name}")),
            &self.holder().namespace("mnt"),
            &self.holder().namespace("uts"),
            cgroup.child(&format!("{}-{name}", self.name()))?,
        )?;
        let host = format!("v{name}");
        self.batch(&format!(
            "link add {host} type veth peer name eth0 netns {name}\nlink set {host} master {bridge} up\n"
        ))?;
        let [v4, v6] = network.member(2);
        attach(&place, network, gateways)?;
        let (IpAddr::V4(v4), IpAddr::V6(v6)) = (v4, v6) else {
            anyhow::bail!("a member of a network has one address of each family");
        };
        Ok(Pod::new(name, self, place, Wiring::Plain, (v4, v6)))
    }
}

fn attach(place: &Place, network: Network, gateways: [IpAddr; 2]) -> Result<()> {
    let [v4, v6] = gateways;
    place.batch(&format!(
        "link set eth0 up\n{}route add default via {v4}\nroute add ::/0 via {v6}\n",
        network.addresses("eth0", 2)
    ))
}
