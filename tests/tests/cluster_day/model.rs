//! What the API server holds, and what follows from it for the node under test.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde_json::Value;

use super::{
    api::{Id, Kind},
    nodes::Nodes,
};

/// The node under test.
pub(crate) const HERE: &str = "a";

/// A pod that the plugin has wired on the node.
#[derive(Clone, Debug)]
pub(crate) struct Wired {
    pub(crate) addresses: [IpAddr; 2],
    /// Port of the node, and of the pod, by TCP.
    pub(crate) host_port: Option<(u16, u16)>,
}

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) objects: BTreeMap<Id, Value>,
    /// By pod of namespace `default`.
    pub(crate) wired: BTreeMap<String, Wired>,
    pub(crate) nodes: Nodes,
    /// Servers of which Services' slices have said that they are local and that they are not.
    pub(crate) disputed: BTreeSet<SocketAddr>,
}

impl Model {
    /// Takes note of an object as the API server has it.
    pub(crate) fn note(&mut self, id: &Id, object: Option<Value>) {
        if id.kind == Kind::Node {
            self.nodes.note(&id.name, object.as_ref());
        }
        match object {
            Some(object) => drop(self.objects.insert(id.clone(), object)),
            None => drop(self.objects.remove(id)),
        }
    }

    /// All of a kind.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = (&Id, &Value)> {
        self.objects.iter().filter(move |(id, _)| id.kind == kind)
    }

    pub(crate) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Id::new(kind, namespace, name))
    }
}

/// The text at a path, empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The list at a path, empty if there is none.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The number at a path, 0 if there is none.
pub(crate) fn number(value: &Value, path: &str) -> u16 {
    let number = value.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    u16::try_from(number).unwrap_or(0)
}

/// The labels of an object.
pub(crate) fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let pairs = labels.into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// What can be read of a text, else nothing.
pub(crate) fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
