//! A program that is killed just before it makes a given writing call. Killed after a call is killed before the next.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::calls;

/// Waits for a line, then becomes the program: nothing is missed of what that does.
pub const BY: [&str; 4] = ["sh", "-c", "read -r go; exec \"$@\" </dev/null", "sh"];
/// As [`BY`], for a program that reads the file that `WEIR_INPUT` names.
pub const WITH_INPUT: [&str; 4] = ["sh", "-c", "read -r go; exec \"$@\" <\"$WEIR_INPUT\"", "sh"];

/// A traced program; killed when dropped.
#[derive(Debug)]
pub struct Traced {
    id: Pid,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What tracer and test tell each other.
#[derive(Debug)]
struct Shared {
    counting: AtomicBool,
    count: AtomicU64,
    /// The call before which it is killed.
    target: u64,
    calls: Mutex<Vec<String>>,
}

impl Traced {
    /// Starts a program ([`BY`]) that dies before its `target`th writing call, counted from the start or from
    /// [`Self::count_from_now`].
    pub fn start(command: Command, target: u64, from_start: bool) -> Result<Self> {
        let shared = Arc::new(Shared {
            counting: AtomicBool::new(from_start),
            count: AtomicU64::new(0),
            target,
            calls: Mutex::default(),
        });
        let (tell, told) = mpsc::channel();
        let mine = Arc::clone(&shared);
        // Whoever traces must be one thread, and the parent.
        let thread = thread::spawn(move || trace(command, &mine, &tell));
        match told.recv() {
            Ok(id) => Ok(Self {
                id,
                shared,
                thread: Some(thread),
            }),
            Err(_) => Err(join(thread).err().context("the tracer ended")?),
        }
    }

    /// Counts from now on.
    pub fn count_from_now(&self) {
        self.shared.counting.store(true, Ordering::SeqCst);
    }

    /// Writing calls so far, in words; the last was not made if it was killed.
    pub fn calls(&self) -> Vec<String> {
        let calls = self.shared.calls.lock();
        calls.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has been killed at its call, or has ended.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Kills it, if it lives, and waits for its end.
    pub fn end(mut self) -> Result<()> {
        self.kill()
    }

    fn kill(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        if !thread.is_finished() {
            kill(self.id, Signal::SIGKILL).ok();
        }
        join(thread)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // The test has failed already.
        self.kill().ok();
    }
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread
        .join()
        .map_err(|_panic| anyhow!("the tracer panicked"))?
}

fn trace(mut command: Command, shared: &Shared, tell: &mpsc::Sender<Pid>) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).spawn().context("start")?;
    let id = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(id, options).context("trace")?;
    ptrace::interrupt(id).context("stop")?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(b"go\n")?;
    tell.send(id).context("nobody waits")?;
    // Only what this thread has begun: others wait for theirs.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    loop {
        let status = match waitpid(None, Some(flags)) {
            Err(Errno::ECHILD) => return Ok(()),
            other => other.context("wait")?,
        };
        let (thread, signal) = match status {
            WaitStatus::PtraceSyscall(thread) => {
                if dies(thread, shared) {
                    kill(id, Signal::SIGKILL).context("kill")?;
                    continue;
                }
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            _ => continue,
        };
        gone(ptrace::syscall(thread, signal)).context("go on")?;
    }
}

/// Counts the call that a thread is about to make; whether it is the one.
fn dies(thread: Pid, shared: &Shared) -> bool {
    if !shared.counting.load(Ordering::SeqCst) {
        return false;
    }
    let Ok(info) = ptrace::syscall_info(thread) else {
        return false;
    };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return false;
    }
    // A thread that is killed meanwhile can tell nothing.
    let Ok(Some(call)) = calls::writing(thread) else {
        return false;
    };
    let calls = shared.calls.lock();
    calls.unwrap_or_else(PoisonError::into_inner).push(call);
    let count = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
    count == shared.target
}

/// A thread that was killed needs not go on.
fn gone(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}
