//! What opening the datapath can fail with.

use std::{io, path::PathBuf};

use super::preflight::PreflightError;

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
        "the maps under {path} have schema {found}, newer than ours ({ours}): a newer Weir made them; \
         run that version, or remove the folder to begin anew (connections through Services break)"
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
         them over: remove the folder to begin anew (connections through Services break)"
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
         build made them; run that build, or remove the folder to begin anew"
    )]
    ForeignLayout {
        /// Folder of the schema.
        path: PathBuf,
        /// Hash that was found, as text; `none` if the folder names none.
        found: String,
        /// Hash of this version.
        ours: u64,
    },
    /// A pin cannot be read as what it should be.
    #[error("the pin {path} is corrupt: {source}; remove it to begin anew")]
    CorruptPin {
        /// The pin.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pinned map is not like the one in the object.
    #[error(
        "the pinned map {path} has {what} {pinned}, the programs expect {expected}; remove it to begin anew"
    )]
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

impl DatapathError {
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
