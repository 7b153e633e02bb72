//! Makes what the tests need, waits until it is there, and takes it away.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Namespace, Node, Pod, Service},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::{
    ground::Real,
    objects,
    plan::Member,
    topology::{Topology, families},
};
use crate::{
    ctl::{
        CtlError, Exit,
        args::ConnectivityArgs,
        cluster::{Agent, Cluster, image},
    },
    usage::chain,
};

/// How often something is looked at.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a namespace may take to go.
const GOING: Duration = Duration::from_mins(2);

/// A cluster before anything is made.
pub(super) struct Found {
    cluster: Cluster,
    pub(super) topology: Topology,
    agents: Vec<Agent>,
    nodes: Vec<Node>,
    image: String,
}

impl Found {
    /// Looks.
    pub(super) async fn look(cluster: Cluster, args: &ConnectivityArgs) -> Result<Self, CtlError> {
        let running = cluster.running().await?;
        let listed: Api<Node> = Api::all(cluster.client());
        let listed = listed.list(&ListParams::default()).await;
        let listed = listed.map_err(|error| refused("list nodes", &error))?.items;
        let of_node = |agent: &Agent| {
            let mut nodes = listed.iter();
            nodes.find(|node| node.metadata.name.as_deref() == Some(&agent.node))
        };
        let mut agents: Vec<Agent> = running.iter().cloned().filter_map(Agent::of).collect();
        agents.sort_by(|one, other| one.node.cmp(&other.node));
        agents.truncate(args.max_nodes.into());
        let nodes: Vec<Node> = agents.iter().filter_map(of_node).cloned().collect();
        let families = families(nodes.iter(), running.iter());
        let image = args
            .image
            .clone()
            .or_else(|| running.iter().find_map(image));
        let topology = Topology {
            nodes: agents.iter().map(|agent| agent.node.clone()).collect(),
            families,
            dns: dns(&cluster).await?,
        };
        Ok(Self {
            topology,
            agents,
            nodes,
            image: image.unwrap_or_default(),
            cluster,
        })
    }

    /// Makes the namespace; its name.
    pub(super) async fn namespace(&self) -> Result<Made, CtlError> {
        let all: Api<Namespace> = Api::all(self.cluster.client());
        let namespace: Namespace = read(objects::namespace())?;
        let made = all.create(&PostParams::default(), &namespace).await;
        let made = made.map_err(|error| refused("make a namespace", &error))?;
        Ok(Made {
            cluster: self.cluster.clone(),
            name: made.metadata.name.unwrap_or_default(),
        })
    }

    /// Makes all else in it, and waits until pods run.
    pub(super) async fn fill(&self, made: &Made, patience: Duration) -> Result<Real, CtlError> {
        let until = Instant::now() + patience;
        made.create::<NetworkPolicy>(objects::policy(), until)
            .await?;
        let mut services = Vec::new();
        for service in objects::services(self.agents.len()) {
            services.push(made.create::<Service>(service, until).await?);
        }
        for member in objects::members(self.agents.len()) {
            let node = &self.agents[member.1].node;
            let pod = objects::pod(member, node, &self.image);
            made.create::<Pod>(pod, until).await?;
        }
        Ok(Real {
            cluster: self.cluster.clone(),
            namespace: made.name.clone(),
            agents: self.agents.clone(),
            nodes: self.nodes.clone(),
            pods: made.pods(self.agents.len(), until).await?,
            services,
        })
    }
}

/// Whether there is a Service for DNS, by the label that all its makers give it.
async fn dns(cluster: &Cluster) -> Result<bool, CtlError> {
    let services: Api<Service> = Api::namespaced(cluster.client(), "kube-system");
    let named = ListParams::default().labels("k8s-app=kube-dns");
    let found = services.list(&named).await;
    let found = found.map_err(|error| refused("list Services in kube-system", &error))?;
    Ok(!found.items.is_empty())
}

