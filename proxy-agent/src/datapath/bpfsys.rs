//! The few `bpf(2)` calls that aya does not offer, or offers without the checks that we need.
//!
//! All raw system calls of the datapath are in here, each behind a safe function. Layouts of the arguments:
//! `union bpf_attr` in the kernel's `include/uapi/linux/bpf.h`; the kernel takes shorter ones as padded
//! with zeros.
#![expect(unsafe_code, reason = "raw system calls")]

pub mod link;
pub mod map;
pub mod object;
pub mod program;
pub mod words;

mod raw;

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// How many CPUs there may be: values that a per-CPU map has for a key.
pub fn cpus() -> io::Result<usize> {
    aya::util::nr_cpus().map_err(|(file, error)| {
        io::Error::new(error.kind(), format!("count the CPUs from {file}: {error}"))
    })
}

/// Cookie of the calling thread's network namespace, by which the socket programs tell the node's own
/// processes from those of pods.
pub fn netns_cookie() -> io::Result<u64> {
    let socket: OwnedFd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    netns_cookie_of(socket)
}

/// Cookie of a socket's network namespace (`SO_NETNS_COOKIE`, Linux 5.14).
pub fn netns_cookie_of(socket: impl AsFd) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: cookie and length are valid for writes, and length says how large cookie is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cookie)
}

/// Name of the interface with an index, in the calling thread's network namespace.
pub fn interface_name(ifindex: u32) -> io::Result<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer is as large as the function demands.
    let result = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) };
    if result.is_null() {
        return Err(io::Error::last_os_error());
    }
    let length = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..length]).into_owned())
}

/// Indexes of the interfaces of the calling thread's network namespace.
pub fn interfaces() -> io::Result<Vec<u32>> {
    let all = nix::net::if_::if_nameindex()?;
    Ok(all.iter().map(nix::net::if_::Interface::index).collect())
}

/// Lifts the limit on locked memory, which kernels before 5.11 charge maps to. Where that is not permitted
/// the limit stays: a kernel that needs it says so when a map is created.
pub fn lift_memlock_limit() {
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: limit is valid for reads.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    if result < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "RLIMIT_MEMLOCK stays as it is");
    }
}

/// Kind of a mounted file system (`statfs(2)`).
pub(super) fn file_system(path: &Path) -> io::Result<i64> {
    Ok(nix::sys::statfs::statfs(path)?.filesystem_type().0)
}
