//! Verbs on other nodes: the same command line is given to the `proxyctl` in the container of the agent there.
//! `kubectl weir` is `proxyctl` by another name, and does nothing else.

mod all;
mod file;

use std::{ffi::OsString, path::Path};

use super::{
    Context, CtlError, Exit,
    args::{ClusterArgs, Command, PolicyVerb, ServiceVerb, SysdumpArgs, cluster::without},
    cluster::{Agent, Cluster, Said},
    live,
    output::Output,
    version::{self, Versions},
};

/// The name by which kubectl finds a plugin for `kubectl weir`.
const PLUGIN: &str = "kubectl-weir";

/// Whether this program was called by kubectl, or by its plugin's name.
pub(super) fn is_plugin(words: &[OsString]) -> bool {
    let name = words.first().and_then(|word| Path::new(word).file_stem());
    name.is_some_and(|name| name == PLUGIN)
}

/// Where a verb runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// In this process.
    Here,
    /// On a node; on the only one that has an agent, if none is named.
    Node(Option<String>),
    /// On every node that has an agent.
    AllNodes,
}

impl Where {
    /// By what the command line says.
    pub(super) fn of(
        command: &Command,
        told: &ClusterArgs,
        plugin: bool,
    ) -> Result<Self, CtlError> {
        if told.node.is_some() && told.all_nodes {
            return Err(CtlError::new(
                Exit::Usage,
                "--node and --all-nodes exclude each other",
                "name one node, or take all of them",
            ));
        }
        if let (Command::Connectivity { .. }, Some(flag)) = (command, told.nodes()) {
            return Err(CtlError::new(
                Exit::Usage,
                format!("{flag} does not go with `connectivity`"),
                "it runs here and finds the nodes by itself; --max-nodes and --test choose",
            ));
        }
        if works_anywhere(command, told, plugin) {
            return Ok(Self::Here);
        }
        match (&told.node, told.all_nodes, told.stray()) {
            (_, true, _) => Ok(Self::AllNodes),
            (Some(node), _, _) => Ok(Self::Node(Some(node.clone()))),
            (None, _, _) if plugin => Ok(Self::Node(None)),
            (None, _, Some(flag)) => Err(CtlError::new(
                Exit::Usage,
                format!("{flag} says nothing about this node"),
                "it goes with --node NAME or --all-nodes; `check` of this node takes --set clientConnection.kubeconfig=FILE",
            )),
            (None, _, None) => Ok(Self::Here),
        }
    }
}

/// Verbs that ask nobody, or find the nodes to ask by themselves.
fn works_anywhere(command: &Command, told: &ClusterArgs, plugin: bool) -> bool {
    match command {
        Command::Completion { .. } | Command::Connectivity { .. } | Command::Probe { .. } => true,
        Command::Policy {
            verb: PolicyVerb::Why(_),
        } => told.node.is_none() && (told.all_nodes || plugin),
        _ => false,
    }
}

/// A verb for other nodes.
struct Remote {
    cluster: Cluster,
    /// What `proxyctl` is told there.
    words: Vec<String>,
    /// Whether what is said there is a file.
    dump: Option<SysdumpArgs>,
    stdin: bool,
}

/// Runs a verb elsewhere; the exit code is that of there.
pub(super) async fn run(
    context: &Context,
    (place, command): (Where, &Command),
    words: &[OsString],
    out: &mut Output,
) -> Result<u8, CtlError> {
    let told = &context.common.cluster;
    let dump = match command {
        Command::Sysdump(args) if args.file.as_deref() != Some(Path::new("-")) => Some(args),
        _ => None,
    };
    let words = match dump {
        Some(args) => [context.common.told(), file::words(args)].concat(),
        None => without(&texts(words)?),
    };
    let cluster = Cluster::open(told).await?;
    let mut agents = cluster.agents().await?;
    agents.sort_by(|one, other| one.node.cmp(&other.node));
    let remote = Remote {
        cluster,
        words,
        dump: dump.cloned(),
        stdin: told.stdin,
    };
    match place {
        Where::AllNodes => {
            let watches = matches!(command, Command::Dump(args) if args.watch);
            all::run(&remote, agents, watches, out).await
        }
        Where::Node(node) => {
            let node = match (node, command) {
                (
                    None,
                    Command::Service {
                        verb: ServiceVerb::Trace(args),
                    },
                ) => remote.cluster.node_of(&args.client).await?,
                (node, _) => node,
            };
            let agent = choose(&mut agents, node.as_deref())?;
            remote.one(&agent, out).await
        }
        // Told apart before.
        Where::Here => Ok(Exit::Ok as u8),
    }
}

/// The agent of a node, or the only one.
fn choose(agents: &mut Vec<Agent>, node: Option<&str>) -> Result<Agent, CtlError> {
    let found = match node {
        Some(node) => agents.iter().position(|agent| agent.node == node),
        None => (agents.len() == 1).then_some(0),
    };
    if let Some(found) = found {
        return Ok(agents.swap_remove(found));
    }
    let nodes: Vec<&str> = agents.iter().map(|agent| agent.node.as_str()).collect();
    let message = match node {
        Some(node) => format!("no agent runs on node {node}"),
        None => format!("agents run on {} nodes", nodes.len()),
    };
    let hint = format!(
        "name one by --node, or all of them by --all-nodes: {}",
        some(&nodes)
    );
    Err(CtlError::new(Exit::Usage, message, hint))
}

