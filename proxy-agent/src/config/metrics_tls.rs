//! Whether the metrics are read in the clear, and by whom.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS of `metricsBindAddress`; plain HTTP without. Files are read anew when they change, so certificates are renewed
/// without a restart; one that cannot be read leaves the former one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsTls {
    /// File of the certificate and of those between it and its authority, as PEM. Empty: plain HTTP.
    #[schemars(extend("format" = "path"))]
    pub cert_file: PathBuf,
    /// File of its private key, as PEM.
    #[schemars(extend("format" = "path"))]
    pub private_key_file: PathBuf,
    /// File of the authorities, as PEM, one of which must have signed the certificate of whoever asks; others are refused. Empty:
    /// nobody has to show one.
    #[schemars(extend("format" = "path"))]
    #[serde(rename = "clientCAFile")]
    pub client_ca_file: PathBuf,
}

impl MetricsTls {
    /// Whether there is to be any.
    pub fn is_on(&self) -> bool {
        is_given(&self.cert_file)
    }

    /// The file of those who may ask.
    pub fn client_authorities(&self) -> Option<&Path> {
        is_given(&self.client_ca_file).then_some(self.client_ca_file.as_path())
    }

    /// Which of it cannot be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match (self.is_on(), is_given(&self.private_key_file)) {
            (true, false) => Err((
                "metricsTLS.privateKeyFile",
                "a certificate needs its key".to_owned(),
            )),
            (false, true) => Err((
                "metricsTLS.certFile",
                "a key needs its certificate".to_owned(),
            )),
            (false, false) if self.client_authorities().is_some() => Err((
                "metricsTLS.certFile",
                "who asks can only show a certificate to one that has one".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

fn is_given(file: &Path) -> bool {
    !file.as_os_str().is_empty()
}
