//! The cluster as Weir sees it: our own types, nothing of kube behind this line.
//!
//! Values are parsed and validated once, in `observe`; from here on an address is an address. A
//! [`Snapshot`] is one consistent view of all stores.

pub mod direction;
pub mod dirty;
pub mod endpoint_here;
pub mod endpoints;
pub mod few;
pub mod forwarding_mode;
pub mod full;
pub mod host_port;
pub mod labels;
pub mod limits;
pub mod name;
pub mod network;
pub mod network_policy;
pub mod node;
mod notice;
mod owned;
pub mod pod;
pub mod pod_ips;
pub mod selector;
pub mod service;
pub mod shared_list;
pub mod slice;
pub mod snapshot;
pub mod uid;
pub mod wire;

pub use direction::Direction;
pub use dirty::{Dirty, Stamp, Trigger};
pub use endpoint_here::LocalEndpoint;
pub use endpoints::{Conditions, Endpoint, EndpointState, Endpoints, NodeHint, Placement};
pub use few::Few;
pub use forwarding_mode::ForwardingMode;
pub use full::full;
pub use host_port::HostPort;
pub use labels::Labels;
pub use limits::{Asked, AskedLimits};
pub use name::ObjectName;
pub use network::NetworkUnavailable;
pub use network_policy::{NetworkPolicy, Peer, PolicyPort, PolicyRule};
pub use node::{Node, Refused, overlap};
pub use notice::{EventReason, Notice};
pub use owned::{Mended, Owned};
pub use pod::{ContainerPort, Namespace, Pod, PodExtras};
pub use pod_ips::PodIps;
pub use selector::{LabelSelector, Operator, Requirement};
pub use service::{
    ClusterIps, External, LoadBalancer, Protocol, Service, ServicePort, ServiceType,
};
pub use shared_list::SharedList;
pub use slice::{EndpointPort, EndpointSlice};
pub use snapshot::{Completeness, Kind, Snapshot};
pub use uid::Uid;
pub use wire::Wire;
