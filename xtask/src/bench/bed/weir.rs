//! Weir in force: agents on both nodes, pods wired by our plugin.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use weir_world::{Agent, Manifests, Node, Plugin, World, until};

use super::Pods;
use crate::bench::objects;

/// How long a change may take to be in the maps.
const SYNC_LIMIT: Duration = Duration::from_mins(1);

/// A bed with agents.
pub(crate) struct Weir {
    pub(crate) pods: Pods,
    pub(crate) agents: Vec<Agent>,
    pub(crate) manifests: Manifests,
}

impl Weir {
    /// With socket balancing, or with every packet translated on its way.
    pub(crate) fn new(name: &str, socket_balancing: bool) -> Result<Self> {
        let nodes = super::nodes(&World::new(name)?)?;
        let balancing = socket_balancing.to_string();
        Self::on(&nodes, &["--socket-balancing", &balancing])
    }

    /// On these nodes, by agents with these flags.
    pub(crate) fn on(nodes: &[Node; 2], flags: &[&str]) -> Result<Self> {
        let manifests = Manifests::new()?;
        for node in nodes {
            manifests.node(node)?;
        }
        let agents = nodes
            .iter()
            .map(|node| Agent::start(node, &manifests, flags))
            .collect::<Result<Vec<Agent>>>()?;
        let labels = json!({ "app": "bench" });
        let plugin = Plugin::weir()?;
        let pods = Pods::new(nodes, |node, name| {
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

    /// Makes it `services` Services, and waits until both nodes have them.
    pub(crate) fn set_services(&self, services: usize) -> Result<()> {
        let services = services.max(2);
        self.manifests
            .apply_objects("fillers.yaml", &objects::fillers(2, services, 1))?;
        self.await_items("services", |items| items.len() == services)
    }

    /// Puts `rules` policy rules in force for every pod in place of those before.
    pub(crate) fn set_rules(&self, rules: usize) -> Result<()> {
        // By way of none: other rules are not told from the last by a look at the state.
        self.manifests.apply_objects("policy.yaml", &[])?;
        self.await_policy("open")?;
        if rules == 0 {
            return Ok(());
        }
        self.manifests
            .apply_objects("policy.yaml", &[objects::policy(rules)])?;
        self.await_policy("isolated")
    }

    fn await_policy(&self, state: &str) -> Result<()> {
        self.await_items("policy", |items| {
            !items.is_empty() && items.iter().all(|item| item["state"] == state)
        })
    }

    /// Waits until `proxyctl dump` of every node shows what it should.
    fn await_items(&self, what: &str, done: impl Fn(&[Value]) -> bool) -> Result<()> {
        for agent in &self.agents {
            until(&format!("{what} in the maps"), SYNC_LIMIT, || {
                let listed: Value =
                    serde_json::from_str(&agent.proxyctl(&["dump", what, "-o", "json"])?)?;
                Ok(listed["items"]
                    .as_array()
                    .is_some_and(|items| done(items))
                    .then_some(()))
            })?;
        }
        Ok(())
    }
}
