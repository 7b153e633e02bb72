//! The administrator's kubeconfig.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

/// Writes one (JSON is YAML) for the API server on a loopback port.
pub(super) fn write(path: &Path, port: u16, ca: &Path, token: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{
            "name": "test",
            "cluster": { "server": format!("https://127.0.0.1:{port}"), "certificate-authority": ca },
        }],
        "users": [{ "name": "admin", "user": { "token": token } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "admin" } }],
    });
    fs::write(path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))
}
