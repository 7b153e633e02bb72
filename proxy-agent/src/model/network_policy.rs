//! `NetworkPolicy` (networking.k8s.io/v1).

use arcstr::ArcStr;
use ipnetwork::IpNetwork;

use super::{LabelSelector, ObjectName, Protocol, SharedList};

/// A `NetworkPolicy`, with `policyTypes` resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Name.
    pub name: ObjectName,
    /// `spec.podSelector`.
    pub pod_selector: LabelSelector,
    /// Rules for ingress; none if the policy does not isolate ingress, empty if it denies all.
    pub ingress: Option<Box<[PolicyRule]>>,
    /// Rules for egress, likewise.
    pub egress: Option<Box<[PolicyRule]>>,
}

/// One rule: ports and peers must both match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Empty: all protocols and ports.
    pub ports: SharedList<PolicyPort>,
    /// Empty: everyone, inside the cluster or not.
    pub peers: SharedList<Peer>,
}

/// A port of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyPort {
    /// Every port of a protocol.
    All(Protocol),
    /// Ports `first..=last` (`endPort`).
    Range(Protocol, u16, u16),
    /// A named port of the receiving pod.
    Named(Protocol, ArcStr),
}

/// A peer of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// Pods.
    Pods {
        /// Namespaces; none means the policy's own.
        namespaces: Option<LabelSelector>,
        /// Pods in them.
        pods: LabelSelector,
    },
    /// `ipBlock`.
    Block {
        /// The range, host bits cleared.
        cidr: IpNetwork,
        /// Ranges taken out of it.
        except: Box<[IpNetwork]>,
    },
    /// A selector or range that is not valid: matches nothing.
    Nothing,
}
