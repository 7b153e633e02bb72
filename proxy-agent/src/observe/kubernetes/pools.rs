//! What the pools of addresses need of the API server: the Lease of whoever gives addresses, and Services' status.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1 as core};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::servers::{RequestError, Servers};
use crate::model::ObjectName;

/// The Lease, which Weir's manifests make: a right to create it could not name it.
const NAMESPACE: &str = "kube-system";
/// Its name.
const NAME: &str = "weir-load-balancer";
/// Conflict: the object is not any more what it was when it was read.
const CONFLICT: u16 = 409;
/// It is gone.
const GONE: u16 = 404;

/// Reads and writes through the API server in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PoolStore {
    servers: Arc<Servers>,
}

/// Who has the Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Resource version: each renewal makes it another.
    pub version: String,
    /// Name of the node whose agent has it; empty if nobody has.
    pub holder: String,
    /// How often it went from one to another.
    pub transitions: i32,
}

impl PoolStore {
    /// How long a request may take. One that is over may still be carried out.
    pub const PATIENCE: Duration = Duration::from_secs(4);

    pub(super) const fn new(servers: Arc<Servers>) -> Self {
        Self { servers }
    }

    /// The Lease, as etcd has it; none if there is none.
    pub async fn lease(&self) -> Result<Option<Held>, RequestError> {
        let ask = async |client| leases(client).get_opt(NAME).await;
        let what = format!("read Lease {NAMESPACE}/{NAME}");
        let found = self.servers.request((Self::PATIENCE, &what), ask).await?;
        Ok(found.map(|lease| {
            let spec = lease.spec.unwrap_or_default();
            Held {
                version: lease.metadata.resource_version.unwrap_or_default(),
                holder: spec.holder_identity.unwrap_or_default(),
                transitions: spec.lease_transitions.unwrap_or(0),
            }
        }))
    }

    /// Takes or renews the Lease if it is still what was read; false if it is not.
    pub async fn hold(
        &self,
        held: &Held,
        node: &str,
        duration: Duration,
    ) -> Result<bool, RequestError> {
        let now = MicroTime(Timestamp::now());
        let mut spec = json!({
            "holderIdentity": node,
            "leaseDurationSeconds": duration.as_secs(),
            "renewTime": now,
        });
        if held.holder != node {
            spec["acquireTime"] = json!(now);
            spec["leaseTransitions"] = json!(held.transitions.saturating_add(1));
        }
        let patch = json!({ "metadata": { "resourceVersion": held.version }, "spec": spec });
        let ask = async |client| {
            let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
            if_unchanged(leases(client).patch_metadata(NAME, &params, &patch).await)
        };
        let what = format!("write Lease {NAMESPACE}/{NAME}");
        self.servers.request((Self::PATIENCE, &what), ask).await
    }

    /// Writes which addresses a Service has, if it is still at a version; false if it is not, or is gone.
    pub async fn give(
        &self,
        service: &ObjectName,
        (uid, version): (&str, &str),
        addresses: &[IpAddr],
    ) -> Result<bool, RequestError> {
        let ingress: Vec<_> = addresses
            .iter()
            .map(|ip| json!({ "ip": ip, "ipMode": "VIP" }))
            .collect();
        let ingress = (!ingress.is_empty()).then_some(ingress);
        let patch = json!({
            "metadata": { "uid": uid, "resourceVersion": version },
            "status": { "loadBalancer": { "ingress": ingress } },
        });
        let ask = async |client| {
            let services = Api::<core::Service>::namespaced(client, service.namespace());
            let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
            if_unchanged(services.patch_status(service.name(), &params, &patch).await)
        };
        let what = format!("write the addresses of Service {service}");
        self.servers.request((Self::PATIENCE, &what), ask).await
    }
}

fn leases(client: Client) -> Api<Lease> {
    Api::namespaced(client, NAMESPACE)
}

fn if_unchanged<T>(patched: kube::Result<T>) -> kube::Result<bool> {
    match patched {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, CONFLICT | GONE) => Ok(false),
        Err(error) => Err(error),
    }
}
