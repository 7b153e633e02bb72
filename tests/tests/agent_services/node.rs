//! What is told of the node.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use weir_tests::{
    watched::{PATIENCE, on_a_node},
    world::{program, until},
};

use super::stage::{Stage, note};

const FOLDER: &str = "/run/cni/net.d";

#[test]
fn another_plugins_configuration_is_told_as_long_as_it_comes_first() -> Result<()> {
    on_a_node("svc-rival", async |node| {
        let plugin = program("cni-plugin")?;
        let flags = [
            ["--cni-install", "true"],
            ["--cni-plugin", plugin.to_str().context("a path")?],
            ["--cni-bin-dir", "/run/cni/bin"],
            ["--cni-conf-dir", FOLDER],
        ];
        let stage = Stage::set(node, &flags.concat()).await?;
        let rival = node.file(FOLDER).join("00-other.conflist");
        let told = |wanted: bool| {
            until(&format!("it to be told: {wanted}"), PATIENCE, || {
                let status = stage.proxyctl(&["status"])?;
                Ok((status.contains("comes before ours") == wanted).then_some(()))
            })
        };
        fs::write(&rival, "{}")?;
        let event = stage.event("a", "AnotherPluginFirst").await?;
        let words = "/run/cni/net.d/00-other.conflist comes before ours";
        ensure!(note(&event).contains(words), "{event:?}");
        told(true)?;
        fs::remove_file(&rival)?;
        told(false)?;
        // Of two tellings that are written no sooner than the status: it is not told any more.
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.events("a", "AnotherPluginFirst", 1).await?;
        // What still stood would be written again after half an hour.
        fs::write(&rival, "{}")?;
        let events = stage.events("a", "AnotherPluginFirst", 2).await?;
        ensure!(events.len() == 2, "{events:?}");
        Ok(())
    })
}
