//! Network namespaces: opening, entering and leaving one. The only unsafe code of the plugin.
#![expect(unsafe_code, reason = "a socket option that has no safe wrapper")]

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use nix::sched::{CloneFlags, setns};

use crate::talk::say;

/// The file of the calling thread's own namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    file: File,
    id: (u64, u64),
}

impl Netns {
    /// The calling thread's own.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new(OWN))
    }

    /// The namespace behind a file. That it is one shows when it is entered.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        Ok(Self {
            file,
            id: (meta.dev(), meta.ino()),
        })
    }

    /// Device and inode: equal for equal namespaces.
    pub const fn id(&self) -> (u64, u64) {
        self.id
    }

    /// The descriptor's number, for `IFLA_NET_NS_FD`.
    pub fn number(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Runs `work` inside, and comes back. The process has one thread, so nothing else moves with it. Not
    /// being able to come back is the end of the process: nothing that follows would act where it should.
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let own = Self::own()?;
        setns(&self.file, CloneFlags::CLONE_NEWNET)?;
        let done = work();
        if let Err(errno) = setns(&own.file, CloneFlags::CLONE_NEWNET) {
            say(format_args!(
                "go back to the host's network namespace: {errno}"
            ));
            std::process::abort();
        }
        Ok(done)
    }
}

/// Whether a path is the calling thread's own namespace.
pub fn is_own(other: &Netns) -> io::Result<bool> {
    let own = fs::metadata(OWN)?;
    Ok((own.dev(), own.ino()) == other.id())
}

/// Cookie of the calling thread's namespace (`SO_NETNS_COOKIE`, Linux 5.14); 0 where there is none.
pub fn cookie() -> u64 {
    let Ok(socket) = std::net::UdpSocket::bind("0.0.0.0:0") else {
        return 0;
    };
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and value and length point to live variables of the sizes told.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if status == 0 { cookie } else { 0 }
}
