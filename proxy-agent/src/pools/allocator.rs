//! Gives addresses to Services, as the plan says, while this agent has the Lease.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cni_plugin::clock;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    asked::Asked,
    demand::Demand,
    lease::{self, Step, Watched},
    plan::{Plan, Refusal, plan},
};
use crate::{
    config::AddressPool,
    model::ObjectName,
    observe::kubernetes::{PoolStore, RequestError},
};

/// Pause after a failure.
const FAILURE: Duration = Duration::from_secs(1);

/// Why nothing is given.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// Nobody can be elected.
    #[error("there is no Lease kube-system/weir-load-balancer, which Weir's manifests make")]
    NoLease,
    /// The API server was asked in vain.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// What it says of itself. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Said(Arc<Mutex<Saying>>);

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saying {
    /// The node whose agent gives addresses; none if that is not known.
    pub leader: Option<String>,
    /// This agent gives them.
    pub leads: bool,
    /// What is refused, as far as this agent leads.
    pub refused: BTreeMap<ObjectName, Refusal>,
    /// Why nothing can be given.
    pub error: Option<String>,
}

impl Said {
    /// What it says now.
    pub fn get(&self) -> MutexGuard<'_, Saying> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives addresses.
#[derive(Debug)]
pub struct Allocator {
    node: String,
    pools: Vec<AddressPool>,
    store: PoolStore,
    asked: watch::Receiver<Arc<Asked>>,
    said: Said,
    watched: Watched,
    /// What was written and is not observed yet: as of which version.
    written: BTreeMap<ObjectName, (String, Vec<IpAddr>)>,
}

impl Allocator {
    /// Of the agent of a node.
    pub fn new(
        node: &str,
        pools: &[AddressPool],
        store: PoolStore,
        asked: watch::Receiver<Arc<Asked>>,
        said: Said,
    ) -> Self {
        Self {
            node: node.to_owned(),
            pools: pools.to_vec(),
            store,
            asked,
            said,
            watched: Watched::default(),
            written: BTreeMap::new(),
        }
    }

    /// Goes on for as long as anybody asks.
    pub async fn run(mut self) {
        loop {
            let result = self.turn().await;
            let pause = match &result {
                Ok(pause) => *pause,
                Err(error) => {
                    tracing::warn!(%error, "load balancers' addresses not given");
                    self.pause_after_failure()
                }
            };
            self.said.get().error = result.err().map(|error| error.to_string());
            if self.asked.has_changed().is_err() {
                return;
            }
            sleep(pause).await;
        }
    }

    /// Whoever leads goes on soon.
    fn pause_after_failure(&self) -> Duration {
        if self.said.get().leads {
            FAILURE
        } else {
            lease::pause(self.asked.borrow().nodes)
        }
    }

    /// Leads for a while, if it may; else gives the time after which to ask again.
    async fn turn(&mut self) -> Result<Duration, Failed> {
        let now = clock::since_boot();
        let nodes = self.asked.borrow().nodes;
        let Some(held) = self.store.lease().await? else {
            self.follows(None);
            return Err(Failed::NoLease);
        };
        if self.watched.look(&held, &self.node, now) == Step::Wait {
            self.follows(Some(held.holder));
            return Ok(lease::pause(nodes));
        }
        if !self.store.hold(&held, &self.node, lease::DURATION).await? {
            return Ok(FAILURE);
        }
        self.leads();
        self.give_for_a_while(now).await?;
        Ok(Duration::ZERO)
    }

    fn follows(&mut self, leader: Option<String>) {
        let mut said = self.said.get();
        if said.leads {
            tracing::info!(?leader, "another agent gives load balancers' addresses");
        }
        *said = Saying {
            leader,
            ..Saying::default()
        };
        drop(said);
        self.written.clear();
    }

    fn leads(&self) {
        let mut said = self.said.get();
        if !said.leads {
            tracing::info!("this agent gives load balancers' addresses");
        }
        said.leads = true;
        said.leader = Some(self.node.clone());
    }

    /// Gives, until the Lease is to be renewed.
    async fn give_for_a_while(&mut self, renewed: Duration) -> Result<(), RequestError> {
        loop {
            self.give(renewed).await?;
            let spent = clock::since_boot().saturating_sub(renewed);
            let left = lease::RENEWAL.saturating_sub(spent);
            match timeout(left, self.asked.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(()),
            }
        }
    }

    async fn give(&mut self, renewed: Duration) -> Result<(), RequestError> {
        let asked = Arc::clone(&self.asked.borrow_and_update());
        if !asked.complete {
            return Ok(());
        }
        let demands = self.overlay(&asked.demands);
        let Plan { addresses, refused } = plan(&self.pools, &demands, &asked.reserved);
        self.tell(refused);
        for demand in &demands {
            let Some(wanted) = addresses.get(&demand.name) else {
                continue;
            };
            if *wanted == demand.given {
                continue;
            }
            if !lease::may_write(renewed, clock::since_boot(), PoolStore::PATIENCE) {
                return Ok(());
            }
            let of = (demand.uid.as_str(), demand.version.as_str());
            // Of what has changed since there will be news.
            if self.store.give(&demand.name, of, wanted).await? {
                tracing::info!(service = %demand.name, addresses = ?wanted, "load balancer's addresses");
                let written = (demand.version.clone(), wanted.clone());
                self.written.insert(demand.name.clone(), written);
            }
        }
        Ok(())
    }

    /// What Services have, with what was written since they were observed.
    fn overlay(&mut self, demands: &[Demand]) -> Vec<Demand> {
        let mut demands = demands.to_vec();
        let mut still = BTreeMap::new();
        for demand in &mut demands {
            let Some((version, addresses)) = self.written.remove(&demand.name) else {
                continue;
            };
            if version == demand.version {
                demand.given.clone_from(&addresses);
                still.insert(demand.name.clone(), (version, addresses));
            }
        }
        self.written = still;
        demands
    }

    fn tell(&self, refused: BTreeMap<ObjectName, Refusal>) {
        let mut said = self.said.get();
        for (service, refusal) in &refused {
            if said.refused.get(service) != Some(refusal) {
                tracing::warn!(%service, %refusal, "no load balancer's address given");
            }
        }
        said.refused = refused;
    }
}
