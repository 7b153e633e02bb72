//! `dump affinity`: which backend served a client last.

use proxy_common::affinity::CLIENT_NETNS;
use serde::Serialize;

use super::words::{ip6, named};
use crate::{
    api::messages::Names,
    ctl::output::Row,
    datapath::{Maps, Table as _, TableError, clock},
};

/// One entry of `AFFINITY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AffinityRow {
    /// The Service port.
    pub service: String,
    /// The client's address, or the cookie of its network namespace.
    pub client: String,
    /// Id of the backend.
    pub backend: u32,
    /// Seconds since it was used.
    pub idle_seconds: u32,
}

impl Row for AffinityRow {
    const KIND: &'static str = "AffinityList";
    const COLUMNS: &'static [&'static str] = &["SERVICE", "CLIENT", "BACKEND", "IDLE"];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        vec![
            self.service.clone(),
            self.client.clone(),
            self.backend.to_string(),
            format!("{}s", self.idle_seconds),
        ]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.service, self.client)
    }
}

/// All affinities, sorted.
pub fn rows(maps: &Maps, names: &Names) -> Result<Vec<AffinityRow>, TableError> {
    let now = clock::seconds();
    let entries = maps.affinity.entries()?.into_iter();
    let mut rows: Vec<_> = entries
        .map(|(key, value)| AffinityRow {
            service: named(&names.services, key.service),
            client: match key.client {
                [CLIENT_NETNS, _, high, low] => {
                    format!("netns:{}", u64::from(high) << 32 | u64::from(low))
                }
                address => ip6(address).to_string(),
            },
            backend: value.backend,
            idle_seconds: now.saturating_sub(value.last_used),
        })
        .collect();
    rows.sort();
    Ok(rows)
}
