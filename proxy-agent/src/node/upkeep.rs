//! The node's upkeep: all that is read of the machine and written to it, once. See [`super::worker`].

use std::sync::Arc;

use super::{
    Gate, NodeKeeper, addresses,
    claims::Claims,
    condition::Network,
    conflist,
    facts::Facts,
    found::{Found, Said},
    host_device::Published,
    last_known,
    platform::Misplaced,
    programs::NodePrograms,
    routing::{RoutesSet, Routing},
    wires,
};
use crate::{
    api::{Shared, listen::ListenOn, metrics::Mode},
    config::{Configuration, Ipam},
    datapath::{Maps, SharedDatapath},
    model::{Kind, NetworkUnavailable, Snapshot, Wire},
    subject::Repairs,
    usage::in_full,
};

/// What is to be done, by what was told when it became due.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Shows the plugin that the agent lives.
    pub(super) beat: bool,
    /// Looks at the machine and brings it in step.
    pub(super) look: Option<Look>,
    /// Looks after these interfaces of pods.
    pub(super) mend: Option<Vec<Wire>>,
}

/// What a look goes by.
#[derive(Debug)]
pub(super) struct Look {
    /// What of the snapshot concerns the node.
    pub(super) snapshot: Snapshot,
    /// What the API server says of the ranges of Services.
    pub(super) published: Published,
    /// What is in force.
    pub(super) config: Configuration,
    /// Services and policy are.
    pub(super) serving: bool,
}

/// Everything that only the worker touches.
pub(super) struct Upkeep {
    shared: Arc<Shared>,
    datapath: SharedDatapath,
    claims: Claims,
    keeper: NodeKeeper,
    programs: NodePrograms,
    routes: RoutesSet,
    mender: wires::Mender,
    misplaced: Misplaced,
    repairs: Repairs,
    found: Found,
}

impl Upkeep {
    /// Takes up the node as it is.
    pub(super) fn open(
        shared: &Arc<Shared>,
        (maps, datapath): (&Maps, &SharedDatapath),
        claims: &Claims,
    ) -> anyhow::Result<Self> {
        let keeper = NodeKeeper::new(&shared.config, maps)?;
        let devices = keeper.opening().devices();
        let found = Found {
            addresses: addresses::in_force(keeper.maps()),
            ranges: addresses::ranges_in_force(keeper.maps()),
            listen_on: Some(ListenOn::unknown(&shared.config.node)),
            device: (devices.first(), devices.problem.clone()),
            ..Found::default()
        };
        Ok(Self {
            shared: Arc::clone(shared),
            datapath: datapath.clone(),
            claims: claims.clone(),
            keeper,
            programs: NodePrograms::new(),
            routes: RoutesSet::default(),
            mender: wires::Mender::default(),
            misplaced: Misplaced::default(),
            repairs: Repairs::default(),
            found,
        })
    }

    /// How the node was when it was looked at last.
    pub(super) fn found(&self) -> Found {
        Found {
            repairs: self.repairs.told(),
            ..self.found.clone()
        }
    }

    /// Does it; says what it found, if it looked at anything.
    pub(super) fn carry_out(&mut self, job: Job) -> Option<Found> {
        let Job { beat, look, mend } = job;
        if beat {
            self.keeper.opening().beat();
        }
        let looks = look.is_some() || mend.is_some();
        self.found.said = look.and_then(|look| self.bring(&look));
        if let Some(wires) = mend {
            self.mend(&wires);
        }
        looks.then(|| self.found())
    }

    /// Puts back what somebody took from the host's side of pods' interfaces.
    fn mend(&mut self, wires: &[Wire]) {
        let failed = match Facts::read() {
            Ok(facts) => self.mender.mend(wires, &facts, &mut self.repairs),
            Err(error) => vec![format!("read the machine's interfaces: {error}")],
        };
        let found = &mut self.found;
        for error in failed.iter().filter(|e| !found.mended.contains(e)) {
            tracing::warn!(error, "pods' interfaces not in step");
        }
        found.mended = failed;
    }

