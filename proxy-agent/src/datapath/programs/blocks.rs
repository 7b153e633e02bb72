//! The programs of pods' interfaces, as filters of two blocks of clsact that all of these share.
//!
//! An interface that is bound to a block has its filters in one request and without a normal RCU grace period
//! under the lock of all interfaces, of which each TCX link costs one (`tcx_entry_sync` in
//! <https://elixir.bootlin.com/linux/v6.12/source/include/net/tcx.h>). One replacement in a block is one for all pods.
//!
//! A block goes with its last interface and takes its filters along, so they are made anew with every binding.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Ebpf;
use cni_plugin::wiring::netlink::{CHANGE, CREATE, DUMP, Netlink, REPLACE, Request, SHOW};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcHeader, TcMessage},
};
use sha2::{Digest as _, Sha256};

use super::{
    filter::{self, HANDLE, block_attribute},
    hook::{Hook, program_fd},
};
use crate::datapath::error::DatapathError;

/// Hooks that have a block. What undoes translations comes before what makes them.
pub(in crate::datapath) const HOOKS: [Hook; 2] = [Hook::ToPod, Hook::FromPod];

/// Interfaces that are bound by one request: the answers must fit into a socket's buffer.
const AT_ONCE: usize = 64;

/// The numbers of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct Blocks {
    /// Even; the block of egress is the next one.
    ingress: u32,
}

/// What hangs at clsact's place on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Ours,
    Foreign,
}

impl Blocks {
    /// The blocks of an instance. Blocks belong to a network namespace, which in a lab may have several
    /// instances: the number follows from the name.
    pub(in crate::datapath) fn of(instance: &str) -> Self {
        let hash = Sha256::digest(instance);
        // 'W', so that a person who sees the number has a chance.
        let number = u32::from_be_bytes([b'W', hash[0], hash[1], hash[2]]);
        Self {
            ingress: number & !1,
        }
    }

    const fn number(self, hook: Hook) -> u32 {
        if hook.is_ingress() {
            self.ingress
        } else {
            self.ingress + 1
        }
    }

    /// Binds interfaces to the blocks, all in one go, and sees to it that these have their filters. Per interface; false:
    /// something else is in clsact's place.
    pub(in crate::datapath) fn bind(
        self,
        ebpf: &Ebpf,
        interfaces: &[u32],
    ) -> Result<Vec<Result<bool, DatapathError>>, DatapathError> {
        let programs = programs(ebpf)?;
        let failed = |source| DatapathError::Netlink {
            operation: "bind interfaces of pods to their blocks",
            source,
        };
        let mut netlink = Netlink::open().map_err(failed)?;
        let mut all = Vec::new();
        for some in interfaces.chunks(AT_ONCE) {
            let bound = self.bind_some(&mut netlink, &programs, some);
            all.extend(bound.map_err(failed)?);
        }
        Ok(all)
    }

