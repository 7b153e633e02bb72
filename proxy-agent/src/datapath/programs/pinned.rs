//! A pinned link: made once, then only its program is replaced.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use crate::datapath::bpfsys::{link, object, program};

/// What a link is to be attached to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Descriptor or interface index for the kernel.
    pub(super) number: u32,
    /// How the kernel names the target afterwards: a cgroup's id or an interface's index.
    pub(super) identity: u64,
    /// `BPF_*` attach type.
    pub(super) attach_type: u32,
    /// Flags of a new link.
    pub(super) flags: u32,
    /// The kernel takes a program there that is there already, a second time.
    pub(super) takes_twins: bool,
}

/// Puts a program behind the link pinned at a path; makes the link if there is none, or none that lives. One that has lost its pin, but
/// lives on as the file system that it was pinned on is mounted elsewhere still, is pinned again.
pub(super) fn attach(path: &Path, program: impl AsFd, target: Target) -> io::Result<()> {
    if replace(path, &program, target)? {
        return Ok(());
    }
    let create = || link::create(&program, target.number, target.attach_type, target.flags);
    let found = if target.takes_twins {
        unpinned(&program, target)?
    } else {
        None
    };
    let link = match found.map_or_else(create, Ok) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EBUSY)) => {
            unpinned(&program, target)?.ok_or(error)?
        }
        link => link?,
    };
    pin(&link, path)
}

/// The link by which the same program is on the target already. Of no other load of it: indexes of interfaces are of a network namespace,
/// which links do not tell.
fn unpinned(program: impl AsFd, target: Target) -> io::Result<Option<OwnedFd>> {
    let ours = program::id(program)?;
    let is =
        |info: &object::LinkInfo| info.program == ours && identity(info) == Some(target.identity);
    match link::find(is) {
        // Who has no CAP_SYS_ADMIN may not look at them.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
        found => found,
    }
}

/// Pins a link, though somebody has taken the folder away. An error names the pin: what is attached to is not the cause.
fn pin(link: impl AsFd, path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.exists());
    let made = folder.map_or(Ok(()), fs::create_dir_all);
    let pinned = made.and_then(|()| object::pin(link, path));
    pinned.map_err(|e| io::Error::new(e.kind(), format!("pin the link at {}: {e}", path.display())))
}

/// True if the pinned link was there, attached to the target, and has the program now. A link that is dead or
/// attached elsewhere is unpinned.
pub(super) fn replace(path: &Path, program: impl AsFd, target: Target) -> io::Result<bool> {
    let link = match object::open_link(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        link => link?,
    };
    let info = object::link_info(&link)?;
    if identity(&info) == Some(target.identity) {
        link::update(&link, program)?;
        return Ok(true);
    }
    fs::remove_file(path)?;
    Ok(false)
}

/// Kinds of links (`BPF_LINK_TYPE_*`).
const CGROUP: u32 = 3;
const XDP: u32 = 6;
const TCX: u32 = 11;

/// What a link is attached to: 0 once that is gone; none for links of other kinds.
pub(super) fn identity(info: &object::LinkInfo) -> Option<u64> {
    match info.kind {
        CGROUP => Some(info.cgroup()),
        XDP | TCX => Some(u64::from(info.target[0])),
        _ => None,
    }
}

/// Whether a link is attached to a cgroup.
pub(super) fn is_cgroup(info: &object::LinkInfo) -> bool {
    info.kind == CGROUP
}
