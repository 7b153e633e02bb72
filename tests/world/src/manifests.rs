//! A folder of manifests, and the objects that nodes and pods of a world stand for.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{node::Node, pod::Pod};

/// A folder that agents watch. Cheap to clone; removed with the last handle.
#[derive(Clone, Debug)]
pub struct Manifests {
    folder: Arc<TempDir>,
}

impl Manifests {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("weir-manifests-").context("make a manifests folder")?;
        Ok(Self {
            folder: Arc::new(folder),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file in place (whole at once, by rename) or replaces it.
    pub fn apply(&self, name: &str, yaml: &str) -> Result<PathBuf> {
        let hidden = self.path().join(format!(".{name}"));
        let path = self.path().join(name);
        fs::write(&hidden, yaml).with_context(|| format!("write {}", hidden.display()))?;
        fs::rename(&hidden, &path).with_context(|| format!("rename to {}", path.display()))?;
        Ok(path)
    }

    /// As [`Manifests::apply`], with several objects.
    pub fn apply_objects(&self, name: &str, objects: &[Value]) -> Result<PathBuf> {
        self.apply(name, &stream(objects))
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.path().join(name)).with_context(|| format!("remove {name}"))
    }

    /// The Node object of a node.
    pub fn node(&self, node: &Node) -> Result<()> {
        self.apply_objects(&format!("node-{}.yaml", node.name()), &[node_object(node)])
            .map(drop)
    }

    /// The Pod object of a pod that is about to be wired: labels, no address yet.
    pub fn pending_pod(&self, node: &Node, name: &str, labels: &Value) -> Result<()> {
        let pod = pod_object(node, name, labels, &[]);
        self.apply_objects(&format!("pod-{name}.yaml"), &[pod])
            .map(drop)
    }

    /// As [`Self::pending_pod`], of a container with these ports.
    pub fn pending_pod_with(&self, node: &Node, name: &str, ports: &Value) -> Result<()> {
        let mut pod = pod_object(node, name, &json!({ "app": name }), &[]);
        pod["spec"]["containers"][0]["ports"] = ports.clone();
        self.apply_objects(&format!("pod-{name}.yaml"), &[pod])
            .map(drop)
    }

    /// The Pod object of a pod with annotations, wired or about to be.
    pub fn annotated_pod(
        &self,
        node: &Node,
        name: &str,
        addresses: &[IpAddr],
        annotations: &Value,
    ) -> Result<()> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let mut pod = pod_object(node, name, &json!({ "app": name }), &addresses);
        pod["metadata"]["annotations"] = annotations.clone();
        self.apply_objects(&format!("pod-{name}.yaml"), &[pod])
            .map(drop)
    }

    /// The Pod object of a wired pod, with its addresses.
    pub fn running_pod(&self, pod: &Pod, labels: &Value) -> Result<()> {
        let addresses = pod.addresses().map(|address| address.to_string());
        let object = pod_object(pod.node(), pod.name(), labels, &addresses);
        self.apply_objects(&format!("pod-{}.yaml", pod.name()), &[object])
            .map(drop)
    }
}

/// Objects as one YAML stream (JSON is YAML).
pub fn stream(objects: &[Value]) -> String {
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    documents.join("\n---\n") + "\n"
}

/// The Node object of a node.
pub fn node_object(node: &Node) -> Value {
    let ranges = node.pod_ranges();
    let addresses: Vec<Value> = node
        .addresses()
        .iter()
        .map(|address| json!({ "type": "InternalIP", "address": address }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": node.name(), "labels": { "kubernetes.io/hostname": node.name() } },
        "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
        "status": { "addresses": addresses },
    })
}

/// Uid of a pod, which the plugin is told as well: a runtime has it from the same object.
pub fn pod_uid(node: &Node, name: &str) -> String {
    format!("{}-{name}", node.name())
}

fn pod_object(node: &Node, name: &str, labels: &Value, addresses: &[String]) -> Value {
    let all: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    let phase = if addresses.is_empty() {
        "Pending"
    } else {
        "Running"
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "uid": pod_uid(node, name), "labels": labels },
        "spec": { "nodeName": node.name(), "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": phase, "podIP": addresses.first(), "podIPs": all },
    })
}

/// A Service without selector.
pub fn service(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })
}

/// A slice of ready endpoints, `(address, node)`; the family is that of the first address.
pub fn slice(service: &str, ports: &Value, endpoints: &[(String, &str)]) -> Value {
    let family = match endpoints.first() {
        Some((address, _)) if address.contains(':') => "IPv6",
        _ => "IPv4",
    };
    let listed: Vec<Value> = endpoints
        .iter()
        .map(|(address, node)| {
            json!({
                "addresses": [address],
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "nodeName": node,
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{}", family.to_lowercase()),
            "namespace": "default",
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": family,
        "ports": ports,
        "endpoints": listed,
    })
}
