//! A cluster without a cluster: nodes with agents, pods wired by the plugin, objects as manifests.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Agent, Manifests, Node, Plugin, Pod, World,
    agent::Programs,
    manifests::{service, slice},
    until,
};

/// How long a change may take to be in force on every node.
pub const SYNC_LIMIT: Duration = Duration::from_secs(10);
/// Port of every Service of a [`Cluster`].
pub const SERVICE_PORT: u16 = 80;
/// Port of the pods behind them.
pub const POD_PORT: u16 = 8080;

/// Nodes with agents. Dropped after the pods that were made on it.
pub struct Cluster {
    agents: Vec<Agent>,
    nodes: Vec<Node>,
    manifests: Manifests,
    plugin: Plugin,
    world: World,
}

impl Cluster {
    /// Starts an agent with these flags on each node; no pods yet.
    pub fn start(name: &str, nodes: &[&str], flags: &[&str]) -> Result<Self> {
        Self::start_version(name, nodes, flags, None)
    }

    /// As [`Cluster::start`], with agents and a plugin of another version.
    pub fn start_version(
        name: &str,
        nodes: &[&str],
        flags: &[&str],
        programs: Option<&Programs>,
    ) -> Result<Self> {
        let world = World::new(name)?;
        let nodes: Vec<Node> = nodes
            .iter()
            .map(|name| world.node(name))
            .collect::<Result<_>>()?;
        Self::of(world, nodes, flags, programs)
    }

    /// As [`Self::start`], with something done on the nodes before any agent has ever run there.
    pub fn start_after<T>(
        name: &str,
        nodes: &[&str],
        flags: &[&str],
        before: impl FnOnce(&World, &[Node]) -> Result<T>,
    ) -> Result<(Self, T)> {
        let world = World::new(name)?;
        let nodes: Vec<Node> = nodes
            .iter()
            .map(|name| world.node(name))
            .collect::<Result<_>>()?;
        let done = before(&world, &nodes)?;
        Ok((Self::of(world, nodes, flags, None)?, done))
    }

    /// As [`Self::start`], each node behind a router that knows no pods.
    pub fn start_routed(name: &str, nodes: &[&str], flags: &[&str]) -> Result<Self> {
        let route = |world: &World, node: &Node| {
            if node.index() == 1 {
                world.route_nodes()?;
            }
            node.behind_router()
        };
        Self::start_prepared(name, nodes, flags, route)
    }

    /// As [`Self::start`]; `prepare` is called with each node before its agent begins.
    pub fn start_prepared(
        name: &str,
        nodes: &[&str],
        flags: &[&str],
        prepare: impl Fn(&World, &Node) -> Result<()>,
    ) -> Result<Self> {
        let world = World::new(name)?;
        let nodes: Vec<Node> = nodes
            .iter()
            .map(|name| {
                let node = world.node(name)?;
                prepare(&world, &node)?;
                Ok(node)
            })
            .collect::<Result<_>>()?;
        Self::of(world, nodes, flags, None)
    }

    /// Starts an agent with these flags on each of these nodes.
    fn of(
        world: World,
        nodes: Vec<Node>,
        flags: &[&str],
        programs: Option<&Programs>,
    ) -> Result<Self> {
        let manifests = Manifests::new()?;
        for node in &nodes {
            manifests.node(node)?;
        }
        let agents = nodes
            .iter()
            .map(|node| Agent::start_version(node, &manifests, flags, programs.cloned()))
            .collect::<Result<_>>()?;
        Ok(Self {
            agents,
            nodes,
            manifests,
            plugin: match programs {
                Some(programs) => Plugin::weir_of(&programs.plugin),
                None => Plugin::weir()?,
            },
            world,
        })
    }

    /// The world it is in.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The folder of its objects.
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// A node by its place in the list that it was started with.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The agent of that node.
    pub fn agent(&self, index: usize) -> &Agent {
        &self.agents[index]
    }

    /// The agent of that node, to be killed and started again.
    pub fn agent_mut(&mut self, index: usize) -> &mut Agent {
        &mut self.agents[index]
    }

    /// What all agents have said: for a test that fails.
    pub fn logs(&self) -> String {
        self.agents.iter().map(Agent::log).collect()
    }

    /// A pod with label `app: NAME`, known to every agent before and after it is wired.
    pub fn pod(&self, node: usize, name: &str) -> Result<Pod> {
        self.labelled_pod(node, name, &json!({ "app": name }))
    }

    /// A pod with labels.
    pub fn labelled_pod(&self, node: usize, name: &str, labels: &Value) -> Result<Pod> {
        self.wired_pod(node, name, labels, &self.plugin)
    }

    /// A pod with label `app: NAME` and `hostPort`s, as containerd writes them.
    pub fn pod_with_ports(&self, node: usize, name: &str, ports: &Value) -> Result<Pod> {
        let plugin = self.plugin.clone().with_ports(ports);
        self.wired_pod(node, name, &json!({ "app": name }), &plugin)
    }

