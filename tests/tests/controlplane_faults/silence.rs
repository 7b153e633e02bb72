//! An API server that is gone without a word.

use std::time::Duration;

use anyhow::{Result, ensure};
use proxy_agent::model::{Kind, NetworkUnavailable, ObjectName};
use tokio::time::timeout;
use weir_tests::controlplane::{ControlPlane, Observer, Proxy};

use super::fixture::{create, has, until_listed};

/// How soon it is noticed.
const NOTICED: Duration = Duration::from_secs(15);
/// How soon another one is followed.
const FAILED_OVER: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn is_noticed_and_what_is_known_stays() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let proxy = Proxy::start(&plane).await?;
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    until_listed(&mut observer).await?;
    create(&client, "before").await?;
    observer.until("before", has("before")).await?;
    observer.until_connected(true).await?;

    proxy.freeze();
    // Somebody who asks meanwhile is not kept waiting.
    let pod = ObjectName::new("default", "web");
    let read = timeout(Duration::from_secs(5), observer.watches.pods().read(&pod)).await?;
    let error = read.map_err(|error| error.to_string());
    ensure!(
        error.clone().is_err_and(|e| e.contains("no answer within")),
        "{error:?}"
    );
    let read = timeout(Duration::from_secs(11), observer.watches.ranges().read()).await?;
    ensure!(read.is_err());
    let nodes = observer.watches.nodes();
    let up = NetworkUnavailable::no();
    let written = nodes.network("here", &up, true);
    let written = timeout(Duration::from_secs(11), written).await?;
    ensure!(written.is_err());
    observer.connected_within(NOTICED, false).await?;
    let error = observer.error().unwrap_or_default();
    ensure!(error.contains(&proxy.url()), "{error}");
    ensure!(has("before")(&observer.store.read()));

    create(&client, "meanwhile").await?;
    proxy.thaw();
    observer.connected_within(FAILED_OVER, true).await?;
    observer
        .within(FAILED_OVER, "meanwhile", has("meanwhile"))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn is_noticed_within_the_limit_though_nobody_asks() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let proxy = Proxy::start(&plane).await?;
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    until_listed(&mut observer).await?;
    observer.until_connected(true).await?;
    proxy.freeze();
    observer.connected_within(NOTICED, false).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_one_is_followed() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let (first, second) = (Proxy::start(&plane).await?, Proxy::start(&plane).await?);
    let urls = [&*first.url(), &*second.url()];
    let mut observer = Observer::start(Observer::options(&plane, &urls)).await?;
    until_listed(&mut observer).await?;
    observer.until_connected(true).await?;
    // On a busy machine the first one may have been too slow at the beginning.
    let (used, other) = if observer.source() == first.url() {
        (first, second)
    } else {
        (second, first)
    };

    used.freeze();
    let changed = async {
        create(&client, "meanwhile").await?;
        observer
            .within(FAILED_OVER, "meanwhile", has("meanwhile"))
            .await
    };
    changed.await?;
    ensure!(observer.source() == other.url());

    // And back, although requests to it still hang.
    used.thaw();
    other.freeze();
    create(&client, "later").await?;
    observer.within(FAILED_OVER, "later", has("later")).await?;
    ensure!(observer.source() == used.url());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_one_is_left_in_peace() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let proxy = Proxy::start(&plane).await?;
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    until_listed(&mut observer).await?;
    observer.until_connected(true).await?;
    let lists = || proxy.count(&["sendInitialEvents=true"]);
    let before = lists();
    ensure!(before >= Kind::ALL.len());
    // Late, but not lost: nobody lists anew for that.
    proxy.freeze();
    tokio::time::sleep(Duration::from_secs(8)).await;
    proxy.thaw();
    tokio::time::sleep(Duration::from_secs(7)).await;
    observer.connected_within(NOTICED, true).await?;
    create(&client, "later").await?;
    observer.within(FAILED_OVER, "later", has("later")).await?;
    ensure!(lists() == before, "{before} lists, then {}", lists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_somebody_forgot_are_made_anew() -> Result<()> {
    forgotten(Proxy::strand).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_machine_that_started_anew_are_made_anew() -> Result<()> {
    forgotten(Proxy::forget).await
}

async fn forgotten(fault: fn(&Proxy)) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let proxy = Proxy::start(&plane).await?;
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    until_listed(&mut observer).await?;
    observer.until_connected(true).await?;
    // The probe needs a connection that is as old as those of the watches.
    tokio::time::sleep(Duration::from_secs(7)).await;
    fault(&proxy);
    create(&client, "meanwhile").await?;
    observer
        .within(FAILED_OVER, "meanwhile", has("meanwhile"))
        .await?;
    Ok(())
}
