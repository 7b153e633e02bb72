//! Node.

use k8s_openapi::api::core::v1 as core;

use super::{Convert, Problems, address, annotation, label};
use crate::{
    model::{Kind, NetworkUnavailable, Node},
    observe::{Converted, Object, intern::Interner},
};

const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// Whatever its value is (KEP-1143).
const LABEL_EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// How the node's pods are reached, for nodes of which something else is true than of the others.
pub const ANNOTATION_ROUTING: &str = "weir.dev/routing";
/// The ranges that the node's agent has claimed (`ipam: cluster`), divided by commas.
pub const ANNOTATION_RANGES: &str = "weir.dev/pod-ranges";
/// The ranges that it is to claim, divided by commas.
pub const ANNOTATION_WANTED: &str = "weir.dev/pod-cidrs";
/// The node's public key, as its agent has published it.
pub const ANNOTATION_KEY: &str = "weir.dev/wireguard-public-key";
/// Whoever registers a node may give it; its agent takes it away.
pub const TAINT_AWAITS: &str = "weir.dev/agent-not-ready";
/// Set by the cluster autoscaler before it removes a node (KEP-3836).
const TAINT_LEAVING: &str = "ToBeDeletedByClusterAutoscaler";

impl Convert for core::Node {
    const KIND: Kind = Kind::Node;
    const NAMESPACED: bool = false;

    fn convert(self, interner: &Interner) -> Option<Converted> {
        let name = self.object_name(interner);
        let mut problems = Problems::default();
        let spec = self.spec.unwrap_or_default();
        let tainted = |key| spec.taints.iter().flatten().any(|taint| taint.key == key);
        let mut node = Node {
            name: name.name().to_owned(),
            zone: label(&self.metadata, LABEL_ZONE).map(str::to_owned),
            created: self
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or(0, |time| time.0.as_second()),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            wanted_pod_cidrs: annotation(&self.metadata, ANNOTATION_WANTED).map(str::to_owned),
            routing: annotation(&self.metadata, ANNOTATION_ROUTING).map(str::to_owned),
            wireguard_key: annotation(&self.metadata, ANNOTATION_KEY).map(str::to_owned),
            leaving: self.metadata.deletion_timestamp.is_some() || tainted(TAINT_LEAVING),
            awaits_agent: tainted(TAINT_AWAITS),
            excluded: label(&self.metadata, LABEL_EXCLUDED).is_some(),
            boot_id: boot_id(self.status.as_ref()),
            kubelet_and_image: kubelet_and_image(self.status.as_ref()),
            network_unavailable: network_unavailable(self.status.as_ref()),
            ready: condition(self.status.as_ref(), "Ready").is_none_or(|c| c.status == "True"),
            ..Node::default()
        };
        let mut cidrs = spec.pod_cidrs.unwrap_or_default();
        if cidrs.is_empty() {
            cidrs.extend(spec.pod_cidr);
        }
        node.spec_pod_cidrs =
            problems.take_all("spec.podCIDRs", cidrs.iter().map(|c| address::range(c)));
        let claimed = annotation(&self.metadata, ANNOTATION_RANGES).unwrap_or_default();
        let claimed = claimed.split(',').map(str::trim).filter(|c| !c.is_empty());
        let claimed = problems.take_all(ANNOTATION_RANGES, claimed.map(address::range));
        node.claimed = !claimed.is_empty();
        node.pod_cidrs = if node.claimed {
            claimed
        } else {
            node.spec_pod_cidrs.clone()
        };
        let addresses = self.status.and_then(|s| s.addresses).unwrap_or_default();
        for (i, entry) in addresses.iter().enumerate() {
            let internal = entry.type_ == "InternalIP";
            if !internal && entry.type_ != "ExternalIP" {
                continue; // Host names.
            }
            let field = format!("status.addresses[{i}]");
            let Some(ip) = problems.take(&field, address::address(&entry.address)) else {
                continue;
            };
            node.addresses.push(ip);
            if internal {
                node.internal_ips.push(ip);
            }
        }
        Some(problems.done(Kind::Node, name, Some(Object::Node(Box::new(node)))))
    }
}

fn kubelet_and_image(status: Option<&core::NodeStatus>) -> [String; 2] {
    let info = status.and_then(|status| status.node_info.as_ref());
    info.map_or_else(Default::default, |info| {
        [info.kubelet_version.clone(), info.os_image.clone()]
    })
}

fn boot_id(status: Option<&core::NodeStatus>) -> String {
    let info = status.and_then(|status| status.node_info.as_ref());
    info.map_or_else(String::new, |info| info.boot_id.clone())
}

fn condition<'a>(
    status: Option<&'a core::NodeStatus>,
    kind: &str,
) -> Option<&'a core::NodeCondition> {
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.find(|condition| condition.type_ == kind)
}

/// As a Node's status has it.
pub fn network_unavailable(status: Option<&core::NodeStatus>) -> Option<NetworkUnavailable> {
    let condition = condition(status, "NetworkUnavailable")?;
    let is_true = match condition.status.as_str() {
        "True" => true,
        "False" => false,
        _ => return None,
    };
    Some(NetworkUnavailable {
        is_true,
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    })
}
