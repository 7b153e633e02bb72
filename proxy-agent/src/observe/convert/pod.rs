//! Pod and Namespace.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use cni_plugin::rpc::PortMapping;
use k8s_openapi::api::core::v1 as core;

use super::{Convert, Problems, address, port, protocol, quantity};
use crate::{
    model::{AskedLimits, ContainerPort, Kind, Labels, Namespace, Pod, PodExtras},
    observe::{Converted, Object, intern::Interner},
};

/// Marks a mirror pod; its value is the hash of the static pod's manifest.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// UID that the kubelet gave a static pod.
const HASH: &str = "kubernetes.io/config.hash";

/// Whether the pod's connections to Services are balanced at the socket, where the node does that.
pub(super) const BALANCING: &str = "weir.dev/socket-balancing";

/// Limits of bandwidth.
pub(super) const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
pub(super) const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// What a limit may be, bits per second: as runtimes have it from the kubelet
/// (<https://github.com/kubernetes/kubernetes/blob/v1.23.0/pkg/util/bandwidth/utils.go#L25>).
const LIMITS: RangeInclusive<i128> = 1_000..=1_000_000_000_000_000;

impl Convert for core::Pod {
    const KIND: Kind = Kind::Pod;

    fn convert(self, interner: &Interner) -> Option<Converted> {
        let name = self.object_name(interner);
        let mut problems = Problems::default();
        let spec = self.spec.unwrap_or_default();
        let status = self.status.unwrap_or_default();
        let phase = status.phase.as_deref();
        let mut ips: Vec<&str> = Vec::new();
        ips.extend(status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()));
        if ips.is_empty() {
            ips.extend(status.pod_ip.as_deref());
        }
        let ips = ips.into_iter().filter(|ip| !ip.is_empty());
        let annotations = self.metadata.annotations.as_ref();
        let extras = PodExtras {
            static_uid: static_uid(annotations).into(),
            limits: limits(annotations),
            host_ports: host_ports(&spec, &mut problems).into(),
        };
        let ips = problems.take_all("status.podIPs", ips.map(address::address));
        let named_ports = named_ports(&spec, &mut problems);
        let pod = Pod {
            uid: self.metadata.uid.as_deref().unwrap_or_default().into(),
            by_packet: by_packet(annotations, &mut problems),
            extras: extras.kept(),
            labels: labels(self.metadata.labels, interner, &mut problems),
            ips: ips.into(),
            host_network: spec.host_network.unwrap_or(false),
            terminated: matches!(phase, Some("Succeeded" | "Failed")),
            named_ports: interner.container_ports(named_ports),
            node: interner.node(spec.node_name.as_deref().unwrap_or_default()),
            name: name.clone(),
        };
        Some(problems.done(Kind::Pod, name, Some(Object::Pod(Arc::new(pod)))))
    }
}

/// What no label can be is named and left out.
fn labels(
    labels: Option<BTreeMap<String, String>>,
    interner: &Interner,
    problems: &mut Problems,
) -> Labels {
    let labels = labels.unwrap_or_default();
    let is_none = |(k, v): &(&String, &String)| !(Labels::takes(k) && Labels::takes(v));
    for (key, value) in labels.iter().filter(is_none) {
        problems.add("metadata.labels", format!("{key:?}: {value:?} has a NUL"));
    }
    interner.labels(labels.into_iter().collect())
}

/// What is neither `true` nor `false` is named, and stands for the default.
fn by_packet(annotations: Option<&BTreeMap<String, String>>, problems: &mut Problems) -> bool {
    match annotations
        .and_then(|a| a.get(BALANCING))
        .map(String::as_str)
    {
        None | Some("true") => false,
        Some("false") => true,
        Some(other) => {
            problems.add(
                BALANCING,
                format!("{other:?} is neither \"true\" nor \"false\""),
            );
            false
        }
    }
}

/// What makes no sense is told where the pod runs.
fn limits(annotations: Option<&BTreeMap<String, String>>) -> Option<AskedLimits> {
    let annotations = annotations?;
    let limit = |key: &str| {
        let text = annotations.get(key)?;
        Some(limit(text).map_err(|why| format!("{key} is {text:?}: {why}")))
    };
    let asked = AskedLimits {
        ingress: limit(INGRESS),
        egress: limit(EGRESS),
    };
    (asked != AskedLimits::default()).then_some(asked)
}

fn limit(text: &str) -> Result<u64, String> {
    let rate = quantity::value(text)?;
    if rate < *LIMITS.start() {
        return Err("resource is unreasonably small (< 1kbit)".to_owned());
    }
    u64::try_from(rate)
        .ok()
        .filter(|_| LIMITS.contains(&rate))
        .ok_or_else(|| "resource is unreasonably large (> 1Pbit)".to_owned())
}

/// A pod that is no mirror has none, whatever it says of hashes.
fn static_uid(annotations: Option<&BTreeMap<String, String>>) -> &str {
    let Some((annotations, mirror)) = annotations.and_then(|a| Some((a, a.get(MIRROR)?))) else {
        return "";
    };
    annotations.get(HASH).unwrap_or(mirror)
}

/// Ports of containers, and of init containers that keep running (KEP-753), which serve too.
fn ports(spec: &core::PodSpec) -> impl Iterator<Item = &core::ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    containers.flat_map(|c| c.ports.iter().flatten())
}

/// As the kubelet tells them to a runtime.
fn host_ports(spec: &core::PodSpec, problems: &mut Problems) -> Vec<PortMapping> {
    let mapped = ports(spec).filter_map(|p| Some((p.host_port.filter(|port| *port != 0)?, p)));
    let mapped = mapped.map(|(host_port, p)| {
        Ok::<_, String>(PortMapping {
            host_port: port(host_port)?,
            container_port: port(p.container_port)?,
            protocol: p.protocol.clone().unwrap_or_default(),
            host_ip: p.host_ip.clone().unwrap_or_default(),
        })
    });
    problems.take_all("spec.containers.ports.hostPort", mapped)
}

fn named_ports(spec: &core::PodSpec, problems: &mut Problems) -> Vec<ContainerPort> {
    let named = ports(spec).filter_map(|p| {
        let name = p.name.clone().filter(|n| !n.is_empty())?;
        Some((name, p))
    });
    let named = named.map(|(name, p)| {
        Ok::<_, String>(ContainerPort {
            name,
            protocol: protocol(p.protocol.as_deref())?,
            port: port(p.container_port)?,
        })
    });
    problems.take_all("spec.containers.ports", named)
}

impl Convert for core::Namespace {
    const KIND: Kind = Kind::Namespace;
    const NAMESPACED: bool = false;

    fn convert(self, interner: &Interner) -> Option<Converted> {
        let name = self.object_name(interner);
        let mut problems = Problems::default();
        let namespace = Namespace {
            name: name.name().to_owned(),
            labels: labels(self.metadata.labels, interner, &mut problems),
        };
        let object = Some(Object::Namespace(namespace));
        Some(problems.done(Kind::Namespace, name, object))
    }
}