/// A list that fits on a line.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    shown.join(", ") + more
}

fn texts(words: &[OsString]) -> Result<Vec<String>, CtlError> {
    let text = |word: &OsString| {
        word.clone().into_string().map_err(|word| {
            CtlError::new(
                Exit::Usage,
                format!("{} is not UTF-8", word.display()),
                "other nodes are told words of UTF-8 only",
            )
        })
    };
    words.iter().map(text).collect()
}

impl Remote {
    /// On one node: what is said there is said here, as it comes.
    async fn one(&self, agent: &Agent, out: &mut Output) -> Result<u8, CtlError> {
        if let Some(args) = &self.dump {
            let (said, ()) = tokio::join!(self.said(agent), self.note_skew(agent));
            return file::keep(args, agent, &said?, out);
        }
        let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
        let call = agent.call(&self.words, self.stdin);
        let ran = self.cluster.exec(&call, &mut stdout, &mut stderr);
        let (code, ()) = tokio::join!(ran, self.note_skew(agent));
        code
    }

    async fn said(&self, agent: &Agent) -> Result<Said, CtlError> {
        match &self.dump {
            Some(args) => file::said(&self.cluster, agent, &self.words, args).await,
            None => self.cluster.proxyctl(agent, &self.words).await,
        }
    }

    /// Says on stderr where the program there is of another version than this one.
    async fn note_skew(&self, agent: &Agent) {
        if let Some(skew) = skew(&self.cluster, agent).await {
            live::warning(&format!("node {}: {skew}", agent.node));
        }
    }
}

/// How the program on a node differs from this one in its version.
pub(super) async fn skew(cluster: &Cluster, agent: &Agent) -> Option<String> {
    let words = ["version", "-o", "json"].map(str::to_owned);
    // An error of reaching it at all is told by the verb itself.
    let said = cluster.proxyctl(agent, &words).await.ok()?;
    match serde_json::from_slice::<Versions>(&said.out) {
        Ok(there) => version::skew(&there.client, &there.client_layout),
        Err(error) => Some(format!("its version is not understood: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser as _;

    use super::{Agent, Where, choose, is_plugin};
    use crate::ctl::args::Arguments;

    fn place(line: &str, plugin: bool) -> Result<Where, String> {
        let parsed = Arguments::try_parse_from(line.split(' ')).unwrap();
        Where::of(&parsed.command, &parsed.common.cluster, plugin).map_err(|error| error.message)
    }

    #[test]
    fn a_verb_runs_where_it_is_told() {
        let node = |name: &str| Ok(Where::Node(Some(name.to_owned())));
        assert_eq!(place("x status", false), Ok(Where::Here));
        assert_eq!(place("x status", true), Ok(Where::Node(None)));
        for plugin in [false, true] {
            assert_eq!(place("x status --node a", plugin), node("a"));
            assert_eq!(place("x --all-nodes diff", plugin), Ok(Where::AllNodes));
            for line in ["x completion bash", "x connectivity test --context b"] {
                assert_eq!(place(line, plugin), Ok(Where::Here));
            }
            assert!(place("x connectivity test --node a", plugin).is_err());
            let why = "x policy why a b 80";
            assert_eq!(
                place(&format!("{why} --all-nodes"), plugin),
                Ok(Where::Here)
            );
            assert_eq!(place(&format!("{why} --node a"), plugin), node("a"));
            assert!(place("x diff --node a --all-nodes", plugin).is_err());
        }
        assert_eq!(place("x policy why a b 80", true), Ok(Where::Here));
        assert!(place("x diff --context b", false).is_err());
        assert_eq!(place("x diff --context b", true), Ok(Where::Node(None)));
    }

    #[test]
    fn the_only_agent_need_not_be_named() {
        let agents = |names: &[&str]| -> Vec<Agent> {
            let agent = |name: &&str| Agent {
                node: (*name).to_owned(),
                ..Agent::default()
            };
            names.iter().map(agent).collect()
        };
        let chosen = |names: &[&str], node| {
            choose(&mut agents(names), node)
                .map(|agent| agent.node)
                .map_err(|error| (error.message, error.hint))
        };
        assert_eq!(chosen(&["a"], None), Ok("a".to_owned()));
        assert_eq!(chosen(&["a", "b"], Some("b")), Ok("b".to_owned()));
        let (message, hint) = chosen(&["a", "b"], None).unwrap_err();
        assert_eq!(message, "agents run on 2 nodes");
        assert!(hint.ends_with("by --all-nodes: a, b"), "{hint}");
        let (message, _) = chosen(&["a"], Some("c")).unwrap_err();
        assert_eq!(message, "no agent runs on node c");
    }

    #[test]
    fn kubectl_calls_it_by_the_name_of_its_plugin() {
        let is = |word: &str| is_plugin(&[OsString::from(word)]);
        assert!(is("/usr/local/bin/kubectl-weir") && is("kubectl-weir"));
        assert!(!is("/usr/bin/proxyctl") && !is_plugin(&[]));
    }
}
