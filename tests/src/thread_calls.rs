//! System calls that one thread of a running program makes, of such as wait for files or for the kernel's tables: names of files,
//! and netlink.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::killed::calls;

/// A thread whose calls are noted, until this is dropped.
#[derive(Debug)]
pub struct ThreadCalls {
    shared: Arc<Shared>,
    tracer: Option<JoinHandle<Result<()>>>,
}

/// What tracer and test tell each other.
#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    /// All calls that the thread has made.
    count: Mutex<u64>,
    noted: Mutex<Vec<String>>,
}

impl ThreadCalls {
    /// Follows a thread. Until [`Self::end`] nobody else may wait for it.
    pub fn of(thread: u32) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (tell, told) = mpsc::channel();
        let (mine, id) = (Arc::clone(&shared), Pid::from_raw(thread.cast_signed()));
        // Whoever traces must be one thread.
        let tracer = thread::spawn(move || follow(id, &mine, &tell));
        if told.recv().is_err() {
            return Err(join(tracer).err().context("the tracer ended")?);
        }
        Ok(Self {
            shared,
            tracer: Some(tracer),
        })
    }

    /// Lets the thread go. How many calls it made, and in words those that waited for files or netlink.
    pub fn end(mut self) -> Result<(u64, Vec<String>)> {
        self.stop()?;
        let count = *self
            .shared
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let noted = self.shared.noted.lock();
        Ok((count, noted.unwrap_or_else(PoisonError::into_inner).clone()))
    }

    fn stop(&mut self) -> Result<()> {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.tracer.take().map_or(Ok(()), join)
    }
}

impl Drop for ThreadCalls {
    fn drop(&mut self) {
        // The test has failed already.
        self.stop().ok();
    }
}

fn join(tracer: JoinHandle<Result<()>>) -> Result<()> {
    let joined = tracer.join();
    joined.map_err(|_panic| anyhow!("the tracer panicked"))?
}

/// Until the test ends it, at the thread's next call.
fn follow(id: Pid, shared: &Shared, tell: &mpsc::Sender<()>) -> Result<()> {
    ptrace::seize(id, Options::PTRACE_O_TRACESYSGOOD).context("trace")?;
    ptrace::interrupt(id).context("stop")?;
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    tell.send(()).context("nobody waits")?;
    loop {
        let signal = match waitpid(id, Some(flags)) {
            Ok(WaitStatus::PtraceSyscall(_)) => {
                note(id, shared)?;
                None
            }
            Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
            Ok(WaitStatus::PtraceEvent(..)) => None,
            // It has ended.
            Err(Errno::ECHILD) | Ok(_) => return Ok(()),
            Err(error) => return Err(error).context("wait"),
        };
        if shared.ends.load(Ordering::SeqCst) {
            return ptrace::detach(id, signal).context("let it go");
        }
        ptrace::syscall(id, signal).context("go on")?;
    }
}

/// Notes the call that the thread is about to make.
fn note(id: Pid, shared: &Shared) -> Result<()> {
    let info = ptrace::syscall_info(id).context("which call")?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(());
    }
    *shared.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    if let Some(call) = calls::waiting(id)? {
        let noted = shared.noted.lock();
        noted.unwrap_or_else(PoisonError::into_inner).push(call);
    }
    Ok(())
}
