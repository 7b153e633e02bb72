//! What tells the series of a metric apart.

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;

use super::described::Labelled;

/// Declares a set of text labels.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($field:ident),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $name { $(#[expect(missing_docs, reason = "named by the label")] pub $field: String),+ }

        impl $name {
            /// The labels in their order.
            pub fn new($($field: impl Into<String>),+) -> Self {
                Self { $($field: $field.into()),+ }
            }
        }

        impl Labelled for $name {
            const LABELS: &'static [&'static str] = &[$(stringify!($field)),+];
        }
    )+};
}

labels! {
    /// A status code of HTTP.
    Code { code }
    /// A family: `IPv4` or `IPv6`.
    IpFamily { ip_family }
    /// A family and `internal` or `external`.
    NoLocal { ip_family, traffic_policy }
    /// A map.
    MapName { map }
    /// A family and a state of flows.
    FlowLabels { ip_family, state }
    /// A family and `used`, `resting` or `free`.
    AddressLabels { ip_family, state }
    /// A drop reason.
    Reason { reason }
    /// What became of a frame.
    Verdict { verdict }
    /// A mode of XDP, or `none`.
    Mode { mode }
    /// A kind that is watched.
    KindName { kind }
    /// Whose maps were written, and whether for a change (`sync`) or in a full comparison (`verify`).
    Apply { part, operation }
    /// A verb of the plugin and the code of its answer.
    CniRequest { verb, code }
    /// A verb of the plugin.
    CniVerb { verb }
    /// What Weir puts on a node.
    What { what }
    /// What was built.
    Build { version, revision, rustc }
}

impl From<StatusCode> for Code {
    fn from(code: StatusCode) -> Self {
        Self::new(code.as_str())
    }
}
