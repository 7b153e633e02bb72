//! `EndpointSlice` (discovery.k8s.io/v1).

use std::{net::IpAddr, time::SystemTime};

use super::{ObjectName, Protocol};

/// An `EndpointSlice` of addresses (FQDN slices are not kept).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Name.
    pub name: ObjectName,
    /// The Service it belongs to (label `kubernetes.io/service-name`), in the same namespace.
    pub service: ObjectName,
    /// True for `addressType: IPv6`.
    pub ipv6: bool,
    /// Ports; those without a number are not kept.
    pub ports: Vec<EndpointPort>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`.
    pub trigger_time: Option<SystemTime>,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Name of the Service port it serves.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port that serves.
    pub port: u16,
}

/// An endpoint of a slice. Conditions that are nil have their defaults: ready and serving, not terminating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `addresses[0]`.
    pub address: IpAddr,
    /// `conditions.ready`.
    pub ready: bool,
    /// `conditions.serving`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
    /// `nodeName`.
    pub node: Option<String>,
    /// `hints.forZones[].name`.
    pub for_zones: Vec<String>,
    /// `hints.forNodes[].name`.
    pub for_nodes: Vec<String>,
}
