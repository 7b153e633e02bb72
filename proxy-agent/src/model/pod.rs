//! Pod and Namespace, as far as policy and delivery need them.

use std::net::IpAddr;

use cni_plugin::rpc::PortMapping;

use super::{AskedLimits, Labels, ObjectName, Protocol};

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: ObjectName,
    /// UID.
    pub uid: String,
    /// Of a mirror pod, the UID of the static pod that it stands for: what the kubelet tells the runtime
    /// (annotations `kubernetes.io/config.mirror` and `kubernetes.io/config.hash`). Empty for all others.
    pub static_uid: String,
    /// Its annotation `weir.dev/socket-balancing` is `false`.
    pub by_packet: bool,
    /// Limits of bandwidth that its annotations ask for, if they do.
    pub limits: Option<Box<AskedLimits>>,
    /// Labels.
    pub labels: Labels,
    /// `spec.nodeName`; empty while not scheduled.
    pub node: String,
    /// `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// `spec.hostNetwork`: neither subject nor selectable peer of policies.
    pub host_network: bool,
    /// Phase Succeeded or Failed: holds no address any more.
    pub terminated: bool,
    /// Named ports of containers and restartable init containers.
    pub named_ports: Vec<ContainerPort>,
    /// `hostPort`s of the same, for runtimes that do not tell them (CRI-O).
    pub host_ports: Box<[PortMapping]>,
}

impl Pod {
    /// Whether a runtime that says this UID speaks of this pod. One that says none means the name alone, and
    /// manifests in a folder need not name a UID.
    pub fn is(&self, uid: &str) -> bool {
        same_uid([&self.uid, &self.static_uid], uid)
    }
}

/// Whether one of a pod's UIDs (its own, then that of the static pod it mirrors) is this one.
pub fn same_uid([own, of_static]: [&str; 2], uid: &str) -> bool {
    uid.is_empty() || own.is_empty() || own == uid || of_static == uid
}

/// A named container port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Name.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub port: u16,
}

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
}
