//! Which system calls write: to maps, pins and links, to files, to the kernel's tables by netlink. And which wait for such: all
//! that name a file, and all of netlink.

use std::{
    collections::BTreeSet,
    fs,
    os::{fd::RawFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::{sys::ptrace, unistd::Pid};

/// Commands of `bpf` that change what outlives the process (include/uapi/linux/bpf.h).
const BPF: [(u64, &str); 12] = [
    (2, "MAP_UPDATE_ELEM"),
    (3, "MAP_DELETE_ELEM"),
    (6, "OBJ_PIN"),
    (8, "PROG_ATTACH"),
    (9, "PROG_DETACH"),
    (21, "MAP_LOOKUP_AND_DELETE_ELEM"),
    (25, "MAP_LOOKUP_AND_DELETE_BATCH"),
    (26, "MAP_UPDATE_BATCH"),
    (27, "MAP_DELETE_BATCH"),
    (28, "LINK_CREATE"),
    (29, "LINK_UPDATE"),
    (34, "LINK_DETACH"),
];
/// Calls that change a folder, and such as end the writing of a file.
const FOLDER: [(libc::c_long, &str); 8] = [
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_ftruncate, "ftruncate"),
];
/// The same as older calls, which newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLD: [(libc::c_long, &str); 6] = [
    (libc::SYS_rename, "rename"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_link, "link"),
    (libc::SYS_chmod, "chmod"),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: [(libc::c_long, &str); 0] = [];
const WRITES: [(libc::c_long, &str); 3] = [
    (libc::SYS_write, "write"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_writev, "writev"),
];
/// Calls that name a file after a folder.
const NAMES: [(libc::c_long, &str); 14] = [
    (libc::SYS_openat, "openat"),
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_statx, "statx"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_readlinkat, "readlinkat"),
    (libc::SYS_faccessat, "faccessat"),
    (libc::SYS_faccessat2, "faccessat2"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_utimensat, "utimensat"),
];
/// Older calls that name a file first, beside [`OLD`].
#[cfg(target_arch = "x86_64")]
const OLD_LOOKS: [(libc::c_long, &str); 6] = [
    (libc::SYS_open, "open"),
    (libc::SYS_creat, "creat"),
    (libc::SYS_stat, "stat"),
    (libc::SYS_lstat, "lstat"),
    (libc::SYS_access, "access"),
    (libc::SYS_readlink, "readlink"),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_LOOKS: [(libc::c_long, &str); 0] = [];
/// Those by which netlink is spoken.
const SPEAKS: [(libc::c_long, &str); 6] = [
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_sendmmsg, "sendmmsg"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_recvmmsg, "recvmmsg"),
];
/// The longest name of a file that is told.
const LONGEST: usize = 256;
const SENDS: [(libc::c_long, &str); 2] =
    [(libc::SYS_sendto, "sendto"), (libc::SYS_sendmsg, "sendmsg")];

/// A system call: its number and its first three arguments.
struct Call {
    number: libc::c_long,
    arguments: [u64; 3],
}

/// The writing call that a stopped thread is about to make, in words; none if it writes nothing that matters.
pub(super) fn writing(thread: Pid) -> Result<Option<String>> {
    let call = Call::of(thread)?;
    let [first, _, third] = call.arguments;
    if call.number == libc::SYS_bpf {
        let command = BPF.iter().find(|(command, _)| *command == first);
        return Ok(command.map(|(_, name)| format!("bpf {name}")));
    }
    if let Some(name) = call.among(&FOLDER).or_else(|| call.among(&OLD)) {
        return Ok(Some(name.to_owned()));
    }
    if call.number == libc::SYS_openat {
        let makes = third as libc::c_int & libc::O_CREAT != 0;
        return Ok(makes.then(|| "openat O_CREAT".to_owned()));
    }
    let descriptor = first as RawFd;
    if let Some(name) = call.among(&WRITES) {
        let path = path_of(thread, descriptor).filter(|path| matters(path));
        return Ok(path.map(|path| format!("{name} {}", path.display())));
    }
    if let Some(name) = call.among(&SENDS) {
        let netlink = is_netlink(thread, descriptor)?;
        return Ok(netlink.then(|| format!("{name} netlink")));
    }
    Ok(None)
}

