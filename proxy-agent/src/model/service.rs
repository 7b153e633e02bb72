//! Service.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use ipnetwork::IpNetwork;

use super::ObjectName;

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

/// `spec.trafficDistribution` (`PreferClose` is `PreferSameZone`, KEP-3015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficDistribution {
    /// Endpoints hinted for this node's zone.
    PreferSameZone,
    /// Endpoints hinted for this node, then its zone.
    PreferSameNode,
}

/// A Service that this node serves (headless and `ExternalName` ones have no addresses).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Name.
    pub name: ObjectName,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIPs` without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` with `ipMode` VIP or none.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`.
    pub load_balancer_source_ranges: Vec<IpNetwork>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// `spec.internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `spec.externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// `sessionAffinity: ClientIP` and its time-out.
    pub affinity: Option<Duration>,
    /// `spec.healthCheckNodePort`, 0 for none.
    pub health_check_node_port: u16,
    /// Topology preference.
    pub traffic_distribution: Option<TrafficDistribution>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
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
