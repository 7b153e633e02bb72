//! Live upgrade: other programs in the place of all that are attached: link by link, each in one step.

use std::io;

use aya::Ebpf;

use super::{
    blocks::Blocks,
    clsact,
    hook::{Hook, program_fd},
};
use crate::datapath::{
    bpfsys::{self, link, object},
    error::DatapathError,
    load,
    pins::{self, Pins},
};

/// The socket programs, in the order in which they are exchanged: what undoes a translation before what makes one.
const SOCKETS: [&str; 4] = ["getpeername4", "getpeername6", "connect4", "connect6"];

/// What bears programs of ours, and is no block of pods: found beforehand, so that the exchange itself is short.
#[derive(Debug, Default)]
pub(in crate::datapath) struct Attached {
    /// Names of pinned links, in the order in which their programs are to be exchanged.
    links: Vec<String>,
    /// Filters of interfaces that have no link at the hook.
    filters: Vec<(Hook, u32)>,
}

impl Attached {
    /// What is attached by links that are pinned here, or by filters to interfaces of the calling thread's network
    /// namespace.
    pub(in crate::datapath) fn find(pins: &Pins, blocks: Blocks) -> Result<Self, DatapathError> {
        let folder = pins.links();
        let mut links = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
        links.sort_by_key(|name| rank(program(name)));
        let interfaces = bpfsys::interfaces().map_err(|source| DatapathError::Netlink {
            operation: "list interfaces",
            source,
        })?;
        let bound = blocks.bound(interfaces.iter().copied())?;
        let mut filters = Vec::new();
        for hook in Hook::ALL {
            for ifindex in interfaces.iter().filter(|ifindex| !bound.contains(ifindex)) {
                let has_link = links.contains(&hook.link(*ifindex));
                if !has_link && has_filter(hook, *ifindex)? {
                    filters.push((hook, *ifindex));
                }
            }
        }
        Ok(Self { links, filters })
    }

    /// Loads the programs that take the place of these: it takes long.
    pub(in crate::datapath) fn load(&self, ebpf: &mut Ebpf) -> Result<(), DatapathError> {
        let of_links = self.links.iter().map(|name| program(name));
        let of_filters = self.filters.iter().map(|(hook, _)| hook.program());
        of_links
            .chain(of_filters)
            .try_for_each(|program| load::ensure(ebpf, program))
    }

    /// Puts these programs, which are loaded, in the place of all that are attached. What has no successor stays as it is. Goes on after
    /// errors and gives the first: what it concerns goes on with its old program.
    pub(in crate::datapath) fn exchange(
        &self,
        ebpf: &mut Ebpf,
        pins: &Pins,
        blocks: Blocks,
    ) -> Result<(), DatapathError> {
        let mut result = blocks.replace(ebpf);
        for name in &self.links {
            result = result.and(exchange_link(ebpf, pins, name));
        }
        for (hook, ifindex) in &self.filters {
            result = result.and(exchange_filter(ebpf, *hook, *ifindex));
        }
        result
    }
}

/// The program behind a link of this name.
pub(in crate::datapath) fn program(link: &str) -> &str {
    link.split('-').next().unwrap_or(link)
}

/// When the program of this name is exchanged.
fn rank(program: &str) -> usize {
    let hooks = Hook::ALL.iter().map(|hook| hook.program());
    let mut order = hooks.chain(SOCKETS);
    order.position(|name| name == program).unwrap_or(usize::MAX)
}

fn exchange_link(ebpf: &Ebpf, pins: &Pins, name: &str) -> Result<(), DatapathError> {
    let Ok(program) = program_fd(ebpf, program(name)) else {
        return Ok(());
    };
    let path = pins.link(name);
    let updated = object::open_link(&path).and_then(|link| link::update(link, program));
    match updated {
        // Its interface is gone, or it was unpinned just now.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        updated => updated.map_err(|source| DatapathError::Attach {
            program: name.to_owned(),
            target: path.display().to_string(),
            source,
        }),
    }
}

fn exchange_filter(ebpf: &mut Ebpf, hook: Hook, ifindex: u32) -> Result<(), DatapathError> {
    // An interface that went meanwhile took its filter along.
    let Ok(name) = bpfsys::interface_name(ifindex) else {
        return Ok(());
    };
    clsact::attach(ebpf, hook, &name).map_err(|source| DatapathError::Attach {
        program: hook.program().to_owned(),
        target: name,
        source,
    })
}

fn has_filter(hook: Hook, ifindex: u32) -> Result<bool, DatapathError> {
    clsact::is_attached(hook, ifindex).map_err(|source| DatapathError::Netlink {
        operation: "list the filters of an interface",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_undoes_translations_is_exchanged_before_what_makes_them() {
        let mut links = ["connect4", "from_pod-3", "to_pod-3", "recvmsg4", "to_net-2"];
        links.sort_by_key(|name| rank(program(name)));
        assert_eq!(
            links,
            ["to_pod-3", "to_net-2", "from_pod-3", "connect4", "recvmsg4"]
        );
    }
}