    /// Brings the node in step, programs before what leads to them, and what makes runtimes call the plugin last.
    fn bring(&mut self, look: &Look) -> Option<Said> {
        let Look {
            snapshot,
            published,
            config: whole,
            serving,
        } = look;
        let maps = self.keeper.maps();
        let filled = last_known::fill_in(whole, snapshot, maps, &self.claims);
        let claimed_by = last_known::claimed_by(whole, &self.claims);
        let (config, claimed_by) = match filled.and_then(|config| Ok((config, claimed_by?))) {
            Ok(known) => known,
            Err(error) => {
                self.found.errors = vec![in_full(&error)];
                return None;
            }
        };
        let config = config.as_ref();
        let closed = match config.ipam {
            Ipam::Node => None,
            Ipam::Cluster => self.claims.closed(),
        };
        let gate = Gate {
            closed,
            claimed_by,
            ready: *serving,
        };
        let (seen, repairs) = ((snapshot, published), &mut self.repairs);
        let mut report = self.keeper.sync(config, seen, gate, repairs);
        let mut errors = std::mem::take(&mut report.errors);
        let brought = self
            .programs
            .bring(&mut report, config, &self.datapath, repairs);
        errors.extend(brought);
        let found = &mut self.found;
        found.masquerades = report.masquerades();
        found.ways = report.ways();
        found.detours = std::mem::take(&mut report.detours);
        found.encryption.1 = std::mem::take(&mut report.encrypted);
        found.listen_on = report.health_checks.take().or(found.listen_on.take());
        if let Some(addresses) = report.addresses.take() {
            found.addresses = addresses;
        }
        if let Some(ranges) = report.ranges.take() {
            found.ranges = ranges;
        }
        found.installed |= report.ready && config.cni.install;
        let here = snapshot.nodes.get(config.node_name.as_str());
        self.misplaced.look(here.map(AsRef::as_ref), config);
        found.misplaced = self.misplaced.why().map(str::to_owned);
        found.rival = rival(config);
        let said = Said {
            network: network(report.closed.take(), report.ready, found.rival.as_ref()),
            encrypts: report.encrypts,
            published_key: report.published_key,
            opened: report.ready,
        };
        let routing = Routing {
            to_nodes: report.routes,
            tunnel: report.tunnel,
            encrypts: config.encryption.is_on(),
            leads: report.leads,
            facts: report.facts,
            all_routes: last_known::knows_ways(config, snapshot),
            complete: snapshot.complete.has(&[Kind::Node, Kind::Service]),
        };
        errors.extend(self.route(&routing));
        if errors.is_empty() {
            self.repairs.looked();
        }
        self.repairs.expire();
        self.keeper.log(&errors);
        self.found.errors = errors;
        self.take_down();
        Some(said)
    }

    /// Sets the routes that a look wants; then nothing needs the tunnel where it is left.
    fn route(&mut self, routing: &Routing) -> Vec<String> {
        let (host, repairs) = (&mut self.programs.host, &mut self.repairs);
        let mut errors = self.routes.set(routing, host, repairs);
        if let Some(tunnel) = &routing.tunnel {
            let left = self.keeper.leave_tunnel(tunnel, routing.all_routes);
            errors.extend(left.err());
            if !tunnel.has_device() && routing.all_routes {
                errors.extend(self.programs.tunnel.remove(&self.datapath).err());
            }
        }
        if routing.all_routes {
            let left = self.keeper.leave_peers(&self.found.encryption.1);
            errors.extend(left.err());
            if !routing.encrypts {
                errors.extend(self.programs.encryption.remove(&self.datapath).err());
            }
        }
        errors
    }

    /// Notes how programs, maps and devices are now.
    fn take_down(&mut self) {
        let found = &mut self.found;
        found.room.clone_from(self.keeper.maps().room());
        found.refused = self.keeper.maps().refused().map(str::to_owned);
        found.host = self.programs.host.status();
        found.links = self.programs.links.status();
        found.encryption.0.clone_from(self.keeper.encryption());
        for (mode, links) in self.programs.links.modes() {
            let series = &self.shared.metrics.xdp_links;
            series.get_or_create(&Mode::new(mode)).set(links);
        }
    }
}

/// Another plugin that the runtime calls in our place, in words.
fn rival(config: &Configuration) -> Option<String> {
    let cni = &config.cni;
    let rival = conflist::rival(&cni.conf_dir, &cni.conf_file).filter(|_| cni.install)?;
    let path = cni.conf_dir.join(rival);
    let path = path.display();
    Some(format!(
        "{path} comes before ours: the runtime calls another plugin"
    ))
}

/// Whether new pods get a network.
fn network(closed: Option<String>, opened: bool, rival: Option<&String>) -> Network {
    if let Some(why) = closed {
        return Network::Down(NetworkUnavailable::CLOSED, why);
    }
    match rival {
        _ if !opened => Network::Unknown,
        Some(why) => Network::Down(NetworkUnavailable::RIVAL, why.clone()),
        None => Network::Up,
    }
}
