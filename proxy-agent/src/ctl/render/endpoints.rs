//! `dump endpoints`: the pods of this node, as their interfaces' programs know them.

use std::collections::BTreeMap;

use cni_plugin::wiring::{
    qdisc::{Discipline, Root},
    queue,
};
use proxy_common::{pace::Pace, policy::words::PolicyWord};
use serde::Serialize;

use super::words::{ip4, ip6, mac, named};
use crate::{
    api::messages::Names,
    ctl::output::Row,
    datapath::{Maps, Table as _, TableError, Words as _},
};

/// One entry of `ENDPOINTS`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointRow {
    /// Endpoint id.
    pub id: u32,
    /// `namespace/pod`.
    pub pod: String,
    /// Addresses.
    pub addresses: Vec<String>,
    /// Interface index of the host side.
    pub ifindex: u32,
    /// `enforced`, or `unknown` while everything is denied.
    pub policy: &'static str,
    /// Hardware address of the pod's side.
    pub pod_mac: String,
    /// Hardware address of the host's side.
    pub host_mac: String,
    /// Row that judges flows begun by others.
    pub ingress_row: u32,
    /// Row that judges flows begun by the pod.
    pub egress_row: u32,
    /// Epoch of the policy.
    pub epoch: u32,
    /// Limit of what the pod is sent, bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_limit: Option<u64>,
    /// How: `edt` (times of departure, `fq`) or `bucket` (`tbf`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_way: Option<&'static str>,
    /// Limit of what it sends, bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_limit: Option<u64>,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_way: Option<&'static str>,
}

impl Row for EndpointRow {
    const KIND: &'static str = "EndpointList";
    const COLUMNS: &'static [&'static str] = &["ID", "POD", "ADDRESSES", "IFINDEX", "POLICY"];
    const WIDE: &'static [&'static str] = &[
        "POD-MAC",
        "HOST-MAC",
        "INGRESS-ROW",
        "EGRESS-ROW",
        "EPOCH",
        "INGRESS-LIMIT",
        "EGRESS-LIMIT",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.pod.clone(),
            self.addresses.join(","),
            self.ifindex.to_string(),
            self.policy.to_owned(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![
            self.pod_mac.clone(),
            self.host_mac.clone(),
            self.ingress_row.to_string(),
            self.egress_row.to_string(),
            self.epoch.to_string(),
            told(self.ingress_limit, self.ingress_way),
            told(self.egress_limit, self.egress_way),
        ]
    }

    fn name(&self) -> String {
        self.pod.clone()
    }
}

/// The limit at the root of an interface, bits per second, and how it is kept.
fn limit(
    index: u32,
    roots: &BTreeMap<u32, Root>,
    paces: &BTreeMap<u32, Pace>,
) -> Option<(u64, &'static str)> {
    match roots.get(&index)? {
        Root::Ours(Some(Discipline::Bucket(bucket))) => Some((bucket.bits(), "bucket")),
        Root::Ours(Some(Discipline::Departures)) => Some((paces.get(&index)?.rate * 8, "edt")),
        Root::Ours(None) | Root::Foreign => None,
    }
}

/// A limit and its way, for people.
fn told(limit: Option<u64>, way: Option<&str>) -> String {
    let rate = rate(limit);
    way.map_or_else(|| rate.clone(), |way| format!("{rate} {way}"))
}

/// A rate as annotations have it.
pub fn rate(bits: Option<u64>) -> String {
    let Some(bits) = bits else {
        return "-".to_owned();
    };
    let units = [(1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")];
    let whole = units.into_iter().find(|(unit, _)| bits % unit == 0);
    whole.map_or_else(
        || bits.to_string(),
        |(unit, name)| format!("{}{name}", bits / unit),
    )
}

/// All endpoints, by id, with the limits that are in the kernel: at the roots of which interfaces.
pub fn rows(
    maps: &Maps,
    names: &Names,
    roots: &BTreeMap<u32, Root>,
) -> Result<Vec<EndpointRow>, TableError> {
    let paces: BTreeMap<u32, Pace> = maps.paces.entries()?.into_iter().collect();
    let limit = |index| limit(index, roots, &paces);
    let entries = maps.endpoints.entries()?;
    let mut rows: Vec<_> = entries
        .into_iter()
        .map(|(id, endpoint)| {
            let word = PolicyWord::unpack(maps.policy_words.get(id));
            let v4 = (endpoint.address4 != 0).then(|| ip4(endpoint.address4));
            let v6 = (endpoint.address6 != [0; 4]).then(|| ip6(endpoint.address6));
            let ingress = limit(endpoint.ifindex);
            let egress = limit(queue::entry(endpoint.ifindex));
            EndpointRow {
                id,
                pod: named(&names.endpoints, id),
                addresses: v4.into_iter().chain(v6).map(|ip| ip.to_string()).collect(),
                ifindex: endpoint.ifindex,
                policy: if word.epoch == 0 {
                    "unknown"
                } else {
                    "enforced"
                },
                pod_mac: mac(endpoint.pod_mac),
                host_mac: mac(endpoint.host_mac),
                ingress_row: word.ingress_row,
                egress_row: word.egress_row,
                epoch: word.epoch,
                ingress_limit: ingress.map(|(rate, _)| rate),
                ingress_way: ingress.map(|(_, way)| way),
                egress_limit: egress.map(|(rate, _)| rate),
                egress_way: egress.map(|(_, way)| way),
            }
        })
        .collect();
    rows.sort();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_are_told_as_they_are_asked_for() {
        let told = [10_000_000, 1_500_000, 1000, 1_000_008].map(|bits| rate(Some(bits)));
        assert_eq!(told, ["10M", "1500k", "1k", "1000008"]);
        assert_eq!(rate(None), "-");
    }
}
