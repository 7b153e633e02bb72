//! What is looked at of the maps: addresses, source ranges, members.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use proxy_common::{
    address::{octets4, octets6},
    backends::{MEMBER_LINGERS, MemberKey, SlotKey},
    frontends::{FLAG_CLUSTER_IP, FLAG_MEMBERS, FLAG_SOURCES, Frontend},
    maglev::{MaglevKey, chunks},
    vips::{VIP_CLUSTER_IP, VIP_SERVED},
};

use super::{
    World,
    wanted::{Serving, Want},
};
use crate::{
    datapath::table::Table as _,
    service::{key::FrontendKey, sources::Source},
};

impl World {
    /// A frontend is led to a whole table of its set.
    pub(super) fn check_table(&self, key: &FrontendKey, frontend: &Frontend, after: &str) {
        let (set, size) = (frontend.external.id, frontend.maglev as u16);
        for chunk in 0..chunks(size) {
            let at = MaglevKey { set, size, chunk };
            let found = self.maps.maglev.get(&at).unwrap();
            assert!(found.is_some(), "after {after}: {key} lacks {at:?}");
        }
    }

    /// Each address of a Service is known, whoever serves there.
    pub(super) fn check_vips(&self) {
        let mut wanted: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for (key, frontend) in self.frontends() {
            let served = frontend.internal.count + frontend.external.count > 0;
            let cluster_ip = frontend.flags & FLAG_CLUSTER_IP != 0;
            let bits = wanted.entry(key.address()).or_default();
            *bits |= if served { VIP_SERVED } else { 0 };
            *bits |= if cluster_ip { VIP_CLUSTER_IP } else { 0 };
        }
        wanted.retain(|address, bits| !address.is_unspecified() && *bits != 0);
        let v4 = self.maps.vips4.entries().unwrap().into_iter();
        let v6 = self.maps.vips6.entries().unwrap().into_iter();
        let v4 = v4.map(|(address, bits)| (IpAddr::from(octets4(address)), bits));
        let v6 = v6.map(|(address, bits)| (IpAddr::from(octets6(address)), bits));
        let live: BTreeMap<IpAddr, u32> = v4.chain(v6).collect();
        assert_eq!(live, wanted, "addresses of Services");
    }

    /// Nobody comes in who could in no state, nobody is kept out who could in each.
    pub(super) fn check_sources(
        &self,
        frontend: &Frontend,
        states: &[BTreeSet<IpNetwork>],
        what: &str,
    ) {
        if frontend.flags & FLAG_SOURCES == 0 {
            let may_be_open = states.iter().any(BTreeSet::is_empty);
            assert!(may_be_open, "{what} serves everybody");
            return;
        }
        let v4 = self.maps.sources4.entries().unwrap().into_iter();
        let v6 = self.maps.sources6.entries().unwrap().into_iter();
        let all = v4
            .map(|(key, _)| Source::V4(key))
            .chain(v6.map(|(key, _)| Source::V6(key)));
        let own = all.filter(|source| source.service() == frontend.service);
        let live: BTreeSet<IpNetwork> = own.map(|source| source.range().unwrap()).collect();
        let known: BTreeSet<IpNetwork> = states.iter().flatten().copied().collect();
        assert!(
            live.is_subset(&known),
            "{what} serves {live:?} of {known:?}"
        );
        let restricted = states.iter().filter(|state| !state.is_empty());
        let always = restricted
            .cloned()
            .reduce(|a, b| &a & &b)
            .unwrap_or_default();
        assert!(
            always.is_subset(&live),
            "{what} serves {live:?} without {always:?}"
        );
    }

    /// `BACKEND_MEMBERS` says of each slot's backend where it is, and who has none but serves on.
    pub(super) fn check_members(&self, key: &FrontendKey, frontend: &Frontend, want: &Want) {
        for (side, set) in [frontend.internal, frontend.external]
            .into_iter()
            .enumerate()
        {
            let members = self.maps.members.entries().unwrap();
            let members = members.iter().filter(|(k, _)| k.set == set.id);
            if frontend.flags & FLAG_MEMBERS == 0 {
                assert_eq!(members.count(), 0, "{key} keeps members");
                continue;
            }
            let lingering = self.members().remove(&set.id).unwrap_or_default();
            let lingering = lingering.into_iter().filter(|(_, lingers)| *lingers);
            let lingering: Serving = lingering.map(|(server, _)| server).collect();
            assert_eq!(lingering, want.lingering[side], "{key}");
            let slots = members.filter(|(_, slot)| *slot != MEMBER_LINGERS);
            assert_eq!(slots.count(), set.count as usize, "members of {key}");
            for index in 0..set.count {
                let slot = SlotKey { set: set.id, index };
                let backend = self.maps.slots.get(&slot).unwrap().unwrap();
                let member = MemberKey {
                    set: set.id,
                    backend,
                };
                assert_eq!(
                    self.maps.members.get(&member).unwrap(),
                    Some(index),
                    "{key}"
                );
            }
        }
    }
}
