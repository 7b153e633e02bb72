//! A program that lives as long as its handle, and not longer than this process.
#![expect(unsafe_code, reason = "between fork and exec")]

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The running program.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    /// Waits for the program.
    waiter: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output in `log`.
    pub(super) fn start(program: &Path, args: &[String], log: PathBuf) -> Result<Self> {
        let file =
            File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        // SAFETY: prctl is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let (pid, waiter) =
            spawn(command).with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self {
            pid,
            waiter: Some(waiter),
            log,
        })
    }

    /// The end of its log, if the program has ended.
    pub(super) fn exited(&self) -> Option<String> {
        let over = self.waiter.as_ref().is_none_or(JoinHandle::is_finished);
        over.then(|| self.log())
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let text = fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else {
            return;
        };
        // The waiter has not reaped it while it runs, so the pid is still this program's.
        if !waiter.is_finished() {
            kill(self.pid, Signal::SIGKILL).ok();
        }
        waiter.join().ok();
    }
}

/// Starts the program from a thread that stays until it ends: the death signal follows the thread that
/// started the program, and a test's thread ends before the process does.
fn spawn(mut command: Command) -> Result<(Pid, JoinHandle<()>)> {
    let (tell, told) = mpsc::channel();
    let waiter = thread::Builder::new()
        .name("process".to_owned())
        .spawn(move || {
            let mut started = command.spawn();
            let pid = started
                .as_ref()
                .map(Child::id)
                .map_err(|error| std::io::Error::from(error.kind()));
            tell.send(pid).ok();
            if let Ok(child) = &mut started {
                child.wait().ok();
            }
        })?;
    let pid = told.recv().context("the starting thread ended")??;
    Ok((Pid::from_raw(i32::try_from(pid)?), waiter))
}
