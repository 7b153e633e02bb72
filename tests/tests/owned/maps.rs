//! What somebody writes into maps.

use proxy_agent::{
    agent::owned::Care,
    datapath::{Table as _, Words as _},
};
use proxy_common::policy::words::{PolicyWord, ROW_DENY_ALL};
use weir_tests::datapath::reader;

use super::lab::Lab;

/// An address that is gone and one that is none, and another configuration.
pub(crate) fn node(lab: &Lab, care: &Care) {
    let node = lab.node();
    let read = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let mut addresses = maps.node_addresses4.entries().unwrap();
        addresses.sort_unstable();
        let links = maps.links.entries().unwrap();
        (addresses, links, maps.node_config.get(&0).unwrap())
    };
    let before = read();
    let harm = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let (mut addresses, mut config) = (maps.node_addresses4.clone(), maps.node_config.clone());
        let mut links = maps.links.clone();
        links.remove(&before.1[0].0).unwrap();
        links.set(&9999, &before.1[0].1).unwrap();
        let [(own, _), ..] = before.0[..] else {
            panic!("no addresses");
        };
        addresses.remove(&own).unwrap();
        addresses.set(&0x0101_0101, &7).unwrap();
        let mut wrong = before.2.unwrap();
        wrong.address4 = 0;
        config.set(&0, &wrong).unwrap();
    };
    lab.heals(care, harm, || read() == before);
}

/// Entries of Services', pods' and policy's maps: some are gone, some are none, and an endpoint is open to all.
pub(crate) fn entries(lab: &Lab, care: &Care) {
    let node = lab.node();
    let read = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let mut frontends = maps.frontends4.entries().unwrap();
        frontends.sort_by_key(|(key, _)| *key);
        let mut slots = maps.backend_slots.entries().unwrap();
        slots.sort_unstable();
        let mut pods = maps.local_pods4.entries().unwrap();
        pods.sort_unstable();
        let rows = pods.iter().map(|(_, id)| {
            let word = PolicyWord::unpack(maps.policy_words.get(*id));
            // What is judged anew has another epoch.
            (word.ingress_row, word.egress_row)
        });
        let rows: Vec<(u32, u32)> = rows.collect();
        (frontends, slots, pods, rows)
    };
    let before = read();
    let (frontends, slots, pods, _) = &before;
    let services = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        maps.frontends4.clone().remove(&frontends[0].0).unwrap();
        maps.backend_slots.clone().set(&slots[0].0, &9999).unwrap();
    };
    let of_pods = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let mut local = maps.local_pods4.clone();
        local.remove(&pods[0].0).unwrap();
        local.set(&0x0101_0101, &7).unwrap();
    };
    let policy = || {
        let reader = reader(node).unwrap();
        let maps = reader.maps();
        let (id, mut words) = (pods[0].1, maps.policy_words.clone());
        let word = PolicyWord::unpack(words.get(id));
        let denied = PolicyWord {
            ingress_row: ROW_DENY_ALL,
            egress_row: ROW_DENY_ALL,
            ..word
        };
        words.set(id, denied.pack());
    };
    for harm in [&services as &dyn Fn(), &of_pods, &policy] {
        lab.heals(care, harm, || read() == before);
    }
}
