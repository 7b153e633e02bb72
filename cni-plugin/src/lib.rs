//! Weir's CNI plugin: gives a pod its addresses and its interface.
//!
//! Synchronous and single-threaded on purpose: entering a network namespace and writing `/proc/sys/net` are
//! per-thread acts, and a runtime starts this program once per pod. It does addresses and wiring by itself
//! from files under [`paths::Paths`]; the agent is asked only for programs and policy, and only by ADD.
//!
//! The library is shared with the agent: [`rpc`] (what they say to each other), [`attachment`] and
//! [`node_file`] (what they write for each other), [`detach`], [`ledger`] and [`salvage`] (for the collector),
//! [`keep`] (for who knows what somebody has taken away).

pub mod attach;
pub mod attachment;
pub mod claim;
pub mod client;
pub mod clock;
pub mod detach;
pub mod heartbeat;
pub mod invoke;
pub mod ipam;
pub mod keep;
pub mod ledger;
pub mod leftovers;
pub mod log;
pub mod node_file;
pub mod paths;
pub mod protocol;
pub mod rpc;
pub mod salvage;
pub mod talk;
pub mod verbs;
pub mod wiring;

/// Where a person finds out more.
pub(crate) const LOGS_HINT: &str =
    "see 'kubectl -n kube-system logs -l app.kubernetes.io/name=weir' of the pod on this node";

#[cfg(test)]
mod tests {
    use super::LOGS_HINT;

    #[test]
    fn the_hint_selects_the_pods_of_the_manifest() {
        let manifest = include_str!("../../deploy/base/daemon-set.yaml");
        let (_, rest) = LOGS_HINT.split_once(" -l ").unwrap();
        let (selector, _) = rest.split_once('\'').unwrap();
        let label = selector.replacen('=', ": ", 1);
        // The last are the pods'.
        let labels = manifest.lines().rfind(|line| line.contains("labels: {"));
        assert!(labels.unwrap().contains(&label), "{label}");
    }
}
