//! What a Service of `type: LoadBalancer` asks of whoever gives addresses.

use std::net::IpAddr;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{Problems, address, annotation};
use crate::model::LoadBalancer;

/// Addresses that a Service asks for, one of a family at most, divided by commas.
pub(super) const REQUESTED: &str = "weir.dev/load-balancer-ips";
/// The pool that its addresses are to be of.
pub(super) const POOL: &str = "weir.dev/address-pool";
/// Services of which this is the same may share an address.
pub(super) const SHARING: &str = "weir.dev/allow-shared-ip";

pub(super) fn asks(
    metadata: &ObjectMeta,
    spec: &core::ServiceSpec,
    ingress: &[core::LoadBalancerIngress],
    problems: &mut Problems,
) -> LoadBalancer {
    let text = |key| annotation(metadata, key).filter(|text| !text.is_empty());
    let (field, requested) = match (text(REQUESTED), &spec.load_balancer_ip) {
        (Some(texts), _) => (REQUESTED, texts.split(',').collect()),
        (None, Some(text)) if !text.is_empty() => ("spec.loadBalancerIP", vec![text.as_str()]),
        _ => (REQUESTED, Vec::new()),
    };
    let requested: Result<Box<[IpAddr]>, String> =
        requested.into_iter().map(address::address).collect();
    let mistake = requested
        .as_ref()
        .err()
        .map(|why| format!("{field}: {why}"));
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let given = ingress.iter().filter_map(|one| one.ip.as_deref());
    let given = given.filter(|ip| !ip.is_empty()).map(address::address);
    LoadBalancer {
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        version: metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
            .into(),
        class: spec.load_balancer_class.as_deref().map(Into::into),
        families: ["IPv4", "IPv6"].map(|family| families.iter().any(|f| f == family)),
        needs_both: spec.ip_family_policy.as_deref() == Some("RequireDualStack"),
        requested: problems.take(field, requested).unwrap_or_default(),
        mistake: mistake.map(Into::into),
        pool: text(POOL).map(Into::into),
        sharing: text(SHARING).map(Into::into),
        // What is no address the caller names.
        given: given.filter_map(Result::ok).collect(),
    }
}
