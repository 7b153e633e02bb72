//! The little that the agent tells the API server.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::servers::{RequestError, Servers};
use crate::observe::convert::node::ANNOTATION_KEY;

const PATIENCE: Duration = Duration::from_secs(10);

/// Writes conditions of Nodes through the API server in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeWriter {
    servers: Arc<Servers>,
}

impl NodeWriter {
    pub(super) const fn new(servers: Arc<Servers>) -> Self {
        Self { servers }
    }

    /// Sets a Node's condition `NetworkUnavailable` to False, beside the others.
    pub async fn network_available(&self, node: &str) -> Result<(), RequestError> {
        let now = Time(Timestamp::now());
        let condition = core::NodeCondition {
            type_: "NetworkUnavailable".to_owned(),
            status: "False".to_owned(),
            reason: Some("WeirIsUp".to_owned()),
            message: Some("Weir is running on this node".to_owned()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(now),
        };
        // Conditions are merged by type.
        let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
        let ask = async |client| {
            let nodes = Api::<core::Node>::all(client);
            let params = PatchParams::default();
            nodes.patch_status(node, &params, &patch).await
        };
        self.servers.request(PATIENCE, ask).await.map(drop)
    }

    /// Sets a Node's annotation that names its public key, or takes it away.
    pub async fn wireguard_key(&self, node: &str, key: Option<&str>) -> Result<(), RequestError> {
        let annotations = json!({ ANNOTATION_KEY: key });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let ask = async |client| {
            let nodes = Api::<core::Node>::all(client);
            let params = PatchParams::default();
            // By the status, which agents may write anyway; a right to write Nodes would be one to change taints and labels.
            nodes.patch_status(node, &params, &patch).await
        };
        self.servers.request(PATIENCE, ask).await.map(drop)
    }
}
