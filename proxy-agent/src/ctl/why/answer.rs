//! The answer of `policy why`, for programs and for people.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::judged::Judged;
use crate::policy::{Direction, explain::Explanation};

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    Allowed,
    /// It does not.
    #[default]
    Denied,
    /// To some backends of the Service it passes, to some it does not.
    Partly,
    /// Nothing here denies it, but another node has a say.
    Undecided,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// Who begins, with its name.
    pub from: String,
    /// The address of that.
    pub client: IpAddr,
    /// The other side, as it was asked for, with its name.
    pub to: String,
    /// Port and protocol that were asked for.
    pub port: String,
    /// The Service whose address it is.
    pub service: Option<Served>,
    /// What becomes of the flow.
    pub verdict: Verdict,
    /// Whether that is `allowed`.
    pub allowed: bool,
    /// Why there is nothing to judge.
    pub because: Option<String>,
    /// The ways that the flow may take: one, or one to each backend.
    pub paths: Vec<Path>,
}

impl Default for Why {
    fn default() -> Self {
        Self {
            from: String::new(),
            client: Ipv4Addr::UNSPECIFIED.into(),
            to: String::new(),
            port: String::new(),
            service: None,
            verdict: Verdict::default(),
            allowed: false,
            because: None,
            paths: Vec::new(),
        }
    }
}

/// A Service that translates the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// Its name and port's name.
    pub service: String,
    /// The frontend that was found.
    pub frontend: String,
    /// `internal` or `external`: the set of backends that serves the client.
    pub set: String,
}

/// A way that the flow may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Path {
    /// Where to, with its name.
    pub to: String,
    /// The address and port of that.
    pub destination: SocketAddr,
    /// What becomes of the flow on this way.
    pub verdict: Verdict,
    /// What either side says.
    pub steps: Vec<Step>,
    /// Whether it leaves the cluster in the node's name; an older node does not say.
    #[serde(default)]
    pub masqueraded: bool,
    /// To a backend on another node, from outside of the cluster: whom policy sees there.
    #[serde(default)]
    pub judged: Option<Judged>,
}

/// One side's policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Which of its policies.
    pub direction: Direction,
    /// Whose, with its name.
    pub pod: String,
    /// The address of that.
    pub address: IpAddr,
    /// What it says.
    pub verdict: Verdict,
    /// Why.
    pub because: String,
    /// The node that was asked, if it was not this one.
    pub node: Option<String>,
    /// The node that decides, where that is another one and known.
    #[serde(default)]
    pub left_to: Option<String>,
    /// What was read on the way.
    pub details: Option<Details>,
    /// What stands beside the verdict.
    pub explanation: Option<Explanation>,
}

impl Step {
    /// The same, left open for another reason.
    #[must_use]
    pub fn left_open(&self, because: String) -> Self {
        Self {
            because,
            ..self.clone()
        }
    }
}

/// What was read on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Id of the pod.
    pub endpoint: u32,
    /// Its row.
    pub row: u32,
    /// The version of its policy.
    pub epoch: u32,
    /// The class of the other side.
    pub class: Option<u32>,
    /// The range by which that was found.
    pub range: Option<String>,
}

impl Path {
    /// Draws the conclusion from the steps.
    pub fn decide(&mut self) {
        let has = |verdict| self.steps.iter().any(|step| step.verdict == verdict);
        self.verdict = if has(Verdict::Denied) {
            Verdict::Denied
        } else if has(Verdict::Undecided) {
            Verdict::Undecided
        } else {
            Verdict::Allowed
        };
    }
}

impl Why {
    /// Draws the conclusion from the paths.
    pub fn decide(&mut self) {
        self.paths.iter_mut().for_each(Path::decide);
        let count = |verdict| self.paths.iter().filter(|p| p.verdict == verdict).count();
        self.verdict = match (count(Verdict::Denied), count(Verdict::Undecided)) {
            (denied, _) if denied == self.paths.len() => Verdict::Denied,
            (0, 0) => Verdict::Allowed,
            // Whether any passes is not known.
            (denied, open) if denied == 0 || denied + open == self.paths.len() => {
                Verdict::Undecided
            }
            _ => Verdict::Partly,
        };
        self.allowed = self.verdict == Verdict::Allowed;
    }