    fn bind_some(
        self,
        netlink: &mut Netlink,
        programs: &[(Hook, BorrowedFd<'_>)],
        interfaces: &[u32],
    ) -> io::Result<Vec<Result<bool, DatapathError>>> {
        let mut requests: Vec<Request> = interfaces.iter().map(|i| self.qdisc(*i)).collect();
        // What is there already was made, or replaced, by this agent: see `replace`.
        requests.extend(self.filters(programs, CREATE));
        let mut answers = netlink.batch(requests)?;
        let filters = answers.split_off(interfaces.len());
        let bound: Vec<io::Result<bool>> = interfaces
            .iter()
            .zip(answers)
            .map(|(ifindex, answer)| match answer {
                Err(error) if exists(&error) => Ok(self.place(netlink, *ifindex)? == Place::Ours),
                answer => answer.map(|()| true),
            })
            .collect();
        let unfit = |answer: &io::Result<()>| answer.as_ref().is_err_and(|e| !exists(e));
        // Without any interface there is no block for them.
        if bound.iter().any(|bound| matches!(bound, Ok(true)))
            && let Some(Err(error)) = filters.into_iter().find(unfit)
        {
            return Err(error);
        }
        let named = interfaces.iter().zip(bound).map(|(ifindex, bound)| {
            bound.map_err(|source| DatapathError::Attach {
                program: "the blocks of pods".to_owned(),
                target: super::hook::describe(*ifindex),
                source,
            })
        });
        Ok(named.collect())
    }

    /// Puts our programs in the place of those that an earlier agent left in the blocks, if these are there:
    /// every packet sees the old ones or the new ones.
    pub(in crate::datapath) fn replace(self, ebpf: &Ebpf) -> Result<(), DatapathError> {
        self.replace_by(&programs(ebpf)?)
    }

    /// As [`Self::replace`], by these programs.
    pub(in crate::datapath) fn replace_by(
        self,
        programs: &[(Hook, BorrowedFd<'_>)],
    ) -> Result<(), DatapathError> {
        let requests = self.filters(programs, REPLACE).collect();
        let answers = Netlink::open().and_then(|mut netlink| netlink.batch(requests));
        let failed = |source| DatapathError::Netlink {
            operation: "replace the filters of the blocks of pods",
            source,
        };
        for answer in answers.map_err(failed)? {
            match answer {
                Err(error) if !is_absent(&error) => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Those of these interfaces that are bound to blocks with filters.
    pub(in crate::datapath) fn bound(
        self,
        interfaces: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<u32>, DatapathError> {
        self.try_bound(interfaces)
            .map_err(|source| DatapathError::Netlink {
                operation: "list the interfaces that are bound to the blocks of pods",
                source,
            })
    }

    fn try_bound(self, interfaces: impl IntoIterator<Item = u32>) -> io::Result<Vec<u32>> {
        let mut netlink = Netlink::open()?;
        for hook in HOOKS {
            if !self.has_filter(&mut netlink, hook)? {
                return Ok(Vec::new());
            }
        }
        let mut bound = Vec::new();
        for ifindex in interfaces {
            if self.place(&mut netlink, ifindex)? == Place::Ours {
                bound.push(ifindex);
            }
        }
        Ok(bound)
    }

    /// Unbinds an interface. False: it was not bound, or is gone.
    pub(in crate::datapath) fn unbind(self, ifindex: u32) -> io::Result<bool> {
        let mut netlink = Netlink::open()?;
        if self.place(&mut netlink, ifindex)? != Place::Ours {
            return Ok(false);
        }
        let request = RouteNetlinkMessage::DelQueueDiscipline(place(ifindex));
        match netlink.request(&request, CHANGE) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(true),
        }
    }

    fn qdisc(self, ifindex: u32) -> Request {
        let mut message = place(ifindex);
        message.attributes = vec![
            TcAttribute::Kind("clsact".to_owned()),
            block_attribute(filter::INGRESS_BLOCK, self.number(Hook::FromPod)),
            block_attribute(filter::EGRESS_BLOCK, self.number(Hook::ToPod)),
        ];
        Request {
            what: "add clsact".to_owned(),
            message: RouteNetlinkMessage::NewQueueDiscipline(message),
            flags: CREATE,
        }
    }

    fn filters(
        self,
        programs: &[(Hook, BorrowedFd<'_>)],
        flags: u16,
    ) -> impl Iterator<Item = Request> {
        programs.iter().map(move |(hook, program)| Request {
            what: format!("add filter {}", hook.program()),
            message: filter::message(self.number(*hook), hook.program(), program.as_raw_fd()),
            flags,
        })
    }

    fn place(self, netlink: &mut Netlink, ifindex: u32) -> io::Result<Place> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(place(ifindex));
        let answers = match netlink.request(&request, SHOW) {
            Err(error) if is_absent(&error) => return Ok(Place::Free),
            answers => answers?,
        };
        let ours = [
            block_attribute(filter::INGRESS_BLOCK, self.number(Hook::FromPod)),
            block_attribute(filter::EGRESS_BLOCK, self.number(Hook::ToPod)),
        ];
        let is_ours = answers.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(qdisc) => {
                ours.iter().all(|block| qdisc.attributes.contains(block))
            }
            _ => false,
        });
        Ok(if is_ours { Place::Ours } else { Place::Foreign })
    }

    fn has_filter(self, netlink: &mut Netlink, hook: Hook) -> io::Result<bool> {
        let request = RouteNetlinkMessage::GetTrafficFilter(filter::block(self.number(hook)));
        let filters = match netlink.request(&request, DUMP) {
            Err(error) if is_absent(&error) => return Ok(false),
            filters => filters?,
        };
        Ok(filters.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(filter) => filter.header.handle == HANDLE,
            _ => false,
        }))
    }
}

fn programs(ebpf: &Ebpf) -> Result<Vec<(Hook, BorrowedFd<'_>)>, DatapathError> {
    let pairs = HOOKS.map(|hook| Ok((hook, program_fd(ebpf, hook.program())?)));
    pairs.into_iter().collect()
}

/// Where clsact has its place on an interface.
fn place(ifindex: u32) -> TcMessage {
    let header = TcHeader {
        index: ifindex.cast_signed(),
        handle: TcHandle {
            major: 0xffff,
            minor: 0,
        },
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, Vec::new())
}

fn exists(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EEXIST)
}

/// No such interface, no such qdisc, no such block.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)
    )
}
