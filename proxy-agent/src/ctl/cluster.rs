//! The other nodes, by way of the API server: their `proxyctl` is run in the agents' containers (`pods/exec`), by the
//! rights of whoever asks. So agents listen nowhere, have no rights over each other, and the API server says who may and
//! keeps the record.

pub mod about;
mod clients;
pub mod exec;
mod state;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use self::clients::{Clients, is_silence};
pub use exec::Call;

use super::{CtlError, Exit, args::ClusterArgs};
use crate::usage::chain;

/// Where the image has it. An absolute path leaves nothing to the container's environment.
pub const PROGRAM: &str = "/usr/bin/proxyctl";
/// The agent's container, and the labels of its pods (`deploy/base`).
const CONTAINER: &str = "agent";
const LABELS: &str = "app.kubernetes.io/name=weir,app.kubernetes.io/component=agent";

/// The cluster, as whoever asks may see it.
#[derive(Clone)]
pub struct Cluster {
    clients: Clients,
    namespace: String,
}

/// An agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Its node.
    pub node: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
}

impl Agent {
    /// By its pod.
    pub fn of(pod: Pod) -> Option<Self> {
        Some(Self {
            node: node(&pod)?,
            namespace: pod.metadata.namespace?,
            pod: pod.metadata.name?,
        })
    }

    /// `proxyctl` in its container.
    pub fn call(&self, words: &[String], stdin: bool) -> Call {
        let program = [PROGRAM.to_owned()].into_iter();
        Call {
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            container: CONTAINER,
            words: program.chain(words.iter().cloned()).collect(),
            stdin,
        }
    }
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: u8,
    /// On standard output.
    pub out: Vec<u8>,
    /// On standard error.
    pub told: String,
}

impl Cluster {
    /// One that nobody can ask.
    #[cfg(test)]
    pub fn nowhere() -> Self {
        let config = Config::new(http::Uri::from_static("http://192.0.2.1"));
        let clients = Clients::new(config).unwrap();
        let namespace = String::new();
        Self { clients, namespace }
    }

    /// By a kubeconfig.
    pub async fn open(args: &ClusterArgs) -> Result<Self, CtlError> {
        let config = config(args).await;
        let clients = config.and_then(|c| Clients::new(c).map_err(|error| error.to_string()));
        let clients = clients.map_err(|error| {
            CtlError::new(
                Exit::Usage,
                format!("other nodes are asked through the API server: {error}"),
                "run it where kubectl works, or name a file by --kubeconfig, and a context in it by --context",
            )
        })?;
        Ok(Self {
            clients,
            namespace: args.agents().to_owned(),
        })
    }

    /// The node of a pod (`namespace/name`), of an address of a pod or node, or of `node/name`; none for what is
    /// nobody's. The network of a pod that is on its node's own is no pod's.
    pub async fn node_of(&self, word: &str) -> Result<Option<String>, CtlError> {
        if let Some(node) = word.strip_prefix("node/") {
            return Ok(Some(node.to_owned()));
        }
        if word.parse::<std::net::IpAddr>().is_ok() {
            return self.node_of_address(word).await;
        }
        let Some((namespace, name)) = word.split_once('/') else {
            return Ok(None);
        };
        let pods: Api<Pod> = Api::namespaced(self.clients.requests.clone(), namespace);
        let pod = pods.get_opt(name).await;
        let pod = pod.map_err(|e| self.refused(&format!("read pod {word}"), &e))?;
        Ok(pod.as_ref().and_then(node))
    }

    async fn node_of_address(&self, address: &str) -> Result<Option<String>, CtlError> {
        let nodes: Api<Node> = Api::all(self.clients.requests.clone());
        let nodes = nodes.list(&ListParams::default()).await;
        let of_node = nodes
            .map_err(|e| self.refused("list Nodes", &e))?
            .items
            .into_iter();
        let mut of_node = of_node.filter(|node| has(node, address));
        if let Some(node) = of_node.find_map(|node| node.metadata.name) {
            return Ok(Some(node));
        }
        let pods: Api<Pod> = Api::all(self.clients.requests.clone());
        // The API server knows only the first address by this name.
        let by_first = ListParams::default().fields(&format!("status.podIP={address}"));
        for list in [by_first, ListParams::default()] {
            let found = pods.list(&list).await;
            let found = found.map_err(|e| self.refused("list pods", &e))?;
            if let Some(pod) = found.items.iter().find(|pod| is_at(pod, address)) {
                return Ok(node(pod));
            }
        }
        Ok(None)
    }

    /// How to ask it anything.
    pub fn client(&self) -> Client {
        self.clients.requests.clone()
    }

    /// The agents.
    pub async fn agents(&self) -> Result<Vec<Agent>, CtlError> {
        let running = self.running().await?.into_iter();
        Ok(running.filter_map(Agent::of).collect())
    }

