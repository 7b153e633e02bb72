//! What can be wrong with a configuration: where it was told, of which value, why, and what to do.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{Origin, definition::DEFINITION, suggest::suggest};

/// Where everything is listed.
const LISTED: &str = "`proxy-agent config reference` lists all settings";

/// Why there is no effective configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was told cannot be; never empty.
    #[error("{}", joined(.0))]
    Faults(Vec<Fault>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it was told.
    pub origin: Origin,
    /// Path of the value, such as `cni.mtu`, with the index of an item; `.` is the document.
    pub path: String,
    /// Why it cannot be.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
}

fn paragraph(error: &impl fmt::Display, hint: &str) -> String {
    format!("error: {error}\nhint: {hint}\n")
}

fn joined(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.path, self.cause)
    }
}

impl Fault {
    /// There is no such setting.
    pub(super) fn unknown(origin: Origin, path: &str) -> Self {
        let hint = suggest(path).map_or_else(|| LISTED.to_owned(), |hint| hint.to_string());
        Self {
            origin,
            path: path.to_owned(),
            cause: "unknown setting".to_owned(),
            hint,
        }
    }

    /// The value cannot be. `path` may end in the index of an item.
    pub(super) fn value(origin: Origin, path: &str, cause: impl Into<String>) -> Self {
        let of_list = path.split('[').next().unwrap_or(path);
        let hint = DEFINITION.setting(of_list).map(|setting| {
            let (takes, default) = (&setting.word, &setting.default);
            format!("{of_list} takes {takes}, and is {default} unless told")
        });
        Self {
            origin,
            path: path.to_owned(),
            cause: cause.into(),
            hint: hint.unwrap_or_else(|| LISTED.to_owned()),
        }
    }
}

impl ConfigError {
    /// A single fault.
    pub(super) fn one(fault: Fault) -> Self {
        Self::Faults(vec![fault])
    }

    /// The file cannot be read.
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    /// For people: a line for each fault, each with what to do about it.
    pub fn report(&self) -> String {
        match self {
            Self::Read { .. } => {
                let hint = "is the ConfigMap mounted? --config names the file";
                paragraph(self, hint)
            }
            Self::Faults(faults) => {
                let told = faults.iter();
                let lines: Vec<_> = told.map(|fault| paragraph(fault, &fault.hint)).collect();
                lines.concat()
            }
        }
    }
}
