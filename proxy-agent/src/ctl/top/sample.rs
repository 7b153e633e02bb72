//! One look at what the kernel counts and tracks. Rates are made of two.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use proxy_common::{
    conntrack::{Flow, Head},
    counters::Counter,
};

use crate::{
    ctl::{CtlError, Exit},
    datapath::{FlowState, Flows, Maps, TableError, clock},
    service::{
        ServiceTables,
        render::backends::{places, users},
    },
};

/// What is kept of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Of its slot: another flow there has another one.
    pub generation: u16,
    /// It is not over.
    pub live: bool,
    /// Both sides have spoken, and none has closed.
    pub established: bool,
    /// Endpoint ids of both ends, who began first.
    pub ends: [u16; 2],
    /// The Service port that its packets ask for; 0 for none.
    pub service: u32,
    /// Id of the backend that its client addresses itself; 0 for none.
    pub straight: u32,
}

/// Backends, by which flows that went straight to one are known.
#[derive(Debug, Default)]
pub struct Known {
    places: HashMap<(SocketAddr, u8), u32>,
    /// The Service ports of each backend.
    pub users: BTreeMap<u32, BTreeSet<u32>>,
}

impl Known {
    /// As the maps have them.
    pub fn read(maps: &Maps) -> Result<Self, TableError> {
        let tables = ServiceTables::from(maps);
        Ok(Self {
            places: places(&tables)?,
            users: users(&tables)?,
        })
    }
}

/// The flows of a family, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Of the map that they are in.
    pub map: Option<u32>,
    /// None where no flow ever was, or one is just being written.
    pub flows: Vec<Option<Brief>>,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, since boot.
    pub at: Duration,
    /// Flows, IPv4's first.
    pub slots: [Slots; 2],
    /// Drops by reason, since the maps were made.
    pub drops: BTreeMap<u32, Counter>,
}

impl Sample {
    /// Looks.
    pub fn look(maps: &Maps, known: &Known) -> Result<Self, CtlError> {
        let at = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(|errno| {
            CtlError::new(
                Exit::Failed,
                format!("read the clock: {errno}"),
                "does a filter of system calls forbid it?",
            )
        })?;
        let [four, six] = maps.ids_of_flows();
        Ok(Self {
            at: at.into(),
            slots: [
                slots(&maps.flows4, four, known),
                slots(&maps.flows6, six, known),
            ],
            drops: drops(maps).map_err(|error| {
                CtlError::new(
                    Exit::Failed,
                    format!("read DROPS: {error}"),
                    "run it as root on the node, or in the agent's container",
                )
            })?,
        })
    }
}

fn drops(maps: &Maps) -> io::Result<BTreeMap<u32, Counter>> {
    Ok(maps.drops.all()?.into_iter().collect())
}

fn slots(flows: &Flows, map: Option<u32>, known: &Known) -> Slots {
    let now = clock::seconds();
    let slots = 0..flows.capacity();
    let brief = |slot| flows.get(slot).map(|flow| brief(&flow, known, now));
    Slots {
        map,
        flows: slots.map(brief).collect(),
    }
}

fn brief(flow: &Flow<IpAddr>, known: &Known, now: u32) -> Brief {
    let head = Head::unpack(flow.head);
    let state = FlowState::of(flow, now);
    Brief {
        generation: head.generation,
        live: state != FlowState::Expired,
        established: state == FlowState::Established,
        ends: flow.endpoint,
        service: flow.service,
        straight: straight(flow, head.protocol, known),
    }
}

/// The backend to which a client sends itself: a socket hook has chosen it, or it was asked for by its address.
fn straight(flow: &Flow<IpAddr>, protocol: u8, known: &Known) -> u32 {
    if flow.service != 0 {
        return 0;
    }
    let asked = flow.tuple(0);
    let to = SocketAddr::new(
        asked.destination.to_canonical(),
        u16::from_be(asked.destination_port),
    );
    let backend = known.places.get(&(to, protocol));
    backend.copied().unwrap_or(0)
}
