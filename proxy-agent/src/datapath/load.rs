//! Creates the maps that are missing, takes over those that are pinned, loads the programs.

use std::{
    collections::BTreeMap,
    io,
    num::NonZero,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};

use super::{
    bpfsys::object::{MapInfo, map_info, open_map},
    capacities::Capacities,
    clock,
    error::DatapathError,
    object,
    packet_log::Telling,
    pins::Pins,
};

/// How often a load is tried that the verifier gives up because a signal is pending: `PROG_LOAD_ATTEMPTS` of
/// libbpf (<https://github.com/libbpf/libbpf/blob/v1.5.0/src/libbpf_internal.h>).
const ATTEMPTS: usize = 5;

/// The global of the object that says how many slots `FLOWS4` and `FLOWS6` have.
const FLOW_SLOTS: &str = "FLOW_SLOTS";

/// Where a map is pinned, or will be, and what it is like.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The pin.
    pub(super) path: PathBuf,
    /// What is pinned there, or is to be made.
    pub(super) info: MapInfo,
}

/// The place of every map that the programs share, by name.
pub(super) type Places = BTreeMap<String, Place>;

/// Maps that take the place of others, each with its capacity, and the folder in which they are or are to be made.
pub(super) type Anew<'a> = (&'a Path, &'a BTreeMap<String, u32>);

/// The places of all maps: those that are pinned keep their capacities, but for these that are made anew.
pub(super) fn places(
    pins: &Pins,
    capacities: &Capacities,
    anew: Option<Anew<'_>>,
) -> Result<Places, DatapathError> {
    let mut places = Places::new();
    for (name, mut info) in object::maps(capacities)? {
        let mut path = pins.map(&name);
        let new = anew.and_then(|(folder, sizes)| Some((folder, *sizes.get(&name)?)));
        if let Some((folder, capacity)) = new {
            path = folder.join(&name);
            info.max_entries = capacity;
        } else if let Some(pinned) = pinned(&path)? {
            // Every pin is judged before the first map is made: a refusal changes nothing.
            compare(&path, &pinned, &info)?;
            info.max_entries = pinned.max_entries;
        }
        places.insert(name, Place { path, info });
    }
    Ok(places)
}

/// Programs that a node may do without: they are loaded when they are first attached. What hangs on every node is loaded at the
/// start, so that a kernel that refuses it is told before anything is changed.
const LATER: [&str; 6] = [
    "from_net_bare",
    "to_net_bare",
    "from_tunnel",
    "to_tunnel",
    "to_queue",
    "from_wire",
];

/// Loads what every node has over the pinned maps, and makes those that are missing. Attaches nothing.
pub(super) fn load(places: &Places, told: Telling) -> Result<Ebpf, DatapathError> {
    let mut ebpf = make(places, told)?;
    // Whoever reads the log takes its map away: no program can be loaded against it later.
    let waits = |name: &str| !told.any() && LATER.contains(&name);
    let wanted = ebpf.programs_mut().filter(|(name, _)| !waits(name));
    load_all(wanted.collect())?;
    Ok(ebpf)
}

/// Loads them side by side, on as many processors as there are: the verifier takes its time with each, and locks only those out
/// who lack `CAP_BPF` (`bpf_check` in <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/verifier.c>). Gives the first
/// failure.
fn load_all(programs: Vec<(&str, &mut Program)>) -> Result<(), DatapathError> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = processors.min(programs.len());
    let queue = Mutex::new(programs.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((name, program)) = next() {
            load_program(name, program)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(thread::ScopedJoinHandle::join);
        let mut ends = ends.map(|end| end.unwrap_or_else(|panic| resume_unwind(panic)));
        ends.try_for_each(|end| end)
    })
}

/// Loads a program unless that is done. One that the object does not have is no error.
pub(super) fn ensure(ebpf: &mut Ebpf, name: &str) -> Result<(), DatapathError> {
    match ebpf.program_mut(name) {
        Some(program) if program.fd().is_err() => load_program(name, program),
        _ => Ok(()),
    }
}

