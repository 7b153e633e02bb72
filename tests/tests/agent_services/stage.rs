//! An agent beside an API server, and what it tells that.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, log, ready, start_agent},
    world::{Node, Process, program, until},
};

/// An API server, and an agent that has the rights of `deploy/`.
pub(crate) struct Stage<'a> {
    pub(crate) plane: ControlPlane,
    pub(crate) node: &'a Node,
    _agent: Process,
}

impl<'a> Stage<'a> {
    pub(crate) async fn set(node: &'a Node, flags: &[&str]) -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let kubeconfig = plane.agents_kubeconfig().await?;
        let kubeconfig = kubeconfig.to_str().context("a path")?;
        let flags = [&["--kubeconfig", kubeconfig], flags].concat();
        let agent = start_agent(node, &plane, &flags)?;
        ready(node)?;
        Ok(Self {
            plane,
            node,
            _agent: agent,
        })
    }

    pub(crate) async fn services(&self) -> Result<Api<Service>> {
        Ok(Api::default_namespaced(self.plane.client().await?))
    }

    pub(crate) async fn service(&self, name: &str, spec: Value) -> Result<()> {
        let object = json!({ "metadata": { "name": name }, "spec": spec });
        let object = serde_json::from_value(object)?;
        let services = self.services().await?;
        services.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Has the cluster say that an API server listens there.
    pub(crate) async fn name_api_server(&self, ip: &str, port: i32) -> Result<()> {
        let slices = Api::<EndpointSlice>::namespaced(self.plane.client().await?, "default");
        let slice = json!({
            "metadata": {
                "name": "kubernetes-more",
                "labels": { "kubernetes.io/service-name": "kubernetes" },
            },
            "addressType": "IPv4",
            "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
            "endpoints": [{ "addresses": [ip] }],
        });
        let slice = serde_json::from_value(slice)?;
        slices.create(&PostParams::default(), &slice).await?;
        Ok(())
    }

    pub(crate) async fn remove(&self, service: &str) -> Result<()> {
        let services = self.services().await?;
        services.delete(service, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) fn proxyctl(&self, words: &[&str]) -> Result<String> {
        let mut command = self.node.command(program("proxyctl")?)?;
        Ok(String::from_utf8(command.args(words).output()?.stdout)?)
    }

    /// What the agent has said.
    pub(crate) fn log(&self) -> Result<String> {
        log(self.node)
    }

    /// Waits until `dump services` shows a line with all these words.
    pub(crate) fn until_served(&self, words: &[&str]) -> Result<()> {
        until(&format!("{words:?}"), PATIENCE, || {
            let text = self.proxyctl(&["dump", "services"])?;
            let found = text.lines().any(|l| words.iter().all(|w| l.contains(w)));
            Ok(found.then_some(()))
        })
    }

    /// The Event of an object for a reason, once it is there.
    pub(crate) async fn event(&self, about: &str, reason: &str) -> Result<Event> {
        let mut events = self.events(about, reason, 1).await?;
        Ok(events.remove(0))
    }

    /// So many Events of an object for a reason, once they are there.
    pub(crate) async fn events(
        &self,
        about: &str,
        reason: &str,
        count: usize,
    ) -> Result<Vec<Event>> {
        let events = Api::<Event>::all(self.plane.client().await?);
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut all = events.list(&ListParams::default()).await?.items;
            all.retain(|event| {
                let regarding = event.regarding.as_ref();
                let name = regarding.and_then(|about| about.name.as_deref());
                name == Some(about) && event.reason.as_deref() == Some(reason)
            });
            if all.len() >= count {
                return Ok(all);
            }
            let late = tokio::time::Instant::now() >= end;
            ensure!(!late, "{} of {count} Events {reason} of {about}", all.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) fn note(event: &Event) -> &str {
    event.note.as_deref().unwrap_or_default()
}
