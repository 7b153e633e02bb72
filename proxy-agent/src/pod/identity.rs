//! Whose endpoints are of which only the interface is known: the interface names a pod, and the API server knows which pod of
//! this node has which addresses. Policy goes by a pod only while nothing says that it is another.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    Pods,
    local::{Identity, Local},
    pods::name,
};
use crate::{
    model::{Kind, ObjectName, Pod},
    subject::Turn,
};

impl Pods {
    /// Looks for the pods of endpoints that are not known well. True: some are known better.
    pub(super) fn identify(&mut self, turn: &Turn<'_>) -> bool {
        let all = turn.relisted || !self.compared;
        let snapshot = turn.snapshot;
        let is_news = all || !turn.dirty.pods.is_empty();
        if !is_news || !snapshot.complete.has(&[Kind::Pod]) {
            return false;
        }
        self.compared = true;
        let is_unsure = |local: &Local| local.identity != Identity::Known;
        if !self.known.values().any(is_unsure) {
            return false;
        }
        // A pod of several interfaces is told by the addresses of one.
        let mut ips: BTreeMap<ObjectName, Vec<IpAddr>> = BTreeMap::new();
        for local in self.known.values() {
            let of_pod = ips.entry(name(&local.add)).or_default();
            of_pod.extend(&local.add.ips);
        }
        let mut changed = false;
        for local in self.known.values_mut().filter(|local| is_unsure(local)) {
            let named = name(&local.add);
            let named = (
                snapshot.pods.get(&named),
                ips.get(&named).map_or(&[][..], Vec::as_slice),
            );
            changed |= identify(local, named, &|ips| at(turn, all, ips));
        }
        changed
    }

    /// Those that are not known well, for people.
    pub(super) fn unsure(&self) -> Vec<String> {
        let locals = self.known.values();
        locals
            .filter_map(|local| Some(in_words(local, why(local, self.compared)?)))
            .collect()
    }
}

/// The pod that has such an address, among `all`, or those that have changed.
fn at<'a>(turn: &Turn<'a>, all: bool, ips: &[IpAddr]) -> Option<&'a Arc<Pod>> {
    let pods = &turn.snapshot.pods;
    if all {
        return pods.values().find(|pod| has(pod, ips));
    }
    let changed = turn.dirty.pods.iter().filter_map(|name| pods.get(name));
    changed.into_iter().find(|pod| has(pod, ips))
}

/// By the pod of its name, with the addresses of all interfaces here that name it, or by its own addresses.
fn identify<'a>(
    local: &mut Local,
    (named, ips): (Option<&'a Arc<Pod>>, &[IpAddr]),
    at: &dyn Fn(&[IpAddr]) -> Option<&'a Arc<Pod>>,
) -> bool {
    let own = named.filter(|pod| has(pod, ips));
    let own = own.or_else(|| at(&local.add.ips));
    let before = (local.identity, local.add.pod.clone());
    if let Some(pod) = own {
        local.identity = Identity::Known;
        become_pod(local, pod);
    } else if named.is_some_and(|pod| pod.ips.iter().next().is_some()) {
        local.identity = Identity::Stranger;
    } else {
        local.identity = Identity::Unsure;
    }
    before != (local.identity, local.add.pod.clone())
}

/// Whether a pod has such an address, and an interface of its own.
fn has(pod: &Arc<Pod>, ips: &[IpAddr]) -> bool {
    !pod.terminated && !pod.host_network && pod.ips.iter().any(|ip| ips.contains(&ip))
}

/// Takes over what the API server knows; the record follows.
fn become_pod(local: &mut Local, pod: &Pod) {
    let told = &mut local.add.pod;
    pod.name.namespace().clone_into(&mut told.namespace);
    pod.name.name().clone_into(&mut told.name);
    told.uid = pod.uid.to_string();
    tracing::info!(pod = %told, uid = told.uid, interface = local.add.host_ifname, "pod found whose record was lost");
    if let Some(record) = &mut local.record {
        record.add.pod.clone_from(told);
    }
}

/// Why one is not known well; none if it is.
const fn why(local: &Local, compared: bool) -> Option<&'static str> {
    match local.identity {
        Identity::Known => None,
        Identity::Unsure if compared => Some("the API server knows no pod with its addresses"),
        Identity::Unsure => Some("the API server has not yet said whose addresses it has"),
        Identity::Stranger => {
            Some("the pod of this name has other addresses: policy denies it all")
        }
    }
}

fn in_words(local: &Local, why: &str) -> String {
    let add = &local.add;
    let pod = match add.pod.name.as_str() {
        "" => "a pod".to_owned(),
        _ => format!("pod {}", add.pod),
    };
    let ips: Vec<String> = add.ips.iter().map(ToString::to_string).collect();
    format!(
        "the record of {pod} is lost, and of interface {} ({}) {why}: delete the pod, which makes it anew, if it does not come \
         to rest by itself",
        add.host_ifname,
        ips.join(", ")
    )
}
