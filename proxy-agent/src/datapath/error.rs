//! What opening the datapath can fail with.

use std::{io, path::PathBuf};

use super::{preflight::PreflightError, table::TableError};

/// Why the datapath cannot be opened, or a program not be attached. Nothing has been changed, except where
/// the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The machine lacks something.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The instance's name cannot be a folder on bpffs.
    #[error(
        "instance name {0:?} is not usable: letters, digits, `-` and `_` only (bpffs allows no dots)"
    )]
    InstanceName(String),
    /// The pins were made by a newer version.
    #[error(
        "the maps under {path} have schema {found}, newer than ours ({ours}): a newer Weir made them"
    )]
    NewerSchema {
        /// Folder of the schema that was found.
        path: PathBuf,
        /// Schema that was found.
        found: u32,
        /// Schema of this version.
        ours: u32,
    },
    /// The pins were made by an older version.
    #[error(
        "the maps under {path} have schema {found}, older than ours ({ours}), and this version cannot take \
         them over"
    )]
    OlderSchema {
        /// Folder of the schema that was found.
        path: PathBuf,
        /// Schema that was found.
        found: u32,
        /// Schema of this version.
        ours: u32,
    },
    /// The pins have our schema's number but another layout.
    #[error(
        "the maps under {path} have another layout ({found}) than this version's ({ours:#018x}): another \
         build made them"
    )]
    ForeignLayout {
        /// Folder of the schema.
        path: PathBuf,
        /// Hash that was found, as text; `none` if the folder names none.
        found: String,
        /// Hash of this version.
        ours: u64,
    },
    /// The pinned maps hold what another version declares otherwise.
    #[error(
        "the maps under {path} were made by a version that declares otherwise what they hold: {changed}"
    )]
    ChangedLayout {
        /// Folder of the schema.
        path: PathBuf,
        /// Names of declarations.
        changed: String,
    },
    /// A pin cannot be read as what it should be.
    #[error("the pin {path} is corrupt: {source}")]
    CorruptPin {
        /// The pin.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pinned map is not like the one in the object.
    #[error("the pinned map {path} has {what} {pinned}, the programs expect {expected}")]
    PinMismatch {
        /// The pin.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the pinned map has.
        pinned: u32,
        /// What the object has.
        expected: u32,
    },
    /// There are no pins.
    #[error("no datapath at {path}: the agent has not run here, or runs as another instance")]
    NotLoaded {
        /// Where the pins should be.
        path: PathBuf,
        /// Why they cannot be opened.
        source: io::Error,
    },
    /// The embedded object is not usable.
    #[error("the embedded eBPF object: {0}")]
    Object(String),
    /// The kernel refused a map. Maps made before it stay pinned and are used at the next start.
    #[error("create the maps: {0}")]
    Maps(#[source] Box<aya::EbpfError>),
    /// The kernel refused a program.
    #[error("load program {name}: {source}")]
    Program {
        /// The program.
        name: String,
        /// Why, with the verifier's words.
        source: Box<aya::programs::ProgramError>,
    },
    /// The object has no such program.
    #[error("the eBPF object has no program {0}")]
    NoProgram(String),
    /// A program could not be attached. Those attached before it stay.
    #[error("attach {program} to {target}: {source}")]
    Attach {
        /// The program.
        program: String,
        /// Interface or cgroup.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused something about filters.
    #[error("{operation}: {source}")]
    Netlink {
        /// What was done.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A map holds more by now than the smaller one that was to take its place.
    #[error("map {map} holds too much to be made smaller just now")]
    Outgrown {
        /// The map.
        map: String,
    },
    /// A map could not be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Something about a file failed.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The way out where pins are in the way.
const BEGIN_ANEW: &str = "`proxy-agent cleanup` takes everything down to begin anew (connections through Services break)";

impl DatapathError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Preflight(error) => error.hint(),
            Self::InstanceName(_) => "--instance names it, for example node-1".to_owned(),
            Self::NewerSchema { .. }
            | Self::ForeignLayout { .. }
            | Self::ChangedLayout { .. } => {
                format!("run the version that made them, or: {BEGIN_ANEW}")
            }
            Self::OlderSchema { .. } | Self::CorruptPin { .. } | Self::PinMismatch { .. } => {
                BEGIN_ANEW.to_owned()
            }
            Self::NotLoaded { .. } => "run as root on the node; --instance and --bpffs name the agent's pins \
                                       (`proxyctl version` asks the agent)"
                .to_owned(),
            Self::Object(_) | Self::NoProgram(_) => {
                "this program was not built whole: build it again by `cargo xtask build`".to_owned()
            }
            Self::Maps(_) => {
                "has the node memory left? `maps` of the configuration sets the capacities".to_owned()
            }
            Self::Program { .. } => {
                "please report this with the output of `uname -r`: a kernel from 6.1 on should take it"
                    .to_owned()
            }
            Self::Outgrown { .. } => "the agent tries again by itself".to_owned(),
            Self::Table(error) => error.hint().to_owned(),
            Self::Attach { .. } | Self::Netlink { .. } | Self::File { .. } => {
                "run as root on the node; the kernel's log (`dmesg`) may say more".to_owned()
            }
        }
    }

    /// For `map_err`.
    pub(super) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }

    /// For `map_err`.
    pub(super) fn corrupt(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::CorruptPin { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_in_the_way_have_a_way_out() {
        let path = PathBuf::from("/sys/fs/bpf/weir/default/v2");
        let (found, ours) = (2, 1);
        for error in [
            DatapathError::NewerSchema {
                path: path.clone(),
                found,
                ours,
            },
            DatapathError::OlderSchema {
                path: path.clone(),
                found,
                ours,
            },
            DatapathError::ForeignLayout {
                path: path.clone(),
                found: "none".to_owned(),
                ours: 1,
            },
            DatapathError::corrupt(&path)(io::ErrorKind::InvalidData.into()),
            DatapathError::PinMismatch {
                path: path.clone(),
                what: "flags",
                pinned: 1,
                expected: 0,
            },
        ] {
            let (text, hint) = (error.to_string(), error.hint());
            assert!(text.contains("/sys/fs/bpf/weir/default/v2"), "{text}");
            assert!(hint.contains("`proxy-agent cleanup`"), "{text}: {hint}");
            let downgrade = matches!(error, DatapathError::NewerSchema { .. });
            assert!(!downgrade || hint.contains("run the version"), "{hint}");
        }
    }
}
