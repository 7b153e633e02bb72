//! `EndpointSlice` (discovery.k8s.io/v1).

use std::sync::Arc;

use super::{Endpoints, ObjectName, Protocol, SharedList};

/// An `EndpointSlice` of addresses (FQDN slices are not kept).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Name.
    pub name: ObjectName,
    /// The Service it belongs to (label `kubernetes.io/service-name`), in the same namespace.
    pub service: ObjectName,
    /// True for `addressType: IPv6`.
    pub ipv6: bool,
    /// Ports, shared with slices that have the same; those without a number are not kept.
    pub ports: SharedList<EndpointPort>,
    /// Endpoints.
    pub endpoints: Endpoints,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointPort {
    /// Name of the Service port it serves.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port that serves.
    pub port: u16,
}
