//! `EndpointSlice`.

use std::net::IpAddr;

use k8s_openapi::{api::discovery::v1 as discovery, jiff::Timestamp};

use super::{Convert, Problems, address, is_foreign, label, protocol};
use crate::{
    model::{
        Conditions, EndpointPort, EndpointSlice, EndpointState, Endpoints, Kind, NodeHint,
        ObjectName, Placement, SharedList,
    },
    observe::{Converted, Object, intern::Interner},
};

/// Names the Service that a slice belongs to.
pub const LABEL_SERVICE: &str = "kubernetes.io/service-name";
/// When the change that led to this version of a slice happened, RFC 3339.
pub const ANNOTATION_TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

impl Convert for discovery::EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn convert(self, interner: &Interner) -> Option<Converted> {
        if is_foreign(&self.metadata) {
            return None;
        }
        let ipv6 = match self.address_type.as_str() {
            "IPv4" => false,
            "IPv6" => true,
            _ => return None, // FQDN: nothing to route to.
        };
        let name = self.object_name(interner);
        let service = label(&self.metadata, LABEL_SERVICE).filter(|s| !s.is_empty())?;
        let service = ObjectName::new(name.namespace(), service);
        let mut problems = Problems::default();
        let trigger = self.metadata.annotations.as_ref();
        let trigger = trigger.and_then(|a| a.get(ANNOTATION_TRIGGER_TIME));
        let slice = EndpointSlice {
            name: name.clone(),
            service,
            ipv6,
            ports: ports(self.ports.as_deref(), interner, &mut problems),
            endpoints: endpoints(self.endpoints, ipv6, interner, &mut problems),
        };
        let triggered = trigger.and_then(|t| t.parse::<Timestamp>().ok());
        let object = Some(Object::EndpointSlice(slice));
        Some(Converted {
            triggered: triggered.map(Into::into),
            ..problems.done(Kind::EndpointSlice, name, object)
        })
    }
}

fn ports(
    ports: Option<&[discovery::EndpointPort]>,
    interner: &Interner,
    problems: &mut Problems,
) -> SharedList<EndpointPort> {
    // A port without a number means "all ports" and cannot be balanced to (EndpointSlice API).
    let numbered = ports.unwrap_or_default().iter().filter_map(|p| {
        let number = p.port.filter(|n| *n != 0)?;
        Some((p, number))
    });
    let ports = numbered.map(|(p, number)| {
        Ok::<_, String>(EndpointPort {
            name: interner.text(p.name.as_deref().unwrap_or_default()),
            protocol: protocol(p.protocol.as_deref())?,
            port: super::port(number)?,
        })
    });
    interner.endpoint_ports(problems.take_all("ports", ports))
}

fn endpoints(
    endpoints: Vec<discovery::Endpoint>,
    ipv6: bool,
    interner: &Interner,
    problems: &mut Problems,
) -> Endpoints {
    let endpoints = endpoints.into_iter().map(|endpoint| {
        let ip = endpoint_address(&endpoint, ipv6)?;
        let conditions = endpoint.conditions.as_ref();
        let condition = |get: fn(&discovery::EndpointConditions) -> Option<bool>, default| {
            conditions.and_then(get).unwrap_or(default)
        };
        let conditions = Conditions {
            ready: condition(|c| c.ready, true),
            serving: condition(|c| c.serving, true),
            terminating: condition(|c| c.terminating, false),
        };
        let placement = placement(&endpoint, interner);
        Ok::<_, String>((
            ip,
            EndpointState {
                conditions,
                placement,
            },
        ))
    });
    let endpoints = problems.take_all("endpoints", endpoints);
    Endpoints::new(endpoints, |states| interner.states(states))
}

/// Only the first address counts: the others are the same pod's (`EndpointSlice` API).
fn endpoint_address(endpoint: &discovery::Endpoint, ipv6: bool) -> Result<IpAddr, String> {
    let text = endpoint.addresses.first().ok_or("no address")?;
    let ip = address::address(text)?;
    if ip.is_ipv6() != ipv6 {
        return Err(format!("{text:?} is not of the slice's addressType"));
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(format!("{text:?} cannot serve"));
    }
    Ok(ip)
}

fn placement(endpoint: &discovery::Endpoint, interner: &Interner) -> Placement {
    let hints = endpoint.hints.as_ref();
    let zones = hints
        .and_then(|h| h.for_zones.as_deref())
        .unwrap_or_default();
    let nodes = hints
        .and_then(|h| h.for_nodes.as_deref())
        .unwrap_or_default();
    let here = interner.here();
    Placement {
        here: endpoint.node_name.as_deref() == Some(here),
        for_nodes: NodeHint::of(nodes.iter().map(|n| n.name.as_str()), here),
        for_zones: zones.iter().map(|z| interner.text(&z.name)).collect(),
    }
}
