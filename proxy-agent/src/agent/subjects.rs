//! All subjects, opened in the order in which what a former agent left must be taken over.

use std::sync::Arc;

use anyhow::Context as _;

use super::named_ids::NamedIds;
use crate::{
    api::{Shared, readiness::Readiness},
    config::Ipam,
    datapath::{Maps, SharedDatapath, Table as _, Words as _},
    node::{
        ThisNode, claims::Claims, condition::NodeCondition, encryption::publish::KeyPublisher,
        service_ranges::ServiceRanges,
    },
    observe::Notices,
    pod::{PodTables, Pods, PodsConfig, Works, live_reader::LiveReader},
    policy::Policies,
    pools::Pools,
    service::{Services, services::Reserved},
    subject::{Here, Subject},
};

/// What subjects ask the API server for and tell it, once it is known.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Pods that the watch has not delivered.
    pub pods: LiveReader,
    /// The Node's condition.
    pub condition: NodeCondition,
    /// The node's key.
    pub key: KeyPublisher,
    /// The ranges of Services.
    pub ranges: ServiceRanges,
    /// The ranges of this node's pods, where it claims them.
    pub claims: Claims,
    /// What owners of objects should know.
    pub notices: Notices,
}

/// All of them.
pub struct Subjects {
    pub(super) pods: Pods,
    policies: Policies,
    services: Services,
    pub(super) node: ThisNode,
    pools: Pools,
}

impl Subjects {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// Takes over what is pinned.
    pub fn open(
        shared: &Arc<Shared>,
        here: &mut Here,
        readiness: &Readiness,
        live: &Live,
        addresses: Pools,
    ) -> anyhow::Result<Self> {
        let maps = here.datapath.lock().maps().clone();
        let named = NamedIds::read(&maps).context("read which ids are in use")?;
        let reserved = Reserved {
            service: named.service,
            backend: named.backend,
        };
        let services = Services::open(shared, &maps, reserved, readiness)?;
        let mut policies = Policies::open(shared, &maps)?;
        policies.deny_unused(&named.endpoints);
        here.datapath.lock().attach_sockets()?;
        let pods = open_pods(shared, (&maps, &mut here.datapath), live)?;
        pods.tell(here);
        let asked = (&live.condition, &live.ranges, &live.claims, &live.key);
        let node = ThisNode::open(shared, (&maps, &here.datapath), readiness, asked)?;
        Ok(Self {
            pods,
            policies,
            services,
            node,
            pools: addresses,
        })
    }

    /// All, in the order in which one tells the next.
    pub fn all(&self) -> [&dyn Subject; Self::COUNT] {
        let Self {
            pods,
            policies,
            services,
            node,
            pools,
        } = self;
        [pods, policies, services, node, pools]
    }

    /// The same, to be brought in step.
    pub fn all_mut(&mut self) -> [&mut dyn Subject; Self::COUNT] {
        let Self {
            pods,
            policies,
            services,
            node,
            pools,
        } = self;
        [pods, policies, services, node, pools]
    }
}

fn open_pods(
    shared: &Arc<Shared>,
    (maps, datapath): (&Maps, &mut SharedDatapath),
    live: &Live,
) -> anyhow::Result<Pods> {
    let (endpoints, words) = (maps.endpoints.clone(), maps.policy_words.clone());
    let config = PodsConfig {
        run_dir: shared.config.run_dir.clone(),
        limit: Arc::new(move || endpoints.capacity().min(words.len())),
        fetch: shared.config.manifests.is_none().then(|| live.pods.fetch()),
        admit: match shared.config.ipam {
            Ipam::Node => Arc::new(|_| Ok(())),
            Ipam::Cluster => {
                let claims = live.claims.clone();
                Arc::new(move |addresses| claims.admit(addresses))
            }
        },
        works: Works::new(&shared.watchdog),
    };
    let tables = PodTables::from(maps);
    let mut pods = Pods::open(config, tables, datapath)?;
    pods.serve(shared, Box::new(datapath.clone()))?;
    Ok(pods)
}
