//! Errors as the runtime reads them: one JSON document on stdout and exit code 1.
//!
//! containerd shows `msg; details` to the user and drops the code, so both must stand without it.

use std::fmt;

use serde_json::json;

use super::supported::NEWEST;

/// Declares the codes once: constants, and what they mean.
macro_rules! codes {
    ($($constant:ident = $number:literal, $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $constant: u32 = $number;)+

        /// Every code with what it means.
        pub const ALL: &[(u32, &str)] = &[$(($number, $meaning)),+];
    };
}

/// Codes of the specification, and ours from 100.
pub mod code {
    codes! {
        INCOMPATIBLE_VERSION = 1, "The configuration's version is not supported.";
        UNSUPPORTED_FIELD = 2, "A field that this plugin refuses; the message names key and value.";
        UNKNOWN_CONTAINER = 3, "The container is not known; the runtime need not call DEL.";
        ENVIRONMENT = 4, "Environment variables missing or malformed; the message names them.";
        IO = 5, "Reading or writing failed.";
        DECODE = 6, "Not JSON, or not of the right shape.";
        CONFIG = 7, "The configuration is not valid.";
        NETNS = 8, "`CNI_NETNS` is not a network namespace, or is the runtime's own.";
        TRY_AGAIN = 11, "Try again later.";
        NOT_AVAILABLE = 50, "The plugin cannot serve ADD.";
        LIMITED = 51, "As 50, and existing containers may suffer too.";
        ALLOCATION = 100, "No free address, or the interface exists already.";
        WIRING = 101, "The kernel refused a link, address, route or neighbour.";
        BROKEN = 102, "CHECK found the container's network broken.";
    }
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
