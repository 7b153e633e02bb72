//! The border: Kubernetes objects in, values of the model out, each field validated.
//!
//! An invalid field is named and left out, the rest of the object is served. Only an object of which nothing
//! can be used gives none, and then the last good one stays.

pub mod address;
pub mod network_policy;
pub mod node;
pub mod pod;
pub mod service;
pub mod slice;

#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Converted, Object, Problem, intern::Interner};
use crate::model::{Kind, ObjectName, Protocol};

/// A Kubernetes type that is observed.
pub trait Convert: Sized {
    /// Its kind.
    const KIND: Kind;

    /// Converts and validates. `None` for an object that this node does not look at.
    fn convert(self, interner: &Interner) -> Option<Converted>;

    /// The object's name.
    fn object_name(&self, interner: &Interner) -> ObjectName;
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
            problems: self.0,
        }
    }
}

/// The name of a namespaced object; `default` where none is given, as kubectl has it.
fn namespaced(metadata: &ObjectMeta, interner: &Interner) -> ObjectName {
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    interner.name(namespace, metadata.name.as_deref().unwrap_or_default())
}

/// The name of a cluster-scoped object.
fn cluster_scoped(metadata: &ObjectMeta, interner: &Interner) -> ObjectName {
    interner.name("", metadata.name.as_deref().unwrap_or_default())
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
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
