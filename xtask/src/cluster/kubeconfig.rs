//! The administrator's kubeconfigs: for programs in the fabric and on nodes, and for a person on the host.

use std::path::Path;

use anyhow::Result;
use weir_world::kubernetes::{Trust, kubeconfig};

use super::lab::Lab;
use super::shape::Shape;

/// The administrator's token; the API server is reachable from this machine only.
pub(crate) const TOKEN: &str = "weir-lab-admin";

/// Writes the fabric's.
pub(crate) fn write(lab: &Lab, shape: Shape, ca: &Path) -> Result<()> {
    Lab::write(
        &lab.kubeconfig(),
        &kubeconfig(&shape.api(), Trust::Anywhere(ca), TOKEN),
    )
}

/// Writes the host's, which leads through a forwarder on a loopback port; returns its path.
pub(crate) fn write_for_host(lab: &Lab, port: u16) -> Result<()> {
    let ca = lab.file("pki/apiserver.crt");
    Lab::write(
        &lab.file("kubeconfig"),
        &kubeconfig(
            &format!("https://127.0.0.1:{port}"),
            Trust::Anywhere(&ca),
            TOKEN,
        ),
    )
}
