//! The tools of the host that know netfilter and IPVS.

use std::{
    fmt,
    io::{ErrorKind, Write as _},
    process::{Command, Stdio},
};

use serde::{Serialize, Serializer};

use super::{CtlError, Exit};

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    words: Vec<String>,
    /// What it reads.
    input: Option<String>,
}

impl Call {
    /// These words.
    pub(super) fn new(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(ToString::to_string).collect(),
            input: None,
        }
    }

    /// The same, reading a text.
    pub(super) fn reading(self, input: String) -> Self {
        Self {
            input: Some(input),
            ..self
        }
    }

    /// Makes it.
    pub(super) fn run(&self) -> Result<(), CtlError> {
        self.output()?.map(drop).ok_or_else(|| {
            let error = std::io::Error::from(ErrorKind::NotFound);
            self.failed(&error.to_string())
        })
    }

    /// Makes it, and gives what it writes; none if there is no such tool.
    pub(super) fn output(&self) -> Result<Option<String>, CtlError> {
        let [program, words @ ..] = self.words.as_slice() else {
            return Ok(None);
        };
        let child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            child => child.map_err(|error| self.failed(&error.to_string()))?,
        };
        // Read by whoever reads it at all; what it says of it tells more than our error.
        if let Some(mut input) = child.stdin.take() {
            let text = self.input.clone().unwrap_or_default();
            drop(input.write_all(text.as_bytes()));
        }
        let done = child
            .wait_with_output()
            .map_err(|error| self.failed(&error.to_string()))?;
        if done.status.success() {
            return Ok(Some(String::from_utf8_lossy(&done.stdout).into_owned()));
        }
        Err(self.failed(String::from_utf8_lossy(&done.stderr).trim()))
    }

    fn failed(&self, cause: &str) -> CtlError {
        CtlError::new(
            Exit::Failed,
            format!("`{}`: {cause}", self.words.join(" ")),
            "run it as root, in the node's own network namespace, with the tool of the host",
        )
    }
}

/// As a shell takes it.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))?;
        match &self.input {
            Some(input) => write!(f, " <<'END'\n{input}END"),
            None => Ok(()),
        }
    }
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
