//! Queueing disciplines at the root of interfaces.

use std::{collections::BTreeMap, io};

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcHeader, TcMessage},
};

use super::{
    bucket::Bucket,
    netlink::{CHANGE, DUMP, Netlink, REPLACE},
};

/// Major number of ours: `We`.
const HANDLE: u16 = 0x5765;

/// What is at the root of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// A token bucket of ours; none: somebody gave it another shape.
    Ours(Option<Bucket>),
    /// Somebody else's.
    Foreign,
}

/// The roots of all interfaces that have any, by index. What the kernel puts there by itself is none.
pub fn roots(netlink: &mut Netlink) -> io::Result<BTreeMap<u32, Root>> {
    let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let mut roots = BTreeMap::new();
    for answer in netlink.request(&request, DUMP)? {
        let RouteNetlinkMessage::NewQueueDiscipline(found) = answer else {
            continue;
        };
        if found.header.parent == TcHandle::ROOT && found.header.handle.major != 0 {
            roots.insert(found.header.index.cast_unsigned(), root(&found)?);
        }
    }
    Ok(roots)
}

fn root(found: &TcMessage) -> io::Result<Root> {
    if found.header.handle.major != HANDLE {
        return Ok(Root::Foreign);
    }
    let (mut is_bucket, mut bucket) = (false, None);
    for attribute in &found.attributes {
        match attribute {
            TcAttribute::Kind(kind) => is_bucket = kind == Bucket::KIND,
            TcAttribute::Options(options) if is_bucket => bucket = Bucket::of(options)?,
            _ => {}
        }
    }
    Ok(Root::Ours(bucket))
}

/// Puts a token bucket at the root of an interface. What waits in one that is there goes on waiting. `ENOENT`: the kernel
/// has no such discipline.
pub fn put(netlink: &mut Netlink, ifindex: u32, bucket: Bucket) -> io::Result<()> {
    let mut message = at_root(ifindex);
    message.attributes = vec![
        TcAttribute::Kind(Bucket::KIND.to_owned()),
        TcAttribute::Options(bucket.options()),
    ];
    let request = RouteNetlinkMessage::NewQueueDiscipline(message);
    match netlink.request(&request, REPLACE) {
        // Under our number is one of another kind.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            remove(netlink, ifindex)?;
            netlink.request(&request, REPLACE).map(drop)
        }
        done => done.map(drop),
    }
}

/// Removes ours from the root of an interface, with what waits in it. That there is none, or no such interface, is no
/// error.
pub fn remove(netlink: &mut Netlink, ifindex: u32) -> io::Result<()> {
    let request = RouteNetlinkMessage::DelQueueDiscipline(at_root(ifindex));
    match netlink.request(&request, CHANGE) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENODEV | libc::EINVAL)
            ) =>
        {
            Ok(())
        }
        done => done.map(drop),
    }
}

fn at_root(ifindex: u32) -> TcMessage {
    let header = TcHeader {
        index: ifindex.cast_signed(),
        handle: TcHandle {
            major: HANDLE,
            minor: 0,
        },
        parent: TcHandle::ROOT,
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, Vec::new())
}
