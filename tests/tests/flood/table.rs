//! The table of flows of the node that is flooded.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use proxy_agent::datapath::{Reader, clock};
use proxy_common::conntrack::{
    FLOW_ASSURED, FLOW_ENDED, FLOW_FIN_0, FLOW_FIN_1, FLOW_RST_0, FLOW_RST_1, Head,
};
use serde_json::Value;
use weir_tests::{
    datapath::reader,
    world::{Node, program},
};

/// Family and slot of flows, with the generation of the slot.
pub(crate) type Standing = BTreeMap<(usize, u32), u16>;

/// Flags of flows that are over or about to be.
const OVER: u16 = FLOW_ENDED | FLOW_FIN_0 | FLOW_FIN_1 | FLOW_RST_0 | FLOW_RST_1;

pub(crate) struct Table {
    reader: Reader,
    node: Node,
}

impl Table {
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            reader: reader(node).unwrap(),
            node: node.clone(),
        }
    }

    /// How many flows fit, of both families together.
    pub(crate) fn capacity(&self) -> u32 {
        self.reader
            .maps()
            .flows()
            .iter()
            .map(|flows| flows.capacity())
            .sum()
    }

    /// Flows that live, or would so many seconds from now if no packet came.
    pub(crate) fn live(&self, seconds: u32) -> u32 {
        let then = clock::seconds() + seconds;
        let families = self.reader.maps().flows();
        families.iter().map(|flows| flows.usage(then).live()).sum()
    }

    /// What people are shown.
    pub(crate) fn shown(&self) -> u32 {
        let words = ["dump", "conntrack", "-o", "json"];
        let proxyctl = program("proxyctl").unwrap();
        let command = [&[proxyctl.to_str().unwrap()], &words[..]].concat();
        let list: Value = serde_json::from_str(&self.node.run(&command).unwrap()).unwrap();
        list["items"].as_array().unwrap().len() as u32
    }

    /// The most flows that lived at a time.
    pub(crate) fn peak_during(&self, span: Duration) -> u32 {
        let start = Instant::now();
        let mut peak = 0;
        while start.elapsed() < span {
            peak = peak.max(self.live(0));
            sleep(Duration::from_millis(250));
        }
        peak
    }

    /// Flows whose slots nobody may take.
    pub(crate) fn standing(&self) -> Standing {
        let now = clock::seconds();
        let mut standing = Standing::new();
        for (family, flows) in self.reader.maps().flows().into_iter().enumerate() {
            for (slot, flow) in flows.iter() {
                let head = Head::unpack(flow.head);
                let stands = head.flags & (FLOW_ASSURED | OVER) == FLOW_ASSURED;
                if stands && flow.expires >= now {
                    standing.insert((family, slot), head.generation);
                }
            }
        }
        standing
    }

    /// Those of these flows that are not there any more.
    pub(crate) fn missing(&self, before: &Standing) -> Vec<String> {
        let now = self.standing();
        let gone = before
            .iter()
            .filter(|(place, generation)| now.get(place) != Some(generation));
        gone.map(|((family, slot), _)| format!("family {family}, slot {slot}"))
            .collect()
    }
}
