//! Creates the maps that are missing, takes over those that are pinned, loads the programs.

use std::{io, path::Path};

use aya::{Ebpf, EbpfLoader, programs::Program};

use super::{
    bpfsys::object::{MapInfo, map_info, open_map},
    capacities::Capacities,
    error::DatapathError,
    object,
    pins::Pins,
};

/// Loads the object over the pinned maps. Attaches nothing.
pub(super) fn load(pins: &Pins, capacities: &Capacities) -> Result<Ebpf, DatapathError> {
    let maps = object::maps(capacities)?;
    // Every pin is judged before the first map is made: a refusal changes nothing.
    for (name, expected) in &maps {
        compare(&pins.map(name), expected)?;
    }
    let mut loader = EbpfLoader::new();
    for (name, expected) in &maps {
        loader.map_max_entries(name, expected.max_entries);
        loader.map_pin_path(name, pins.map(name));
    }
    let mut ebpf = loader
        .load(object::OBJECT)
        .map_err(|e| DatapathError::Maps(Box::new(e)))?;
    for (name, program) in ebpf.programs_mut() {
        load_program(name, program)?;
    }
    Ok(ebpf)
}

/// Compares a pinned map, if there is one, with the object: aya would use it as it is, and the kernel would
/// write beyond the buffers of a reader who is wrong about sizes.
fn compare(path: &Path, expected: &MapInfo) -> Result<(), DatapathError> {
    let fd = match open_map(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        fd => fd.map_err(DatapathError::corrupt(path))?,
    };
    let pinned = map_info(&fd).map_err(DatapathError::corrupt(path))?;
    let facts = [
        ("type", pinned.kind, expected.kind),
        ("a key size of", pinned.key_size, expected.key_size),
        ("a value size of", pinned.value_size, expected.value_size),
        ("flags", pinned.flags, expected.flags),
    ];
    for (what, pinned, expected) in facts {
        if pinned != expected {
            return Err(DatapathError::PinMismatch {
                path: path.to_owned(),
                what,
                pinned,
                expected,
            });
        }
    }
    if pinned.max_entries != expected.max_entries {
        // Not worth refusing to start: the entries fit, and the operator is told.
        tracing::warn!(
            map = %path.display(), pinned = pinned.max_entries, configured = expected.max_entries,
            "the map keeps its capacity until its pin is removed"
        );
    }
    Ok(())
}

fn load_program(name: &str, program: &mut Program) -> Result<(), DatapathError> {
    let loaded = match program {
        Program::CgroupSockAddr(p) => p.load(),
        Program::CgroupSock(p) => p.load(),
        Program::SchedClassifier(p) => p.load(),
        Program::Xdp(p) => p.load(),
        other => {
            let kind = other.prog_type();
            return Err(DatapathError::Object(format!(
                "program {name} is of a type that is not attached ({kind:?})"
            )));
        }
    };
    loaded.map_err(|source| DatapathError::Program {
        name: name.to_owned(),
        source: Box::new(source),
    })
}
