//! A node on which plugins are called as a runtime calls them.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use weir_world::{Agent, Manifests, Node, World, program};

use super::runtime::Runtime;
use crate::tools::go;

/// Plugins by the name of their path.
pub(super) type Plugins = Vec<(&'static str, Call)>;

/// A plugin and what it is given, as paths on the node.
pub(super) struct Call {
    pub(super) plugin: PathBuf,
    pub(super) config: String,
}

/// A node with an agent that knows the pods.
pub(super) struct Machine {
    runtimes: Vec<Mutex<Runtime>>,
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
        let runtimes = pods.iter().map(|pod| Runtime::start(&node, pod));
        Ok(Self {
            runtimes: runtimes
                .map(|runtime| runtime.map(Mutex::new))
                .collect::<Result<_>>()?,
            node,
            _agent: agent,
            _manifests: manifests,
            _world: world,
        })
    }

    pub(super) fn plugins(&self) -> Result<Plugins> {
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
            self.configured(path, name, &config)
        };
        let (v4, v6) = ("10.245.0.0/22", "fd00:245::/64");
        let weir = json!({ "cniVersion": "1.1.0", "name": "weir", "type": "weir" });
        Ok(vec![
            ("ptp-ipv4", ptp("ptp4", json!([[{ "subnet": v4 }]]))?),
            (
                "ptp-dual",
                ptp("ptp46", json!([[{ "subnet": v4 }], [{ "subnet": v6 }]]))?,
            ),
            (
                "weir-dual",
                self.configured(program("cni-plugin")?, "weir", &weir)?,
            ),
        ])
    }

    fn configured(&self, plugin: PathBuf, name: &str, config: &Value) -> Result<Call> {
        let path = format!("/run/bench-{name}.json");
        fs::write(self.node.file(&path), config.to_string())
            .with_context(|| format!("write {path}"))?;
        Ok(Call {
            plugin,
            config: path,
        })
    }

    /// Times of ADD and DEL of one pod after the other, all together.
    pub(super) fn one_by_one(&self, call: &Call, pods: usize) -> Result<[Duration; 2]> {
        Self::timed(|verb| {
            self.runtimes[..pods]
                .iter()
                .try_for_each(|runtime| ask(runtime, call, verb))
        })
    }

    /// Times of ADD and DEL of many pods at once, until the last is done.
    pub(super) fn at_once(&self, call: &Call, pods: usize) -> Result<[Duration; 2]> {
        Self::timed(|verb| {
            thread::scope(|scope| {
                let calls: Vec<_> = self.runtimes[..pods]
                    .iter()
                    .map(|runtime| scope.spawn(move || ask(runtime, call, verb)))
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
}

fn ask(runtime: &Mutex<Runtime>, call: &Call, verb: &str) -> Result<()> {
    let mut runtime = runtime.lock().unwrap_or_else(PoisonError::into_inner);
    runtime.call(call, verb)
}
