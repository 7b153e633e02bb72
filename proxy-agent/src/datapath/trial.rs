//! Feature probing: what the kernel says to our programs: all are loaded, over small maps of their own, and gone again. Nothing is pinned or
//! attached.

use std::{io, os::fd::AsFd as _};

use aya::{Ebpf, EbpfLoader};

use super::{
    Capacities, DatapathError,
    bpfsys::{self, program},
    load, object,
    programs::interface,
};

/// Entries of a map that is there for a moment.
const ENTRIES: u32 = 64;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How many programs were loaded.
    pub programs: usize,
    /// Those that the kernel interprets.
    pub interpreted: Vec<String>,
    /// Whether it has TCX (6.6).
    pub tcx: bool,
}

/// Tries, for a second or two.
pub fn run() -> Result<Trial, DatapathError> {
    let maps = object::maps(&Capacities::default())?;
    bpfsys::lift_memlock_limit();
    let mut loader = EbpfLoader::new();
    for (name, info) in &maps {
        loader.map_max_entries(name, info.max_entries.min(ENTRIES));
    }
    let loaded = loader.load(object::OBJECT);
    let mut ebpf = loaded.map_err(|error| DatapathError::Maps(Box::new(error)))?;
    for (name, program) in ebpf.programs_mut() {
        load::load_program(name, program)?;
    }
    judge(&ebpf).map_err(|source| DatapathError::Netlink {
        operation: "ask the kernel about programs",
        source,
    })
}

fn judge(ebpf: &Ebpf) -> io::Result<Trial> {
    let mut trial = Trial {
        programs: 0,
        interpreted: Vec::new(),
        tcx: false,
    };
    for (name, program) in ebpf.programs() {
        let Ok(fd) = program.fd() else { continue };
        trial.programs += 1;
        if !program::is_compiled(fd)? {
            trial.interpreted.push(name.to_owned());
        }
        if name == super::Hook::FromPod.program() {
            trial.tcx = interface::has_tcx(fd.as_fd())?;
        }
    }
    Ok(trial)
}
