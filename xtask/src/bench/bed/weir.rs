//! Weir in force: agents on both nodes, pods wired by our plugin.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use weir_world::{Agent, Manifests, Plugin, World, until};

use super::Pods;
use crate::bench::objects;

/// How long a change may take to be in the maps.
const SYNC_LIMIT: Duration = Duration::from_mins(1);

/// A bed with agents.
pub(crate) struct Weir {
    pub(crate) pods: Pods,
    agents: Vec<Agent>,
    manifests: Manifests,
}

impl Weir {
    /// With socket balancing, or with every packet translated on its way.
    pub(crate) fn new(name: &str, socket_balancing: bool) -> Result<Self> {
        let world = World::new(name)?;
        let nodes = super::nodes(&world)?;
        let manifests = Manifests::new()?;
        let balancing = socket_balancing.to_string();
        let agents = nodes
            .iter()
            .map(|node| Agent::start(node, &manifests, &["--socket-balancing", &balancing]))
            .collect::<Result<Vec<Agent>>>()?;
        let labels = json!({ "app": "bench" });
        let plugin = Plugin::weir()?;
        let pods = Pods::new(&nodes, |node, name| {
            manifests.pending_pod(node, name, &labels)?;
            let pod = node.pod(&plugin, name)?;
            manifests.running_pod(&pod, &labels)?;
            Ok(pod)
        })?;
        manifests.apply_objects("services.yaml", &pods.services())?;
        Ok(Self {
            pods,
            agents,
            manifests,
        })
    }

    /// Makes it `services` Services and `rules` policy rules, and waits until both nodes have them.
    pub(crate) fn set(&mut self, services: usize, rules: usize) -> Result<()> {
        self.manifests
            .apply_objects("fillers.yaml", &objects::fillers(2, services.max(2), 1))?;
        let policies: Vec<Value> = (rules > 0)
            .then(|| objects::policy(rules))
            .into_iter()
            .collect();
        self.manifests.apply_objects("policy.yaml", &policies)?;
        for agent in &self.agents {
            until("Services in the maps", SYNC_LIMIT, || {
                let listed: Value =
                    serde_json::from_str(&agent.proxyctl(&["dump", "services", "-o", "json"])?)?;
                let count = listed["items"].as_array().map_or(0, Vec::len);
                Ok((count == services.max(2)).then_some(()))
            })?;
        }
        Ok(())
    }
}
