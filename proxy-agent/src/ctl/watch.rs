//! `proxyctl dump conntrack --watch`: flows that begin, change their state or end, as they are seen in memory.

use std::{collections::HashMap, io::Write as _, net::IpAddr, time::SystemTime};

use jiff::Timestamp;
use proxy_common::conntrack::{Flow, Head};
use serde::Serialize;
use tokio::{
    signal,
    time::{MissedTickBehavior, interval},
};

use super::{
    Context, CtlError, Exit,
    args::DumpArgs,
    dump::of_service,
    live::Naming,
    output::{Output, Row, Stream},
    render::conntrack::FlowRow,
};
use crate::datapath::{FlowState, Flows, Maps, clock};

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Happened {
    /// It is over, or gone.
    End,
    /// It has another state.
    Change,
    /// It is new.
    Begin,
}

impl Happened {
    const fn word(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Change => "change",
            Self::Begin => "begin",
        }
    }
}

/// A line of the watch.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRow {
    /// When it was seen, UTC.
    pub time: String,
    /// What happened.
    pub event: Happened,
    /// To what; as it was last seen if it is gone.
    #[serde(flatten)]
    pub flow: FlowRow,
}

impl Row for EventRow {
    const KIND: &'static str = "ConntrackEvent";
    const COLUMNS: &'static [&'static str] = &[
        "TIME",
        "EVENT",
        "PROTO",
        "CLIENT",
        "DIR",
        "DESTINATION",
        "TRANSLATED",
        "STATE",
        "EXPIRES",
        "SERVICE",
        "FROM",
        "TO",
    ];
    const WIDE: &'static [&'static str] = FlowRow::WIDE;

    fn cells(&self) -> Vec<String> {
        let head = vec![self.time.clone(), self.event.word().to_owned()];
        [head, self.flow.cells()].concat()
    }

    fn wide(&self) -> Vec<String> {
        self.flow.wide()
    }

    fn name(&self) -> String {
        format!("{} {}", self.event.word(), self.flow.name())
    }
}

/// Where a flow is: 0 for IPv4 or 1, and its slot.
type Place = (usize, u32);

/// The flows that live, as they were last seen.
#[derive(Default)]
struct Seen {
    flows: HashMap<Place, (Flow<IpAddr>, FlowState)>,
}

impl Seen {
    /// Looks at all flows of both families, and gives what has happened since the last time.
    fn look<'a>(
        &mut self,
        families: impl IntoIterator<Item = &'a Flows>,
        now: u32,
    ) -> Vec<(Happened, u32, Flow<IpAddr>)> {
        let mut happened = Vec::new();
        let mut live = HashMap::with_capacity(self.flows.len());
        for (family, flows) in families.into_iter().enumerate() {
            for (slot, flow) in flows.iter() {
                let state = FlowState::of(&flow, now);
                let before = self.flows.remove(&(family, slot));
                let same = before.filter(|(old, _)| is_same(old, &flow));
                if let Some((old, _)) = before.filter(|_| same.is_none()) {
                    happened.push((Happened::End, slot, old));
                }
                let event = match (same, state) {
                    (None, FlowState::Expired) => None,
                    (None, _) => Some(Happened::Begin),
                    (Some(_), FlowState::Expired) => Some(Happened::End),
                    (Some((_, old)), state) => (old != state).then_some(Happened::Change),
                };
                happened.extend(event.map(|event| (event, slot, flow)));
                if state != FlowState::Expired {
                    live.insert((family, slot), (flow, state));
                }
            }
        }
        // A slot that is just being taken has no flow to be seen.
        let taken = std::mem::replace(&mut self.flows, live).into_iter();
        happened.extend(taken.map(|((_, slot), (flow, _))| (Happened::End, slot, flow)));
        happened
    }
}

/// Whether a slot still has the flow that it had.
fn is_same(old: &Flow<IpAddr>, new: &Flow<IpAddr>) -> bool {
    Head::unpack(old.head).generation == Head::unpack(new.head).generation
}