    /// A pod whose object names ports of its container, of which the runtime tells the plugin none, as CRI-O; or those that
    /// are `told`.
    pub fn pod_of_spec(
        &self,
        node: usize,
        name: &str,
        ports: &Value,
        told: Option<&Value>,
    ) -> Result<Pod> {
        let node = self.nodes.get(node).context("no such node")?;
        let plugin = told.map_or_else(
            || self.plugin.clone(),
            |told| self.plugin.clone().with_ports(told),
        );
        self.manifests.pending_pod_with(node, name, ports)?;
        node.pod(&plugin, name)
            .with_context(|| format!("agents said:\n{}", self.logs()))
    }

    /// A pod with annotations, of which the runtime tells the plugin these limits of bandwidth.
    pub fn annotated_pod(
        &self,
        node: usize,
        name: &str,
        annotations: &Value,
        told: &Value,
    ) -> Result<Pod> {
        let node = self.nodes.get(node).context("no such node")?;
        self.manifests.annotated_pod(node, name, &[], annotations)?;
        let plugin = self.plugin.clone().with_bandwidth(told);
        let pod = node
            .pod(&plugin, name)
            .with_context(|| format!("agents said:\n{}", self.logs()))?;
        self.annotate(&pod, annotations)?;
        Ok(pod)
    }

    /// Gives a pod with label `app: NAME` these annotations and no others.
    pub fn annotate(&self, pod: &Pod, annotations: &Value) -> Result<()> {
        let addresses = pod.addresses();
        let (node, name) = (pod.node(), pod.name());
        self.manifests
            .annotated_pod(node, name, &addresses, annotations)
    }

    fn wired_pod(&self, node: usize, name: &str, labels: &Value, plugin: &Plugin) -> Result<Pod> {
        let node = self.nodes.get(node).context("no such node")?;
        self.manifests.pending_pod(node, name, labels)?;
        let pod = node
            .pod(plugin, name)
            .with_context(|| format!("agents said:\n{}", self.logs()))?;
        self.manifests.running_pod(&pod, labels)?;
        Ok(pod)
    }

    /// A dual-stack Service on TCP and UDP port 80, served by port 8080 of `pods`; `number` makes its
    /// addresses. `more` is merged into its spec, but for `status` and `annotations` in it, which become its own. Returns the addresses.
    pub fn service(
        &self,
        name: &str,
        number: u8,
        pods: &[&Pod],
        more: &Value,
    ) -> Result<[IpAddr; 2]> {
        let addresses: [IpAddr; 2] = [
            Ipv4Addr::new(10, 96, 0, number).into(),
            Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, number.into()).into(),
        ];
        let mut spec = json!({
            "type": "ClusterIP",
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [
                { "name": "tcp", "protocol": "TCP", "port": SERVICE_PORT, "targetPort": POD_PORT },
                { "name": "udp", "protocol": "UDP", "port": SERVICE_PORT, "targetPort": POD_PORT },
            ],
        });
        merge(&mut spec, more);
        let mut object = service(name, &spec);
        let mut take = |field| object["spec"].as_object_mut()?.remove(field);
        let (status, annotations) = (take("status"), take("annotations"));
        if let Some(status) = status {
            object["status"] = status;
        }
        if let Some(annotations) = annotations {
            object["metadata"]["annotations"] = annotations;
        }
        self.manifests
            .apply_objects(&format!("service-{name}.yaml"), &[object])?;
        self.endpoints(name, pods)?;
        Ok(addresses)
    }

    /// Makes these pods the endpoints of a Service.
    pub fn endpoints(&self, name: &str, pods: &[&Pod]) -> Result<()> {
        let at: Vec<_> = pods
            .iter()
            .map(|pod| (pod.addresses(), pod.node().name()))
            .collect();
        self.endpoints_at(name, &at)
    }

    /// Makes these addresses, IPv4 and IPv6 on a node, the endpoints of a Service.
    pub fn endpoints_at(&self, name: &str, at: &[([IpAddr; 2], &str)]) -> Result<()> {
        let ports = json!([
            { "name": "tcp", "protocol": "TCP", "port": POD_PORT },
            { "name": "udp", "protocol": "UDP", "port": POD_PORT },
        ]);
        let of = |family: usize| -> Value {
            let ready: Vec<(String, &str)> = at
                .iter()
                .map(|(addresses, node)| (addresses[family].to_string(), *node))
                .collect();
            slice(name, &ports, &ready)
        };
        let slices = if at.is_empty() {
            Vec::new()
        } else {
            vec![of(0), of(1)]
        };
        self.manifests
            .apply_objects(&format!("endpoints-{name}.yaml"), &slices)?;
        Ok(())
    }

    /// Waits until `check` holds; failing, shows what the agents said.
    pub fn eventually<T>(&self, what: &str, mut check: impl FnMut() -> Option<T>) -> Result<T> {
        until(what, SYNC_LIMIT, || Ok(check()))
            .with_context(|| format!("agents said:\n{}", self.logs()))
    }
}

fn merge(into: &mut Value, more: &Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        for (key, value) in more {
            into.insert(key.clone(), value.clone());
        }
    }
}