/// The namespace.
pub(super) struct Made {
    cluster: Cluster,
    /// Its name.
    pub(super) name: String,
}

impl Made {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client(), &self.name)
    }

    async fn create<K>(&self, object: Value, until: Instant) -> Result<K, CtlError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let what = format!("make {} {}", K::kind(&()), object["metadata"]["name"]);
        let object: K = read(object)?;
        loop {
            let error = match self.api().create(&PostParams::default(), &object).await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            // A new namespace gets its service account some time later; pods are refused until then.
            if !error.to_string().contains("serviceaccount \"default\"") || Instant::now() > until {
                return Err(refused(&what, &error));
            }
            sleep(PAUSE).await;
        }
    }

    /// The pods, once all of them run.
    async fn pods(&self, nodes: usize, until: Instant) -> Result<BTreeMap<Member, Pod>, CtlError> {
        loop {
            let found = self.api::<Pod>().list(&ListParams::default()).await;
            let found = found.map_err(|error| refused("list pods", &error))?.items;
            let mut running = BTreeMap::new();
            let mut missing = None;
            for member in objects::members(nodes) {
                let name = member.to_string();
                let mut pods = found.iter();
                match pods.find(|pod| pod.metadata.name.as_deref() == Some(&name)) {
                    Some(pod) if runs(pod) => drop(running.insert(member, pod.clone())),
                    pod => missing = missing.or(Some((name, pod.cloned()))),
                }
            }
            match missing {
                None => return Ok(running),
                Some((name, pod)) if Instant::now() > until => return Err(late(&name, pod)),
                Some(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Takes it away with all that is in it, and waits until it is gone.
    pub(super) async fn remove(&self) -> Result<(), CtlError> {
        let all: Api<Namespace> = Api::all(self.cluster.client());
        let deleted = all.delete(&self.name, &DeleteParams::background()).await;
        let what = format!("remove namespace {}", self.name);
        deleted.map_err(|error| refused(&what, &error))?;
        let until = Instant::now() + GOING;
        loop {
            let left = all.get_opt(&self.name).await;
            if left.map_err(|error| refused(&what, &error))?.is_none() {
                return Ok(());
            }
            if Instant::now() > until {
                let hint = format!("what holds it? kubectl describe namespace {}", self.name);
                let message = format!("{what}: it is still there after {} s", GOING.as_secs());
                return Err(CtlError::new(Exit::TimedOut, message, hint));
            }
            sleep(PAUSE).await;
        }
    }
}

fn runs(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.is_some_and(|status| {
        status.phase.as_deref() == Some("Running") && status.pod_ips.is_some()
    })
}

fn late(name: &str, pod: Option<Pod>) -> CtlError {
    let node = pod
        .as_ref()
        .and_then(|pod| pod.spec.as_ref()?.node_name.clone());
    let status = pod.and_then(|pod| pod.status).unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let waiting = containers.into_iter().find_map(|one| one.state?.waiting);
    let waiting = waiting.and_then(|waiting| waiting.message.or(waiting.reason));
    let why = waiting.or(status.message).or(status.phase);
    CtlError::new(
        Exit::TimedOut,
        format!(
            "pod {name} does not run on node {}: {}",
            node.as_deref().unwrap_or("?"),
            why.as_deref().unwrap_or("it is gone")
        ),
        "--keep leaves it for kubectl describe; kubectl weir check --node NAME looks at the node",
    )
}

fn read<K: DeserializeOwned>(object: Value) -> Result<K, CtlError> {
    serde_json::from_value(object).map_err(|error| {
        CtlError::new(
            Exit::Failed,
            format!("make an object for the API: {error}"),
            "this is a mistake in proxyctl: please report it",
        )
    })
}

fn refused(what: &str, error: &kube::Error) -> CtlError {
    CtlError::new(
        Exit::Unreachable,
        format!("{what}: {}", chain(error)),
        "the page \"Look, and act\" of the book names the rights that `connectivity test` needs",
    )
}
