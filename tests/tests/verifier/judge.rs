//! Loading programs so that the verifier's word about those that pass is heard too.

use std::sync::{Mutex, PoisonError};

use aya::{
    EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proxy_agent::datapath::{Telling, clock, object::OBJECT};

/// What became of a program: the verifier's log, or why it was refused.
pub(super) struct Judgement {
    pub(super) program: String,
    pub(super) verdict: Result<String, String>,
}

/// The limit on descriptors is the process's: one at a time.
static LIMIT: Mutex<()> = Mutex::new(());

/// All that programs can tell of.
const EVERYTHING: Telling = Telling {
    drops: true,
    sends: 1,
};

/// Loads every program of the object, which `tells` of packets or does not.
pub(super) fn judge(tells: bool) -> Vec<Judgement> {
    let _alone = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    let telling = if tells {
        &EVERYTHING
    } else {
        &Telling::NOTHING
    };
    telling.set(&mut loader);
    clock::set(&mut loader, true);
    let mut ebpf = loader.load(OBJECT).expect("create the object's maps");
    let mut judgements: Vec<Judgement> = ebpf
        .programs_mut()
        .map(|(name, program)| Judgement {
            program: name.to_owned(),
            verdict: log_of(program),
        })
        .collect();
    judgements.sort_by(|one, other| one.program.cmp(&other.program));
    judgements
}

/// The verifier's log. aya hands it on with an error only, so the program is loaded where its descriptor, which the
/// kernel makes when all else is done, finds no place (EMFILE;
/// <https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/syscall.c#L2634>).
fn log_of(program: &mut Program) -> Result<String, String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let next = std::fs::File::open("/dev/null").unwrap();
    let none_left = std::os::fd::AsRawFd::as_raw_fd(&next)
        .cast_unsigned()
        .into();
    drop(next);
    setrlimit(Resource::RLIMIT_NOFILE, none_left, hard).unwrap();
    let loaded = load(program);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    match loaded {
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) if io_error.raw_os_error() == Some(libc::EMFILE) => Ok(verifier_log.to_string()),
        other => Err(format!("{other:?}")),
    }
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::Xdp(program) => program.load(),
        other => panic!("type {:?} is not attached by anyone", other.prog_type()),
    }
}
