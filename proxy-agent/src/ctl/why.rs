//! `proxyctl policy why FROM TO PORT[/PROTO]`: which rule lets a new flow pass or not, by the live maps.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use proxy_common::policy::cells::Cell;
use serde::Serialize;

use super::{Context, CtlError, Exit, args::WhyArgs, live, output::Output, place};
use crate::{
    api::messages::Names,
    config::API_VERSION,
    datapath::Maps,
    policy::{
        Direction, PolicyTables,
        explain::{Explanation, explain},
        lookup::{Answer, Question, Reason, judge},
        view::LiveView,
    },
};

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Why {
    api_version: &'static str,
    kind: &'static str,
    from: String,
    to: String,
    port: String,
    allowed: bool,
    steps: Vec<Step>,
}

/// One side's policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    direction: Direction,
    pod: String,
    allowed: bool,
    because: String,
    details: Option<Details>,
    explanation: Option<Explanation>,
}

/// What was read on the way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    endpoint: u32,
    row: u32,
    epoch: u32,
    class: Option<u32>,
    range: Option<String>,
}

/// Answers; exit code 1 if the flow is denied.
pub async fn run(context: &Context, args: &WhyArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let (port, protocol) = place::port(&args.port)?;
    let reader = live::reader(context)?;
    let names = live::names(context, false).await;
    let (from, to) = (
        place::addresses(&args.from, &names)?,
        place::addresses(&args.to, &names)?,
    );
    let (from, to) = place::pair(&from, &to).ok_or_else(|| {
        CtlError::new(
            Exit::Usage,
            format!(
                "`{}` and `{}` have no addresses of one family",
                args.from, args.to
            ),
            "name two addresses of one family, or a pod that has both",
        )
    })?;
    let tables = PolicyTables::from(reader.maps());
    let view = LiveView::new(&tables)?;
    let mut steps = Vec::new();
    for (direction, pod, peer) in [
        (Direction::Egress, from, to),
        (Direction::Ingress, to, from),
    ] {
        let Some(endpoint) = place::endpoint(reader.maps(), pod)? else {
            steps.push(elsewhere(direction, pod, &names, reader.maps())?);
            continue;
        };
        if from == to {
            let because = "a pod always reaches itself";
            steps.push(unjudged(direction, pod, &names, because));
            continue;
        }
        if direction == Direction::Egress && place::passes_to_own_node(reader.maps(), peer)? {
            let because = "pods may always reach their own node (policy.allowEgressToLocalNode)";
            steps.push(unjudged(direction, pod, &names, because));
            continue;
        }
        let question = Question {
            endpoint,
            direction,
            peer,
            protocol: protocol.number(),
            port,
        };
        let answer = judge(&view, &question)?;
        let explanation = explain(&view, &answer, &names.policy, |c| rule(&names, c))?;
        steps.push(Step {
            explanation: Some(explanation),
            ..step(&question, pod, &answer, &names)
        });
    }
    let why = Why {
        api_version: API_VERSION,
        kind: "PolicyWhy",
        from: place::describe(&names, from),
        to: place::describe(&names, to),
        port: format!("{port}/{protocol}"),
        allowed: steps.iter().all(|step| step.allowed),
        steps,
    };
    out.object(&why, |to| write(&why, to))?;
    Ok(if why.allowed { Exit::Ok } else { Exit::Failed })
}

fn elsewhere(
    direction: Direction,
    pod: IpAddr,
    names: &Names,
    maps: &Maps,
) -> Result<Step, CtlError> {
    let because = if place::node_flags(maps, pod)? == 0 {
        "not a pod of this node: its own node decides"
    } else {
        "the node itself is no subject of policy"
    };
    Ok(unjudged(direction, pod, names, because))
}

/// A side where policy has no say.
fn unjudged(direction: Direction, pod: IpAddr, names: &Names, because: &str) -> Step {
    Step {
        direction,
        pod: place::describe(names, pod),
        allowed: true,
        because: because.to_owned(),
        details: None,
        explanation: None,
    }
}

fn step(question: &Question, pod: IpAddr, answer: &Answer, names: &Names) -> Step {
    Step {
        direction: question.direction,
        pod: place::describe(names, pod),
        allowed: answer.allowed,
        because: because(question, answer, names),
        details: Some(Details {
            endpoint: question.endpoint,
            row: answer.row,
            epoch: answer.word.epoch,
            class: answer.peer.map(|peer| peer.class),
            range: answer.range.map(|range| range.to_string()),
        }),
        explanation: None,
    }
}

fn rule(names: &Names, cookie: u32) -> String {
    match names.cookies.get(&cookie) {
        Some(name) => format!("rule {name}"),
        None if cookie == 0 => "no rule".to_owned(),
        None => format!("rule #{cookie:08x}"),
    }
}

fn because(question: &Question, answer: &Answer, names: &Names) -> String {
    let rule = |cookie| rule(names, cookie);
    match answer.reason {
        Reason::NotIsolated => format!("no policy isolates the pod for {}", question.direction),
        Reason::OwnNode => "the pod's own node may always reach it".to_owned(),
        Reason::NotReady => "the pod's policy is not known yet, so everything is denied".to_owned(),
        Reason::NoPeer | Reason::NoColumn => "no policy knows the other side".to_owned(),
        Reason::Cell => match (answer.allowed, answer.cell) {
            (true, Some(Cell { cookie, .. })) => format!("{} allows every port", rule(cookie)),
            (true, None) => "every port is allowed".to_owned(),
            (false, _) => "the pod is isolated and no rule allows this peer".to_owned(),
        },
        Reason::Interval(interval) => {
            let word = if answer.allowed { "allows" } else { "denies" };
            format!(
                "{} {word} ports {}-{}",
                rule(interval.cookie),
                interval.low,
                interval.high
            )
        }
        Reason::NoInterval => "rules allow this peer, but not this port".to_owned(),
    }
}

fn write(why: &Why, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{} -> {} port {}", why.from, why.to, why.port)?;
    for step in &why.steps {
        let word = if step.allowed { "allowed" } else { "denied" };
        writeln!(
            to,
            "  {:<8} {word:<8} {}: {}",
            step.direction.to_string(),
            step.pod,
            step.because
        )?;
        if let Some(explanation) = &step.explanation {
            beside(explanation, to)?;
        }
    }
    writeln!(to, "{}", if why.allowed { "ALLOWED" } else { "DENIED" })
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
            peer.join(" | ")
        };
        writeln!(to, "    the peer is {peer}")?;
    }
    hints.iter().try_for_each(|hint| writeln!(to, "    {hint}"))
}
