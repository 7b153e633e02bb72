//! TCX or clsact.

/// How tc programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcMode {
    /// Links, replaced atomically.
    Tcx,
    /// Filters of the clsact queueing discipline.
    Clsact,
}

impl std::fmt::Display for TcMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// How tc programs are to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TcPreference {
    /// By TCX if the kernel lets us.
    #[default]
    Auto,
    /// By TCX; a kernel without it is an error.
    Tcx,
    /// By clsact always.
    Clsact,
}
