//! `NetworkPolicy` (networking.k8s.io/v1).
//!
//! What cannot be understood never opens anything: an invalid peer matches nothing, an invalid port is left
//! out of a rule that then lists the others, and a rule whose ports are all invalid matches nothing.

use k8s_openapi::{
    api::networking::v1 as networking,
    apimachinery::pkg::{apis::meta::v1 as meta, util::intstr::IntOrString},
};

use super::{Convert, Problems, address, port, protocol};
use crate::{
    model::{
        Kind, LabelSelector, NetworkPolicy, Operator, Peer, PolicyPort, PolicyRule, Requirement,
    },
    observe::{Converted, Object, intern::Interner},
};

impl Convert for networking::NetworkPolicy {
    const KIND: Kind = Kind::NetworkPolicy;

    fn convert(self, interner: &Interner) -> Option<Converted> {
        let name = self.object_name(interner);
        let mut problems = Problems::default();
        let spec = self.spec.unwrap_or_default();
        let (isolates_ingress, isolates_egress) = directions(&spec);
        let selector = selector(&spec.pod_selector.unwrap_or_default(), interner);
        let Some(pod_selector) = problems.take("spec.podSelector", selector) else {
            return Some(problems.done(Kind::NetworkPolicy, name, None));
        };
        let ingress = spec.ingress.unwrap_or_default().into_iter();
        let ingress = ingress
            .enumerate()
            .map(|(i, r)| {
                let field = format!("spec.ingress[{i}]");
                rule(&field, (r.ports, r.from), &mut problems, interner)
            })
            .collect();
        let egress = spec.egress.unwrap_or_default().into_iter();
        let egress = egress
            .enumerate()
            .map(|(i, r)| {
                let field = format!("spec.egress[{i}]");
                rule(&field, (r.ports, r.to), &mut problems, interner)
            })
            .collect();
        let policy = NetworkPolicy {
            name: name.clone(),
            pod_selector,
            ingress: isolates_ingress.then_some(ingress),
            egress: isolates_egress.then_some(egress),
        };
        let object = Some(Object::NetworkPolicy(policy));
        Some(problems.done(Kind::NetworkPolicy, name, object))
    }
}

/// `policyTypes`, or its default: always ingress, and egress if the policy has egress rules.
fn directions(spec: &networking::NetworkPolicySpec) -> (bool, bool) {
    match spec.policy_types.as_deref() {
        None | Some([]) => (true, spec.egress.as_ref().is_some_and(|e| !e.is_empty())),
        Some(types) => (
            types.iter().any(|t| t == "Ingress"),
            types.iter().any(|t| t == "Egress"),
        ),
    }
}

fn rule(
    field: &str,
    (ports, peers): (
        Option<Vec<networking::NetworkPolicyPort>>,
        Option<Vec<networking::NetworkPolicyPeer>>,
    ),
    problems: &mut Problems,
    interner: &Interner,
) -> PolicyRule {
    let ports = ports.unwrap_or_default();
    let valid = problems.take_all(&format!("{field}.ports"), ports.iter().map(policy_port));
    let peers = peers.unwrap_or_default();
    let mut converted: Vec<Peer> = peers
        .iter()
        .enumerate()
        .map(|(i, p)| {
            let field = format!("{field}.peers[{i}]");
            let peer = problems.take(&field, peer(p, interner));
            peer.unwrap_or(Peer::Nothing)
        })
        .collect();
    if valid.is_empty() && !ports.is_empty() {
        converted = vec![Peer::Nothing];
    }
    PolicyRule {
        ports: interner.policy_ports(valid),
        peers: interner.peers(converted),
    }
}

fn policy_port(p: &networking::NetworkPolicyPort) -> Result<PolicyPort, String> {
    let protocol = protocol(p.protocol.as_deref())?;
    match (&p.port, p.end_port) {
        (None, None) => Ok(PolicyPort::All(protocol)),
        (None, Some(_)) => Err("endPort without port".into()),
        (Some(IntOrString::Int(number)), None) => {
            let number = port(*number)?;
            Ok(PolicyPort::Range(protocol, number, number))
        }
        (Some(IntOrString::Int(first)), Some(last)) => {
            let (first, last) = (port(*first)?, port(last)?);
            if last < first {
                return Err(format!("endPort {last} is less than port {first}"));
            }
            Ok(PolicyPort::Range(protocol, first, last))
        }
        (Some(IntOrString::String(name)), None) => {
            Ok(PolicyPort::Named(protocol, name.as_str().into()))
        }
        (Some(IntOrString::String(name)), Some(_)) => {
            Err(format!("endPort with the named port {name:?}"))
        }
    }
}

fn peer(p: &networking::NetworkPolicyPeer, interner: &Interner) -> Result<Peer, String> {
    let selector = |s| selector(s, interner);
    match (&p.ip_block, &p.pod_selector, &p.namespace_selector) {
        (Some(block), None, None) => {
            let cidr = address::range(&block.cidr)?;
            let except = block.except.iter().flatten();
            let except = except.map(|e| address::range(e));
            Ok(Peer::Block {
                cidr,
                except: except.collect::<Result<_, _>>()?,
            })
        }
        (Some(_), _, _) => Err("ipBlock together with a selector".into()),
        (None, None, None) => Err("neither ipBlock nor a selector".into()),
        (None, pods, namespaces) => Ok(Peer::Pods {
            namespaces: namespaces.as_ref().map(selector).transpose()?,
            pods: pods.as_ref().map(selector).transpose()?.unwrap_or_default(),
        }),
    }
}

/// A label selector, its requirements in a canonical order so that equal ones are equal.
fn selector(s: &meta::LabelSelector, interner: &Interner) -> Result<LabelSelector, String> {
    let mut requirements = Vec::new();
    for (key, value) in s.match_labels.iter().flatten() {
        requirements.push(Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
    }
    for expression in s.match_expressions.iter().flatten() {
        let mut values = expression.values.clone().unwrap_or_default();
        values.sort();
        values.dedup();
        let (operator, takes_values) = match expression.operator.as_str() {
            "In" => (Operator::In, true),
            "NotIn" => (Operator::NotIn, true),
            "Exists" => (Operator::Exists, false),
            "DoesNotExist" => (Operator::DoesNotExist, false),
            other => return Err(format!("{other:?} is not an operator")),
        };
        if takes_values == values.is_empty() {
            let wants = if takes_values { "needs" } else { "takes no" };
            return Err(format!("{} {wants} values", expression.operator));
        }
        requirements.push(Requirement {
            key: expression.key.clone(),
            operator,
            values,
        });
    }
    requirements.sort();
    requirements.dedup();
    Ok(interner.selector(requirements))
}