    /// Those that are on other nodes, which still have to decide.
    pub fn undecided(&self) -> impl Iterator<Item = &Step> {
        let steps = self.paths.iter().flat_map(|path| &path.steps);
        steps.filter(|step| step.verdict == Verdict::Undecided)
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Denied => "denied",
        Verdict::Partly => "partly",
        Verdict::Undecided => "undecided",
    }
}

/// Prints it for people.
pub fn write(why: &Why, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{} -> {} port {}", why.from, why.to, why.port)?;
    if let Some(Served {
        service,
        frontend,
        set,
    }) = &why.service
    {
        writeln!(
            to,
            "  {frontend} is of Service {service}: policy is judged behind it, at its {set} backends"
        )?;
    }
    for path in &why.paths {
        if why.service.is_some() {
            let (verdict, port) = (word(path.verdict), path.destination.port());
            writeln!(to, "  backend  {verdict:<9} {} port {port}", path.to)?;
        }
        if let Some(judged) = &path.judged {
            writeln!(to, "  {}", whom(judged, why.client))?;
        }
        path.steps.iter().try_for_each(|step| one(step, to))?;
        if path.masqueraded {
            writeln!(to, "  leaves the cluster in the node's name (masquerade)")?;
        }
    }
    writeln!(to, "{}", conclusion(why))
}

/// Whom policy judges at a backend elsewhere.
fn whom(judged: &Judged, client: IpAddr) -> String {
    let Judged { address, mode } = judged;
    if *address == client {
        format!("policy there judges the client itself, {address} (loadBalancer.mode {mode})")
    } else {
        format!(
            "policy there judges this node, {address}, in the client's place (loadBalancer.mode {mode})"
        )
    }
}

fn one(step: &Step, to: &mut dyn Write) -> io::Result<()> {
    let (direction, verdict) = (step.direction.to_string(), word(step.verdict));
    let node = step.node.as_ref();
    let node = node.map_or_else(String::new, |node| format!(" on node {node}"));
    let (pod, because) = (&step.pod, &step.because);
    writeln!(to, "  {direction:<8} {verdict:<9} {pod}{node}: {because}")?;
    match &step.explanation {
        Some(explanation) => beside(explanation, to),
        None => Ok(()),
    }
}

/// What stands beside a verdict, indented below it.
fn beside(explanation: &Explanation, to: &mut dyn Write) -> io::Result<()> {
    let Explanation {
        policies,
        peer,
        passes: _,
        hints,
    } = explanation;
    if !policies.is_empty() {
        writeln!(to, "    isolated by {}", policies.join(", "))?;
        let peer = if peer.is_empty() {
            "nothing that a policy names".to_owned()
        } else {
            peer.join(" and ")
        };
        writeln!(to, "    the peer is {peer}")?;
    }
    hints.iter().try_for_each(|hint| writeln!(to, "    {hint}"))
}

fn conclusion(why: &Why) -> String {
    let count = |verdict| why.paths.iter().filter(|p| p.verdict == verdict).count();
    match (why.verdict, &why.because) {
        (Verdict::Denied, Some(because)) => format!("DENIED: {because}"),
        (Verdict::Denied, None) => "DENIED".to_owned(),
        (Verdict::Allowed, _) => "ALLOWED".to_owned(),
        (Verdict::Partly, _) => format!(
            "PARTLY: of {} backends policy denies {}",
            why.paths.len(),
            count(Verdict::Denied)
        ),
        (Verdict::Undecided, _) => {
            let nodes = deciding(why);
            let here = match count(Verdict::Denied) {
                0 => "nothing here denies it".to_owned(),
                denied => format!("of {} backends policy denies {denied}", why.paths.len()),
            };
            if why.undecided().any(|step| step.node.is_some()) {
                return format!("UNDECIDED: {here}, but {nodes} did not say");
            }
            format!(
                "UNDECIDED: {here}, but {nodes} must let it pass too; ask all of them, from where kubectl works: \
                 kubectl weir --all-nodes policy why {} {} {}",
                word_of(&why.from),
                word_of(&why.to),
                why.port.to_lowercase()
            )
        }
    }
}

