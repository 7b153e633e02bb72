//! The little that the agent tells the API server.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::servers::{RequestError, Servers};
use crate::{
    model::NetworkUnavailable,
    observe::convert::node::{ANNOTATION_KEY, TAINT_AWAITS, network_unavailable},
};

const PATIENCE: Duration = Duration::from_secs(10);
const CONDITION: &str = "NetworkUnavailable";

/// Writes conditions and annotations of Nodes, and takes a taint away, through the API server in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeWriter {
    servers: Arc<Servers>,
}

impl NodeWriter {
    pub(super) const fn new(servers: Arc<Servers>) -> Self {
        Self { servers }
    }

    /// For who watches nothing.
    pub fn of(servers: Servers) -> Self {
        Self::new(Arc::new(servers))
    }

    /// Sets a Node's condition `NetworkUnavailable`, beside the others. `turns`: it says something else than before, not the same in
    /// other words.
    pub async fn network(
        &self,
        node: &str,
        network: &NetworkUnavailable,
        turns: bool,
    ) -> Result<(), RequestError> {
        let now = Time(Timestamp::now());
        let condition = core::NodeCondition {
            type_: CONDITION.to_owned(),
            status: if network.is_true { "True" } else { "False" }.to_owned(),
            reason: Some(network.reason.clone()),
            message: Some(network.message.clone()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: turns.then_some(now),
        };
        self.conditions(node, json!([condition])).await
    }

    /// Takes away a Node's condition `NetworkUnavailable` that Weir has set.
    pub async fn no_network_condition(&self, node: &str) -> Result<(), RequestError> {
        let shown = network_unavailable(self.read(node).await?.status.as_ref());
        if !shown.is_some_and(|shown| shown.is_ours()) {
            return Ok(());
        }
        self.conditions(node, json!([{ "type": CONDITION, "$patch": "delete" }]))
            .await
    }

    /// Changes conditions, which are merged by type.
    async fn conditions(&self, node: &str, conditions: Value) -> Result<(), RequestError> {
        let patch = Patch::Strategic(json!({ "status": { "conditions": conditions } }));
        let ask = async |client| {
            let nodes = Api::<core::Node>::all(client);
            let params = PatchParams::default();
            nodes.patch_status(node, &params, &patch).await
        };
        let what = format!("write a condition of Node {node}");
        let done = self.servers.request((PATIENCE, &what), ask).await;
        done.map(drop)
    }

    async fn read(&self, node: &str) -> Result<core::Node, RequestError> {
        let ask = async |client| Api::<core::Node>::all(client).get(node).await;
        let what = format!("read Node {node}");
        self.servers.request((PATIENCE, &what), ask).await
    }

    /// Takes away a Node's taint `weir.dev/agent-not-ready`, and nothing else.
    pub async fn take_taint(&self, node: &str) -> Result<(), RequestError> {
        let object = self.read(node).await?;
        let taints = object.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let (taken, kept): (Vec<_>, Vec<_>) = taints
            .into_iter()
            .partition(|taint| taint.key == TAINT_AWAITS);
        if taken.is_empty() {
            return Ok(());
        }
        // Lists of taints are replaced whole: what somebody has changed meanwhile must not be undone.
        let version = object.metadata.resource_version;
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": version },
            "spec": { "taints": kept },
        }));
        let ask = async |client| {
            let nodes = Api::<core::Node>::all(client);
            nodes.patch(node, &PatchParams::default(), &patch).await
        };
        let what = format!("take the taint off Node {node}");
        let done = self.servers.request((PATIENCE, &what), ask).await;
        done.map(drop)
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
        let what = format!("write the public key of Node {node}");
        let done = self.servers.request((PATIENCE, &what), ask).await;
        done.map(drop)
    }
}
