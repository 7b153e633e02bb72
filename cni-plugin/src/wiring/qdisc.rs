//! Queueing disciplines at the root of interfaces.

use std::{collections::BTreeMap, io};

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption},
};

use super::{
    bucket::Bucket,
    departures,
    netlink::{CHANGE, DUMP, Netlink, REPLACE},
};

/// Major numbers of ours, `We` and `Wf`: one for each kind, so that the kernel makes the new one before it takes the old one
/// away (`tc_modify_qdisc`, <https://elixir.bootlin.com/linux/v6.12/source/net/sched/sch_api.c>). A kind that it does not have
/// then changes nothing.
const BUCKET: u16 = 0x5765;
const DEPARTURES: u16 = 0x5766;

/// What keeps packets to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// Times of departure, given by programs (`fq`).
    Departures,
    /// A token bucket (`tbf`).
    Bucket(Bucket),
}

impl Discipline {
    const fn kind(self) -> &'static str {
        match self {
            Self::Departures => departures::KIND,
            Self::Bucket(_) => Bucket::KIND,
        }
    }

    const fn handle(self) -> u16 {
        match self {
            Self::Departures => DEPARTURES,
            Self::Bucket(_) => BUCKET,
        }
    }

    fn options(self) -> Vec<TcOption> {
        match self {
            Self::Departures => departures::options(),
            Self::Bucket(bucket) => bucket.options(),
        }
    }

    /// What the kernel shows; none if it is of another shape than ours.
    fn of(kind: &str, options: &[TcOption]) -> io::Result<Option<Self>> {
        match kind {
            Bucket::KIND => Ok(Bucket::of(options)?.map(Self::Bucket)),
            departures::KIND => Ok(departures::is_whole(options)?.then_some(Self::Departures)),
            _ => Ok(None),
        }
    }
}

/// What is at the root of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// One of ours; none: somebody gave it another shape.
    Ours(Option<Discipline>),
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
    if ![BUCKET, DEPARTURES].contains(&found.header.handle.major) {
        return Ok(Root::Foreign);
    }
    let (mut of_kind, mut discipline) = ("", None);
    for attribute in &found.attributes {
        match attribute {
            TcAttribute::Kind(kind) => of_kind = kind,
            TcAttribute::Options(options) => discipline = Discipline::of(of_kind, options)?,
            _ => {}
        }
    }
    Ok(Root::Ours(discipline))
}

/// Puts a discipline at the root of an interface. What waits in one of its kind that is there goes on waiting. `ENOENT`: the
/// kernel has no such discipline, and what is there stays.
pub fn put(netlink: &mut Netlink, ifindex: u32, discipline: Discipline) -> io::Result<()> {
    let mut message = at_root(ifindex, discipline.handle());
    message.attributes = vec![
        TcAttribute::Kind(discipline.kind().to_owned()),
        TcAttribute::Options(discipline.options()),
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
    for handle in [BUCKET, DEPARTURES] {
        let request = RouteNetlinkMessage::DelQueueDiscipline(at_root(ifindex, handle));
        match netlink.request(&request, CHANGE) {
            Err(error) if is_none(&error) => {}
            done => done.map(drop)?,
        }
    }
    Ok(())
}

/// There is no such discipline, or no such interface.
fn is_none(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::EINVAL)
    )
}

fn at_root(ifindex: u32, major: u16) -> TcMessage {
    let header = TcHeader {
        index: ifindex.cast_signed(),
        handle: TcHandle { major, minor: 0 },
        parent: TcHandle::ROOT,
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, Vec::new())
}
