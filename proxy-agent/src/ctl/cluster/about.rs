//! What only the API server has of an agent, for a sysdump: the logs of its container, Events, its pod and its node. Whoever
//! asks may have the right to some of it only.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::{
    Api, Resource,
    api::{ListParams, LogParams},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Agent, CONTAINER, Cluster};
use crate::usage::chain;

/// Lines of a log, its last ones.
const LINES: i64 = 20_000;
/// Events of one kind, at the most.
const EVENTS: u32 = 1_000;

/// A file for the dump, or why there is none.
pub type File = (&'static str, Result<Vec<u8>, String>);

impl Cluster {
    /// All of it.
    pub async fn about(&self, agent: &Agent) -> Vec<File> {
        // By Weir, and about the agent's pod: of the kubelet.
        let ours = "reportingComponent=weir".to_owned();
        let pods = format!("involvedObject.kind=Pod,involvedObject.name={}", agent.pod);
        let client = || self.clients.requests.clone();
        let pod = Api::<Pod>::namespaced(client(), &agent.namespace);
        let node = Api::<Node>::all(client());
        let (log, former, ours, pods, pod, node) = tokio::join!(
            self.log(agent, false),
            self.log(agent, true),
            events(Api::all(client()), ours),
            events(Api::namespaced(client(), &agent.namespace), pods),
            object(pod, &agent.pod),
            object(node, &agent.node),
        );
        vec![
            ("logs/agent.log", log),
            ("logs/agent-previous.log", former),
            ("events/weir.json", ours),
            ("events/pod.json", pods),
            ("objects/pod.json", pod),
            ("objects/node.json", node),
        ]
    }

    /// Of the container that runs, or of the one before it.
    async fn log(&self, agent: &Agent, previous: bool) -> Result<Vec<u8>, String> {
        let which = LogParams {
            container: Some(CONTAINER.to_owned()),
            previous,
            tail_lines: Some(LINES),
            ..LogParams::default()
        };
        let pods = Api::<Pod>::namespaced(self.clients.requests.clone(), &agent.namespace);
        let log = pods.logs(&agent.pod, &which).await;
        log.map(String::into_bytes).map_err(|error| chain(&error))
    }
}

async fn events(api: Api<Event>, of: String) -> Result<Vec<u8>, String> {
    let which = ListParams::default().fields(&of).limit(EVENTS);
    let list = api.list(&which).await.map_err(|error| chain(&error))?;
    json(&list.items)
}

async fn object<K>(api: Api<K>, name: &str) -> Result<Vec<u8>, String>
where
    K: Clone + Debug + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    let object = api.get(name).await.map_err(|error| chain(&error))?;
    json(&object)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec_pretty(value).map_err(|error| error.to_string())
}