    /// The pods of agents, of which there is one at least.
    pub async fn running(&self) -> Result<Vec<Pod>, CtlError> {
        let pods: Api<Pod> = Api::namespaced(self.clients.requests.clone(), &self.namespace);
        let list = pods.list(&ListParams::default().labels(LABELS)).await;
        let what = format!("list the agents' pods in {}", self.namespace);
        let pods = list.map_err(|error| self.refused(&what, &error))?.items;
        let is_running = |pod: &Pod| is_running(pod) && node(pod).is_some();
        let (running, others): (Vec<_>, Vec<_>) = pods.into_iter().partition(is_running);
        if let Some(leaving) = running.iter().find(|pod| state::cleans_up(pod)) {
            return Err(state::leaves(leaving));
        }
        if let (true, Some(one)) = (running.is_empty(), others.first()) {
            let namespace = &self.namespace;
            return Err(CtlError::new(
                Exit::Unreachable,
                format!(
                    "no agent runs in namespace {namespace}, of {} pods: {}",
                    others.len(),
                    state::in_words(one)
                ),
                format!(
                    "kubectl --namespace {namespace} describe pods --selector {LABELS} says what they wait for"
                ),
            ));
        }
        if running.is_empty() {
            return Err(CtlError::new(
                Exit::Unreachable,
                format!("no agent runs in namespace {} ({LABELS})", self.namespace),
                "--namespace names the DaemonSet's; try: kubectl get pods -A -l app.kubernetes.io/name=weir",
            ));
        }
        Ok(running)
    }

    /// Runs `proxyctl` with these words in an agent's container.
    pub async fn proxyctl(&self, agent: &Agent, words: &[String]) -> Result<Said, CtlError> {
        let (mut out, mut told) = (Vec::new(), Vec::new());
        let call = agent.call(words, false);
        let code = self.exec(&call, &mut out, &mut told).await?;
        let told = String::from_utf8_lossy(&told).into_owned();
        Ok(Said { code, out, told })
    }

    /// Why nothing could be run in a pod: the state of its container, if that is it; else what the API server said.
    pub(super) async fn not_run(&self, call: &Call, error: &kube::Error) -> CtlError {
        let pod = self.pod_of(call).await;
        let pod = pod.as_ref();
        let what = format!(
            "run {} in pod {}/{}",
            call.words.join(" "),
            call.namespace,
            call.pod
        );
        pod.and_then(state::why_not)
            .or_else(|| state::just_ended(call, error))
            .or_else(|| state::without_node(pod.and_then(node)?.as_str(), call, error))
            .unwrap_or_else(|| self.refused(&what, error))
    }

    /// Why nothing can be run in a pod, if its container does not run.
    pub(super) async fn state_of(&self, call: &Call) -> Option<CtlError> {
        let pod = self.pod_of(call).await;
        pod.as_ref().and_then(state::why_not)
    }

    /// The pod in which something is to be run, if anybody knows it.
    async fn pod_of(&self, call: &Call) -> Option<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.clients.requests.clone(), &call.namespace);
        pods.get_opt(&call.pod).await.ok().flatten()
    }

    fn refused(&self, what: &str, error: &kube::Error) -> CtlError {
        let code = match error {
            kube::Error::Api(status) => status.code,
            kube::Error::UpgradeConnection(
                kube::client::UpgradeConnectionError::ProtocolSwitch(code),
            ) => code.as_u16(),
            _ => 0,
        };
        let message = format!("ask the API server to {what}: {}", chain(error));
        match code {
            401 | 403 => CtlError::new(
                Exit::Unreachable,
                message,
                format!(
                    "asking other nodes needs list of pods, and get and create of pods/exec in {namespace}, and `policy why` get and list of pods and nodes everywhere. Agents have no such rights: from their containers say kubectl weir where you have yours; try: kubectl auth can-i create pods/exec -n {namespace}",
                    namespace = self.namespace
                ),
            ),
            0 if is_silence(error) => CtlError::new(
                Exit::Unreachable,
                format!("{message}: no answer in time"),
                "the API server of the kubeconfig is silent, or something on the way drops packets; --kubeconfig and --context name another; try: kubectl get --raw /readyz",
            ),
            0 => CtlError::new(
                Exit::Unreachable,
                message,
                "is the API server of the kubeconfig in reach? try: kubectl get --raw /readyz",
            ),
            _ => CtlError::new(
                Exit::Unreachable,
                message,
                "can it reach the node's kubelet? try: kubectl -n kube-system exec ds/weir -c agent -- proxyctl status",
            ),
        }
    }
}

/// As kubectl finds it; within a pod its service account, if there is no file.
async fn config(args: &ClusterArgs) -> Result<Config, String> {
    let said = |error: KubeconfigError| error.to_string();
    if args.kubeconfig.is_none() && args.context.is_none() {
        return Config::infer().await.map_err(|error| error.to_string());
    }
    let file = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file.map_err(said)?, &options).await;
    config.map_err(said)
}

/// The image of an agent's pod.
pub fn image(pod: &Pod) -> Option<String> {
    let mut containers = pod.spec.as_ref()?.containers.iter();
    let agent = containers.find(|container| container.name == CONTAINER)?;
    agent.image.clone()
}

fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a pod that runs, with a network of its own, has this address.
fn is_at(pod: &Pod, address: &str) -> bool {
    let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network);
    let Some(status) = &pod.status else {
        return false;
    };
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let mut ips = status.pod_ips.iter().flatten();
    on_host != Some(true) && !ended && ips.any(|ip| ip.ip == address)
}

fn has(node: &Node, address: &str) -> bool {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_ref());
    addresses.is_some_and(|all| all.iter().any(|a| a.address == address))
}
