//! Service.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{Convert, Problems, address, annotation, is_foreign, load_balancer, port, protocol};
use crate::{
    model::{
        ClusterIps, External, ForwardingMode, Kind, Service, ServicePort, ServiceType, SharedList,
    },
    observe::{Converted, Object, intern::Interner},
};

/// How what comes from outside reaches backends on other nodes.
pub(super) const FORWARDING: &str = "weir.dev/forwarding-mode";
/// `sessionAffinityConfig.clientIP.timeoutSeconds` where it is not given.
const AFFINITY_SECONDS: i32 = 10_800;

impl Convert for core::Service {
    const KIND: Kind = Kind::Service;

    fn convert(self, interner: &Interner) -> Option<Converted> {
        if is_foreign(&self.metadata) {
            return None;
        }
        let name = self.object_name(interner);
        let created = self.metadata.creation_timestamp.as_ref();
        let created = created.map_or(0, |time| time.0.as_second());
        let mut problems = Problems::default();
        let spec = self.spec.unwrap_or_default();
        let kind = match spec.type_.as_deref() {
            None | Some("ClusterIP") => ServiceType::ClusterIp,
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            Some(other) => {
                problems.add("spec.type", format!("{other:?} is not a type of Service"));
                return Some(problems.done(Kind::Service, name, None));
            }
        };
        if kind == ServiceType::ExternalName {
            let service = Service {
                name: name.clone(),
                kind,
                ..Service::default()
            };
            return Some(problems.done(Kind::Service, name, Some(Object::Service(service))));
        }
        let cluster_ips = cluster_ips(&spec, &mut problems);
        let ingress = self.status.and_then(|s| s.load_balancer?.ingress);
        let ingress = ingress.unwrap_or_default();
        let asks = (kind == ServiceType::LoadBalancer)
            .then(|| load_balancer::asks(&self.metadata, &spec, &ingress, &mut problems));
        let external = External {
            load_balancer: asks.map(Box::new),
            ..external(&spec, ingress, &mut problems)
        };
        let service = Service {
            name: name.clone(),
            kind,
            cluster_ips,
            external: external.boxed(),
            ports: ports(&spec, interner, &mut problems),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            affinity_seconds: affinity_seconds(&spec, &mut problems).unwrap_or(0),
            health_check_node_port: spec
                .health_check_node_port
                .filter(|p| *p != 0)
                .and_then(|p| problems.take("spec.healthCheckNodePort", port(p)))
                .unwrap_or(0),
            forwarding: forwarding(&self.metadata, &mut problems),
            created,
        };
        Some(problems.done(Kind::Service, name, Some(Object::Service(service))))
    }
}

fn forwarding(metadata: &ObjectMeta, problems: &mut Problems) -> Option<ForwardingMode> {
    let text = annotation(metadata, FORWARDING)?;
    problems.take(FORWARDING, text.parse())
}

fn cluster_ips(spec: &core::ServiceSpec, problems: &mut Problems) -> ClusterIps {
    // `clusterIPs` alone counts where it is given; kubectl's YAML often has `clusterIP` only.
    let (field, texts) = match &spec.cluster_ips {
        Some(ips) if !ips.is_empty() => ("spec.clusterIPs", ips.as_slice()),
        _ => ("spec.clusterIP", spec.cluster_ip.as_slice()),
    };
    let texts = texts.iter().filter(|t| !t.is_empty() && *t != "None");
    let ips = problems.take_all(field, texts.map(|t| address::address(t)));
    ips.into_iter().collect()
}

fn external(
    spec: &core::ServiceSpec,
    ingress: Vec<core::LoadBalancerIngress>,
    problems: &mut Problems,
) -> External {
    let ips = spec.external_ips.iter().flatten();
    let ips = ips.map(|a| address::address(a));
    let ips = problems.take_all("spec.externalIPs", ips).into();
    let load_balancer_ips = load_balancer_ips(ingress, problems);
    let ranges = source_ranges(spec, problems);
    External {
        ips,
        // What was to be protected is not opened to all for a mistake.
        load_balancer_ips: if ranges.is_some() {
            load_balancer_ips
        } else {
            Box::default()
        },
        load_balancer_source_ranges: ranges.unwrap_or_default(),
        load_balancer: None,
    }
}

/// The ranges, without blank ones; none if none of those that are given is one.
fn source_ranges(spec: &core::ServiceSpec, problems: &mut Problems) -> Option<Box<[IpNetwork]>> {
    const FIELD: &str = "spec.loadBalancerSourceRanges";
    let given = spec.load_balancer_source_ranges.iter().flatten();
    let given = given.filter(|text| !text.trim().is_empty());
    let ranges = problems.take_all(FIELD, given.clone().map(|r| address::range(r)));
    if ranges.is_empty() && given.count() > 0 {
        let refused = "none of them is a range: the load balancer's addresses are not served";
        problems.add(FIELD, refused);
        return None;
    }
    Some(ranges.into())
}

fn load_balancer_ips(
    ingress: Vec<core::LoadBalancerIngress>,
    problems: &mut Problems,
) -> Box<[IpAddr]> {
    // `ipMode: Proxy` (KEP-1860): traffic must leave the node to reach the load balancer.
    let vips = ingress
        .into_iter()
        .filter(|i| i.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|i| i.ip);
    problems
        .take_all(
            "status.loadBalancer.ingress.ip",
            vips.filter(|ip| !ip.is_empty())
                .map(|ip| address::address(&ip)),
        )
        .into()
}

fn ports(
    spec: &core::ServiceSpec,
    interner: &Interner,
    problems: &mut Problems,
) -> SharedList<ServicePort> {
    let ports = spec.ports.iter().flatten().map(|p| {
        Ok::<_, String>(ServicePort {
            name: interner.text(p.name.as_deref().unwrap_or_default()),
            protocol: protocol(p.protocol.as_deref())?,
            port: port(p.port)?,
            node_port: match p.node_port {
                None | Some(0) => 0,
                Some(number) => port(number)?,
            },
        })
    });
    interner.service_ports(problems.take_all("spec.ports", ports))
}

fn affinity_seconds(spec: &core::ServiceSpec, problems: &mut Problems) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref();
    let seconds = config
        .and_then(|c| c.client_ip.as_ref()?.timeout_seconds)
        .unwrap_or(AFFINITY_SECONDS);
    let valid = u32::try_from(seconds)
        .ok()
        .filter(|s| (1..=86_400).contains(s))
        .ok_or_else(|| format!("{seconds} is not between 1 and 86400 seconds"));
    problems.take("spec.sessionAffinityConfig.clientIP.timeoutSeconds", valid)
}
