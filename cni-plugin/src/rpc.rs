//! What the plugin and the agent say to each other: one JSON document per line over a unix stream socket.
//!
//! The plugin connects to [`crate::paths::Paths::socket`], writes one [`Request`] line, reads one
//! [`Response`] line and closes. A stream and not packets, because the agent's runtime has no packet
//! sockets. Unknown fields are ignored on both sides, so that fields may be added; a change of meaning
//! raises [`VERSION`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

mod line;

pub use line::{MAX_LINE, read_line, write_line};

/// Version of this protocol.
pub const VERSION: u32 = 1;

/// A request with the version that its sender speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// What is asked.
    #[serde(flatten)]
    pub call: Call,
}

impl Request {
    /// A request of this version.
    pub const fn new(call: Call) -> Self {
        Self {
            version: VERSION,
            call,
        }
    }
}

/// What the plugin asks of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Call {
    /// Take this interface in: answered with `Ok` only when its programs are attached and the pod's policy
    /// is in force.
    Add(Box<Add>),
    /// Forget this interface; unknown ones are no error.
    Del(Key),
    /// Is this interface in force?
    Check(Key),
}

/// Name of an attachment: a container and one of its interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// `CNI_CONTAINERID`: the sandbox, new for every attempt.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

/// An interface that has been wired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Add {
    /// Container and interface.
    #[serde(flatten)]
    pub key: Key,
    /// `CNI_NETNS`, as the runtime's mount namespace sees it.
    pub netns: String,
    /// `SO_NETNS_COOKIE` of the pod's network namespace; 0 if unknown.
    pub netns_cookie: u64,
    /// Name of the host side.
    pub host_ifname: String,
    /// Interface index of the host side.
    pub host_ifindex: u32,
    /// Hardware address of the host side.
    pub host_mac: [u8; 6],
    /// Hardware address of the pod side.
    pub pod_mac: [u8; 6],
    /// Addresses of the pod, at most one of a family.
    pub ips: Vec<IpAddr>,
    /// The pod, from `CNI_ARGS`.
    pub pod: PodRef,
    /// `hostPort`s.
    pub ports: Vec<PortMapping>,
    /// Limits of bandwidth: to the agent what the runtime told, in the record what the Pod's annotations do not say.
    pub bandwidth: Option<Bandwidth>,
}

/// A pod as `CNI_ARGS` name it; empty where the runtime gave nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodRef {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`.
    pub uid: String,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A port of the node that leads to a port of the pod (capability `portMappings`). Runtimes write the keys
/// as `HostPort` (containerd) or `hostPort` (CRI-O).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMapping {
    /// Port on the node.
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    /// Port in the pod.
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    #[serde(alias = "Protocol")]
    pub protocol: String,
    /// Address on the node; empty for all of them.
    #[serde(alias = "HostIP", alias = "hostIP")]
    pub host_ip: String,
}

/// Bandwidth limits (capability `bandwidth`), bits per second and bits. 0: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bandwidth {
    /// Towards the pod.
    #[serde(alias = "IngressRate")]
    pub ingress_rate: u64,
    /// Burst towards the pod; runtimes send nonsense here (2^32 and more).
    #[serde(alias = "IngressBurst")]
    pub ingress_burst: u64,
    /// From the pod.
    #[serde(alias = "EgressRate")]
    pub egress_rate: u64,
    /// Burst from the pod.
    #[serde(alias = "EgressBurst")]
    pub egress_burst: u64,
}

/// The agent's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Ok(Reply),
    /// Not done; the plugin hands this to the runtime as it is.
    Error(Refusal),
}

/// What a success tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reply {
    /// Endpoint id that the agent gave, 0 where it does not apply.
    pub endpoint: u32,
    /// The pod's `hostPort`s, which the plugin records: those that the runtime told, else those that the Pod names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// Of the limits that the runtime told those that the Pod's annotations do not say, which the plugin records; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

/// Why the agent refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// CNI error code (11: try again later; 100 and up: ours).
    pub code: u32,
    /// What failed.
    pub msg: String,
    /// Cause and where to look.
    #[serde(default)]
    pub details: String,
}
