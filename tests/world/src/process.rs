//! A program that runs beside a test and ends with its handle.

use std::{
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::until;

/// A running program; killed and waited for when dropped.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts it.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { child, name })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its pipes, where the command asked for them.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("wait for {}", self.name))
    }

    /// Leaves it to its cgroup, which ends it.
    pub fn leave(self) {
        let _left = std::mem::ManuallyDrop::new(self);
    }

    /// Kills it on the spot (SIGKILL), as a crash would.
    pub fn crash(mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )
        .with_context(|| format!("terminate {}", self.name))?;
        let Self { child, name } = &mut self;
        until(
            &format!("{name} to end after SIGTERM"),
            Duration::from_secs(10),
            || Ok(child.try_wait()?),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Self { child, name: _ } = self;
        // Both fail only when it is gone already.
        child.kill().ok();
        child.wait().ok();
    }
}
