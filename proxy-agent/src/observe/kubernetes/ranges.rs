//! The ranges of Services' addresses, read now and then: they change once in a cluster's life.

use std::{collections::BTreeSet, sync::Arc};

use ipnetwork::IpNetwork;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::{Api, api::ListParams};

use super::servers::Servers;

/// Reads the `ServiceCIDR`s from the API server in use. Cheap to clone.
#[derive(Clone)]
pub struct RangeReader {
    servers: Arc<Servers>,
}

impl std::fmt::Debug for RangeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeReader").finish_non_exhaustive()
    }
}

impl RangeReader {
    pub(super) const fn new(servers: Arc<Servers>) -> Self {
        Self { servers }
    }

    /// The ranges; none if the API server has no such objects (before Kubernetes 1.33), or does not show them.
    pub async fn read(&self) -> Result<Option<BTreeSet<IpNetwork>>, kube::Error> {
        let client = self.servers.current().client.clone();
        // Whatever its cache holds is new enough.
        let any = ListParams::default().match_any();
        let list = match Api::<ServiceCIDR>::all(client).list(&any).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => return Ok(None),
            list => list?,
        };
        let specs = list.into_iter().filter_map(|object| object.spec);
        let ranges = specs.flat_map(|spec| spec.cidrs.unwrap_or_default());
        Ok(Some(
            ranges.filter_map(|range| range.parse().ok()).collect(),
        ))
    }
}
