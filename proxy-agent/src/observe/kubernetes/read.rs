//! A live read of one pod, for whoever cannot wait for the watch.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1 as core;
use kube::Api;

use super::servers::{RequestError, Servers};
use crate::{
    model::{ObjectName, Pod},
    observe::{Object, convert::Convert as _, intern::Interner},
};

/// Less than an ADD waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// Reads pods from the API server in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PodReader {
    servers: Arc<Servers>,
    interner: Arc<Interner>,
}

impl PodReader {
    pub(super) const fn new(servers: Arc<Servers>, interner: Arc<Interner>) -> Self {
        Self { servers, interner }
    }

    /// The pod; none if there is no such pod.
    pub async fn read(&self, name: &ObjectName) -> Result<Option<Arc<Pod>>, RequestError> {
        let ask = async |client| {
            let pods = Api::<core::Pod>::namespaced(client, name.namespace());
            pods.get_opt(name.name()).await
        };
        let what = format!("read pod {name}");
        let found = self.servers.request((PATIENCE, &what), ask).await?;
        let converted = found.and_then(|pod| pod.convert(&self.interner));
        Ok(converted.and_then(|converted| match converted.object {
            Some(Object::Pod(pod)) => Some(pod),
            _ => None,
        }))
    }
}
