//! Service.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnetwork::IpNetwork;

use super::{ForwardingMode, ObjectName, SharedList};

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => proxy_common::address::TCP,
            Self::Udp => proxy_common::address::UDP,
            Self::Sctp => proxy_common::address::SCTP,
        }
    }

    /// From an IP protocol number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            proxy_common::address::TCP => Some(Self::Tcp),
            proxy_common::address::UDP => Some(Self::Udp),
            proxy_common::address::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The name of any IP protocol; the number of one that has none here.
    pub fn name_of(number: u8) -> String {
        match (Self::from_number(number), number) {
            (Some(known), _) => known.to_string(),
            (None, proxy_common::address::ICMP) => "ICMP".to_owned(),
            (None, proxy_common::address::ICMPV6) => "ICMPv6".to_owned(),
            (None, other) => other.to_string(),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// `ClusterIP`.
    #[default]
    ClusterIp,
    /// `NodePort`.
    NodePort,
    /// `LoadBalancer`.
    LoadBalancer,
    /// `ExternalName`: never served.
    ExternalName,
}

/// A Service that this node serves (headless and `ExternalName` ones have no addresses). Small, for there may
/// be ten thousands: what few Services have is kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Name.
    pub name: ObjectName,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIPs` without `None`.
    pub cluster_ips: ClusterIps,
    /// Addresses beside the cluster IPs.
    pub external: Option<Box<External>>,
    /// Ports, shared with Services that have the same.
    pub ports: SharedList<ServicePort>,
    /// `spec.internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `spec.externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// The time-out of `sessionAffinity: ClientIP` in seconds, 0 for none.
    pub affinity_seconds: u32,
    /// `spec.healthCheckNodePort`, 0 for none.
    pub health_check_node_port: u16,
    /// Annotation `weir.dev/forwarding-mode`; none: as the node is configured.
    pub forwarding: Option<ForwardingMode>,
    /// `metadata.creationTimestamp`, seconds since 1970; 0 for none. Of two that want the same address the older one has it.
    pub created: i64,
}

impl Service {
    /// Whether it asks for packets to be relayed.
    pub fn asks_for_relay(&self) -> bool {
        self.forwarding.is_some_and(ForwardingMode::relays)
    }

    /// `spec.externalIPs`.
    pub fn external_ips(&self) -> &[IpAddr] {
        self.external.as_ref().map_or(&[], |e| &e.ips)
    }

    /// `status.loadBalancer.ingress[].ip` with `ipMode` VIP or none.
    pub fn load_balancer_ips(&self) -> &[IpAddr] {
        let external = self.external.as_ref();
        external.map_or(&[], |e| &e.load_balancer_ips)
    }

    /// What it asks of whoever gives addresses; none unless it is of `type: LoadBalancer`.
    pub fn load_balancer(&self) -> Option<&LoadBalancer> {
        self.external.as_ref()?.load_balancer.as_deref()
    }

    /// `spec.loadBalancerSourceRanges`.
    pub fn load_balancer_source_ranges(&self) -> &[IpNetwork] {
        let external = self.external.as_ref();
        external.map_or(&[], |e| &e.load_balancer_source_ranges)
    }
}

/// What a Service of `type: LoadBalancer` asks of whoever gives addresses, and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancer {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`.
    pub version: Box<str>,
    /// `spec.loadBalancerClass`.
    pub class: Option<Box<str>>,
    /// `spec.ipFamilies`: IPv4, IPv6.
    pub families: [bool; 2],
    /// `spec.ipFamilyPolicy: RequireDualStack`.
    pub needs_both: bool,
    /// Addresses that it asks for: of its annotation, else `spec.loadBalancerIP`.
    pub requested: Box<[IpAddr]>,
    /// What it asks for that is no address.
    pub mistake: Option<Box<str>>,
    /// Annotation `weir.dev/address-pool`.
    pub pool: Option<Box<str>>,
    /// Annotation `weir.dev/allow-shared-ip`: Services with the same may have the same address.
    pub sharing: Option<Box<str>>,
    /// `status.loadBalancer.ingress[].ip`, in whatever mode.
    pub given: Box<[IpAddr]>,
}

/// The addresses of a Service beside its cluster IPs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// `spec.externalIPs`.
    pub ips: Box<[IpAddr]>,
    /// `status.loadBalancer.ingress[].ip` with `ipMode` VIP or none.
    pub load_balancer_ips: Box<[IpAddr]>,
    /// `spec.loadBalancerSourceRanges`.
    pub load_balancer_source_ranges: Box<[IpNetwork]>,
    /// Of a Service of `type: LoadBalancer`.
    pub load_balancer: Option<Box<LoadBalancer>>,
}

impl External {
    /// To be kept in a Service: nothing, if there is nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// The cluster IPs of a Service: one of a family at most, as the API has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterIps {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl ClusterIps {
    /// The address of a family.
    pub fn of(&self, ipv6: bool) -> Option<IpAddr> {
        if ipv6 {
            self.v6.map(IpAddr::V6)
        } else {
            self.v4.map(IpAddr::V4)
        }
    }

    /// All addresses.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }
}

impl FromIterator<IpAddr> for ClusterIps {
    fn from_iter<T: IntoIterator<Item = IpAddr>>(addresses: T) -> Self {
        let mut ips = Self::default();
        for address in addresses {
            match address {
                IpAddr::V4(address) => _ = ips.v4.get_or_insert(address),
                IpAddr::V6(address) => _ = ips.v6.get_or_insert(address),
            }
        }
        ips
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Name, empty if the Service has one port only.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port that clients use.
    pub port: u16,
    /// Port on every node; 0 for none.
    pub node_port: u16,
}
