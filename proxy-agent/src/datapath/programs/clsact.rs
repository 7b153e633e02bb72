//! tc programs as filters of the clsact queueing discipline, for kernels without TCX. Priority and handle are
//! constant, so that any later agent finds and replaces them in place.

use std::io;

use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, TcAttachType,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
};

use cni_plugin::wiring::netlink::{DUMP, Netlink};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle as Handle, TcHeader, TcMessage, TcOption},
};

use super::{blocks::is_absent, filter, hook::Hook};

const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Attaches the program of a hook, in place of the one that is there.
pub(super) fn attach(ebpf: &mut Ebpf, hook: Hook, interface: &str) -> io::Result<()> {
    match tc::qdisc_add_clsact(interface) {
        Err(error) if os_error(&error) != Some(libc::EEXIST) => {
            return Err(io::Error::other(error));
        }
        _ => {}
    }
    let program = ebpf.program_mut(hook.program());
    let program: &mut SchedClassifier = program
        .ok_or_else(|| io::Error::other("the object has no such program"))?
        .try_into()
        .map_err(io::Error::other)?;
    let options = NlOptions {
        priority: PRIORITY,
        handle: HANDLE,
        ..NlOptions::default()
    };
    let made = program.attach_with_options(
        interface,
        direction(hook),
        TcAttachOptions::Netlink(options),
    );
    let id = match made {
        Err(ProgramError::TcError(error)) if os_error(&error) == Some(libc::EEXIST) => {
            program.attach_to_link(existing(hook, interface)?)
        }
        made => made,
    };
    let link = program
        .take_link(id.map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    // The filter is to outlive us; dropping the link would remove it.
    let _kept = std::mem::ManuallyDrop::new(link);
    Ok(())
}

/// Removes the filter of a hook; a filter or interface that is not there is no error.
pub(super) fn detach(hook: Hook, interface: &str) -> io::Result<()> {
    match tc::qdisc_detach_program(interface, direction(hook), hook.program()) {
        Ok(()) => Ok(()),
        Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // No such qdisc.
        Err(error)
            if matches!(
                os_error(&error),
                Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether the filter of a hook is there. Filters leave no pin: only the kernel tells.
pub(super) fn is_attached(hook: Hook, ifindex: u32) -> io::Result<bool> {
    // `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS` (`include/uapi/linux/pkt_sched.h`).
    let minor = if hook.is_ingress() { 0xfff2 } else { 0xfff3 };
    let header = TcHeader {
        index: ifindex.cast_signed(),
        parent: Handle {
            major: 0xffff,
            minor,
        },
        ..TcHeader::default()
    };
    let request = RouteNetlinkMessage::GetTrafficFilter(TcMessage::from_parts(header, Vec::new()));
    let answers = match Netlink::open()?.request(&request, DUMP) {
        Err(error) if is_absent(&error) => return Ok(false),
        answers => answers?,
    };
    Ok(answers.iter().any(|answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(found) => is_ours(found, hook),
        _ => false,
    }))
}

fn is_ours(found: &TcMessage, hook: Hook) -> bool {
    let name = TcOption::Bpf(TcFilterBpfOption::ProgName(hook.program().to_owned()));
    found.header.handle == filter::HANDLE
        && found.attributes.iter().any(|attribute| match attribute {
            TcAttribute::Options(options) => options.contains(&name),
            _ => false,
        })
}

fn existing(hook: Hook, interface: &str) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, direction(hook), PRIORITY, HANDLE, None)
}

fn direction(hook: Hook) -> TcAttachType {
    if hook.is_ingress() {
        TcAttachType::Ingress
    } else {
        TcAttachType::Egress
    }
}

/// The kernel's error number somewhere in the chain of an error.
fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(number) = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(number);
        }
        next = current.source();
    }
    None
}
