//! The pods behind the endpoints: from the watch, else from a live read, else as last seen.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{LocalEndpoint, subject::Subject};
use crate::model::{ObjectName, Pod, Snapshot};

/// An endpoint and its pod.
#[derive(Clone, Debug)]
pub struct Local {
    /// The pod's name.
    pub pod: ObjectName,
    /// Its UID, if the runtime said.
    pub uid: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// The pod as policies select it; none while nobody has seen it.
    pub subject: Option<Arc<Subject>>,
    source: Option<Arc<Pod>>,
}

/// All endpoints by id.
pub type Locals = BTreeMap<u32, Local>;

/// Finds the pods of all endpoints. What is unchanged is shared with `before`.
pub fn find(endpoints: &[LocalEndpoint], snapshot: &Snapshot, before: &Locals) -> Locals {
    endpoints
        .iter()
        .map(|endpoint| {
            (
                endpoint.id,
                local(endpoint, snapshot, before.get(&endpoint.id)),
            )
        })
        .collect()
}

fn local(endpoint: &LocalEndpoint, snapshot: &Snapshot, before: Option<&Local>) -> Local {
    let before = before.filter(|b| b.pod == endpoint.pod && b.uid == endpoint.uid);
    let source = snapshot.pods.get(&endpoint.pod);
    let source = source.filter(|pod| pod.is(&endpoint.uid));
    Local {
        pod: endpoint.pod.clone(),
        uid: endpoint.uid.clone(),
        ips: endpoint.ips.clone(),
        subject: subject(endpoint, source, before),
        source: source.cloned(),
    }
}

fn subject(
    endpoint: &LocalEndpoint,
    source: Option<&Arc<Pod>>,
    before: Option<&Local>,
) -> Option<Arc<Subject>> {
    let known = before.and_then(|b| b.subject.clone());
    let is_same = |pod: &Arc<Pod>| {
        let last = before.and_then(|b| b.source.as_ref());
        last.is_some_and(|last| Arc::ptr_eq(last, pod))
    };
    let (labels, ports) = match (source, &endpoint.fetched) {
        (Some(pod), _) if is_same(pod) => return known,
        (Some(pod), _) => (&pod.labels, &pod.named_ports),
        (None, _) if known.is_some() => return known,
        (None, Some(fetched)) => (&fetched.labels, &fetched.named_ports),
        (None, None) => return None,
    };
    let subject = Subject {
        namespace: endpoint.pod.namespace().into(),
        labels: labels.clone(),
        ports: ports.clone(),
    };
    Some(
        known
            .filter(|k| **k == subject)
            .unwrap_or_else(|| Arc::new(subject)),
    )
}

/// Whether policies select the same pods.
pub fn same(a: &Locals, b: &Locals) -> bool {
    let subject = |l: &Local| l.subject.as_ref().map(Arc::as_ptr);
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|((i, a), (j, b))| i == j && a.pod == b.pod && subject(a) == subject(b))
}

/// Whose the addresses of the endpoints are.
pub fn owners(locals: &Locals) -> HashMap<IpAddr, Option<Arc<Subject>>> {
    let each = locals.values();
    each.flat_map(|l| l.ips.iter().map(|ip| (*ip, l.subject.clone())))
        .collect()
}