/// Loads all that are not loaded yet.
pub(super) fn ensure_all(ebpf: &mut Ebpf) -> Result<(), DatapathError> {
    LATER.iter().try_for_each(|name| ensure(ebpf, name))
}

/// Makes the maps that are missing. The programs are not loaded yet.
pub(super) fn make(places: &Places, told: Telling) -> Result<Ebpf, DatapathError> {
    let mut loader = EbpfLoader::new();
    for (name, place) in places {
        loader.map_max_entries(name, place.info.max_entries);
        loader.map_pin_path(name, &place.path);
    }
    told.set(&mut loader);
    clock::set(&mut loader, true);
    let slots = flow_slots(places);
    loader.override_global(FLOW_SLOTS, &slots, true);
    loader
        .load(object::OBJECT)
        .map_err(|e| DatapathError::Maps(Box::new(e)))
}

/// How many flows fit.
fn flow_slots(places: &Places) -> u32 {
    let arrays = ["FLOWS4", "FLOWS6"].into_iter();
    let slots = arrays.filter_map(|name| Some(places.get(name)?.info.max_entries));
    slots.min().unwrap_or(0)
}

/// What is pinned at a path.
pub(super) fn pinned(path: &Path) -> Result<Option<MapInfo>, DatapathError> {
    let fd = match open_map(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        fd => fd.map_err(DatapathError::corrupt(path))?,
    };
    map_info(&fd)
        .map(Some)
        .map_err(DatapathError::corrupt(path))
}

/// Compares a pinned map with the object: aya would use it as it is, and the kernel would write beyond the buffers of a
/// reader who is wrong about sizes.
fn compare(path: &Path, pinned: &MapInfo, expected: &MapInfo) -> Result<(), DatapathError> {
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
    Ok(())
}

pub(super) fn load_program(name: &str, program: &mut Program) -> Result<(), DatapathError> {
    match patiently(|| load_once(program)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(DatapathError::Object(format!(
            "program {name} is of a type that is not attached ({:?})",
            program.prog_type()
        ))),
        Err(source) => Err(DatapathError::Program {
            name: name.to_owned(),
            source: Box::new(source),
        }),
    }
}

/// Tries again while the verifier is interrupted.
fn patiently<T>(mut load: impl FnMut() -> Result<T, ProgramError>) -> Result<T, ProgramError> {
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if is_interrupted(&error) => {}
            result => return result,
        }
    }
    load()
}

fn is_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. }
        if io_error.raw_os_error() == Some(libc::EAGAIN))
}

/// False if the program is of no type that is attached.
fn load_once(program: &mut Program) -> Result<bool, ProgramError> {
    match program {
        Program::CgroupSockAddr(p) => p.load(),
        Program::CgroupSock(p) => p.load(),
        Program::SchedClassifier(p) => p.load(),
        Program::Xdp(p) => p.load(),
        _ => return Ok(false),
    }
    .map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads that fail so, and then succeed; gives the result and how often was tried.
    fn load(errors: &[i32]) -> (Result<(), ProgramError>, usize) {
        let mut tries = 0;
        let result = patiently(|| {
            tries += 1;
            errors.get(tries - 1).map_or(Ok(()), |errno| {
                Err(ProgramError::LoadError {
                    io_error: io::Error::from_raw_os_error(*errno),
                    verifier_log: aya_obj::VerifierLog::new(String::new()),
                })
            })
        });
        (result, tries)
    }

    #[test]
    fn a_load_that_a_signal_interrupts_is_tried_again() {
        let (result, tries) = load(&[libc::EAGAIN; 4]);
        assert!(result.is_ok());
        assert_eq!(tries, 5);
        let (result, tries) = load(&[libc::EAGAIN; 100]);
        assert!(result.is_err());
        assert_eq!(tries, 5);
    }

    #[test]
    fn a_load_that_is_refused_is_not() {
        let (result, tries) = load(&[libc::EACCES]);
        assert!(result.is_err());
        assert_eq!(tries, 1);
    }
}
