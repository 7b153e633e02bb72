//! What people are told of the pools.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Pools, announcer::OfLinks, asked::Given, speaker::Saying};
use crate::{
    api::messages::{AnnouncementStatus, GivenAddress, LoadBalancersStatus, PoolStatus},
    config::AddressPool,
};

impl Pools {
    pub(super) fn words(&self) -> LoadBalancersStatus {
        let pools = &self.shared.config.load_balancer.pools;
        if pools.is_empty() {
            return LoadBalancersStatus::default();
        }
        let links = OfLinks::get(&self.links);
        let leader = self.leader.get().clone();
        let refused = leader.refused.iter();
        let refused = refused.map(|(service, refusal)| format!("Service {service}: {refusal}"));
        let errors = links.values().filter_map(|saying| saying.error.clone());
        LoadBalancersStatus {
            pools: pools.iter().map(|pool| self.pool(pool)).collect(),
            leader: leader.leader,
            addresses: self
                .given
                .iter()
                .map(|(ip, given)| address(*ip, given, &links))
                .collect(),
            problems: leader
                .error
                .into_iter()
                .chain(refused)
                .chain(errors)
                .collect(),
        }
    }

    fn pool(&self, pool: &AddressPool) -> PoolStatus {
        let ranges = pool.addresses.iter();
        let size = ranges.fold(0_u128, |sum, range| sum.saturating_add(range.size()));
        let has = |ip: &&IpAddr| pool.addresses.iter().any(|range| range.contains(**ip));
        PoolStatus {
            name: pool.name.clone(),
            addresses: u64::try_from(size).unwrap_or(u64::MAX),
            given: self.given.keys().filter(has).count() as u64,
        }
    }
}

fn address(ip: IpAddr, given: &Given, links: &BTreeMap<String, Saying>) -> GivenAddress {
    let on = links.iter().filter_map(|(link, saying)| {
        let node = saying.elected.get(&ip)?;
        Some(AnnouncementStatus {
            link: link.clone(),
            node: node.clone(),
        })
    });
    GivenAddress {
        address: ip.to_string(),
        services: given.services.iter().map(ToString::to_string).collect(),
        announced: on.collect(),
    }
}
