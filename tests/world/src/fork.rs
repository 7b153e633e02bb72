//! What a forked child does before it is another program: only system calls, no allocation.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
};

use nix::sched::{CloneFlags, setns};

/// Moves the calling process into the cgroup whose `cgroup.procs` is open.
pub(super) fn join_cgroup(procs: &File) -> io::Result<()> {
    // "0" is the writer itself (Documentation/admin-guide/cgroup-v2.rst).
    let mut procs = procs;
    procs.write_all(b"0")
}

/// Moves the calling (single-threaded) process into namespaces, in order.
pub(super) fn enter(namespaces: &[(File, CloneFlags)]) -> io::Result<()> {
    for (file, kind) in namespaces {
        setns(file.as_fd(), *kind)?;
    }
    Ok(())
}
