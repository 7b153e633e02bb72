//! The addresses of a bench, for each family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who is where.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The pod on whose interface programs run.
    pub pod: IpAddr,
    /// Another pod of this node.
    pub neighbour: IpAddr,
    /// A pod of another node.
    pub remote_pod: IpAddr,
    /// This node.
    pub node: IpAddr,
    /// This node's second address, which serves no `NodePort`s.
    pub second: IpAddr,
    /// Its loopback.
    pub loopback: IpAddr,
    /// Somebody outside, on the uplink's network.
    pub outside: IpAddr,
    /// A Service's address.
    pub vip: IpAddr,
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, host))
}

/// IPv4.
pub const V4: Plan = Plan {
    pod: v4(10, 1, 0, 2),
    neighbour: v4(10, 1, 0, 3),
    remote_pod: v4(10, 2, 0, 2),
    node: v4(192, 0, 2, 1),
    second: v4(192, 0, 2, 2),
    loopback: v4(127, 0, 0, 1),
    outside: v4(192, 0, 2, 9),
    vip: v4(10, 96, 0, 1),
};

/// IPv6.
pub const V6: Plan = Plan {
    pod: v6(1, 2),
    neighbour: v6(1, 3),
    remote_pod: v6(2, 2),
    node: v6(3, 1),
    second: v6(3, 2),
    loopback: IpAddr::V6(Ipv6Addr::LOCALHOST),
    outside: v6(3, 9),
    vip: v6(0x96, 1),
};

/// Both.
pub const FAMILIES: [Plan; 2] = [V4, V6];

impl Plan {
    /// Whether this is the plan of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.pod.is_ipv6()
    }

    /// The pod, at a port.
    pub fn pod(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.pod, port)
    }

    /// The other pod of this node, at a port.
    pub fn neighbour(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.neighbour, port)
    }

    /// The pod of another node, at a port.
    pub fn remote_pod(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.remote_pod, port)
    }

    /// This node, at a port.
    pub fn node(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.node, port)
    }

    /// This node's second address, at a port.
    pub fn second(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.second, port)
    }

    /// This node's loopback, at a port.
    pub fn loopback_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.loopback, port)
    }

    /// Somebody outside, at a port.
    pub fn outside(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.outside, port)
    }

    /// The Service, at a port.
    pub fn vip(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.vip, port)
    }
}
