//! The log filter, changeable while the agent runs.

use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::check_filter;

/// A handle on the log filter; without one (tests), changes are refused.
#[derive(Clone, Debug, Default)]
pub struct LogLevel(Option<reload::Handle<EnvFilter, Registry>>);

impl LogLevel {
    /// Wraps the subscriber's handle.
    pub const fn new(handle: reload::Handle<EnvFilter, Registry>) -> Self {
        Self(Some(handle))
    }

    /// The filter in force.
    pub fn get(&self) -> String {
        self.0
            .as_ref()
            .and_then(|handle| handle.with_current(ToString::to_string).ok())
            .unwrap_or_default()
    }

    /// Puts another filter in force.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let told = |error: String| format!("log level `{filter}`: {error}");
        check_filter(filter).map_err(told)?;
        let parsed = EnvFilter::try_new(filter).map_err(|error| told(error.to_string()))?;
        let handle = self.0.as_ref().ok_or("this process has no log filter")?;
        handle
            .reload(parsed)
            .map_err(|error| format!("set log level: {error}"))
    }
}
