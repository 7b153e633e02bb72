//! Tasks that ask an API server: each is stopped in turn, and named.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, on_a_node, ready, start_agent},
    world::{Node, until},
};

use super::health;

/// With a pool there is somebody who gives its addresses away.
const CONFIGURATION: &str = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n\
    loadBalancer: { pools: [{ name: lan, addresses: [172.30.0.200/32] }] }\n";

/// Done when the Node shows something else, which this world's does not.
const REQUESTS: &str = "writing of ";

/// The first of those who ask an API server; those before it are stopped in `agent/watched.rs`.
const FIRST: &str = "probe of the API server";
/// There are so many at the least.
const LEAST: usize = 14;

#[test]
fn tasks_that_stand_still_are_named() -> Result<()> {
    on_a_node("agent-watches", stopped)
}

async fn stopped(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let configuration = tempfile::NamedTempFile::new()?;
    fs::write(configuration.path(), CONFIGURATION)?;
    let path = configuration.path().to_str().context("path")?;
    let faults = node.file("/run/weir/faults");
    fs::create_dir_all(&faults)?;
    let agent = start_agent(node, &plane, &["--config", path])?;
    ready(node)?;
    let tasks = fs::read_to_string(faults.join(".tasks"))?;
    let asks = tasks.lines().skip_while(|task| *task != FIRST);
    let asks: Vec<_> = asks.filter(|task| !task.starts_with(REQUESTS)).collect();
    ensure!(asks.len() >= LEAST, "{asks:?}");
    for task in asks {
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
