//! One look at the cluster, for callers that have no need to watch it.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use k8s_openapi::api::core::v1 as core;
use kube::{Api, Client, Config, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{KubernetesError, Options, probe, servers::Servers};
use crate::{
    model::Kind,
    observe::{Store, Update, convert::Convert, intern::Interner},
    usage::chain,
};

/// How long a list may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kind that could not be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// It.
    pub kind: Kind,
    /// The API server answers, and refuses it: with this code of HTTP.
    pub refused: Option<u16>,
    /// Why.
    pub why: String,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// URLs of API servers that answer, with why they are not ready.
    pub answer: BTreeMap<String, Option<String>>,
    /// URLs of those that do not, and why.
    pub silent: BTreeMap<String, String>,
    /// What could not be listed.
    pub unlisted: Vec<Unlisted>,
}

/// Asks every API server whether it is there, and the first that is for Nodes and Services.
pub async fn look(store: &Store, options: &Options) -> Result<Look, KubernetesError> {
    let servers = Servers::new(options).await?;
    let mut seen = Look::default();
    let mut client = None;
    for (url, ways) in by_url(servers.candidates()) {
        match probe::best(ways).await {
            Ok(found) => {
                seen.answer.insert(url, found.unready);
                client.get_or_insert(found.server.requests.clone());
            }
            Err(error) => drop(seen.silent.insert(url, error)),
        }
    }
    if let Some(client) = client {
        let interner = Interner::new(&options.node);
        let nodes = list::<core::Node>(client.clone(), store, &interner).await;
        let services = list::<core::Service>(client, store, &interner).await;
        seen.unlisted = [nodes, services]
            .into_iter()
            .filter_map(Result::err)
            .collect();
    }
    Ok(seen)
}

/// A certificate may need another name: the same URL, more than one way.
fn by_url(candidates: Vec<Config>) -> BTreeMap<String, Vec<Config>> {
    let mut ways: BTreeMap<String, Vec<Config>> = BTreeMap::new();
    for config in candidates {
        let url = config.cluster_url.to_string();
        ways.entry(url).or_default().push(config);
    }
    ways
}

async fn list<K>(client: Client, store: &Store, interner: &Interner) -> Result<(), Unlisted>
where
    K: Convert + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let all = Api::<K>::all(client);
    let every = ListParams::default();
    let failed = |refused, why| Unlisted {
        kind: K::KIND,
        refused,
        why,
    };
    let listed = match timeout(PATIENCE, all.list(&every)).await {
        Ok(Ok(list)) => list.items,
        Ok(Err(error)) => {
            let refused = match &error {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            };
            return Err(failed(refused, chain(&error)));
        }
        Err(_) => return Err(failed(None, format!("no answer within {PATIENCE:?}"))),
    };
    let objects = listed
        .into_iter()
        .filter_map(|object| object.convert(interner));
    store.update([Update::Replace(K::KIND, objects.collect())]);
    Ok(())
}
