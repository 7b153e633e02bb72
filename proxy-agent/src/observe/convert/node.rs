//! Node.

use k8s_openapi::api::core::v1 as core;

use super::{Convert, Problems, address, annotation, label};
use crate::{
    model::{Kind, Node},
    observe::{Converted, Object, intern::Interner},
};

const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// Whatever its value is (KEP-1143).
const LABEL_EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// How the node's pods are reached, for nodes of which something else is true than of the others.
const ANNOTATION_ROUTING: &str = "weir.dev/routing";
/// The ranges that the node's agent has claimed (`ipam: cluster`), divided by commas.
pub const ANNOTATION_RANGES: &str = "weir.dev/pod-ranges";
/// The ranges that it is to claim, divided by commas.
pub const ANNOTATION_WANTED: &str = "weir.dev/pod-cidrs";
/// The node's public key, as its agent has published it.
pub const ANNOTATION_KEY: &str = "weir.dev/wireguard-public-key";
/// Set by the cluster autoscaler before it removes a node (KEP-3836).
const TAINT_LEAVING: &str = "ToBeDeletedByClusterAutoscaler";

impl Convert for core::Node {
    const KIND: Kind = Kind::Node;
    const NAMESPACED: bool = false;

    fn convert(self, interner: &Interner) -> Option<Converted> {
        let name = self.object_name(interner);
        let mut problems = Problems::default();
        let spec = self.spec.unwrap_or_default();
        let mut node = Node {
            name: name.name().to_owned(),
            zone: label(&self.metadata, LABEL_ZONE).map(str::to_owned),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            wanted_pod_cidrs: annotation(&self.metadata, ANNOTATION_WANTED).map(str::to_owned),
            routing: annotation(&self.metadata, ANNOTATION_ROUTING).map(str::to_owned),
            wireguard_key: annotation(&self.metadata, ANNOTATION_KEY).map(str::to_owned),
            leaving: self.metadata.deletion_timestamp.is_some()
                || spec.taints.iter().flatten().any(|t| t.key == TAINT_LEAVING),
            excluded: label(&self.metadata, LABEL_EXCLUDED).is_some(),
            boot_id: boot_id(self.status.as_ref()),
            kubelet_and_image: kubelet_and_image(self.status.as_ref()),
            network_available: is_network_available(self.status.as_ref()),
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

fn is_network_available(status: Option<&core::NodeStatus>) -> bool {
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|c| c.type_ == "NetworkUnavailable" && c.status == "False")
}
