//! A network namespace that lives as long as its value.

use std::{fs::File, os::fd::AsRawFd as _, process::Command, thread};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Debug)]
pub struct Space {
    file: File,
}

impl Space {
    /// A new one, with nothing but `lo`, down.
    pub fn new() -> Result<Self> {
        let made = thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("open it")
        });
        let file = made
            .join()
            .map_err(|_panic| anyhow::anyhow!("panicked"))??;
        Ok(Self { file })
    }

    /// What `CNI_NETNS` is set to.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs a closure in a thread inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
                work()
            });
            inside
                .join()
                .map_err(|_panic| anyhow::anyhow!("panicked"))?
        })
    }

    /// A command inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program);
        command
    }

    /// Runs `ip` inside; gives its output.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let done = self
            .command("ip")
            .args(arguments.split_whitespace())
            .output()?;
        ensure!(
            done.status.success(),
            "ip {arguments}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Names of the links inside.
    pub fn links(&self) -> Result<Vec<String>> {
        let text = self.ip("-br link")?;
        let first = |line: &str| {
            let name = line.split_whitespace().next().unwrap_or_default();
            name.split('@').next().unwrap_or_default().to_owned()
        };
        Ok(text.lines().map(first).collect())
    }

    /// Sets a kernel parameter below `/proc/sys/net`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.inside(|| std::fs::write(&path, value).with_context(|| path.clone()))
    }
}
