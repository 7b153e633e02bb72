//! Errors as the runtime reads them: one JSON document on stdout and exit code 1.
//!
//! containerd shows `msg; details` to the user and drops the code, so both must stand without it.

use std::fmt;

use serde_json::json;

use super::supported::NEWEST;

/// Codes of the specification, and ours from 100.
pub mod code {
    /// The configuration's version is not supported.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field that this plugin refuses; the message names key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is not known; the runtime need not call DEL.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// Environment variables missing or malformed; the message names them.
    pub const ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// Not JSON, or not of the right shape.
    pub const DECODE: u32 = 6;
    /// The configuration is not valid.
    pub const CONFIG: u32 = 7;
    /// `CNI_NETNS` is not a network namespace, or is the runtime's own.
    pub const NETNS: u32 = 8;
    /// Try again later.
    pub const TRY_AGAIN: u32 = 11;
    /// The plugin cannot serve ADD.
    pub const NOT_AVAILABLE: u32 = 50;
    /// As 50, and existing containers may suffer too.
    pub const LIMITED: u32 = 51;
    /// No free address, or the interface exists already.
    pub const ALLOCATION: u32 = 100;
    /// The kernel refused a link, address, route or neighbour.
    pub const WIRING: u32 = 101;
    /// CHECK found the container's network broken.
    pub const BROKEN: u32 = 102;
}

/// What goes to the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One of [`code`].
    pub code: u32,
    /// What failed, and on what.
    pub msg: String,
    /// Cause and where to look.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// Reading or writing failed.
    pub fn io(what: impl Into<String>, cause: &std::io::Error) -> Self {
        Self::new(code::IO, what).because(cause.to_string())
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The document for stdout.
    pub fn to_json(&self, version: Option<&str>) -> String {
        let mut document = json!({
            "cniVersion": version.unwrap_or(NEWEST),
            "code": self.code,
            "msg": self.msg,
        });
        if !self.details.is_empty() {
            document["details"] = json!(self.details);
        }
        document.to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
