//! Every annotation that is read, and by which Event its object tells that a value is refused.

use super::{load_balancer, node, pod, service};
use crate::{
    model::{EventReason, Kind},
    observe::Problem,
};

/// An annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Of which objects.
    pub kind: Kind,
    /// Its key.
    pub key: &'static str,
    /// The Event; none where no value is wrong.
    pub refused: Option<EventReason>,
}

const fn of(kind: Kind, key: &'static str, refused: EventReason) -> Annotation {
    Annotation {
        kind,
        key,
        refused: Some(refused),
    }
}

/// All of them.
pub const ANNOTATIONS: [Annotation; 11] = [
    of(
        Kind::Service,
        service::FORWARDING,
        EventReason::InvalidAnnotation,
    ),
    of(
        Kind::Service,
        load_balancer::REQUESTED,
        EventReason::AddressRequestInvalid,
    ),
    of(
        Kind::Service,
        load_balancer::POOL,
        EventReason::AddressRequestInvalid,
    ),
    Annotation {
        kind: Kind::Service,
        key: load_balancer::SHARING,
        refused: None,
    },
    of(Kind::Pod, pod::BALANCING, EventReason::InvalidAnnotation),
    of(Kind::Pod, pod::INGRESS, EventReason::InvalidBandwidth),
    of(Kind::Pod, pod::EGRESS, EventReason::InvalidBandwidth),
    of(
        Kind::Node,
        node::ANNOTATION_ROUTING,
        EventReason::InvalidAnnotation,
    ),
    of(
        Kind::Node,
        node::ANNOTATION_KEY,
        EventReason::InvalidAnnotation,
    ),
    of(
        Kind::Node,
        node::ANNOTATION_RANGES,
        EventReason::InvalidAnnotation,
    ),
    of(
        Kind::Node,
        node::ANNOTATION_WANTED,
        EventReason::PodRangeInvalid,
    ),
];

/// Whether an object is told by [`EventReason::InvalidAnnotation`] of a problem.
pub fn is_told(kind: Kind, problem: &Problem) -> bool {
    // Items of a list have their number behind it.
    let field = problem.field.split('[').next().unwrap_or_default();
    ANNOTATIONS.iter().any(|annotation| {
        annotation.kind == kind
            && annotation.key == field
            && annotation.refused == Some(EventReason::InvalidAnnotation)
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1 as core;
    use serde_json::{Value, json};

    use super::*;
    use crate::observe::{convert::Convert as _, intern::Interner};

    /// What is wrong with an object of which this annotation says what cannot be.
    fn problems(annotation: &Annotation) -> Vec<Problem> {
        let metadata = json!({ "name": "x", "annotations": { annotation.key: "0/banana" } });
        let interner = Interner::new("x");
        let object = |spec: Value| json!({ "metadata": metadata, "spec": spec });
        let converted = match annotation.kind {
            Kind::Service => {
                let spec = json!({ "type": "LoadBalancer", "clusterIP": "10.96.0.1" });
                let service: core::Service = serde_json::from_value(object(spec)).unwrap();
                service.convert(&interner)
            }
            Kind::Pod => {
                let pod: core::Pod =
                    serde_json::from_value(object(json!({ "containers": [] }))).unwrap();
                pod.convert(&interner)
            }
            _ => {
                let node: core::Node = serde_json::from_value(object(json!({}))).unwrap();
                node.convert(&interner)
            }
        };
        converted.unwrap().problems
    }

    #[test]
    fn each_that_is_refused_where_it_is_read_is_told_by_an_event() {
        // Refused where they are followed, with tests there: ways and keys of nodes by `agent::annotations`, ranges by
        // `claims`, pools by `pools`, limits by `limits`.
        let followed = [
            load_balancer::POOL,
            load_balancer::SHARING,
            pod::INGRESS,
            pod::EGRESS,
            node::ANNOTATION_ROUTING,
            node::ANNOTATION_KEY,
            node::ANNOTATION_WANTED,
        ];
        for annotation in &ANNOTATIONS {
            let problems = problems(annotation);
            assert_eq!(
                problems.is_empty(),
                followed.contains(&annotation.key),
                "{annotation:?}: {problems:?}"
            );
            let by_name = annotation.refused == Some(EventReason::InvalidAnnotation);
            for problem in &problems {
                assert_eq!(is_told(annotation.kind, problem), by_name, "{problem:?}");
                assert!(problem.to_string().contains(annotation.key), "{problem}");
            }
            if let Some(reason) = annotation.refused {
                assert!(reason.kinds().contains(&annotation.kind), "{annotation:?}");
            }
        }
    }

    #[test]
    fn all_that_are_read_are_listed() {
        // `"weir.dev/...` in the sources, but for a taint.
        let sources = [
            include_str!("load_balancer.rs"),
            include_str!("node.rs"),
            include_str!("pod.rs"),
            include_str!("service.rs"),
            include_str!("slice.rs"),
            include_str!("network_policy.rs"),
        ];
        let read = sources
            .iter()
            .flat_map(|source| source.split("\"weir.dev/").skip(1))
            .filter_map(|rest| rest.split('"').next())
            .map(|name| format!("weir.dev/{name}"));
        for key in read.filter(|key| *key != node::TAINT_AWAITS) {
            assert!(ANNOTATIONS.iter().any(|a| a.key == key), "{key}");
        }
    }
}
