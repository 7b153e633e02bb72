//! Which API servers are tried.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::http::StatusCode;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, api::PostParams};
use proxy_agent::{
    model::{Mended, Owned},
    observe::kubernetes::Options,
};
use serde_json::json;
use tokio::time::timeout;
use weir_tests::{
    controlplane::{ControlPlane, Fault, Observer, Proxy},
    watched::on_a_node,
    world::Node,
};

use super::fixture::{create, has, until_listed};

const PATIENCE: Duration = Duration::from_mins(1);
/// What is Weir's comes back within this time.
const BACK: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_ready_is_left_for_one_that_is() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let (first, second) = (Proxy::start(&plane).await?, Proxy::start(&plane).await?);
    let urls = [&*first.url(), &*second.url()];
    // Its etcd is away, say.
    let away = Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    first.fault(&["/readyz"], away.clone(), None);
    first.fault(&["/api"], away.clone(), None);
    let mut observer = Observer::start(Observer::options(&plane, &urls)).await?;
    until_listed(&mut observer).await?;
    ensure!(observer.source() == second.url());
    // Where none is ready, one that answers is better than none.
    second.fault(&["/readyz"], away, None);
    create(&client, "later").await?;
    observer.until("later", has("later")).await?;
    let mut status = observer.store.status();
    let said = status.wait_for(|s| s.error.as_deref() == Some("/readyz says 500"));
    timeout(PATIENCE, said).await.context("nothing is said")??;
    ensure!(observer.source() == second.url());
    first.clear();
    let mut status = observer.store.status();
    let left = status.wait_for(|status| status.source.starts_with(&first.url()));
    timeout(PATIENCE, left).await.context("it is not left")??;
    create(&client, "last").await?;
    observer.until("last", has("last")).await?;
    Ok(())
}

#[test]
fn those_that_the_cluster_names_are_remembered_and_tried() -> Result<()> {
    on_a_node("known-servers", remembered)
}

async fn remembered(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("api-servers.json");
    let mended = Mended::default();
    let options = |urls: &[&str]| Options {
        known_servers: Some(file.clone()),
        mended: mended.clone(),
        ..Observer::options(&plane, urls)
    };
    let at = plane.forward(node.ipv4().into()).await?;
    let (address, port, dead) = (at.ip(), at.port(), "https://127.0.0.1:1");
    {
        let mut observer = Observer::start(options(&[])).await?;
        until_listed(&mut observer).await?;
        ensure!(!file.exists(), "nothing is named yet");
        let slices = Api::<EndpointSlice>::default_namespaced(plane.client().await?);
        let slice = json!({
            "metadata": {
                "name": "kubernetes", "labels": { "kubernetes.io/service-name": "kubernetes" }
            },
            "addressType": "IPv4",
            "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
            "endpoints": [
                { "addresses": [address], "conditions": { "ready": true } },
                { "addresses": ["192.0.2.1"], "conditions": { "ready": false } },
            ],
        });
        let slice = serde_json::from_value(slice)?;
        slices.create(&PostParams::default(), &slice).await?;
        let written = async || {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, written())
            .await
            .context("not remembered")?;
        std::fs::remove_file(&file)?;
        timeout(BACK, written()).await.context("not put back")?;
        let told = mended.take();
        ensure!(
            told == [(Owned::ServersFile, "api-servers.json")],
            "{told:?}"
        );
    }
    let text = std::fs::read_to_string(&file)?;
    ensure!(
        text == format!(r#"{{"apiServers":["https://{address}:{port}"]}}"#),
        "{text}"
    );

    // The configured one is gone.
    let mut observer = Observer::start(options(&[dead])).await?;
    until_listed(&mut observer).await?;
    ensure!(observer.source() == format!("https://{address}:{port}"));
    // Without the file there would be nobody.
    let without = Observer::start(Observer::options(&plane, &[dead])).await?;
    let alone = without.connected_within(Duration::from_secs(5), true);
    ensure!(alone.await.is_err());
    Ok(())
}
