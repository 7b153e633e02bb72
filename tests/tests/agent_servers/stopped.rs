//! Tasks that ask an API server: each is stopped in turn, and named.

use std::fs;

use anyhow::{Context as _, Result};
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, on_a_node, ready, start_agent},
    world::{Node, until},
};

use super::health;

/// With a pool there is somebody who gives its addresses away.
const CONFIGURATION: &str = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n\
    loadBalancer: { pools: [{ name: lan, addresses: [172.30.0.200/32] }] }\n";

const TASKS: [&str; 11] = [
    "watch of Service",
    "watch of EndpointSlice",
    "watch of Pod",
    "watch of Namespace",
    "watch of NetworkPolicy",
    "watch of Node",
    "probe of the API server",
    "Events",
    "claims of ranges of pods",
    "load balancers' addresses",
    "announcement of addresses",
];

#[test]
fn tasks_that_stand_still_are_named() -> Result<()> {
    on_a_node("agent-watches", stopped)
}

async fn stopped(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let configuration = tempfile::NamedTempFile::new()?;
    fs::write(configuration.path(), CONFIGURATION)?;
    let path = configuration.path().to_str().context("path")?;
    let agent = start_agent(node, &plane, &["--config", path])?;
    ready(node)?;
    fs::create_dir_all(node.file("/run/weir/faults"))?;
    for task in TASKS {
        let fault = node.file(&format!("/run/weir/faults/{task}"));
        fs::write(&fault, "2")?;
        until(task, PATIENCE, || {
            let (code, text) = health(node, "/livez")?;
            let said = format!("\"problems\":[\"{task} has stood still for ");
            Ok((code == 503 && text.contains(&said)).then_some(()))
        })?;
        fs::remove_file(&fault)?;
        until("it to go on", PATIENCE, || {
            Ok((health(node, "/livez")?.0 == 200).then_some(()))
        })?;
    }
    agent.terminate().map(drop)
}
