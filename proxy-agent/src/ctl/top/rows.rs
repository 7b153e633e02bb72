//! Rows of `proxyctl top`.

use std::{collections::BTreeMap, time::Duration};

use proxy_common::{
    conntrack::ENDPOINT_HOST,
    counters::{reason_meaning, reason_name},
};
use serde::Serialize;

use super::count::{Half, OfPod, OfReason, OfService};
use crate::{
    api::messages::Names,
    ctl::{output::Row, render::words::named},
};

/// A row of rates: a name in the first column, in all others what rows can be sorted by.
pub trait Rate: Row {
    /// The numbers, as many as there are columns after the first.
    fn numbers(&self) -> Vec<f64>;
}

/// A Service port, for the flows of a family.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRate {
    /// `namespace/name:port`.
    pub service: String,
    /// Flows that began, whose packets ask for the Service.
    pub new_per_second: f64,
    /// Those that ended.
    pub ended_per_second: f64,
    /// Those that live.
    pub flows: u64,
    /// Of these, those in which both sides speak.
    pub established: u64,
    /// Flows that began, straight to one of its backends: a socket hook chose it, or it was asked for by its address.
    pub straight_new_per_second: f64,
    /// Those that live.
    pub straight_flows: u64,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
}

/// Families in the order of their numbers.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// A pod of this node, or the node itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRate {
    /// `namespace/pod`, or `node`.
    pub pod: String,
    /// Flows that it began.
    pub asked_per_second: f64,
    /// Flows that others began with it.
    pub served_per_second: f64,
    /// Flows that ended.
    pub ended_per_second: f64,
    /// Flows that live.
    pub flows: u64,
    /// Of these, those in which both sides speak.
    pub established: u64,
}

/// A reason for drops.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DropRate {
    /// Its name.
    pub reason: &'static str,
    /// Packets.
    pub packets_per_second: f64,
    /// Bytes.
    pub bytes_per_second: f64,
    /// Packets since the maps were made.
    pub packets: u64,
    /// Bytes since then.
    pub bytes: u64,
    /// What the reason means.
    pub meaning: &'static str,
}

impl Row for ServiceRate {
    const KIND: &'static str = "TopServices";
    const COLUMNS: &'static [&'static str] = &[
        "SERVICE",
        "NEW/S",
        "ENDED/S",
        "FLOWS",
        "ESTABLISHED",
        "STRAIGHT/S",
        "STRAIGHT",
        "FAMILY",
    ];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        vec![
            self.service.clone(),
            rate(self.new_per_second),
            rate(self.ended_per_second),
            self.flows.to_string(),
            self.established.to_string(),
            rate(self.straight_new_per_second),
            self.straight_flows.to_string(),
            self.family.to_owned(),
        ]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.service, self.family)
    }
}

impl Rate for ServiceRate {
    fn numbers(&self) -> Vec<f64> {
        vec![
            self.new_per_second,
            self.ended_per_second,
            number(self.flows),
            number(self.established),
            self.straight_new_per_second,
            number(self.straight_flows),
            // The largest is first: IPv4.
            if self.family == FAMILIES[0] { 1.0 } else { 0.0 },
        ]
    }
}

impl Row for PodRate {
    const KIND: &'static str = "TopPods";
    const COLUMNS: &'static [&'static str] = &[
        "POD",
        "ASKED/S",
        "SERVED/S",
        "ENDED/S",
        "FLOWS",
        "ESTABLISHED",
    ];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        vec![
            self.pod.clone(),
            rate(self.asked_per_second),
            rate(self.served_per_second),
            rate(self.ended_per_second),
            self.flows.to_string(),
            self.established.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.pod.clone()
    }
}

impl Rate for PodRate {
    fn numbers(&self) -> Vec<f64> {
        vec![
            self.asked_per_second,
            self.served_per_second,
            self.ended_per_second,
            number(self.flows),
            number(self.established),
        ]
    }
}

impl Row for DropRate {
    const KIND: &'static str = "TopDrops";
    const COLUMNS: &'static [&'static str] =
        &["REASON", "PACKETS/S", "BYTES/S", "PACKETS", "BYTES"];
    const WIDE: &'static [&'static str] = &["MEANING"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.reason.to_owned(),
            rate(self.packets_per_second),
            rate(self.bytes_per_second),
            self.packets.to_string(),
            self.bytes.to_string(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![self.meaning.to_owned()]
    }

    fn name(&self) -> String {
        self.reason.to_owned()
    }
}

