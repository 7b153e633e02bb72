//! The other nodes, by way of the API server: their `proxyctl` is run in the agents' containers (`pods/exec`), by the
//! rights of whoever asks. So agents listen nowhere, have no rights over each other, and the API server says who may and
//! keeps the record.

use std::path::Path;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::{
    Api, Client, Config,
    api::{AttachParams, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{CtlError, Exit, args::ClusterArgs};

/// Where the image has it. An absolute path leaves nothing to the container's environment.
const PROGRAM: &str = "/usr/bin/proxyctl";
/// The agent's container, and the labels of its pods (`deploy/base`).
const CONTAINER: &str = "agent";
const LABELS: &str = "app.kubernetes.io/name=weir,app.kubernetes.io/component=agent";

/// The cluster, as whoever asks may see it.
pub struct Cluster {
    client: Client,
    namespace: String,
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub told: String,
}

impl Cluster {
    /// By a kubeconfig.
    pub async fn open(args: &ClusterArgs) -> Result<Self, CtlError> {
        let config = match &args.kubeconfig {
            Some(path) => read(path).await,
            None => Config::infer().await.map_err(|error| error.to_string()),
        };
        let client = config.and_then(|c| Client::try_from(c).map_err(|error| error.to_string()));
        let client = client.map_err(|error| {
            CtlError::new(
                Exit::Usage,
                format!("--all-nodes asks through the API server: {error}"),
                "run it where kubectl works, or name a file by --kubeconfig",
            )
        })?;
        Ok(Self {
            client,
            namespace: args.agent_namespace.clone(),
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
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = pods.get_opt(name).await.map_err(|e| self.refused(&e))?;
        Ok(pod.as_ref().and_then(node))
    }

    async fn node_of_address(&self, address: &str) -> Result<Option<String>, CtlError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes.list(&ListParams::default()).await;
        let of_node = nodes.map_err(|e| self.refused(&e))?.items.into_iter();
        let mut of_node = of_node.filter(|node| has(node, address));
        if let Some(node) = of_node.find_map(|node| node.metadata.name) {
            return Ok(Some(node));
        }
        let pods: Api<Pod> = Api::all(self.client.clone());
        // The API server knows only the first address by this name.
        let by_first = ListParams::default().fields(&format!("status.podIP={address}"));
        for list in [by_first, ListParams::default()] {
            let found = pods.list(&list).await.map_err(|e| self.refused(&e))?;
            if let Some(pod) = found.items.iter().find(|pod| is_at(pod, address)) {
                return Ok(node(pod));
            }
        }
        Ok(None)
    }

    /// The agents: node and pod.
    pub async fn agents(&self) -> Result<Vec<(String, String)>, CtlError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = pods.list(&ListParams::default().labels(LABELS)).await;
        let pods = list.map_err(|error| self.refused(&error))?.items;
        let running = pods.into_iter().filter(is_running);
        let agents: Vec<_> = running
            .filter_map(|pod| Some((node(&pod)?, pod.metadata.name?)))
            .collect();
        if agents.is_empty() {
            return Err(CtlError::new(
                Exit::Unreachable,
                format!("no agent runs in namespace {} ({LABELS})", self.namespace),
                "--agent-namespace names the DaemonSet's; try: kubectl get pods -A -l app.kubernetes.io/name=weir",
            ));
        }
        Ok(agents)
    }

    /// Runs `proxyctl` with these words in an agent's container.
    pub async fn proxyctl(&self, pod: &str, words: &[String]) -> Result<Said, CtlError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let how = AttachParams::default().container(CONTAINER).stdin(false);
        let command = [PROGRAM.to_owned()]
            .into_iter()
            .chain(words.iter().cloned());
        let command: Vec<String> = command.collect();
        let mut running = pods
            .exec(pod, command, &how)
            .await
            .map_err(|error| self.refused(&error))?;
        let status = running.take_status();
        let (out, told) = (running.stdout(), running.stderr());
        let (out, told) = tokio::try_join!(whole(out), whole(told))?;
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        match status {
            // What it says by its exit code, it says on standard output too.
            Some(status) if !began(&status) => Err(self.not_run(pod, &status)),
            Some(_) => Ok(Said { out, told }),
            None => Err(CtlError::new(
                Exit::Unreachable,
                format!(
                    "proxyctl in pod {}/{pod}: the connection ended",
                    self.namespace
                ),
                "did the agent restart meanwhile? try again",
            )),
        }
    }

    fn not_run(&self, pod: &str, status: &Status) -> CtlError {
        let message = status.message.as_deref().unwrap_or("no reason given");
        CtlError::new(
            Exit::Unreachable,
            format!("run proxyctl in pod {}/{pod}: {message}", self.namespace),
            "is the agent's image of another version? try: proxyctl version, on the node",
        )
    }

    fn refused(&self, error: &kube::Error) -> CtlError {
        let code = match error {
            kube::Error::Api(status) => status.code,
            kube::Error::UpgradeConnection(
                kube::client::UpgradeConnectionError::ProtocolSwitch(code),
            ) => code.as_u16(),
            _ => 0,
        };
        let message = format!("ask the API server: {error}");
        match code {
            401 | 403 => CtlError::new(
                Exit::Unreachable,
                message,
                format!(
                    "--all-nodes needs get and list of pods and nodes, and get and create of pods/exec in {namespace}; try: kubectl auth can-i create pods/exec -n {namespace}",
                    namespace = self.namespace
                ),
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

async fn read(path: &Path) -> Result<Config, String> {
    let said = |error: kube::config::KubeconfigError| error.to_string();
    let file = Kubeconfig::read_from(path).map_err(said)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    config.map_err(said)
}

/// All that comes; nothing if the stream was not asked for.
async fn whole(stream: Option<impl AsyncRead + Unpin>) -> Result<String, CtlError> {
    let mut text = String::new();
    let Some(mut stream) = stream else {
        return Ok(text);
    };
    let read = stream.read_to_string(&mut text).await;
    read.map_err(|error| {
        CtlError::new(
            Exit::Unreachable,
            format!("read what proxyctl says on another node: {error}"),
            "did the connection to the API server end? try again",
        )
    })?;
    Ok(text)
}

/// Whether the program ran, whatever its exit code.
fn began(status: &Status) -> bool {
    status.status.as_deref() == Some("Success")
        || status.reason.as_deref() == Some("NonZeroExitCode")
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
