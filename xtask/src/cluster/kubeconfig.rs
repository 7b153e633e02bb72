//! The administrator's kubeconfigs: for programs in the fabric and on nodes, and for a person on the host.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::lab::Lab;
use super::shape::Shape;

/// The administrator's token; the API server is reachable from this machine only.
pub(crate) const TOKEN: &str = "weir-lab-admin";

/// Writes the fabric's.
pub(crate) fn write(lab: &Lab, shape: Shape, ca: &Path) -> Result<()> {
    Lab::write(&lab.kubeconfig(), &render(&shape.api(), ca))
}

/// Writes the host's, which leads through a forwarder on a loopback port; returns its path.
pub(crate) fn write_for_host(lab: &Lab, port: u16) -> Result<()> {
    let ca = lab.file("pki/apiserver.crt");
    Lab::write(
        &lab.file("kubeconfig"),
        &render(&format!("https://127.0.0.1:{port}"), &ca),
    )
}

/// JSON is YAML.
fn render(server: &str, ca: &Path) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{
            "name": "lab",
            // The certificate names the fabric's address and this one.
            "cluster": { "server": server, "certificate-authority": ca, "tls-server-name": "kubernetes.default.svc" },
        }],
        "users": [{ "name": "admin", "user": { "token": TOKEN } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "admin" } }],
    })
    .to_string()
}
