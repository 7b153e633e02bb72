//! How to reach the API server.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to reach the API server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientConnection {
    /// A kubeconfig file.
    #[schemars(extend("x-flag" = "kubeconfig", "format" = "path"))]
    pub kubeconfig: Option<PathBuf>,
    /// URLs of API servers, tried in turn; they override the kubeconfig's, whose credentials are kept. The
    /// agent must not need the `kubernetes` Service, which it serves itself: without a URL here or in a kubeconfig it
    /// starts only where it remembers what stands behind that Service.
    #[schemars(extend("x-flag" = "api-server"))]
    pub api_servers: Vec<String>,
}
