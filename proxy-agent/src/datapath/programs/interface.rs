//! The tc programs, attached to one interface: by TCX where the kernel has it (6.6), else by clsact.

use std::{io, os::fd::BorrowedFd};

use aya::Ebpf;

use super::{
    TcMode, TcPreference,
    blocks::Blocks,
    clsact,
    hook::{Hook, describe, program_fd},
    pinned::{self, Target},
    xdp,
};
use crate::datapath::{
    bpfsys,
    bpfsys::{link, object},
    error::DatapathError,
    load,
    pins::Pins,
};

const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// Attaches the program of a hook to an interface of the calling thread's network namespace, or puts ours
/// behind the link that is pinned. Returns how.
pub(in crate::datapath) fn attach(
    ebpf: &mut Ebpf,
    pins: &Pins,
    hook: Hook,
    ifindex: u32,
    preference: TcPreference,
) -> Result<TcMode, DatapathError> {
    let failed = |source| DatapathError::Attach {
        program: hook.program().to_owned(),
        target: describe(ifindex),
        source,
    };
    let name = || bpfsys::interface_name(ifindex).map_err(failed);
    load::ensure(ebpf, hook.program())?;
    if preference != TcPreference::Clsact {
        let program = program_fd(ebpf, hook.program())?;
        match attach_tcx(program, pins, hook, ifindex) {
            Ok(()) => {
                // Of a former agent that preferred it: below the link it would see what the link lets pass on.
                clsact::detach(hook, &name()?).map_err(failed)?;
                return Ok(TcMode::Tcx);
            }
            Err(error) if preference == TcPreference::Auto && no_tcx(&error) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    clsact::attach(ebpf, hook, &name()?).map_err(failed)?;
    // A link of a former agent would have the first word, with a program of the past.
    unlink(pins, hook, ifindex)?;
    Ok(TcMode::Clsact)
}

/// Whether the program of a hook is on an interface of the calling thread's network namespace, either way.
pub(in crate::datapath) fn is_attached(
    pins: &Pins,
    hook: Hook,
    ifindex: u32,
) -> Result<bool, DatapathError> {
    let path = pins.link(&hook.link(ifindex));
    match object::open_link(&path).and_then(object::link_info) {
        Ok(info) if pinned::identity(&info) == Some(u64::from(ifindex)) => return Ok(true),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(DatapathError::corrupt(path)(error));
        }
        _ => {}
    }
    clsact::is_attached(hook, ifindex).map_err(|source| DatapathError::Netlink {
        operation: "list the filters of an interface",
        source,
    })
}

fn unlink(pins: &Pins, hook: Hook, ifindex: u32) -> Result<(), DatapathError> {
    let path = pins.link(&hook.link(ifindex));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Attaches a program by TCX, or puts it behind the link that is pinned.
pub(super) fn attach_tcx(
    program: BorrowedFd<'_>,
    pins: &Pins,
    hook: Hook,
    ifindex: u32,
) -> io::Result<()> {
    pinned::attach(&pins.link(&hook.link(ifindex)), program, tcx(hook, ifindex))
}

/// Puts a program behind the TCX link that is pinned, if there is one.
pub(super) fn replace_tcx(
    program: BorrowedFd<'_>,
    pins: &Pins,
    hook: Hook,
    ifindex: u32,
) -> io::Result<bool> {
    pinned::replace(&pins.link(&hook.link(ifindex)), program, tcx(hook, ifindex))
}

fn tcx(hook: Hook, ifindex: u32) -> Target {
    Target {
        number: ifindex,
        identity: u64::from(ifindex),
        attach_type: if hook.is_ingress() {
            BPF_TCX_INGRESS
        } else {
            BPF_TCX_EGRESS
        },
        flags: link::FIRST,
        takes_twins: false,
    }
}

/// Whether the kernel has TCX: tried with a link to an interface that nobody has.
pub(in crate::datapath) fn has_tcx(program: BorrowedFd<'_>) -> io::Result<bool> {
    const NOBODY: u32 = i32::MAX.cast_unsigned();
    match link::create(program, NOBODY, BPF_TCX_INGRESS, 0) {
        Err(error) if no_tcx(&error) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(true),
        made => made.map(|_gone| true),
    }
}

/// Kernels before 6.6 know no such attach type.
pub(super) fn no_tcx(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// Takes our programs off an interface, links, filters, the blocks of pods and XDP; nothing to take off is no
/// error.
pub(in crate::datapath) fn detach(
    pins: &Pins,
    blocks: Blocks,
    ifindex: u32,
) -> Result<(), DatapathError> {
    xdp::detach(pins, ifindex)?;
    for hook in Hook::ALL {
        unlink(pins, hook, ifindex)?;
    }
    // Most often the interface is gone, and all that hung on it.
    let Ok(name) = bpfsys::interface_name(ifindex) else {
        return Ok(());
    };
    detach_filters(blocks, ifindex, &name).map_err(|source| DatapathError::Attach {
        program: "nothing in place of our filters".to_owned(),
        target: name,
        source,
    })
}

fn detach_filters(blocks: Blocks, ifindex: u32, name: &str) -> io::Result<()> {
    if blocks.unbind(ifindex)? {
        return Ok(());
    }
    let hooks = Hook::ALL.into_iter();
    hooks
        .map(|hook| clsact::detach(hook, name))
        .fold(Ok(()), io::Result::and)
}