/// The call that a stopped thread is about to make, in words, if it names a file or is one of netlink.
pub(crate) fn waiting(thread: Pid) -> Result<Option<String>> {
    let call = Call::of(thread)?;
    let [first, second, _] = call.arguments;
    let named = call.among(&NAMES).map(|name| (name, second));
    let old = || call.among(&OLD_LOOKS).or_else(|| call.among(&OLD));
    let named = named.or_else(|| old().map(|name| (name, first)));
    if let Some((name, at)) = named {
        // Without a name it is about a descriptor.
        let file = text(thread, at)?;
        return Ok((!file.is_empty()).then(|| format!("{name} {file}")));
    }
    if call.number == libc::SYS_getdents64 {
        return Ok(Some("getdents64".to_owned()));
    }
    if call.number == libc::SYS_socket && first == libc::AF_NETLINK as u64 {
        return Ok(Some("socket AF_NETLINK".to_owned()));
    }
    if let Some(name) = call.among(&SPEAKS) {
        let netlink = is_netlink(thread, first as RawFd)?;
        return Ok(netlink.then(|| format!("{name} netlink")));
    }
    Ok(None)
}

/// A text in a thread's memory.
fn text(thread: Pid, at: u64) -> Result<String> {
    let path = format!("/proc/{thread}/mem");
    let memory = fs::File::open(&path).context("open a thread's memory")?;
    let mut bytes = [0; LONGEST];
    let length = memory.read_at(&mut bytes, at).context("read a name")?;
    let read = bytes.get(..length).unwrap_or_default();
    let end = read.iter().position(|byte| *byte == 0).unwrap_or(length);
    Ok(String::from_utf8_lossy(&read[..end]).into_owned())
}

impl Call {
    #[cfg(target_arch = "x86_64")]
    fn of(thread: Pid) -> Result<Self> {
        let registers = ptrace::getregs(thread).context("read registers")?;
        Ok(Self {
            number: registers.orig_rax.cast_signed(),
            arguments: [registers.rdi, registers.rsi, registers.rdx],
        })
    }

    #[cfg(target_arch = "aarch64")]
    fn of(thread: Pid) -> Result<Self> {
        let registers = ptrace::getregs(thread).context("read registers")?.regs;
        Ok(Self {
            number: registers[8].cast_signed(),
            arguments: [registers[0], registers[1], registers[2]],
        })
    }

    fn among(&self, calls: &[(libc::c_long, &'static str)]) -> Option<&'static str> {
        let found = calls.iter().find(|(number, _)| *number == self.number);
        found.map(|(_, name)| *name)
    }
}

fn path_of(thread: Pid, descriptor: RawFd) -> Option<PathBuf> {
    // One that is closed already is an error of the call.
    fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).ok()
}

/// A file, but neither a device nor the agent's own log.
fn matters(path: &Path) -> bool {
    path.is_absolute() && !path.starts_with("/dev") && !path.ends_with("agent.log")
}

fn is_netlink(thread: Pid, descriptor: RawFd) -> Result<bool> {
    let Some(path) = path_of(thread, descriptor) else {
        return Ok(false);
    };
    let path = path.to_string_lossy();
    let inode = path
        .strip_prefix("socket:[")
        .and_then(|rest| rest.strip_suffix(']'));
    let Some(inode) = inode else {
        return Ok(false);
    };
    let table = fs::read_to_string(format!("/proc/{thread}/net/netlink"));
    let table = table.context("read the table of netlink sockets")?;
    let lines = table.lines().skip(1);
    let inodes: BTreeSet<&str> = lines
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    Ok(inodes.contains(inode))
}
