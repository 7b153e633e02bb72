//! The ranges of Services' addresses, read now and then: they change once in a cluster's life.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ipnetwork::IpNetwork;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::{Api, ResourceExt as _, api::ListParams};

use super::servers::{RequestError, Servers};
use crate::observe::convert::address;

const PATIENCE: Duration = Duration::from_secs(10);

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
        let list = self.servers.request(PATIENCE, ask).await?;
        Ok(list.map(ReadRanges::of))
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
