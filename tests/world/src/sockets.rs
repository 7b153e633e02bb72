//! Makes sockets that belong to another netns and another cgroup.
//!
//! Both are fixed when a socket is created, and a thread alone can change neither its cgroup nor, safely,
//! its netns. So one forked child per place sits there, makes sockets on demand and hands them over.
#![expect(
    unsafe_code,
    reason = "a forked child and the descriptors that it hands over"
)]

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        socket::{
            AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
            UnixAddr, recvmsg, sendmsg, socketpair,
        },
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use socket2::{Domain, Socket, Type};

use super::fork::join_cgroup;

/// The child, and our end of the pair that it listens on.
pub(super) struct Maker {
    // Taken on drop, before the child is waited for: its end is our going away.
    pair: Mutex<Option<OwnedFd>>,
    child: Pid,
}

/// Domain and type, or the errno that answers them, as plain bytes.
type Request = [u8; 8];

impl Maker {
    pub(super) fn start(net: &File, procs: &File) -> Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .context("make a socket pair")?;
        // SAFETY: the child makes only system calls and leaves by _exit.
        match unsafe { fork() }.context("fork the socket maker")? {
            ForkResult::Child => {
                let code = i32::from(child(net, procs, theirs.as_raw_fd()).is_err());
                // SAFETY: ends the process without running what belongs to the parent.
                unsafe { libc::_exit(code) }
            }
            ForkResult::Parent { child } => Ok(Self {
                pair: Mutex::new(Some(ours)),
                child,
            }),
        }
    }

    pub(super) fn socket(&self, domain: Domain, kind: Type) -> io::Result<Socket> {
        let guard = self.pair.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = guard
            .as_ref()
            .ok_or_else(|| io::Error::other("socket maker is gone"))?;
        let mut message: Request = [0; 8];
        message[..4].copy_from_slice(&i32::from(domain).to_ne_bytes());
        message[4..].copy_from_slice(&i32::from(kind).to_ne_bytes());
        nix::unistd::write(pair, &message)?;
        let received = receive(pair.as_raw_fd())?;
        received.map(Socket::from)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        let Self { pair, child } = self;
        drop(pair.get_mut().map(Option::take));
        // Fails only when the cgroup was killed and somebody else reaped it.
        waitpid(*child, None).ok();
    }
}

fn receive(pair: RawFd) -> io::Result<io::Result<OwnedFd>> {
    let mut answer = [0_u8; 4];
    let mut parts = [IoSliceMut::new(&mut answer)];
    let mut space = nix::cmsg_space!(RawFd);
    let message = recvmsg::<UnixAddr>(
        pair,
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    if message.bytes == 0 {
        return Err(io::Error::other("socket maker ended (cgroup killed?)"));
    }
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(files) = control
            && let [file, ..] = files.as_slice()
        {
            // SAFETY: the kernel has just installed this descriptor for us; nobody else owns it.
            return Ok(Ok(unsafe { OwnedFd::from_raw_fd(*file) }));
        }
    }
    Ok(Err(io::Error::from_raw_os_error(i32::from_ne_bytes(
        answer,
    ))))
}

/// Runs in the child. Its other descriptors are closed, so that nothing of the parent's lives on here.
fn child(net: &File, procs: &File, pair: RawFd) -> io::Result<()> {
    join_cgroup(procs)?;
    setns(net, CloneFlags::CLONE_NEWNET)?;
    close_all_but(pair);
    loop {
        let mut request: Request = [0; 8];
        // SAFETY: `request` is writable for its whole length.
        let got = unsafe { libc::read(pair, request.as_mut_ptr().cast(), request.len()) };
        if got != 8 {
            return Ok(());
        }
        let [d0, d1, d2, d3, k0, k1, k2, k3] = request;
        let domain = i32::from_ne_bytes([d0, d1, d2, d3]);
        let kind = i32::from_ne_bytes([k0, k1, k2, k3]);
        // SAFETY: plain system call.
        let made = unsafe { libc::socket(domain, kind, 0) };
        answer(pair, made)?;
    }
}

fn answer(pair: RawFd, made: RawFd) -> io::Result<()> {
    if made < 0 {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        sendmsg::<UnixAddr>(
            pair,
            &[IoSlice::new(&errno.to_ne_bytes())],
            &[],
            MsgFlags::empty(),
            None,
        )?;
        return Ok(());
    }
    sendmsg::<UnixAddr>(
        pair,
        &[IoSlice::new(&[0; 4])],
        &[ControlMessage::ScmRights(&[made])],
        MsgFlags::empty(),
        None,
    )?;
    // SAFETY: ours, and handed over above.
    unsafe { libc::close(made) };
    Ok(())
}

fn close_all_but(kept: RawFd) {
    let kept = kept.cast_unsigned();
    // SAFETY: closes descriptors of this process, none of which is used again.
    unsafe { libc::close_range(3, kept - 1, 0) };
    // SAFETY: as above.
    unsafe { libc::close_range(kept + 1, u32::MAX, 0) };
}
