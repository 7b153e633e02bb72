//! The ranges of Services' addresses, read again whenever their objects change.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt as _;
use ipnetwork::IpNetwork;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::time::sleep;

use super::servers::{RequestError, Servers};
use crate::observe::convert::address;

const PATIENCE: Duration = Duration::from_secs(10);
/// After so long they are read again in any case, and where they cannot be watched.
const PERIOD: Duration = Duration::from_mins(5);
/// Between two reads.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the `ServiceCIDR`s from the API server in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RangeReader {
    servers: Arc<Servers>,
}

/// What the `ServiceCIDR`s say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRanges {
    /// The ranges.
    pub ranges: BTreeSet<IpNetwork>,
    /// As of when: a resource version.
    pub version: String,
    /// What is no range, with its object and field.
    pub problems: Vec<String>,
}

impl RangeReader {
    pub(super) const fn new(servers: Arc<Servers>) -> Self {
        Self { servers }
    }

    /// The ranges; none if the API server has no such objects (before Kubernetes 1.33), or does not show them.
    pub async fn read(&self) -> Result<Option<ReadRanges>, RequestError> {
        // Whatever its cache holds is new enough.
        let any = ListParams::default().match_any();
        let ask = async |client| match Api::<ServiceCIDR>::all(client).list(&any).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
            list => list.map(Some),
        };
        let list = self
            .servers
            .request((PATIENCE, "list ServiceCIDRs"), ask)
            .await?;
        Ok(list.map(|list| {
            let version = list.metadata.resource_version.clone();
            ReadRanges {
                version: version.unwrap_or_default(),
                ..ReadRanges::of(list)
            }
        }))
    }

    /// Returns when there may be others than at a version that was read; without one after a while.
    pub async fn changed(&self, version: Option<&str>) {
        let mut servers = self.servers.changes();
        let server = Arc::clone(&servers.borrow_and_update());
        let change = async {
            sleep(PAUSE).await;
            let api = Api::<ServiceCIDR>::all(server.watches.clone());
            let Some(version) = version else {
                return std::future::pending().await;
            };
            match api.watch(&WatchParams::default(), version).await {
                Ok(events) => {
                    let mut events = pin!(events);
                    while let Some(Ok(WatchEvent::Bookmark(_))) = events.next().await {}
                }
                // An older role does not allow it, which the next read does not mend.
                Err(error) => {
                    tracing::debug!(%error, "ServiceCIDRs cannot be watched");
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = change => {}
            _ = servers.changed() => {}
            () = sleep(PERIOD) => {}
        }
    }
}

impl ReadRanges {
    fn of(objects: impl IntoIterator<Item = ServiceCIDR>) -> Self {
        let mut read = Self::default();
        for object in objects {
            let name = object.name_any();
            let cidrs = object.spec.and_then(|spec| spec.cidrs).unwrap_or_default();
            for (i, text) in cidrs.iter().enumerate() {
                match address::range(text) {
                    Ok(range) => drop(read.ranges.insert(range)),
                    Err(why) => {
                        let problem = format!("ServiceCIDR {name}: spec.cidrs[{i}]: {why}");
                        read.problems.push(problem);
                    }
                }
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::ServiceCIDRSpec;
    use kube::api::ObjectMeta;

    use super::*;

    #[test]
    fn what_is_no_range_is_named_and_the_others_count() {
        let object = |name: &str, cidrs: &[&str]| ServiceCIDR {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(ServiceCIDRSpec {
                cidrs: Some(cidrs.iter().map(ToString::to_string).collect()),
            }),
            status: None,
        };
        let read = ReadRanges::of([
            object("kubernetes", &["10.96.0.0/16", "fd00:96::/129"]),
            object("more", &["10.97.0.0/16"]),
        ]);
        let ranges = ["10.96.0.0/16", "10.97.0.0/16"];
        assert_eq!(
            read.ranges,
            ranges.map(|range| range.parse().unwrap()).into()
        );
        assert_eq!(
            read.problems,
            ["ServiceCIDR kubernetes: spec.cidrs[1]: \"fd00:96::/129\" is not a CIDR range"]
        );
    }
}
