//! What the own Node tells schedulers of its network: the condition `NetworkUnavailable`, and the taint that is there until
//! the node is ready for pods.
//!
//! Kubelets with a cloud provider set the condition True at start, and pods are not scheduled until whoever makes the network
//! sets it False (the taint `node.kubernetes.io/network-unavailable`).

use std::time::Duration;

use tokio::time::Instant;

use super::own_object::OwnObject;
use crate::{
    model::{NetworkUnavailable, Node},
    observe::kubernetes::NodeWriter,
    watchdog::Watchdog,
};

/// How long pods must have been without a network before it is said: a start, or a file that comes and goes, is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// When True is said again to who says otherwise: a route controller of a cloud has its own opinion.
const AGAIN: Duration = Duration::from_mins(1);

const SAID: (&str, &str) = (
    "condition NetworkUnavailable set",
    "condition NetworkUnavailable not set",
);
const TAKEN: (&str, &str) = (
    "taint weir.dev/agent-not-ready taken away",
    "taint weir.dev/agent-not-ready not taken away",
);

/// Writes them, once the API server is known. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct NodeCondition {
    condition: OwnObject,
    taint: OwnObject,
}

/// Whether new pods get a network here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// That is not known yet: what was said before stands.
    Unknown,
    /// They do.
    Up,
    /// They do not, for a reason, in a word and in more.
    Down(&'static str, String),
}

/// What is to be said, by what was so before.
#[derive(Debug, Default)]
pub struct Statement {
    /// Since when there is no network.
    down: Option<Instant>,
    /// What of it was written last.
    written: Option<(NetworkUnavailable, Instant)>,
}

impl Statement {
    /// What the Node is to show, if it shows something else and that is to be said now.
    pub fn of(
        &mut self,
        network: &Network,
        shown: Option<&NetworkUnavailable>,
        now: Instant,
    ) -> Option<NetworkUnavailable> {
        match network {
            Network::Unknown => None,
            Network::Up => {
                *self = Self::default();
                // Who else says False may do so.
                let stands = shown.is_some_and(|shown| !shown.is_true);
                (!stands).then(NetworkUnavailable::no)
            }
            Network::Down(reason, message) => {
                let since = *self.down.get_or_insert(now);
                if now.saturating_duration_since(since) < PATIENCE {
                    return None;
                }
                let wanted = NetworkUnavailable::yes(reason, message);
                let fresh = |(said, at): &(NetworkUnavailable, Instant)| {
                    *said == wanted && now.saturating_duration_since(*at) < AGAIN
                };
                if shown == Some(&wanted) || self.written.as_ref().is_some_and(fresh) {
                    return None;
                }
                self.written = Some((wanted.clone(), now));
                Some(wanted)
            }
        }
    }
}

impl NodeCondition {
    /// From now on writes with this one.
    pub fn begin(&self, watchdog: &Watchdog, writer: NodeWriter) {
        let what = "the Node's condition";
        self.condition.begin(watchdog, what, writer.clone());
        self.taint.begin(watchdog, "the Node's taints", writer);
    }

    /// Sets the condition, without waiting for it. To be called again while the Node shows another.
    pub fn say(&self, node: &Node, network: NetworkUnavailable) {
        let shown = node.network_unavailable.as_ref();
        let turns = shown.is_none_or(|shown| shown.is_true != network.is_true);
        let node = node.name.clone();
        self.condition.write(SAID, |writer| async move {
            writer.network(&node, &network, turns).await
        });
    }

    /// Takes the taint away, without waiting for it. To be called again while the Node has it.
    pub fn take_taint(&self, node: &Node) {
        let node = node.name.clone();
        self.taint.write(
            TAKEN,
            |writer| async move { writer.take_taint(&node).await },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(why: &str) -> Network {
        Network::Down(NetworkUnavailable::RIVAL, why.to_owned())
    }

    fn said(why: &str) -> NetworkUnavailable {
        NetworkUnavailable::yes(NetworkUnavailable::RIVAL, why)
    }

    #[test]
    fn a_start_says_nothing_and_what_lasts_is_said() {
        let (mut statement, begin) = (Statement::default(), Instant::now());
        let up = NetworkUnavailable::no();
        let mut at = |seconds, network: &Network, shown: Option<&NetworkUnavailable>| {
            statement.of(network, shown, begin + Duration::from_secs(seconds))
        };
        assert_eq!(at(0, &Network::Unknown, Some(&up)), None);
        assert_eq!(at(1, &down("x"), Some(&up)), None, "a start");
        assert_eq!(at(29, &Network::Up, Some(&up)), None);
        assert_eq!(at(30, &down("x"), Some(&up)), None, "anew");
        assert_eq!(at(60, &down("x"), Some(&up)), Some(said("x")));
        assert_eq!(at(65, &down("x"), Some(&said("x"))), None, "it stands");
        assert_eq!(at(66, &down("y"), Some(&said("x"))), Some(said("y")));
        assert_eq!(at(70, &Network::Up, Some(&said("y"))), Some(up));
    }

    #[test]
    fn who_says_otherwise_is_let_and_not_fought() {
        let (mut statement, begin) = (Statement::default(), Instant::now());
        let routes = NetworkUnavailable {
            is_true: false,
            reason: "RouteCreated".to_owned(),
            message: String::new(),
        };
        let mut at = |seconds, network: &Network, shown: Option<&NetworkUnavailable>| {
            statement.of(network, shown, begin + Duration::from_secs(seconds))
        };
        assert_eq!(at(0, &Network::Up, Some(&routes)), None);
        assert_eq!(at(0, &Network::Up, None), Some(NetworkUnavailable::no()));
        assert_eq!(at(0, &down("x"), Some(&routes)), None);
        assert_eq!(at(30, &down("x"), Some(&routes)), Some(said("x")));
        assert_eq!(at(35, &down("x"), Some(&routes)), None);
        assert_eq!(at(90, &down("x"), Some(&routes)), Some(said("x")));
    }
}
