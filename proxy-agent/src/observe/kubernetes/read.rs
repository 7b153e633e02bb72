//! A live read of one pod, for whoever cannot wait for the watch.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use kube::Api;

use super::servers::Servers;
use crate::{
    model::{ObjectName, Pod},
    observe::{Object, convert::Convert as _, intern::Interner},
};

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
    pub async fn read(&self, name: &ObjectName) -> Result<Option<Pod>, kube::Error> {
        let client = self.servers.current().client.clone();
        let pods = Api::<core::Pod>::namespaced(client, name.namespace());
        let found = pods.get_opt(name.name()).await?;
        let converted = found.and_then(|pod| pod.convert(&self.interner));
        Ok(converted.and_then(|converted| match converted.object {
            Some(Object::Pod(pod)) => Some(pod),
            _ => None,
        }))
    }
}