impl Rate for DropRate {
    fn numbers(&self) -> Vec<f64> {
        vec![
            self.packets_per_second,
            self.bytes_per_second,
            number(self.packets),
            number(self.bytes),
        ]
    }
}

/// To one place, which columns have room for.
fn rate(number: f64) -> String {
    format!("{number:.1}")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shown to one place, and sorted by"
)]
const fn number(count: u64) -> f64 {
    count as f64
}

fn per_second(count: u64, over: Duration) -> f64 {
    // Two looks are never at one moment.
    number(count) / over.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Of what was counted over a time.
pub fn services(
    counts: BTreeMap<Half, OfService>,
    names: &Names,
    over: Duration,
) -> Vec<ServiceRate> {
    let rows = counts.into_iter().map(|((id, family), count)| ServiceRate {
        service: named(&names.services, id),
        new_per_second: per_second(count.asked.begun, over),
        ended_per_second: per_second(count.asked.ended, over),
        flows: count.asked.live,
        established: count.asked.established,
        straight_new_per_second: per_second(count.straight.begun, over),
        straight_flows: count.straight.live,
        family: FAMILIES[family],
    });
    rows.collect()
}

/// Of what was counted over a time.
pub fn pods(counts: BTreeMap<u16, OfPod>, names: &Names, over: Duration) -> Vec<PodRate> {
    let name = |id| match id {
        ENDPOINT_HOST => "node".to_owned(),
        id => named(&names.endpoints, id.into()),
    };
    let rows = counts.into_iter().map(|(id, count)| PodRate {
        pod: name(id),
        asked_per_second: per_second(count.asked, over),
        served_per_second: per_second(count.served, over),
        ended_per_second: per_second(count.all.ended, over),
        flows: count.all.live,
        established: count.all.established,
    });
    rows.collect()
}

/// Of what was counted over a time.
pub fn drops(counts: BTreeMap<u32, OfReason>, over: Duration) -> Vec<DropRate> {
    let rows = counts.into_iter().map(|(reason, count)| DropRate {
        reason: reason_name(reason),
        packets_per_second: per_second(count.lately.packets, over),
        bytes_per_second: per_second(count.lately.bytes, over),
        packets: count.ever.packets,
        bytes: count.ever.bytes,
        meaning: reason_meaning(reason),
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ctl::{
        output::Row,
        top::order::{Order, arrange, column},
    };

    /// A port of two families that has a name, one that has none, and one of the same numbers.
    fn rates() -> Vec<ServiceRate> {
        let mut names = Names::default();
        for id in [7, 8] {
            names.services.insert(id, "demo/web:h".to_owned());
        }
        let halves = [(7, 0), (8, 1), (9, 0), (9, 1)];
        let counts = halves.map(|half| (half, OfService::default()));
        services(counts.into(), &names, Duration::from_secs(1))
    }

    #[test]
    fn the_halves_of_a_service_port_are_told_apart_in_every_form() {
        let rows = rates();
        let names: Vec<String> = rows.iter().map(Row::name).collect();
        assert_eq!(
            names,
            ["demo/web:h/IPv4", "demo/web:h/IPv6", "#9/IPv4", "#9/IPv6"]
        );
        let cells: BTreeSet<Vec<String>> = rows.iter().map(Row::cells).collect();
        assert_eq!(cells.len(), rows.len());
        let families: Vec<serde_json::Value> = rows
            .iter()
            .map(|row| serde_json::to_value(row).unwrap()["family"].clone())
            .collect();
        assert_eq!(families, ["IPv4", "IPv6", "IPv4", "IPv6"]);
    }

    #[test]
    fn they_are_sorted_and_kept_by_family_too() {
        let order = |head: &str| Order {
            column: column(ServiceRate::COLUMNS, head).unwrap(),
            reversed: false,
        };
        let names = |filter: &str, head: &str| -> Vec<String> {
            let rows = arrange(rates(), filter, order(head));
            rows.iter().map(Row::name).collect()
        };
        assert_eq!(names("ipv6", "new"), ["#9/IPv6", "demo/web:h/IPv6"]);
        let all = ["#9/IPv4", "demo/web:h/IPv4", "#9/IPv6", "demo/web:h/IPv6"];
        assert_eq!(names("", "family"), all);
        assert_eq!(names("", "flows"), all, "alike in all numbers");
        for row in rates() {
            assert_eq!(row.numbers().len() + 1, ServiceRate::COLUMNS.len());
        }
    }
}
