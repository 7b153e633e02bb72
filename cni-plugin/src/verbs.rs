//! The verbs of the protocol.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    LOGS_HINT,
    ipam::range,
    ledger,
    node_file::{NodeFile, boot_id},
    paths::{Paths, RUN_DIR, RUN_DIR_ENV},
    protocol::{
        config::Config,
        env::Call,
        error::{Error, code},
        version::Version,
    },
};

pub mod add;
pub mod check;
pub mod del;
pub mod gc;
pub mod loopback;
pub mod status;
pub mod version;

mod mtu;

/// A call with its configuration.
#[derive(Clone, Debug)]
pub struct Context {
    /// The environment.
    pub call: Call,
    /// The configuration.
    pub config: Config,
    /// Version to answer in.
    pub version: Version,
    /// Files shared with the agent.
    pub paths: Paths,
    /// When the call began.
    pub began: Instant,
}

impl Context {
    /// Of a validated configuration.
    pub fn new(call: Call, config: Config, version: Version, began: Instant) -> Self {
        Self {
            paths: paths(&config),
            call,
            config,
            version,
            began,
        }
    }

    fn after(&self, seconds: u64) -> Instant {
        self.began + Duration::from_secs(seconds)
    }
}

/// The files of a configuration's network.
pub fn paths(config: &Config) -> Paths {
    let folder = config
        .run_dir
        .clone()
        .map(PathBuf::from)
        .or_else(|| std::env::var_os(RUN_DIR_ENV).map(PathBuf::from));
    Paths::new(folder.unwrap_or_else(|| RUN_DIR.into()))
}

/// `node.json`, if it is of this boot and names ranges that can serve a pod.
pub fn node(paths: &Paths) -> Result<NodeFile, String> {
    let path = paths.node();
    let node = NodeFile::read(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    let boot = boot_id().map_err(|e| format!("read boot_id: {e}"))?;
    if node.boot_id != boot {
        return Err(format!("{} was written before this boot", path.display()));
    }
    if let Some(why) = &node.closed {
        return Err(format!("node {} takes no new pods: {why}", node.node));
    }
    if node.pod_cidrs.is_empty() {
        return Err(format!(
            "Node {} has no spec.podCIDRs (does kube-controller-manager run with --allocate-node-cidrs \
             and --cluster-cidr?)",
            node.node
        ));
    }
    for range in ledger::ranges(&node) {
        if !range::serves(range, &node.reserved) {
            return Err(format!(
                "range {range} of Node {} has no address for a pod",
                node.node
            ));
        }
    }
    mtu::check(&node)?;
    Ok(node)
}

fn uninitialised(verb_code: u32, cause: &str) -> Error {
    Error::new(
        verb_code,
        "the weir agent has not initialised this node since boot",
    )
    .because(format!("{cause}; {LOGS_HINT}"))
}

/// Why not to trust a broken network of a container.
fn broken(what: impl Into<String>) -> Error {
    Error::new(code::BROKEN, what)
}
