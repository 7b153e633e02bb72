//! An "Internet" beyond two routers, which knows the nodes' addresses and no pod's.
//!
//! ```text
//!   nodes - fabric wan0 198.51.100.1 - 198.51.100.2 isp 203.0.113.1 - 203.0.113.9 internet
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};

use super::{World, leak, place::Place};

/// Link between the fabric and the next router, by family: the fabric's address and the router's.
const WAN: [[&str; 2]; 2] = [
    ["198.51.100.1/24", "198.51.100.2/24"],
    ["2001:db8:51::1/64", "2001:db8:51::2/64"],
];

/// It, and the router before it; they go with it.
pub struct Internet {
    world: World,
    isp: Place,
    place: Place,
}

impl World {
    /// Makes it. The fabric routes to it, and counts what comes to it from pods' addresses.
    pub fn internet(&self) -> Result<Internet> {
        let internet = Internet {
            world: self.clone(),
            isp: self.beyond("isp")?,
            place: self.beyond("internet")?,
        };
        internet.wire().context("wire the Internet")?;
        Ok(internet)
    }

    /// A namespace of the fabric's.
    fn beyond(&self, name: &str) -> Result<Place> {
        let fabric = self.outside();
        fabric.run(&["ip", "netns", "add", name])?;
        fabric.run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        let cgroup = self.cgroup().child(name)?;
        let holder = &self.inner.holder;
        Place::new(
            &holder.path(&format!("/run/netns/{name}")),
            &holder.namespace("mnt"),
            &holder.namespace("uts"),
            cgroup,
        )
    }
}

impl Internet {
    fn wire(&self) -> Result<()> {
        let fabric = self.world.outside();
        let [[v4, isp4], [v6, isp6]] = WAN;
        let bare = |net: &'static str| net.split('/').next().unwrap_or_default();
        fabric.batch(&format!(
            "link add wan0 type veth peer name wan0 netns isp\n\
             addr add {v4} dev wan0\naddr add {v6} dev wan0 nodad\nlink set wan0 up\n"
        ))?;
        fabric.batch("link add far0 netns isp type veth peer name eth0 netns internet\n")?;
        self.isp.batch(&format!(
            "addr add {isp4} dev wan0\naddr add {isp6} dev wan0 nodad\nlink set wan0 up\n\
             addr add 203.0.113.1/24 dev far0\naddr add 2001:db8:113::1/64 dev far0 nodad\nlink set far0 up\n\
             route add 172.30.0.0/16 via {}\nroute add fd30::/16 via {}\n",
            bare(v4),
            bare(v6)
        ))?;
        self.place.batch(
            "addr add 203.0.113.9/24 dev eth0\naddr add 2001:db8:113::9/64 dev eth0 nodad\nlink set eth0 up\n\
             route add default via 203.0.113.1\nroute add ::/0 via 2001:db8:113::1\n",
        )?;
        fabric.batch(&format!(
            "route add 203.0.113.0/24 via {}\nroute add 2001:db8:113::/64 via {}\n",
            bare(isp4),
            bare(isp6)
        ))?;
        let forward =
            "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
        self.isp.run(&["sh", "-ec", forward])?;
        fabric.run_with_input(
            &["nft", "-f", "-"],
            "table inet leaks {\n\
             counter pods { }\n\
             chain watch {\n\
             type filter hook prerouting priority -300\n\
             ip saddr 10.244.0.0/16 counter name pods\n\
             ip6 saddr fd00:244::/32 counter name pods\n\
             }\n\
             }\n",
        )?;
        Ok(())
    }

    /// A host there.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [
            Ipv4Addr::new(203, 0, 113, 9).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 9).into(),
        ]
    }

    /// Its addresses with a port.
    pub fn at(&self, port: u16) -> [SocketAddr; 2] {
        self.addresses().map(|ip| SocketAddr::new(ip, port))
    }

    /// What a packet passes on its way there, after its node.
    pub fn routers(&self) -> [[IpAddr; 2]; 2] {
        let [_, isp4] = WAN[0];
        let [_, isp6] = WAN[1];
        let ip = |net: &str| {
            let bare = net.split('/').next().unwrap_or_default();
            bare.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        };
        [
            [Ipv4Addr::new(172, 30, 0, 1).into(), ip(isp4)],
            [Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 1).into(), ip(isp6)],
        ]
    }

    /// Lets no larger packets pass between the two routers.
    pub fn narrow(&self, mtu: u32) -> Result<()> {
        let narrow = format!("link set wan0 mtu {mtu}\n");
        self.world.outside().batch(&narrow)?;
        self.isp.batch(&narrow)
    }

    /// How many packets from pods' addresses came to the fabric's stack.
    pub fn leaked(&self) -> Result<u64> {
        let listed = ["nft", "list", "counter", "inet", "leaks", "pods"];
        let text = self.world.outside().run(&listed)?;
        let mut words = text.split_whitespace();
        words.find(|word| *word == "packets");
        let count = words.next().context("no count of packets")?;
        count.parse().context("count of packets")
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for name in ["isp", "internet"] {
            let place = if name == "isp" {
                &self.isp
            } else {
                &self.place
            };
            let ended = place.cgroup().remove();
            let deleted = self.world.outside().run(&["ip", "netns", "delete", name]);
            leak::report(ended.and(deleted.map(drop)));
        }
    }
}
