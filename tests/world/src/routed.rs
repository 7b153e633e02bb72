//! Nodes that see each other through a router only, which knows no pods.

use anyhow::{Context as _, Result};

use super::{World, node::Node};

impl World {
    /// Makes the fabric a router between nodes that are [`Node::behind_router`]: what comes from or goes to an address that it
    /// does not know is counted and dropped.
    pub fn route_nodes(&self) -> Result<()> {
        let fabric = self.outside();
        let settings = "for conf in all br0; do echo 0 >/proc/sys/net/ipv4/conf/$conf/send_redirects; done; \
             echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
        fabric.run(&["sh", "-ec", settings])?;
        fabric.run_with_input(
            &["nft", "-f", "-"],
            "table inet strict {\n\
             counter pods { }\n\
             chain watch {\n\
             type filter hook prerouting priority -300\n\
             ip saddr 10.244.0.0/16 counter name pods drop\n\
             ip daddr 10.244.0.0/16 counter name pods drop\n\
             ip6 saddr fd00:244::/32 counter name pods drop\n\
             ip6 daddr fd00:244::/32 counter name pods drop\n\
             }\n\
             }\n",
        )?;
        Ok(())
    }

    /// How many packets with a pod's address came to the router.
    pub fn strangers(&self) -> Result<u64> {
        let listed = ["nft", "list", "counter", "inet", "strict", "pods"];
        let text = self.outside().run(&listed)?;
        let mut words = text.split_whitespace();
        words.find(|word| *word == "packets");
        let count = words.next().context("no count of packets")?;
        count.parse().context("count of packets")
    }
}

impl Node {
    /// Gives the node addresses without a network, and the fabric as the router to all others; nothing passes on the link itself.
    pub fn behind_router(&self) -> Result<()> {
        let (v4, v6) = (self.ipv4(), self.ipv6());
        let port = format!("port{}", self.index());
        self.world()
            .outside()
            .run(&["bridge", "link", "set", "dev", &port, "isolated", "on"])?;
        self.batch(&format!(
            "addr flush dev eth0 scope global\n\
             addr add {v4}/32 dev eth0\n\
             addr add {v6}/128 dev eth0 nodad\n\
             route replace 172.30.0.1/32 dev eth0 scope link src {v4}\n\
             route replace fd30::1/128 dev eth0\n\
             route replace default via 172.30.0.1 src {v4}\n\
             route replace ::/0 via fd30::1\n"
        ))
    }
}
