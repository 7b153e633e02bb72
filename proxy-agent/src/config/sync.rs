//! How often the maps are brought into step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;

/// How often the maps are brought into step.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyncPeriods {
    /// How long changes are gathered before they are applied.
    pub min_period: Period,
    /// How often everything is planned anew and compared with the maps. Maps alone are compared with what was written to them
    /// every few seconds, whatever this says.
    pub full_period: Period,
}

impl Default for SyncPeriods {
    fn default() -> Self {
        Self {
            min_period: Period::from_millis(5),
            full_period: Period::from_secs(600),
        }
    }
}