/// The nodes that have a say, each once; one that is not known is that of a pod.
fn deciding(why: &Why) -> String {
    let node = |step: &Step| match step.node.as_ref().or(step.left_to.as_ref()) {
        Some(node) => format!("node {node}"),
        None => format!("the node of {}", step.pod),
    };
    let nodes: BTreeSet<String> = why.undecided().map(node).collect();
    let nodes: Vec<String> = nodes.into_iter().collect();
    nodes.join(" and ")
}

/// What somebody writes who means a side that is described so: `shop/web (10.1.0.7)`, `Service shop/web`.
fn word_of(described: &str) -> String {
    let name = described.split(" (").next().unwrap_or(described);
    match name.strip_prefix("Service ") {
        Some(service) => format!("service/{service}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(verdicts: [Verdict; 2]) -> Path {
        let address = Ipv4Addr::LOCALHOST.into();
        let step = |(direction, verdict)| Step {
            direction,
            pod: "ns/a".to_owned(),
            address,
            verdict,
            because: String::new(),
            node: None,
            left_to: None,
            details: None,
            explanation: None,
        };
        let directions = [Direction::Egress, Direction::Ingress];
        Path {
            to: String::new(),
            destination: (address, 1).into(),
            verdict: Verdict::default(),
            steps: directions.into_iter().zip(verdicts).map(step).collect(),
            masqueraded: false,
            judged: None,
        }
    }

    #[test]
    fn conclusions_of_steps_and_paths() {
        use Verdict::{Allowed, Denied, Partly, Undecided};
        for (paths, expected) in [
            (vec![], Denied),
            (vec![[Allowed, Allowed]], Allowed),
            (vec![[Allowed, Denied]], Denied),
            (vec![[Undecided, Denied]], Denied),
            (vec![[Undecided, Allowed]], Undecided),
            (vec![[Allowed, Allowed], [Allowed, Undecided]], Undecided),
            (vec![[Allowed, Allowed], [Allowed, Denied]], Partly),
            (vec![[Undecided, Allowed], [Allowed, Denied]], Undecided),
            (
                vec![[Undecided, Allowed], [Allowed, Denied], [Allowed, Allowed]],
                Partly,
            ),
            (vec![[Denied, Allowed], [Allowed, Denied]], Denied),
        ] {
            let mut why = Why {
                paths: paths.into_iter().map(path).collect(),
                ..Why::default()
            };
            why.decide();
            assert_eq!(why.verdict, expected, "{why:?}");
            assert_eq!(why.allowed, expected == Allowed);
        }
    }

    #[test]
    fn who_is_undecided_is_told_whom_to_ask() {
        let mut open = path([Verdict::Allowed, Verdict::Undecided]);
        open.steps[1].left_to = Some("b".to_owned());
        let mut why = Why {
            from: "shop/client (10.1.0.7)".to_owned(),
            to: "Service shop/web".to_owned(),
            port: "80/TCP".to_owned(),
            paths: vec![open.clone(), open],
            ..Why::default()
        };
        why.decide();
        let told = "UNDECIDED: nothing here denies it, but node b must let it pass too; ask all of them, from where kubectl works: \
                    kubectl weir --all-nodes policy why shop/client service/shop/web 80/tcp";
        assert_eq!(conclusion(&why), told);
        why.paths.push(path([Verdict::Denied, Verdict::Allowed]));
        why.decide();
        let told = "UNDECIDED: of 3 backends policy denies 1, but node b must let it pass too; ask";
        assert!(conclusion(&why).starts_with(told), "{}", conclusion(&why));
    }

    #[test]
    fn what_is_printed_for_programs_can_be_read_again() {
        let mut why = Why {
            paths: vec![path([Verdict::Allowed, Verdict::Undecided])],
            ..Why::default()
        };
        why.decide();
        let text = serde_json::to_string(&why).unwrap();
        assert_eq!(serde_json::from_str::<Why>(&text).unwrap(), why);
    }
}
