//! `dump conntrack`: the flows that the datapath tracks.

use std::net::IpAddr;

use proxy_common::conntrack::{
    FLOW_FIN_LOCAL, FLOW_FIN_REMOTE, FLOW_FROM_REMOTE, FLOW_HAIRPIN, FLOW_REPLIED,
    FLOW_REWRITE_FROM_LOCAL, FLOW_REWRITE_TO_LOCAL, FLOW_RST, FLOW_SOURCE_TRANSLATED, Flow4, Flow6,
    FlowKey4, FlowKey6, FlowState,
};
use serde::Serialize;

use super::words::{ip4, ip6, named, now, protocol, socket};
use crate::{
    api::messages::Names,
    ctl::output::Row,
    datapath::{Maps, Table as _, TableError},
};

/// One entry of `CONNTRACK*` or `NEW_FLOWS*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowRow {
    /// The pod that the flow is tracked for, or `node`.
    pub scope: String,
    /// Protocol.
    pub protocol: String,
    /// Address and port of the scope's side.
    pub local: String,
    /// `->` if the local side began, `<-` if the remote side did.
    pub direction: &'static str,
    /// Address and port of the other side.
    pub remote: String,
    /// `new`, `established`, `closing`, `reset` or `expired`.
    pub state: &'static str,
    /// Seconds until it counts as gone.
    pub expires_seconds: u32,
    /// The Service port that it came through.
    pub service: String,
    /// Into what packets are rewritten.
    pub rewrite: Option<String>,
    /// The map that holds it.
    pub map: &'static str,
    /// Id of the backend; 0 for none.
    pub backend: u32,
    /// The rule that allowed it.
    pub policy: String,
    /// Epoch of the policy under which it was allowed.
    pub epoch: u32,
}

impl Row for FlowRow {
    const KIND: &'static str = "ConntrackList";
    const COLUMNS: &'static [&'static str] = &[
        "SCOPE", "PROTO", "LOCAL", "DIR", "REMOTE", "STATE", "EXPIRES", "SERVICE", "REWRITE",
    ];
    const WIDE: &'static [&'static str] = &["MAP", "BACKEND", "POLICY", "EPOCH"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.scope.clone(),
            self.protocol.clone(),
            self.local.clone(),
            self.direction.to_owned(),
            self.remote.clone(),
            self.state.to_owned(),
            format!("{}s", self.expires_seconds),
            self.service.clone(),
            self.rewrite.clone().unwrap_or_default(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![
            self.map.to_owned(),
            self.backend.to_string(),
            self.policy.clone(),
            self.epoch.to_string(),
        ]
    }

    fn name(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.scope, self.protocol, self.local, self.remote
        )
    }
}

/// A key of either family.
struct Key {
    scope: u32,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    protocol: u8,
}

impl From<FlowKey4> for Key {
    fn from(key: FlowKey4) -> Self {
        Self {
            scope: key.scope,
            local: (ip4(key.local), key.local_port),
            remote: (ip4(key.remote), key.remote_port),
            protocol: key.protocol,
        }
    }
}

impl From<FlowKey6> for Key {
    fn from(key: FlowKey6) -> Self {
        Self {
            scope: key.scope,
            local: (ip6(key.local), key.local_port),
            remote: (ip6(key.remote), key.remote_port),
            protocol: key.protocol,
        }
    }
}

/// The four ends of a rewrite, of either family.
type Rewrite = [(IpAddr, u16); 2];

fn rewrite4(flow: &Flow4) -> (FlowState, Rewrite) {
    let to = flow.rewrite;
    (
        flow.state,
        [
            (ip4(to.source), to.source_port),
            (ip4(to.destination), to.destination_port),
        ],
    )
}

fn rewrite6(flow: &Flow6) -> (FlowState, Rewrite) {
    let to = flow.rewrite;
    (
        flow.state,
        [
            (ip6(to.source), to.source_port),
            (ip6(to.destination), to.destination_port),
        ],
    )
}

