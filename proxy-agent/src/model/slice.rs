//! `EndpointSlice` (discovery.k8s.io/v1).

use std::{sync::Arc, time::SystemTime};

use super::{Endpoints, ObjectName, Protocol};

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
    pub ports: Box<[EndpointPort]>,
    /// Endpoints.
    pub endpoints: Endpoints,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`.
    pub trigger_time: Option<SystemTime>,
}

impl EndpointSlice {
    /// Whether another version of the slice serves the same (times of changes left aside).
    pub fn serves_as(&self, other: &Self) -> bool {
        self.service == other.service
            && self.ipv6 == other.ipv6
            && self.ports == other.ports
            && self.endpoints == other.endpoints
    }
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Name of the Service port it serves.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port that serves.
    pub port: u16,
}
