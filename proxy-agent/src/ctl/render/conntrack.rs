//! `dump conntrack`: the flows that the datapath tracks, one row each.

use std::net::IpAddr;

use proxy_common::conntrack::{
    ENDPOINT_HOST, FLOW_ASSURED, FLOW_DIRECT, FLOW_ENDED, FLOW_HAIRPIN, FLOW_LOOPBACK,
    FLOW_MASQUERADED, FLOW_RELAYED, FLOW_SOURCE_TRANSLATED, FLOW_STACK, Flow, Head, Tuple,
};
use serde::Serialize;

use super::words::{ip6, named, socket};
use crate::{
    api::messages::Names,
    ctl::output::Row,
    datapath::{FlowState, Flows, Maps, clock},
    model::Protocol,
};

/// A record of `FLOWS*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowRow {
    /// Protocol.
    pub protocol: String,
    /// Address and port of the side that began.
    pub client: String,
    /// What it asked for: address and port as it wrote them.
    pub destination: String,
    /// Where its packets go, if not there.
    pub translated_destination: Option<String>,
    /// From where they seem to come, if not from the client.
    pub translated_source: Option<String>,
    /// The node to which they go as they are, by the tunnel: its backend is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relayed_to: Option<IpAddr>,
    /// `new`, `half-open`, `established`, `closing`, `closed`, `reset` or `expired`.
    pub state: &'static str,
    /// Seconds until it counts as gone.
    pub expires_seconds: u32,
    /// The Service port that it came through.
    pub service: String,
    /// The pod or node that began, if it is known.
    pub client_name: String,
    /// The pod or node that serves, if it is known.
    pub server_name: String,
    /// Id of the backend; 0 for none.
    pub backend: u32,
    /// The rule that let the client send.
    pub egress_policy: String,
    /// The rule that let the server be reached.
    pub ingress_policy: String,
    /// Epochs of the policies under which it was allowed: egress, ingress.
    pub epochs: [u32; 2],
    /// `bpf`, or `stack` if it goes through the host's.
    pub way: &'static str,
    /// What is special about it.
    pub marks: Vec<&'static str>,
    /// Its slot in `FLOWS4` or `FLOWS6`.
    pub slot: u32,
}

impl Row for FlowRow {
    const KIND: &'static str = "ConntrackList";
    const COLUMNS: &'static [&'static str] = &[
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
    const WIDE: &'static [&'static str] = &[
        "BACKEND", "EGRESS", "INGRESS", "EPOCHS", "WAY", "MARKS", "SLOT",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.protocol.clone(),
            self.client.clone(),
            "->".to_owned(),
            self.destination.clone(),
            self.translated(),
            self.state.to_owned(),
            format!("{}s", self.expires_seconds),
            self.service.clone(),
            self.client_name.clone(),
            self.server_name.clone(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![
            self.backend.to_string(),
            self.egress_policy.clone(),
            self.ingress_policy.clone(),
            format!("{},{}", self.epochs[0], self.epochs[1]),
            self.way.to_owned(),
            self.marks.join(","),
            self.slot.to_string(),
        ]
    }

    fn name(&self) -> String {
        format!("{}/{}/{}", self.protocol, self.client, self.destination)
    }
}

impl FlowRow {
    /// A flow in a slot, `now` seconds after boot.
    pub fn new(slot: u32, flow: &Flow<IpAddr>, names: &Names, now: u32) -> Self {
        let head = Head::unpack(flow.head);
        let (asked, becomes) = (flow.tuple(0), flow.target[0]);
        let ends = |tuple: Tuple<IpAddr>| {
            [
                socket(tuple.source, tuple.source_port),
                socket(tuple.destination, tuple.destination_port),
            ]
        };
        let [client, destination] = ends(asked);
        let [source, server] = ends(becomes);
        let relayed = head.flags & FLOW_RELAYED != 0;
        let through = relayed && flow.endpoint == [0; 2];
        // Of a flow that is relayed these words say where.
        let (epochs, mut cookies) = if through {
            ([0; 2], [0; 2])
        } else {
            (flow.epoch, flow.cookie)
        };
        if relayed {
            cookies[0] = 0;
        }
        let name = |end: usize, address| end_name(flow.endpoint[end], address, names);
        Self {
            protocol: Protocol::name_of(head.protocol),
            client: client.to_string(),
            destination: destination.to_string(),
            translated_destination: (server != destination).then(|| server.to_string()),
            translated_source: (source != client).then(|| source.to_string()),
            relayed_to: through.then(|| ip6(flow.relay())),
            state: FlowState::of(flow, now).word(),
            expires_seconds: flow.expires.saturating_sub(now),
            service: named(&names.services, flow.service),
            client_name: name(0, client.ip()),
            server_name: name(1, server.ip()),
            backend: flow.backend,
            egress_policy: named(&names.cookies, cookies[0]),
            ingress_policy: named(&names.cookies, cookies[1]),
            epochs,
            way: if head.flags & FLOW_STACK == 0 {
                "bpf"
            } else {
                "stack"
            },
            marks: marks(head.flags),
            slot,
        }
    }

