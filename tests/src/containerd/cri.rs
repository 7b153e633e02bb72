//! The part of `runtime.v1` (k8s.io/cri-api) that sandboxes need, field numbers as there.

use std::{collections::HashMap, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use prost::Message;

use super::{config::cgroup_parent, grpc};
use crate::world::{Node, manifests::pod_uid};

/// How often, and after what pause, a sandbox is asked to stop.
const STOP_ATTEMPTS: u32 = 5;
const STOP_PAUSE: Duration = Duration::from_millis(500);

/// Speaks to one containerd.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct Linux {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(map = "string, string", tag = "7")]
    annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<Linux>,
}

#[derive(Clone, PartialEq, Message)]
struct Run {
    #[prost(message, optional, tag = "1")]
    config: Option<SandboxConfig>,
}

/// A message that carries nothing but a sandbox's id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    sandbox: String,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<SandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<Network>,
}

#[derive(Clone, PartialEq, Message)]
struct Network {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    additional: Vec<Ip>,
}

#[derive(Clone, PartialEq, Message)]
struct Ip {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<Condition>,
}

/// A condition of the runtime.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Condition {
    /// `RuntimeReady` or `NetworkReady`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Whether it holds.
    #[prost(bool, tag = "2")]
    pub status: bool,
    /// Why not.
    #[prost(string, tag = "4")]
    pub message: String,
}

impl Client {
    pub(super) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    fn call<A: Message + Default>(&self, method: &str, question: &impl Message) -> Result<A> {
        let method = format!("runtime.v1.RuntimeService/{method}");
        grpc::call(&self.socket, &method, question)
    }

    /// `RunPodSandbox` for a pod of namespace `default`; gives the sandbox's id.
    pub fn run(&self, node: &Node, pod: &str) -> Result<String> {
        let config = SandboxConfig {
            metadata: Some(Metadata {
                name: pod.to_owned(),
                uid: pod_uid(node, pod),
                namespace: "default".to_owned(),
            }),
            hostname: pod.to_owned(),
            annotations: HashMap::new(),
            linux: Some(Linux {
                cgroup_parent: cgroup_parent(node),
            }),
        };
        let question = Run {
            config: Some(config),
        };
        let answer: Id = self.call("RunPodSandbox", &question)?;
        Ok(answer.sandbox)
    }

    /// `StopPodSandbox`, tried again as kubelet does: the shim of containerd 1.6 may hang up on the call that
    /// kills it.
    pub fn stop(&self, sandbox: &str) -> Result<()> {
        let mut last = Ok(());
        for _ in 0..STOP_ATTEMPTS {
            last = self.call::<Empty>("StopPodSandbox", &id(sandbox)).map(drop);
            if last.is_ok() {
                break;
            }
            std::thread::sleep(STOP_PAUSE);
        }
        last
    }

    /// `RemovePodSandbox`.
    pub fn remove(&self, sandbox: &str) -> Result<()> {
        self.call::<Empty>("RemovePodSandbox", &id(sandbox))
            .map(drop)
    }

    /// The addresses of a sandbox, the primary one first.
    pub fn ips(&self, sandbox: &str) -> Result<Vec<IpAddr>> {
        let answer: SandboxStatusAnswer = self.call("PodSandboxStatus", &id(sandbox))?;
        let network = answer
            .status
            .and_then(|status| status.network)
            .context("the sandbox has no network status")?;
        let additional = network.additional.into_iter().map(|ip| ip.ip);
        std::iter::once(network.ip)
            .chain(additional)
            .map(|ip| ip.parse().with_context(|| format!("address {ip:?}")))
            .collect()
    }

    /// `Status`: the runtime's conditions.
    pub fn status(&self) -> Result<Vec<Condition>> {
        let answer: StatusAnswer = self.call("Status", &Empty {})?;
        Ok(answer.status.map(|s| s.conditions).unwrap_or_default())
    }
}

fn id(sandbox: &str) -> Id {
    Id {
        sandbox: sandbox.to_owned(),
    }
}
