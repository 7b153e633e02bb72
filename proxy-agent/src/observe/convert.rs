//! The border: Kubernetes objects in, values of the model out, each field validated.
//!
//! An invalid field is named and left out, the rest of the object is served. Only an object of which nothing
//! can be used gives none, and then the last good one stays.

pub mod address;
pub mod annotations;
mod load_balancer;
pub mod network_policy;
pub mod node;
pub mod pod;
pub mod quantity;
pub mod service;
pub mod slice;

#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Converted, Object, Problem, intern::Interner};
use crate::model::{Kind, ObjectName, Protocol};

/// Services and slices with one of these labels are another proxy's, or headless whatever their addresses
/// (`kubernetes.io` well-known labels).
pub const FOREIGN: [&str; 2] = [
    "service.kubernetes.io/service-proxy-name",
    "service.kubernetes.io/headless",
];

/// A Kubernetes type that is observed.
pub trait Convert: kube::Resource + Sized {
    /// Its kind.
    const KIND: Kind;
    /// Whether its objects lie in namespaces.
    const NAMESPACED: bool = true;

    /// Converts and validates. `None` for an object that this node does not look at.
    fn convert(self, interner: &Interner) -> Option<Converted>;

    /// The object's name; in namespace `default` where none is given, as kubectl has it.
    fn object_name(&self, interner: &Interner) -> ObjectName {
        let metadata = self.meta();
        let namespace = if Self::NAMESPACED {
            metadata.namespace.as_deref().unwrap_or("default")
        } else {
            ""
        };
        interner.name(namespace, metadata.name.as_deref().unwrap_or_default())
    }
}

/// Collects the problems of one object.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, reason: impl std::fmt::Display) {
        self.0.push(Problem::new(field, reason));
    }

    /// The value, or a problem with the field.
    fn take<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(field, e)).ok()
    }

    /// The valid ones of a list.
    fn take_all<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        values: impl IntoIterator<Item = Result<T, E>>,
    ) -> Vec<T> {
        let mut valid: Vec<T> = Vec::new();
        for (i, value) in values.into_iter().enumerate() {
            valid.extend(self.take(&format!("{field}[{i}]"), value));
        }
        valid.shrink_to_fit();
        valid
    }

    fn done(self, kind: Kind, name: ObjectName, object: Option<Object>) -> Converted {
        Converted {
            kind,
            name,
            object,
            triggered: None,
            problems: self.0,
        }
    }
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Whether a Service or slice is not ours to serve.
fn is_foreign(metadata: &ObjectMeta) -> bool {
    FOREIGN.iter().any(|key| label(metadata, key).is_some())
}

/// A transport protocol; TCP where none is given.
fn protocol(text: Option<&str>) -> Result<Protocol, String> {
    match text {
        None | Some("TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(format!("{other:?} is not TCP, UDP or SCTP")),
    }
}

/// A port number, 1 to 65535.
fn port(number: i32) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|p| *p != 0)
        .ok_or_else(|| format!("{number} is not a port number"))
}
