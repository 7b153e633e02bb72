//! What more than one check looks at, looked at once.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use cni_plugin::paths::Paths;

use super::wiring;
use crate::{
    api::{
        ask,
        client::ClientError,
        messages::{ConfigDump, Status},
    },
    config::{Configuration, Flags, Origin, load},
    ctl::{Context, args::CheckArgs, process, view::View},
    model::Node,
    node::{
        desired::Desired,
        encryption::{Ready, key::PublicKey},
        facts::Facts,
        reach::Reach,
    },
    observe::{
        Store,
        kubernetes::{self, KNOWN_SERVERS, KubernetesError, Look},
        manifests,
    },
};

/// Where the cluster's objects are from, and what came of asking.
#[derive(Debug)]
pub enum Source {
    /// A folder, and what is wrong with it.
    Manifests(Option<String>),
    /// API servers, or why there are none to ask.
    Servers(Result<Look, KubernetesError>),
}

/// Where the chart has the hierarchy of cgroups in the agent's container.
const IN_CONTAINER: &str = "/host/cgroup";

/// What more than one check looks at.
#[derive(Debug)]
pub struct Scene {
    /// Before Weir is installed.
    pub before: bool,
    /// What Weir is told, or would be.
    pub config: Configuration,
    /// The same with paths as they are to be read from here.
    pub here: Configuration,
    /// How to read what the agent reads.
    pub view: View,
    /// Nobody says where the hierarchy of cgroups is.
    pub cgroup_unsaid: bool,
    /// Who says so.
    pub told_by: String,
    /// Why the configuration cannot be; `config` is what is usual then.
    pub wrong: Option<String>,
    /// Where pins are.
    pub context: Context,
    /// Nodes and Services.
    pub store: Arc<Store>,
    /// Where they are from.
    pub source: Source,
    /// What the agent says of itself.
    pub agent: Result<Status, ClientError>,
    /// What its probes answer: the codes of HTTP by path, or why there is none.
    pub probes: BTreeMap<&'static str, Result<u16, String>>,
    /// What a full comparison would change.
    pub differences: Option<Vec<String>>,
    /// Links, addresses and routes.
    pub facts: Result<Facts, String>,
    /// What plugin and agent share, where the plugin is installed by the agent.
    pub(super) wiring: Option<wiring::Facts>,
}

impl Scene {
    /// Looks.
    pub async fn look(context: &Context, args: &CheckArgs) -> Self {
        let agent = context.client.get::<Status>("/v1/status").await;
        let Told {
            config,
            here,
            by: told_by,
            wrong,
            cgroup_unsaid,
            view,
        } = configuration(context, args, agent.is_ok()).await;
        let store = Store::for_ipam(config.ipam);
        let source = observe(&here, &view, &store).await;
        let (mut probes, mut differences) = (BTreeMap::new(), None);
        if agent.is_ok() {
            probes = probe(config.healthz_bind_address).await;
            differences = context.client.get("/v1/diff").await.ok();
        }
        let installed = config.cni.install && !args.pre;
        let wiring = || wiring::Facts::look(&here.cni, &Paths::new(&here.run_dir));
        Self {
            before: args.pre,
            wiring: installed.then(wiring),
            config,
            here,
            view,
            cgroup_unsaid,
            told_by,
            wrong,
            context: context.clone(),
            store,
            source,
            agent,
            probes,
            differences,
            facts: Facts::read().map_err(|error| error.to_string()),
        }
    }

    /// The Node of this node.
    pub fn node(&self) -> Option<Node> {
        let snapshot = self.store.read();
        let here = snapshot.nodes.get(self.config.node_name.as_str());
        here.map(|node| Node::clone(node))
    }

    /// What the agent would make of all this.
    pub fn desired(&self) -> Option<Desired> {
        let facts = self.facts.as_ref().ok()?;
        let mut config = self.config.clone();
        if let Some(here) = self.node().filter(|_| config.node.pod_cidrs.is_empty()) {
            config.node.pod_cidrs = here.named_ranges().collect();
        }
        let ready = if config.encryption.is_on() {
            // Which key it is makes no difference to what is looked at here.
            Ready::Able(PublicKey([1; 32]))
        } else {
            Ready::Off
        };
        let mut reach = Reach::default();
        let snapshot = self.store.read();
        let ask = &mut |ip| reach.ask(ip);
        Some(Desired::of(&config, "", &snapshot, facts, ask, ready))
    }
}

