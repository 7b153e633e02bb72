//! `policy why --all-nodes`: asks the node of the one side, then those that it leaves to decide.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::answer::{Step, Verdict, Why};
use crate::ctl::{
    CtlError, Exit,
    args::{Common, WhyArgs},
    cluster::{Agent, Cluster, Said},
    place,
};

/// So many nodes are asked at once.
const AT_ONCE: usize = 8;

/// Nodes and the agents on them.
struct Nodes<'a> {
    cluster: Cluster,
    agents: Vec<Agent>,
    common: &'a Common,
}

/// A side that a node left open: where it is in the answer, and the flow that it is about.
struct Open {
    path: usize,
    step: usize,
    flow: [String; 3],
    left: Step,
}

/// What all nodes together say.
pub(super) async fn ask(common: &Common, args: &WhyArgs) -> Result<Why, CtlError> {
    // What no node understands none need be asked.
    place::port(&args.port)?;
    let cluster = Cluster::open(&common.cluster).await?;
    let nodes = Nodes {
        agents: cluster.agents().await?,
        cluster,
        common,
    };
    let first = nodes.first(args).await?;
    let flow = [args.from.clone(), args.to.clone(), args.port.clone()];
    let mut why = nodes.why(&first, &flow).await?;
    for step in why.paths.iter_mut().flat_map(|path| &mut path.steps) {
        step.node = Some(first.clone());
    }
    let decided: Vec<_> = stream::iter(open(&why))
        .map(|open| nodes.decide(open))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for (open, step) in decided {
        if let Some(place) = why.paths.get_mut(open.path) {
            place.steps[open.step] = step;
        }
    }
    why.decide();
    Ok(why)
}

/// What is undecided in an answer.
fn open(why: &Why) -> Vec<Open> {
    let mut all = Vec::new();
    for (path, of_path) in why.paths.iter().enumerate() {
        let (_, protocol) = why.port.split_once('/').unwrap_or(("", "tcp"));
        let to = of_path.destination;
        let flow = [
            of_path
                .judged
                .as_ref()
                .map_or(why.client, |judged| judged.address)
                .to_string(),
            to.ip().to_string(),
            format!("{}/{protocol}", to.port()),
        ];
        let steps = of_path.steps.iter().enumerate();
        let undecided = steps.filter(|(_, step)| step.verdict == Verdict::Undecided);
        all.extend(undecided.map(|(step, of_step)| Open {
            path,
            step,
            flow: flow.clone(),
            left: of_step.clone(),
        }));
    }
    all
}

impl Nodes<'_> {
    /// The node of who begins, which translates for it; else of the other side; else any.
    async fn first(&self, args: &WhyArgs) -> Result<String, CtlError> {
        for word in [&args.from, &args.to] {
            let node = self.cluster.node_of(word).await?;
            if let Some(node) = node.filter(|node| self.agent(node).is_some()) {
                return Ok(node);
            }
        }
        // There is one: otherwise there was an error before.
        Ok(self
            .agents
            .first()
            .map(|agent| agent.node.clone())
            .unwrap_or_default())
    }

    fn agent(&self, node: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.node == node)
    }

    /// What one node says of a flow.
    async fn why(&self, node: &str, flow: &[String; 3]) -> Result<Why, CtlError> {
        let agent = self.agent(node).ok_or_else(|| {
            CtlError::new(
                Exit::Unreachable,
                format!("no agent runs on node {node}"),
                "try: kubectl -n kube-system get pods -l app.kubernetes.io/name=weir -o wide",
            )
        })?;
        let mut words = self.common.told();
        words.extend(["policy", "why", "-o", "json", "--"].map(str::to_owned));
        words.extend(flow.iter().cloned());
        let said = self.cluster.proxyctl(agent, &words).await?;
        serde_json::from_slice(&said.out).map_err(|error| of_node(node, &said, &error))
    }

    /// Asks the node that has an address. One that cannot be asked leaves the side undecided, and says why.
    async fn decide(&self, open: Open) -> Result<(Open, Step), CtlError> {
        let (left, of_side) = (&open.left, (open.left.direction, open.left.address));
        let Some(node) = self.cluster.node_of(&left.address.to_string()).await? else {
            let step = left.left_open("nothing of the cluster has this address".to_owned());
            return Ok((open, step));
        };
        let step = match self.why(&node, &open.flow).await {
            Err(error) => left.left_open(format!("node {node} was not asked: {}", error.message)),
            Ok(why) => why
                .paths
                .into_iter()
                .flat_map(|path| path.steps)
                .filter(|step| step.verdict != Verdict::Undecided)
                .find(|step| (step.direction, step.address) == of_side)
                .unwrap_or_else(|| left.left_open(format!("node {node} does not know it"))),
        };
        let node = Some(node);
        Ok((open, Step { node, ..step }))
    }
}

/// Why a node's answer is none: the other `proxyctl`'s own error, with its hint and exit code.
fn of_node(node: &str, said: &Said, error: &serde_json::Error) -> CtlError {
    const HINT: &str = "is the agent of another version? try: kubectl weir version --node";
    let line = |head: &str| said.told.lines().find_map(|line| line.strip_prefix(head));
    let told = line("error: ").map(ToOwned::to_owned);
    let exit = Exit::of(said.code).filter(|exit| told.is_some() && *exit != Exit::Ok);
    let message = told.unwrap_or_else(|| match said.told.lines().last() {
        Some(last) => format!("proxyctl ended with code {} there: {last}", said.code),
        None => format!("what proxyctl says there is not understood: {error}"),
    });
    let hint = line("hint: ").map_or_else(|| format!("{HINT} {node}"), ToOwned::to_owned);
    CtlError::new(
        exit.unwrap_or(Exit::Unreachable),
        format!("node {node}: {message}"),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exit code and standard error of a `proxyctl` that said nothing else.
    fn told(code: u8, told: &str) -> (Exit, String, String) {
        let said = Said {
            code,
            out: Vec::new(),
            told: told.to_owned(),
        };
        let error = serde_json::from_slice::<Why>(&said.out).unwrap_err();
        let error = of_node("b", &said, &error);
        (error.exit, error.message, error.hint)
    }

    #[test]
    fn an_error_of_another_node_keeps_its_exit_code() {
        for (exit, _) in Exit::ALL.iter().filter(|(exit, _)| *exit != Exit::Ok) {
            let error = told(
                *exit as u8,
                "warning: old\nerror: so it is\nhint: do that\n",
            );
            let said = ("node b: so it is".to_owned(), "do that".to_owned());
            assert_eq!(error, (*exit, said.0, said.1));
        }
    }

    /// Killed, of another version, or without a word.
    #[test]
    fn who_ends_otherwise_was_not_reached() {
        for (code, text) in [
            (137, ""),
            (0, ""),
            (101, "thread 'main' panicked"),
            (1, "what"),
        ] {
            let (exit, message, hint) = told(code, text);
            assert_eq!(exit, Exit::Unreachable);
            assert!(message.starts_with("node b: ") && message.contains(text));
            assert!(hint.ends_with("kubectl weir version --node b"), "{hint}");
        }
    }
}