    /// Whether it is over: its slot is as good as free.
    pub fn is_over(&self) -> bool {
        self.state == FlowState::Expired.word()
    }

    /// Where to, and from where, if that is not what the client wrote.
    fn translated(&self) -> String {
        if let Some(node) = self.relayed_to {
            return format!("at node {node}");
        }
        let to = self.translated_destination.as_deref().unwrap_or_default();
        match (&self.translated_source, to) {
            (Some(from), "") => format!("from {from}"),
            (Some(from), to) => format!("{to} from {from}"),
            (None, to) => to.to_owned(),
        }
    }
}

/// All tracked flows, sorted; those that are over, too.
pub fn rows(maps: &Maps, names: &Names) -> Vec<FlowRow> {
    let now = clock::seconds();
    let flows = maps.flows().into_iter().flat_map(Flows::iter);
    let mut rows: Vec<_> = flows
        .map(|(slot, flow)| FlowRow::new(slot, &flow, names, now))
        .collect();
    rows.sort();
    rows
}

/// One end: a pod of this node by its endpoint, anyone else by the address.
fn end_name(endpoint: u16, address: IpAddr, names: &Names) -> String {
    match endpoint {
        0 => names.addresses.get(&address).cloned().unwrap_or_default(),
        ENDPOINT_HOST => "node".to_owned(),
        id => named(&names.endpoints, id.into()),
    }
}

fn marks(flags: u16) -> Vec<&'static str> {
    let all = [
        (FLOW_ASSURED, "assured"),
        (FLOW_SOURCE_TRANSLATED, "source-translated"),
        (FLOW_MASQUERADED, "masqueraded"),
        (FLOW_HAIRPIN, "hairpin"),
        (FLOW_LOOPBACK, "loopback"),
        (FLOW_RELAYED, "relayed"),
        (FLOW_DIRECT, "direct"),
        (FLOW_ENDED, "ended"),
    ];
    let set = all.into_iter().filter(|(flag, _)| flags & flag != 0);
    set.map(|(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    use proxy_common::{
        address::TCP,
        conntrack::{
            FLOW_ASSURED, FLOW_REPLIED, FLOW_SOURCE_TRANSLATED, FLOW_STACK, Flow, Head, Tuple,
        },
    };

    use super::FlowRow;
    use crate::{
        api::messages::Names,
        ctl::output::{Format, render},
    };

    #[test]
    fn a_translated_flow_in_words() {
        let tuple =
            |source: &str, source_port: u16, destination: &str, destination_port: u16| Tuple {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                source_port: source_port.to_be(),
                destination_port: destination_port.to_be(),
            };
        let head = Head {
            flags: FLOW_REPLIED | FLOW_ASSURED | FLOW_STACK | FLOW_SOURCE_TRANSLATED,
            protocol: TCP,
            ..Head::default()
        };
        let flow = Flow {
            head: head.pack(),
            expires: 130,
            epoch: [3, 0],
            endpoint: [7, 0],
            cookie: [9, 0],
            service: 12,
            backend: 5,
            target: [
                tuple("192.0.2.1", 61000, "10.0.1.9", 8080),
                tuple("10.96.0.10", 80, "10.0.0.2", 40000),
            ],
        };
        let mut names = Names::default();
        names.endpoints.insert(7, "default/client".to_owned());
        names.services.insert(12, "default/web:http".to_owned());
        names
            .addresses
            .insert("10.0.1.9".parse().unwrap(), "default/web-0".to_owned());
        let mut text = Vec::new();
        let rows = vec![FlowRow::new(4, &flow, &names, 100)];
        render(Format::Wide, rows, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "PROTO   CLIENT           DIR   DESTINATION     TRANSLATED                           STATE         EXPIRES   SERVICE            FROM             TO              BACKEND   EGRESS   INGRESS   EPOCHS   WAY     MARKS                       SLOT\n\
             TCP     10.0.0.2:40000   ->    10.96.0.10:80   10.0.1.9:8080 from 192.0.2.1:61000   established   30s       default/web:http   default/client   default/web-0   5         #9       -         3,0      stack   assured,source-translated   4\n"
        );
    }
}
