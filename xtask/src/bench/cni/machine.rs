//! A node on which plugins are called as a runtime calls them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use weir_world::{Agent, Manifests, Node, Plugin, World};

use crate::tools::go;

/// Plugins by the name of their path.
pub(super) type Plugins = Vec<(&'static str, Call)>;

/// A plugin and what it is given.
pub(super) struct Call {
    plugin: Plugin,
    config: Value,
}

/// A node with an agent that knows the pods.
pub(super) struct Machine {
    pods: Vec<String>,
    node: Node,
    _agent: Agent,
    _manifests: Manifests,
    _world: World,
}

impl Machine {
    pub(super) fn new(pods: usize) -> Result<Self> {
        let world = World::new("cni-bench")?;
        let node = world.node("a")?;
        let manifests = Manifests::new()?;
        let pods: Vec<String> = (0..pods).map(|n| format!("p{n}")).collect();
        for pod in &pods {
            manifests.pending_pod(&node, pod, &json!({ "app": pod }))?;
            node.run(&["ip", "netns", "add", pod])?;
        }
        let agent = Agent::start(&node, &manifests, &[])?;
        Ok(Self {
            pods,
            node,
            _agent: agent,
            _manifests: manifests,
            _world: world,
        })
    }

    pub(super) fn plugins() -> Result<Plugins> {
        let ptp = |name: &str, ranges: Value| -> Result<Call> {
            let path = go::PLUGINS
                .iter()
                .map(|program| program.ensure())
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .find(|path| path.ends_with("ptp"))
                .context("ptp is not among the reference plugins")?;
            let config = json!({
                "cniVersion": "1.0.0",
                "name": name,
                "type": "ptp",
                "ipam": { "type": "host-local", "ranges": ranges, "dataDir": format!("/run/{name}") },
            });
            Ok(Call {
                plugin: Plugin::new(path, config.clone()),
                config,
            })
        };
        let (v4, v6) = ("10.245.0.0/22", "fd00:245::/64");
        Ok(vec![
            ("ptp-ipv4", ptp("ptp4", json!([[{ "subnet": v4 }]]))?),
            (
                "ptp-dual",
                ptp("ptp46", json!([[{ "subnet": v4 }], [{ "subnet": v6 }]]))?,
            ),
            (
                "weir-dual",
                Call {
                    plugin: Plugin::weir()?,
                    config: json!({ "cniVersion": "1.1.0", "name": "weir", "type": "weir" }),
                },
            ),
        ])
    }

    /// Times of ADD and DEL of one pod after the other, all together.
    pub(super) fn one_by_one(&self, call: &Call, pods: usize) -> Result<[Duration; 2]> {
        Self::timed(|verb| {
            self.pods[..pods]
                .iter()
                .try_for_each(|pod| self.call(call, verb, pod))
        })
    }

    /// Times of ADD and DEL of many pods at once, until the last is done.
    pub(super) fn at_once(&self, call: &Call, pods: usize) -> Result<[Duration; 2]> {
        Self::timed(|verb| {
            thread::scope(|scope| {
                let calls: Vec<_> = self.pods[..pods]
                    .iter()
                    .map(|pod| scope.spawn(move || self.call(call, verb, pod)))
                    .collect();
                calls.into_iter().try_for_each(|call| {
                    call.join().map_err(|_panic| anyhow!("a call panicked"))?
                })
            })
        })
    }

    fn timed(calls: impl Fn(&str) -> Result<()>) -> Result<[Duration; 2]> {
        let mut times = [Duration::ZERO; 2];
        for (time, verb) in times.iter_mut().zip(["ADD", "DEL"]) {
            let began = Instant::now();
            calls(verb)?;
            *time = began.elapsed();
        }
        Ok(times)
    }

    fn call(&self, call: &Call, verb: &str, pod: &str) -> Result<()> {
        let netns = format!("/run/netns/{pod}");
        let arguments = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}");
        let environment = [
            ("CNI_CONTAINERID", pod),
            ("CNI_NETNS", netns.as_str()),
            ("CNI_ARGS", arguments.as_str()),
        ];
        call.plugin
            .call(&self.node, verb, &environment, &call.config)
            .map(drop)
            .with_context(|| format!("pod {pod}"))
    }
}