/// Prints what happens until it is interrupted.
pub async fn run(
    context: &Context,
    args: &DumpArgs,
    maps: &Maps,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let mut naming = Naming::begin(context, args.raw).await;
    let mut seen = Seen::default();
    seen.look(maps.flows(), clock::seconds());
    let mut stream = Stream::new(out);
    stream.begin::<EventRow>()?;
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            interrupted = signal::ctrl_c() => {
                interrupted?;
                return Ok(Exit::Ok);
            }
        }
        let now = clock::seconds();
        let happened = seen.look(maps.flows(), now);
        if happened.is_empty() {
            continue;
        }
        naming.renew(context).await;
        let time = time();
        let mut rows: Vec<EventRow> = happened
            .into_iter()
            .map(|(event, slot, flow)| EventRow {
                time: time.clone(),
                event,
                flow: FlowRow::new(slot, &flow, &naming.names, now),
            })
            .collect();
        rows.retain(|row| {
            let service = args.service.as_ref();
            service.is_none_or(|service| of_service(&row.flow.service, service))
        });
        rows.sort_by(|a, b| (a.event, &a.flow).cmp(&(b.event, &b.flow)));
        rows.iter().try_for_each(|row| stream.row(row))?;
        stream.flush()?;
    }
}

/// Now, to the millisecond.
pub(super) fn time() -> String {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    format!("{now:.3}")
}

#[cfg(test)]
mod tests {
    use proxy_common::{
        address::TCP,
        conntrack::{FLOW_ASSURED, FLOW_BUSY, FLOW_FIN_0, FLOW_REPLIED, Flow4, Tuple},
    };

    use super::*;

    const NOW: u32 = 1000;

    fn put(flows: &Flows, slot: u32, generation: u16, flags: u16, expires: u32) {
        let head = Head {
            flags,
            protocol: TCP,
            generation,
            seen: 0,
        };
        let flow = Flow4 {
            head: head.pack(),
            expires,
            epoch: [0; 2],
            endpoint: [0; 2],
            cookie: [0; 2],
            service: 0,
            backend: u32::from(generation),
            target: [Tuple::default(); 2],
        };
        flows.put(slot, &flow);
    }

    #[test]
    fn what_happens_to_flows_is_told_once() {
        let families = [Flows::memory(4), Flows::memory(4)];
        let [v4, v6] = &families;
        let mut seen = Seen::default();
        let mut look = |now| {
            let happened = seen.look(&families, now).into_iter();
            let mut all: Vec<_> = happened
                .map(|(event, slot, flow)| (event.word(), slot, flow.backend))
                .collect();
            all.sort_unstable();
            all
        };
        put(v4, 0, 1, 0, NOW + 10);
        put(v6, 0, 2, 0, NOW + 60);
        put(v4, 3, 3, 0, NOW - 1);
        assert_eq!(look(NOW), [("begin", 0, 1), ("begin", 0, 2)]);
        assert_eq!(look(NOW), []);
        put(v4, 0, 1, FLOW_REPLIED, NOW + 10);
        assert_eq!(look(NOW), [("change", 0, 1)]);
        // Longer, but nothing else.
        put(v4, 0, 1, FLOW_REPLIED, NOW + 20);
        assert_eq!(look(NOW), []);
        // Another one has the slot, and a third takes one.
        put(v4, 0, 7, FLOW_REPLIED | FLOW_ASSURED, NOW + 20);
        put(v6, 0, 8, FLOW_BUSY, NOW + 20);
        assert_eq!(look(NOW), [("begin", 0, 7), ("end", 0, 1), ("end", 0, 2)]);
        put(v6, 0, 8, 0, NOW + 5);
        put(v4, 0, 7, FLOW_FIN_0, NOW + 20);
        assert_eq!(look(NOW), [("begin", 0, 8), ("change", 0, 7)]);
        assert_eq!(look(NOW + 6), [("end", 0, 8)]);
        assert_eq!(look(NOW + 21), [("end", 0, 7)]);
        assert_eq!(look(NOW + 22), []);
    }
}
