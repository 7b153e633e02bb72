//! What the API server refuses though it answers, by a real one behind a proxy.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use axum::http::StatusCode;
use proxy_agent::{
    model::{EventReason, Kind, NetworkUnavailable, Notice, ObjectName},
    observe::Notices,
};
use tokio::time::timeout;
use weir_tests::controlplane::{ControlPlane, Fault, Observer, Proxy};

use super::fixture::until_listed;

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: { name: here }\n";
/// Far less than a quiet API server is left unasked.
const AT_ONCE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until what is wrong is so.
async fn error(
    observer: &Observer,
    limit: Duration,
    is: impl Fn(Option<&str>) -> bool,
) -> Result<()> {
    let mut status = observer.store.status();
    let wait = status.wait_for(|status| status.connected && is(status.error.as_deref()));
    let waited = timeout(limit, wait).await.map(|waited| waited.map(drop));
    waited.with_context(|| format!("{:?}", observer.error()))??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_at_once_and_until_it_works_again() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.apply(NODE).await?;
    let proxy = Proxy::start(&plane).await?;
    let mut observer = Observer::start(Observer::options(&plane, &[&proxy.url()])).await?;
    until_listed(&mut observer).await?;
    error(&observer, AT_ONCE, |error| error.is_none()).await?;
    let (notices, nodes) = (Notices::default(), observer.watches.nodes().clone());
    observer.watches.tell_events(&notices);
    // The same one would be written again only after a while.
    for (code, reason) in [
        (401, EventReason::DriftRepaired),
        (403, EventReason::DriftRecurs),
        (422, EventReason::NodeConflict),
    ] {
        let refusal = Fault::Answer(StatusCode::from_u16(code)?);
        for part in ["/events.k8s.io/", "/nodes/here/status"] {
            proxy.fault(&[part], refusal.clone(), None);
        }
        notices.tell(BTreeSet::from([Notice {
            kind: Kind::Node,
            object: ObjectName::new("", "here"),
            reason,
            note: "so it is".to_owned(),
        }]));
        let network = network_up();
        ensure!(nodes.network("here", &network, true).await.is_err());
        let both = |error: Option<&str>| {
            [
                "write an Event of Node here",
                "write a condition of Node here",
            ]
            .iter()
            .all(|what| error.is_some_and(|e| e.contains(&format!("refuses to {what}: "))))
        };
        error(&observer, AT_ONCE, both).await?;
        proxy.clear();
        nodes.network("here", &network, true).await?;
        error(&observer, PATIENCE, |error| error.is_none()).await?;
    }
    // An answer, but no refusal.
    ensure!(nodes.network("nobody", &network_up(), true).await.is_err());
    ensure!(observer.error().is_none());
    Ok(())
}

fn network_up() -> NetworkUnavailable {
    NetworkUnavailable {
        is_true: false,
        reason: NetworkUnavailable::UP.to_owned(),
        message: String::new(),
    }
}
