//! What the API leaves open about Services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the API leaves open about Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceSettings {
    /// Serve `spec.externalIPs`, as kube-proxy does by default (its gate `AllowServiceExternalIPs`): whoever may make Services
    /// can take any address by them (CVE-2020-8554). Where it is off, an Event of the Service says so.
    #[serde(rename = "externalIPs")]
    #[schemars(extend("x-flag" = "external-ips"))]
    pub external_ips: bool,
    /// Answer pings to addresses of Services at which somebody serves, which kube-proxy does not: from pods and nodes to
    /// cluster IPs, from pods and outside to load balancers' and external addresses.
    pub answer_ping: bool,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            external_ips: true,
            answer_ping: false,
        }
    }
}
