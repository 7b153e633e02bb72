//! `dump services`: each frontend, and who serves it.

use std::collections::BTreeMap;

use proxy_common::frontends::{
    BackendSet, FLAG_CLUSTER_IP, FLAG_DIRECT, FLAG_EXTERNAL_DROP, FLAG_EXTERNAL_IP, FLAG_HOST_PORT,
    FLAG_INTERNAL_DROP, FLAG_LOAD_BALANCER, FLAG_NODE_PORT, FLAG_RELAYED, FLAG_SOURCES, Frontend,
};
use serde::Serialize;

use super::{Known, Names, backends, name, sets, socket, sources};
use crate::{
    datapath::table::TableError,
    service::{ServiceTables, key::FrontendKey},
};

/// So many backends are listed in words.
const LISTED: usize = 3;

/// A frontend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    /// The Service port, `namespace/name:port`, the pod, `pod/namespace/name:hostPort`, or the id.
    pub service: String,
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalIP` or `HostPort`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How what comes from outside reaches backends on other nodes, if not in the node's name: `dsr` or `tunnel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<&'static str>,
    /// Address, port and protocol that clients use; `node` stands for every address of the node.
    pub frontend: String,
    /// Who serves clients on this node.
    pub internal: SetRow,
    /// Who serves packets from outside.
    pub external: SetRow,
    /// A load balancer's address: how many ranges of clients it serves, 0 for everybody.
    #[serde(skip_serializing_if = "is_zero")]
    pub source_ranges: usize,
    /// Time-out of client affinity, 0 for none.
    pub affinity_seconds: u32,
    /// Id of the Service port.
    pub id: u32,
}

/// A backend set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetRow {
    /// Its id.
    pub set: u32,
    /// Backends, sorted; those of this node are marked by `*`.
    pub backends: Vec<String>,
    /// What happens to a connection if there are none: `reject` or `drop`.
    pub otherwise: &'static str,
    /// Slots that do not resolve, which would be an error of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<u32>,
}

impl ServiceRow {
    /// In words: Service port, type, frontend, who serves clients here and from outside, affinity.
    pub fn columns(&self) -> Vec<String> {
        let same = self.external == self.internal;
        let affinity = match self.affinity_seconds {
            0 => String::new(),
            seconds => format!("{seconds}s"),
        };
        vec![
            self.service.clone(),
            match self.forwarding {
                None => self.kind.to_owned(),
                Some(mode) => format!("{} ({mode})", self.kind),
            },
            match self.source_ranges {
                0 => self.frontend.clone(),
                1 => format!("{} from 1 range", self.frontend),
                n => format!("{} from {n} ranges", self.frontend),
            },
            self.internal.in_words(),
            if same {
                "same".to_owned()
            } else {
                self.external.in_words()
            },
            affinity,
        ]
    }
}

impl SetRow {
    fn in_words(&self) -> String {
        if !self.broken.is_empty() {
            return format!("broken slots {:?}", self.broken);
        }
        if self.backends.is_empty() {
            return format!("none ({})", self.otherwise);
        }
        let listed = self.backends[..self.backends.len().min(LISTED)].join(",");
        match self.backends.len().saturating_sub(LISTED) {
            0 => listed,
            more => format!("{listed},+{more}"),
        }
    }
}

/// All frontends, sorted by Service port.
pub fn rows(tables: &ServiceTables, names: &Names) -> Result<Vec<ServiceRow>, TableError> {
    // Against the order in which they are written: whatever a frontend leads to is there when it is.
    let v4 = tables.frontends4.entries()?.into_iter();
    let v4 = v4.map(|(k, v)| (FrontendKey::V4(k), v));
    let v6 = tables.frontends6.entries()?.into_iter();
    let v6 = v6.map(|(k, v)| (FrontendKey::V6(k), v));
    let sets = sets(tables)?;
    let backends = backends(tables)?;
    let ranges = sources::counts(tables)?;
    let set = |set: BackendSet, drop| SetRow::new(set, drop, &sets, &backends);
    let mut rows: Vec<(FrontendKey, ServiceRow)> = v4
        .chain(v6)
        .map(|(key, frontend)| {
            let has = |flag| frontend.flags & flag != 0;
            let row = ServiceRow {
                service: name(names, frontend.service),
                kind: kind(&frontend),
                forwarding: match (has(FLAG_RELAYED), has(FLAG_DIRECT)) {
                    (false, _) => None,
                    (true, false) => Some("tunnel"),
                    (true, true) => Some("dsr"),
                },
                frontend: key.to_string(),
                internal: set(frontend.internal, has(FLAG_INTERNAL_DROP)),
                external: set(frontend.external, has(FLAG_EXTERNAL_DROP)),
                source_ranges: if has(FLAG_SOURCES) {
                    ranges.get(&frontend.service).copied().unwrap_or_default()
                } else {
                    0
                },
                affinity_seconds: frontend.affinity_seconds,
                id: frontend.service,
            };
            (key, row)
        })
        .collect();
    rows.sort_by(|(ka, a), (kb, b)| {
        let order = |row: &ServiceRow| (row.service.clone(), rank(row.kind));
        order(a).cmp(&order(b)).then(ka.cmp(kb))
    });
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

impl SetRow {
    fn new(
        set: BackendSet,
        drop: bool,
        sets: &BTreeMap<u32, BTreeMap<u32, u32>>,
        backends: &BTreeMap<u32, Known>,
    ) -> Self {
        let mut row = Self {
            set: set.id,
            backends: Vec::new(),
            otherwise: if drop { "drop" } else { "reject" },
            broken: Vec::new(),
        };
        let mut found: Vec<&Known> = Vec::new();
        for index in 0..set.count {
            let id = sets.get(&set.id).and_then(|s| s.get(&index));
            match id.and_then(|id| backends.get(id)) {
                Some(backend) => found.push(backend),
                None => row.broken.push(index),
            }
        }
        found.sort();
        let texts = found.iter().map(|(server, _)| {
            let local = if server.local { "*" } else { "" };
            format!("{}{local}", socket(server))
        });
        row.backends.extend(texts);
        row
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

const KINDS: [(u32, &str); 5] = [
    (FLAG_CLUSTER_IP, "ClusterIP"),
    (FLAG_NODE_PORT, "NodePort"),
    (FLAG_LOAD_BALANCER, "LoadBalancer"),
    (FLAG_EXTERNAL_IP, "ExternalIP"),
    (FLAG_HOST_PORT, "HostPort"),
];

fn kind(frontend: &Frontend) -> &'static str {
    let kind = KINDS.iter().find(|(flag, _)| frontend.flags & flag != 0);
    kind.map_or("?", |(_, name)| name)
}

fn rank(kind: &str) -> usize {
    KINDS
        .iter()
        .position(|(_, name)| *name == kind)
        .unwrap_or(KINDS.len())
}
