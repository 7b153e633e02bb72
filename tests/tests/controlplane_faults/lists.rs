//! Lists that cannot be had whole, or no longer.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use axum::http::StatusCode;
use proxy_agent::model::{Kind, Snapshot};
use tokio::time::{sleep, timeout};
use weir_tests::controlplane::{ControlPlane, Fault, Hold, Observer, Proxy};

use super::fixture::{create, create_all, delete, has, until_listed};

const NAMESPACES: &str = "/api/v1/namespaces?";
const STREAMED: &str = "sendInitialEvents=true";
const PATIENCE: Duration = Duration::from_mins(1);

fn refused(code: u16) -> Fault {
    Fault::Answer(StatusCode::from_u16(code).expect("a status code"))
}

/// What the observer has of `names`.
fn known(snapshot: &Snapshot, names: &[String]) -> usize {
    let known: BTreeSet<&str> = snapshot.namespaces.keys().map(|name| &**name).collect();
    names.iter().filter(|name| known.contains(&***name)).count()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("n{i:04}")).collect()
}

/// The API server starts again and remembers no event: a watch that was cut off is told 410 (Gone).
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_unseen_is_listed_anew() -> Result<()> {
    let mut plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let proxy = Proxy::start(&plane).await?;
    create(&client, "stays").await?;
    create(&client, "goes").await?;
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    until_listed(&mut observer).await?;
    proxy.fault(&[NAMESPACES], refused(503), None);
    proxy.cut();
    delete(&client, "goes").await?;
    create(&client, "new").await?;
    plane.compact().await?;
    plane.stop_apiserver();
    plane.start_apiserver().await?;
    ensure!(
        has("goes")(&observer.store.read()),
        "nobody has said that it is gone"
    );
    let before = proxy.count(&[NAMESPACES, STREAMED]);
    proxy.clear();
    let seen = |s: &Snapshot| has("new")(s) && has("stays")(s) && !has("goes")(s);
    observer.until("the new state", seen).await?;
    ensure!(proxy.count(&[NAMESPACES, STREAMED]) > before, "by a list");
    Ok(())
}

/// The same, said by the status of the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_cannot_go_on_lists_anew() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let proxy = Proxy::start(&plane).await?;
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    until_listed(&mut observer).await?;
    let before = proxy.count(&[NAMESPACES, STREAMED]);
    proxy.fault(&[NAMESPACES, STREAMED], refused(503), Some(1));
    proxy.fault(&[NAMESPACES, "watch=true"], refused(410), Some(1));
    proxy.cut();
    create(&client, "new").await?;
    observer.until("new", has("new")).await?;
    ensure!(proxy.count(&[NAMESPACES, STREAMED]) > before, "by a list");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_list_takes_nothing_away() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let proxy = Proxy::start(&plane).await?;
    let names = names(60);
    create_all(&client, &names).await?;
    let half = Fault::CutAfter(12_000);
    proxy.fault(&[NAMESPACES, STREAMED], half.clone(), Some(2));
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    // Before it is whole nothing of it counts.
    timeout(PATIENCE, async {
        while proxy.count(&[NAMESPACES, STREAMED]) < 2 {
            ensure!(!observer.store.complete().has(&[Kind::Namespace]));
            ensure!(observer.store.read().namespaces.is_empty());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    })
    .await??;
    let all = |s: &Snapshot| known(s, &names) == 60;
    observer.until("the whole list", all).await?;
    until_listed(&mut observer).await?;

    // And later what was known stays.
    proxy.fault(&[NAMESPACES, STREAMED], half, Some(3));
    proxy.fault(&[NAMESPACES, "watch=true"], refused(410), Some(1));
    proxy.cut();
    delete(&client, &names[0]).await?;
    let seen = timeout(PATIENCE, async {
        while has(&names[0])(&observer.store.read()) {
            ensure!(known(&observer.store.read(), &names) == 60, "half a list");
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    });
    seen.await.context("the deletion is not seen")??;
    ensure!(known(&observer.store.read(), &names) == 59);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_lists_cannot_be_streamed_they_are_paged_and_survive_compaction() -> Result<()> {
    let mut plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let proxy = Proxy::start(&plane).await?;
    let names = names(1100);
    create_all(&client, &names).await?;
    proxy.fault(&[STREAMED], refused(422), None);
    let hold = Arc::new(Hold::default());
    let second_page = [NAMESPACES, "continue="];
    proxy.fault(&second_page, Fault::Hold(Arc::clone(&hold)), Some(1));
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    timeout(PATIENCE, hold.arrived.notified())
        .await
        .context("no second page is asked for")?;
    create(&client, "meanwhile").await?;
    // What the second page would be of is forgotten, by etcd and by the API server's cache: 410.
    plane.compact().await?;
    plane.stop_apiserver();
    plane.start_apiserver().await?;
    hold.release.notify_one();
    let all = |s: &Snapshot| known(s, &names) == 1100 && has("meanwhile")(s);
    observer.until("all pages", all).await?;
    ensure!(proxy.count(&second_page) >= 3, "it began anew");
    // The watch goes on from there.
    until_listed(&mut observer).await?;
    create(&client, "later").await?;
    observer.until("later", has("later")).await?;
    delete(&client, &names[7]).await?;
    observer.until("deletion", |s| !has(&names[7])(s)).await?;
    Ok(())
}

/// Requests in a while, at the start and later: a failing API server is asked ever less.
#[tokio::test(flavor = "multi_thread")]
async fn who_fails_is_asked_ever_less() -> Result<()> {
    for paging in [true, false] {
        let plane = ControlPlane::start().await?;
        let client = plane.client().await?;
        let proxy = Proxy::start(&plane).await?;
        if paging {
            proxy.fault(&[STREAMED], refused(422), None);
        }
        proxy.fault(&[NAMESPACES], refused(500), None);
        let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
        let others = |s: &Snapshot| s.complete.0.len() == Kind::ALL.len() - 1;
        observer.until("all other lists", others).await?;
        let count = || proxy.count(&[NAMESPACES]);
        sleep(Duration::from_secs(20)).await;
        let asked = count();
        // 0.8 s, then twice as long each time, and up to as much more.
        ensure!(
            (2..=8).contains(&asked),
            "paging {paging}: {asked} requests"
        );
        let error = observer.error().unwrap_or_default();
        ensure!(error.contains("Namespace: said by the test"), "{error}");
        ensure!(observer.store.status().borrow().connected);

        proxy.clear();
        create(&client, "later").await?;
        observer.until("later", has("later")).await?;
        let mut status = observer.store.status();
        let cleared = status.wait_for(|status| status.error.is_none());
        timeout(PATIENCE, cleared)
            .await
            .context("still an error")??;
    }
    Ok(())
}
