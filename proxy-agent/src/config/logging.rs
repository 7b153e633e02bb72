//! What is logged and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Logging {
    /// One JSON object or one line of text per event.
    #[schemars(extend("x-flag" = "log-format"))]
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,proxy_agent::service=debug`.
    #[schemars(extend("x-flag" = "log-level", "x-reload" = true))]
    pub level: String,
    /// Log each packet that is dropped, with its reason, at level `info`. For debugging: whoever sends much that is
    /// dropped makes as many lines.
    #[schemars(extend("x-flag" = "log-drops"))]
    pub drops: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            level: "info".to_owned(),
            drops: false,
        }
    }
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Text.
    Text,
}
