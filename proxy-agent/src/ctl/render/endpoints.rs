//! `dump endpoints`: the pods of this node, as their interfaces' programs know them.

use std::collections::BTreeMap;

use cni_plugin::wiring::{bucket::Bucket, qdisc::Root, queue};
use proxy_common::policy::words::PolicyWord;
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
    /// Limit of what it sends, bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_limit: Option<u64>,
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
            rate(self.ingress_limit),
            rate(self.egress_limit),
        ]
    }

    fn name(&self) -> String {
        self.pod.clone()
    }
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
    let limit = |index| match roots.get(&index) {
        Some(Root::Ours(bucket)) => bucket.map(Bucket::bits),
        _ => None,
    };
    let entries = maps.endpoints.entries()?;
    let mut rows: Vec<_> = entries
        .into_iter()
        .map(|(id, endpoint)| {
            let word = PolicyWord::unpack(maps.policy_words.get(id));
            let v4 = (endpoint.address4 != 0).then(|| ip4(endpoint.address4));
            let v6 = (endpoint.address6 != [0; 4]).then(|| ip6(endpoint.address6));
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
                ingress_limit: limit(endpoint.ifindex),
                egress_limit: limit(queue::entry(endpoint.ifindex)),
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
