//! Pod and Namespace, as far as policy and delivery need them.

use arcstr::ArcStr;
use cni_plugin::rpc::PortMapping;

use super::{AskedLimits, Labels, ObjectName, PodIps, Protocol, SharedList, Uid};

/// A Pod. Each node holds all pods of the cluster: what pods have in common is shared, and what few have is kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: ObjectName,
    /// UID.
    pub uid: Uid,
    /// Labels.
    pub labels: Labels,
    /// `spec.nodeName`; empty while not scheduled.
    pub node: ArcStr,
    /// `status.podIPs`.
    pub ips: PodIps,
    /// Named ports of containers and restartable init containers.
    pub named_ports: SharedList<ContainerPort>,
    /// What few pods have.
    pub extras: Option<Box<PodExtras>>,
    /// `spec.hostNetwork`: neither subject nor selectable peer of policies.
    pub host_network: bool,
    /// Phase Succeeded or Failed: holds no address any more.
    pub terminated: bool,
    /// Its annotation `weir.dev/socket-balancing` is `false`.
    pub by_packet: bool,
}

/// What few pods have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodExtras {
    /// Of a mirror pod, the UID of the static pod that it stands for: what the kubelet tells the runtime
    /// (annotations `kubernetes.io/config.mirror` and `kubernetes.io/config.hash`). Empty for all others.
    pub static_uid: Uid,
    /// Limits of bandwidth that its annotations ask for, if they do.
    pub limits: Option<AskedLimits>,
    /// `hostPort`s of the named ports' containers, for runtimes that do not tell them (CRI-O).
    pub host_ports: Box<[PortMapping]>,
}

impl Pod {
    /// Whether a runtime that says this UID speaks of this pod. One that says none means the name alone, and
    /// manifests in a folder need not name a UID.
    pub fn is(&self, uid: &str) -> bool {
        let of_static = self.extras.as_ref().map(|extras| &extras.static_uid);
        let uid = Uid::from(uid);
        uid.is_empty() || self.uid.is_empty() || self.uid == uid || of_static == Some(&uid)
    }

    /// Limits of bandwidth that its annotations ask for, if they do.
    pub fn limits(&self) -> Option<&AskedLimits> {
        self.extras.as_ref()?.limits.as_ref()
    }

    /// Its `hostPort`s.
    pub fn host_ports(&self) -> &[PortMapping] {
        let extras = self.extras.as_ref();
        extras.map_or(&[], |extras| &extras.host_ports)
    }
}

impl PodExtras {
    /// As a pod holds it: nothing, if there is nothing.
    pub fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
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