/// All tracked flows, sorted.
pub fn rows(maps: &Maps, names: &Names) -> Result<Vec<FlowRow>, TableError> {
    let now = now();
    let mut rows = Vec::new();
    for (name, table) in [
        ("NEW_FLOWS4", &maps.new_flows4),
        ("CONNTRACK4", &maps.conntrack4),
    ] {
        let entries = table.entries()?.into_iter();
        rows.extend(entries.map(|(key, flow)| row(name, &key.into(), rewrite4(&flow), names, now)));
    }
    for (name, table) in [
        ("NEW_FLOWS6", &maps.new_flows6),
        ("CONNTRACK6", &maps.conntrack6),
    ] {
        let entries = table.entries()?.into_iter();
        rows.extend(entries.map(|(key, flow)| row(name, &key.into(), rewrite6(&flow), names, now)));
    }
    rows.sort();
    Ok(rows)
}

fn row(
    map: &'static str,
    key: &Key,
    (state, rewrite): (FlowState, Rewrite),
    names: &Names,
    now: u32,
) -> FlowRow {
    let scope = match key.scope {
        0 => "node".to_owned(),
        id => named(&names.endpoints, id),
    };
    let rewritten = state.flags & (FLOW_REWRITE_FROM_LOCAL | FLOW_REWRITE_TO_LOCAL) != 0;
    let [source, destination] = rewrite.map(|(address, port)| socket(address, port).to_string());
    FlowRow {
        scope,
        protocol: protocol(key.protocol),
        local: socket(key.local.0, key.local.1).to_string(),
        direction: if state.flags & FLOW_FROM_REMOTE == 0 {
            "->"
        } else {
            "<-"
        },
        remote: socket(key.remote.0, key.remote.1).to_string(),
        state: state_word(state, now),
        expires_seconds: state.expires.saturating_sub(now),
        service: named(&names.services, state.service),
        rewrite: rewritten.then(|| format!("{source}->{destination}{}", marks(state.flags))),
        map,
        backend: state.backend,
        policy: named(&names.cookies, state.cookie),
        epoch: state.epoch,
    }
}

const fn state_word(state: FlowState, now: u32) -> &'static str {
    if state.expires <= now {
        "expired"
    } else if state.flags & FLOW_RST != 0 {
        "reset"
    } else if state.flags & (FLOW_FIN_LOCAL | FLOW_FIN_REMOTE) != 0 {
        "closing"
    } else if state.flags & FLOW_REPLIED != 0 {
        "established"
    } else {
        "new"
    }
}

const fn marks(flags: u32) -> &'static str {
    match (
        flags & FLOW_HAIRPIN != 0,
        flags & FLOW_SOURCE_TRANSLATED != 0,
    ) {
        (true, _) => " (hairpin)",
        (false, true) => " (source translated)",
        (false, false) => "",
    }
}

#[cfg(test)]
mod tests {
    use proxy_common::{
        address::{TCP, address4},
        conntrack::{FLOW_REPLIED, FLOW_REWRITE_FROM_LOCAL, Flow4, FlowKey4, FlowState, Rewrite4},
    };

    use super::{rewrite4, row};
    use crate::{
        api::messages::Names,
        ctl::output::{Format, render},
    };

    #[test]
    fn a_translated_flow_in_words() {
        let key = FlowKey4 {
            scope: 7,
            local: address4([10, 0, 0, 2]),
            remote: address4([10, 96, 0, 10]),
            local_port: 40000_u16.to_be(),
            remote_port: 80_u16.to_be(),
            protocol: TCP,
            pad: [0; 3],
        };
        let flow = Flow4 {
            state: FlowState {
                expires: 130,
                flags: FLOW_REPLIED | FLOW_REWRITE_FROM_LOCAL,
                epoch: 3,
                cookie: 0,
                service: 12,
                backend: 5,
            },
            rewrite: Rewrite4 {
                source: address4([10, 0, 0, 2]),
                destination: address4([10, 0, 1, 9]),
                source_port: 40000_u16.to_be(),
                destination_port: 8080_u16.to_be(),
            },
        };
        let mut names = Names::default();
        names.endpoints.insert(7, "default/client".to_owned());
        names.services.insert(12, "default/web:http".to_owned());
        let rows = vec![row("CONNTRACK4", &key.into(), rewrite4(&flow), &names, 100)];
        let mut text = Vec::new();
        render(Format::Wide, rows, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "SCOPE            PROTO   LOCAL            DIR   REMOTE          STATE         EXPIRES   SERVICE            REWRITE                         MAP          BACKEND   POLICY   EPOCH\n\
             default/client   TCP     10.0.0.2:40000   ->    10.96.0.10:80   established   30s       default/web:http   10.0.0.2:40000->10.0.1.9:8080   CONNTRACK4   5         -        3\n"
        );
    }
}
