//! The object in which nodes claim ranges of pods, and what of Nodes goes with it.
//!
//! All reads are of etcd, not of some API server's cache: who decides by them must have seen the last write.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1 as core;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::servers::{RequestError, Servers};
use crate::{
    model::Node,
    observe::{
        Object,
        convert::{Convert as _, node::ANNOTATION_RANGES},
        intern::Interner,
    },
};

/// The object: a `ConfigMap`, which Weir's manifests make, for a right to create it could not name it.
const NAMESPACE: &str = "kube-system";
/// Its name.
const NAME: &str = "weir-pod-ranges";

const PATIENCE: Duration = Duration::from_secs(10);
/// Conflict: the object is not any more what it was when it was read.
const CONFLICT: u16 = 409;

/// Reads and writes through the API server in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClaimStore {
    servers: Arc<Servers>,
    interner: Arc<Interner>,
}

/// What the object holds, and as of when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Resource version.
    pub version: String,
    /// Its keys.
    pub data: BTreeMap<String, String>,
}

impl ClaimStore {
    pub(super) const fn new(servers: Arc<Servers>, interner: Arc<Interner>) -> Self {
        Self { servers, interner }
    }

    /// A Node, as it is now; none if there is none.
    pub async fn node(&self, name: &str) -> Result<Option<Node>, RequestError> {
        let ask = async |client| Api::<core::Node>::all(client).get_opt(name).await;
        let what = format!("read Node {name}");
        let found = self.servers.request((PATIENCE, &what), ask).await?;
        let converted = found.and_then(|node| node.convert(&self.interner));
        Ok(converted.and_then(|converted| match converted.object {
            Some(Object::Node(node)) => Some(*node),
            _ => None,
        }))
    }

    /// The object; none if there is none.
    pub async fn read(&self) -> Result<Option<Held>, RequestError> {
        let ask = async |client| objects(client).get_opt(NAME).await;
        let what = format!("read ConfigMap {NAMESPACE}/{NAME}");
        let found = self.servers.request((PATIENCE, &what), ask).await?;
        Ok(found.map(|object| Held {
            version: object.metadata.resource_version.unwrap_or_default(),
            data: object.data.unwrap_or_default(),
        }))
    }

    /// Sets keys, or removes them, if the object is still what was read; false if it is not. An error tells nothing: it may
    /// have been written.
    pub async fn write(
        &self,
        version: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<bool, RequestError> {
        // A patch with a resource version is a precondition: the API server refuses it if the object has another.
        let patch = json!({ "metadata": { "resourceVersion": version }, "data": changes });
        let ask = async |client| {
            let patched = objects(client)
                .patch_metadata(NAME, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            match patched {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(false),
                Err(error) => Err(error),
            }
        };
        let what = format!("write ConfigMap {NAMESPACE}/{NAME}");
        self.servers.request((PATIENCE, &what), ask).await
    }

    /// Writes on a Node which ranges it has, for all nodes to read, or that it has none. Refused if another Node has taken
    /// its name.
    pub async fn annotate(
        &self,
        node: &str,
        uid: &str,
        ranges: Option<&str>,
    ) -> Result<(), RequestError> {
        let annotations = json!({ ANNOTATION_RANGES: ranges });
        let patch = json!({ "metadata": { "uid": uid, "annotations": annotations } });
        let ask = async |client| {
            let nodes = Api::<core::Node>::all(client);
            let params = PatchParams::default();
            // By the status, which agents may write anyway; a right to write Nodes would be one to change taints and labels.
            nodes
                .patch_status(node, &params, &Patch::Merge(patch))
                .await
        };
        let what = format!("write the ranges of Node {node}");
        let done = self.servers.request((PATIENCE, &what), ask).await;
        done.map(drop)
    }

    /// Returns when the API server answers again, or another one is in use.
    pub async fn recovered(&self) {
        let (mut servers, mut recoveries) = (self.servers.changes(), self.servers.recoveries());
        tokio::select! {
            _ = servers.changed() => {}
            _ = recoveries.changed() => {}
        }
    }
}

fn objects(client: kube::Client) -> Api<core::ConfigMap> {
    Api::namespaced(client, NAMESPACE)
}
