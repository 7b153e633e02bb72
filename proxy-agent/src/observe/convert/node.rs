//! Node.

use k8s_openapi::api::core::v1 as core;

use super::{Convert, Problems, address, annotation, label};
use crate::{
    model::{Kind, Node},
    observe::{Converted, Object, intern::Interner},
};

const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// How the node's pods are reached, for nodes of which something else is true than of the others.
const ANNOTATION_ROUTING: &str = "weir.dev/routing";
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
            routing: annotation(&self.metadata, ANNOTATION_ROUTING).map(str::to_owned),
            leaving: self.metadata.deletion_timestamp.is_some()
                || spec.taints.iter().flatten().any(|t| t.key == TAINT_LEAVING),
            network_available: is_network_available(self.status.as_ref()),
            ..Node::default()
        };
        let mut cidrs = spec.pod_cidrs.unwrap_or_default();
        if cidrs.is_empty() {
            cidrs.extend(spec.pod_cidr);
        }
        node.pod_cidrs =
            problems.take_all("spec.podCIDRs", cidrs.iter().map(|c| address::range(c)));
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
        Some(problems.done(Kind::Node, name, Some(Object::Node(node))))
    }
}

fn is_network_available(status: Option<&core::NodeStatus>) -> bool {
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|c| c.type_ == "NetworkUnavailable" && c.status == "False")
}