/// What Weir is told, and by whom.
pub(in crate::ctl) struct Told {
    pub(in crate::ctl) config: Configuration,
    /// The same with paths as they are to be read from here.
    pub(in crate::ctl) here: Configuration,
    pub(in crate::ctl) by: String,
    /// Why it cannot be.
    pub(in crate::ctl) wrong: Option<String>,
    /// Nobody says where the hierarchy of cgroups is.
    pub(in crate::ctl) cgroup_unsaid: bool,
    /// How to read what the agent reads.
    pub(in crate::ctl) view: View,
}

impl Told {
    fn here(config: Configuration, by: String, wrong: Option<String>) -> Self {
        Self {
            here: config.clone(),
            config,
            by,
            wrong,
            cgroup_unsaid: false,
            view: View::default(),
        }
    }
}

/// The agent's, if it answers; else what it would be told.
pub(in crate::ctl) async fn configuration(
    context: &Context,
    args: &CheckArgs,
    answers: bool,
) -> Told {
    let asked_for = args.config.is_some() || !args.set.is_empty();
    if answers
        && !asked_for
        && let Ok(dump) = context.client.get::<ConfigDump>("/config_dump").await
    {
        let view = View::of_agent(context).await;
        return Told {
            here: view.configuration(&dump.configuration),
            view,
            ..Told::here(dump.configuration, "the agent".to_owned(), None)
        };
    }
    if !answers
        && !asked_for
        && !args.pre
        && let Some(found) = process::find(context).await
    {
        let by = format!(
            "the agent's process {}, which does not answer",
            found.number
        );
        let (config, wrong) = match found.told {
            Ok(config) => (config, None),
            Err(error) => (usual(), Some(error)),
        };
        return Told {
            here: found.view.configuration(&config),
            view: found.view,
            ..Told::here(config, by, wrong)
        };
    }
    let mut flags = Flags {
        config: args.config.clone().or_else(mounted),
        told: Vec::new(),
    };
    for (_, path, text) in context.common.unusual() {
        flags = flags.set(path, &text);
    }
    for (path, text) in &args.set {
        flags = flags.set(path, text);
    }
    let file = flags.config.as_ref();
    let mut told_by = file.map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    if !flags.told.is_empty() {
        told_by.push_str(" and the command line");
    }
    match load::load(&flags) {
        Ok(effective) => {
            let unsaid = effective.origin("cni.install") == Origin::Default;
            let of_machine = effective.origin("cgroupRoot") == Origin::Machine;
            let mut config = effective.configuration;
            // The chart says so, and who comes from it has no file yet.
            config.cni.install |= args.pre && unsaid;
            let mut told = Told::here(config, told_by, None);
            told.cgroup_unsaid = of_machine;
            // The chart's place in the container, where it mounts the node's.
            let root = &mut told.config.cgroup_root;
            if args.pre && root == Path::new(IN_CONTAINER) && !root.exists() {
                *root = usual().cgroup_root;
                told.here.cgroup_root.clone_from(root);
                told.cgroup_unsaid = true;
            }
            told
        }
        Err(error) => {
            let wrong = Some(error.to_string());
            Told::here(usual(), told_by, wrong)
        }
    }
}

/// What is so where nobody says anything.
fn usual() -> Configuration {
    let usual = load::load(&Flags::default()).map(|usual| usual.configuration);
    usual.unwrap_or_default()
}

/// Where the agent's container has it.
fn mounted() -> Option<std::path::PathBuf> {
    let path = Path::new("/etc/weir/config.yaml");
    path.exists().then(|| path.to_owned())
}

async fn observe(config: &Configuration, view: &View, store: &Arc<Store>) -> Source {
    if let Some(folder) = &config.manifests {
        let mut reader = manifests::Reader::new(folder.clone(), &config.node_name);
        reader.read(store);
        let error = store.status().borrow().error.clone();
        return Source::Manifests(error);
    }
    let options = kubernetes::Options {
        node: config.node_name.clone(),
        kubeconfig: config.client_connection.kubeconfig.clone(),
        api_servers: config.client_connection.api_servers.clone(),
        known_servers: Some(config.run_dir.join(KNOWN_SERVERS)),
        service_account: view.service_account(),
        ..kubernetes::Options::default()
    };
    Source::Servers(kubernetes::look(store, &options).await)
}

async fn probe(address: SocketAddr) -> BTreeMap<&'static str, Result<u16, String>> {
    let mut answers = BTreeMap::new();
    for path in ["/healthz", "/livez", "/readyz"] {
        answers.insert(path, ask::code(address, path).await);
    }
    answers
}
