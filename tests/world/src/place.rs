//! Somewhere that processes and sockets can be: a netns, a mount namespace and a cgroup.
#![expect(unsafe_code, reason = "between fork and exec")]

use std::{
    ffi::OsStr,
    fs::File,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sched::CloneFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    cgroup::Cgroup,
    fork::{enter, join_cgroup},
    process::Process,
    sockets::Maker,
};

/// How long a connection attempt may take; refusals come at once, losses end here.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A netns, a mount and uts namespace, and a cgroup. Cheap to clone.
#[derive(Clone)]
pub struct Place {
    inner: Arc<Inner>,
}

struct Inner {
    net: File,
    mount: File,
    uts: File,
    cgroup: Cgroup,
    maker: OnceLock<Maker>,
}

impl Place {
    pub(super) fn new(net: &Path, mount: &Path, uts: &Path, cgroup: Cgroup) -> Result<Self> {
        let open =
            |path: &Path| File::open(path).with_context(|| format!("open {}", path.display()));
        Ok(Self {
            inner: Arc::new(Inner {
                net: open(net)?,
                mount: open(mount)?,
                uts: open(uts)?,
                cgroup,
                maker: OnceLock::new(),
            }),
        })
    }

    /// Cgroup of the sockets and processes made here.
    pub fn cgroup(&self) -> &Cgroup {
        &self.inner.cgroup
    }

    /// The netns, as an open file.
    pub fn netns(&self) -> &File {
        &self.inner.net
    }

    /// Inode of the netns: its identity on this machine.
    pub fn netns_inode(&self) -> Result<u64> {
        Ok(self.inner.net.metadata().context("stat netns")?.ino())
    }

    /// A command that will run here. Paths are resolved inside the mount namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let Inner {
            net,
            mount,
            uts,
            cgroup,
            maker: _,
        } = &*self.inner;
        let procs = open_procs(cgroup)?;
        let namespaces = [
            (mount.try_clone()?, CloneFlags::CLONE_NEWNS),
            (uts.try_clone()?, CloneFlags::CLONE_NEWUTS),
            (net.try_clone()?, CloneFlags::CLONE_NEWNET),
        ];
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the closure makes only system calls on files that are open.
        unsafe {
            command.pre_exec(move || {
                join_cgroup(&procs)?;
                enter(&namespaces)
            })
        };
        Ok(command)
    }

    /// Runs a program to its end and gives its standard output; a failure carries its standard error.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.run_with_input(words, "")
    }

    /// As [`Place::run`], with text on standard input.
    pub fn run_with_input(&self, words: &[&str], input: &str) -> Result<String> {
        let (program, arguments) = words.split_first().context("no program to run")?;
        let mut child = self
            .command(program)?
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.as_bytes())
                .with_context(|| format!("write to {program}"))?;
        }
        let done = child.wait_with_output()?;
        ensure!(
            done.status.success(),
            "{}: {}: {}",
            words.join(" "),
            done.status,
            String::from_utf8_lossy(&done.stderr).trim()
        );
        String::from_utf8(done.stdout).with_context(|| format!("output of {program}"))
    }

    /// Runs a script of `ip` commands, all or an error.
    pub fn batch(&self, script: &str) -> Result<()> {
        self.run_with_input(&["ip", "-batch", "-"], script)
            .with_context(|| format!("run ip commands:\n{script}"))?;
        Ok(())
    }

    /// Starts a program that ends with the returned handle at the latest.
    pub fn spawn(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Process> {
        let mut command = self.command(program)?;
        command.args(arguments).stdin(Stdio::null());
        Process::start(command)
    }

    /// A socket that belongs to this netns and this cgroup.
    pub fn socket(&self, domain: Domain, kind: Type) -> Result<Socket> {
        if self.inner.maker.get().is_none() {
            let made = Maker::start(&self.inner.net, &open_procs(&self.inner.cgroup)?)?;
            // Lost a race: the spare one ends when it is dropped here.
            drop(self.inner.maker.set(made));
        }
        let maker = self.inner.maker.get().context("no socket maker")?;
        Ok(maker.socket(domain, kind)?)
    }

    /// A listening TCP socket.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        let socket = self.bound(address, Type::STREAM)?;
        socket.listen(128)?;
        Ok(socket.into())
    }

    /// A bound UDP socket.
    pub fn udp(&self, address: SocketAddr) -> Result<UdpSocket> {
        Ok(self.bound(address, Type::DGRAM)?.into())
    }

    /// Connects; the error of the kernel is kept as it is, so that tests can tell refusals from losses.
    pub fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self
            .socket(Domain::for_address(address), Type::STREAM)
            .map_err(std::io::Error::other)?;
        socket.connect_timeout(&SockAddr::from(address), CONNECT_LIMIT)?;
        Ok(socket.into())
    }

    /// The same from a certain address and port, which other sockets may use as well.
    pub fn connect_from(&self, from: SocketAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self
            .bound(from, Type::STREAM)
            .map_err(std::io::Error::other)?;
        socket.connect_timeout(&SockAddr::from(to), CONNECT_LIMIT)?;
        Ok(socket.into())
    }

    fn bound(&self, address: SocketAddr, kind: Type) -> Result<Socket> {
        let socket = self.socket(Domain::for_address(address), kind)?;
        // For a port that is asked for: among sockets of datagrams that share ports, the kernel gives two of them the same one.
        socket.set_reuse_address(address.port() != 0)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket
            .bind(&SockAddr::from(address))
            .with_context(|| format!("bind {address}"))?;
        Ok(socket)
    }
}

fn open_procs(cgroup: &Cgroup) -> Result<File> {
    let path = cgroup.path().join("cgroup.procs");
    File::options()
        .write(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))
}
