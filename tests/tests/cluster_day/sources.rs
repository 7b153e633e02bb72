//! Whom load balancers' addresses serve (`spec.loadBalancerSourceRanges`), as kube-proxy has it
//! (`pkg/proxy/nftables/proxier.go`, `pkg/proxy/serviceport.go`), and which addresses are Services'.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Result, ensure};
use ipnetwork::IpNetwork;
use proxy_agent::datapath::Table as _;
use proxy_common::{
    address::{octets4, octets6},
    vips::{VIP_CLUSTER_IP, VIP_SERVED},
};
use serde_json::Value;
use weir_tests::{datapath::reader, world::Node};

use super::{
    model::{HERE, Model, list, parsed, text},
    services::Claim,
};

/// Addresses to which no load balancer in between sends.
pub(crate) fn balancers(service: &Value, ipv6: bool) -> Vec<IpAddr> {
    let ingress = list(service, "/status/loadBalancer/ingress").iter();
    let vips = ingress.filter(|i| text(i, "/ipMode") != "Proxy");
    let vips = vips.filter_map(|i| parsed::<IpAddr>(text(i, "/ip")));
    vips.filter(|ip| ip.is_ipv6() == ipv6).collect()
}

impl Model {
    /// Ranges of one family that alone may use the load balancer's addresses; none: everybody may. Where the node's own
    /// address is in one, those addresses may be sources.
    pub(crate) fn sources(&self, service: &Value, ipv6: bool) -> BTreeSet<IpNetwork> {
        let ranges = list(service, "/spec/loadBalancerSourceRanges").iter();
        let ranges = ranges.filter_map(|r| parsed::<IpNetwork>(r.as_str()?.trim()));
        let ranges = ranges.filter(|range| range.is_ipv6() == ipv6);
        let ranges = ranges.filter_map(|r| IpNetwork::new(r.network(), r.prefix()).ok());
        let mut ranges: BTreeSet<IpNetwork> = ranges.collect();
        let own = self.nodes.get(HERE).and_then(|node| node.internal(ipv6));
        if own.is_some_and(|own| ranges.iter().any(|range| range.contains(own))) {
            ranges.extend(balancers(service, ipv6).into_iter().map(IpNetwork::from));
        }
        ranges
    }
}

/// Entries of `SOURCES*`, by the name of their Service port.
pub(crate) type Sources = BTreeSet<(String, IpNetwork)>;

/// Whether the ranges, as `dump sources` has them, are these.
pub(crate) fn same_sources(rows: &[Value], wanted: &Sources) -> Result<()> {
    let rows = rows.iter().map(|row| {
        let range = parsed(text(row, "/range"));
        Some((text(row, "/service").to_owned(), range?))
    });
    let actual: Option<Sources> = rows.collect();
    ensure!(
        actual.as_ref() == Some(wanted),
        "source ranges {actual:?}, wanted {wanted:?}"
    );
    Ok(())
}

/// What is asked where an address has no frontend for a port.
#[derive(Debug, Default)]
pub(crate) struct Vips {
    bits: BTreeMap<IpAddr, u32>,
    /// Whether anybody serves there is not for the model to say.
    unclear: BTreeSet<IpAddr>,
}

impl Vips {
    /// Takes note of who has a frontend.
    pub(crate) fn note(&mut self, frontend: &str, claim: &Claim) {
        let at = frontend.split('/').next().and_then(parsed::<SocketAddr>);
        // Those of the node are no Service's.
        let Some(at) = at.filter(|_| claim.id.is_some()) else {
            return;
        };
        let bits = self.bits.entry(at.ip()).or_default();
        if claim.kind == "ClusterIP" {
            *bits |= VIP_CLUSTER_IP;
        }
        if claim.unclear {
            self.unclear.insert(at.ip());
        } else if !(claim.internal.backends.is_empty() && claim.external.backends.is_empty()) {
            *bits |= VIP_SERVED;
        }
    }

    /// Whether the maps hold this.
    pub(crate) fn same(&self, node: &Node) -> Result<()> {
        let reader = reader(node)?;
        let maps = reader.maps();
        let v4 = maps.vips4.entries()?.into_iter();
        let v4 = v4.map(|(address, bits)| (IpAddr::from(octets4(address)), bits));
        let v6 = maps.vips6.entries()?.into_iter();
        let v6 = v6.map(|(address, bits)| (IpAddr::from(octets6(address)), bits));
        let actual: BTreeMap<IpAddr, u32> = v4.chain(v6).collect();
        let all: BTreeSet<&IpAddr> = actual.keys().chain(self.bits.keys()).collect();
        for address in all {
            let of = |bits: &BTreeMap<IpAddr, u32>| {
                let bits = bits.get(address).copied().unwrap_or(0);
                if self.unclear.contains(address) {
                    bits & !VIP_SERVED
                } else {
                    bits
                }
            };
            let (actual, wanted) = (of(&actual), of(&self.bits));
            ensure!(
                actual == wanted,
                "address {address} has bits {actual:#b}, wanted {wanted:#b}"
            );
        }
        Ok(())
    }
}
