//! Judges a flow on its way to one destination, by the live maps.

use std::net::IpAddr;

use proxy_common::policy::{
    cells::Cell,
    peers::{PEER_POD, PEER_UNKNOWN_POD},
};

use super::{
    answer::{Details, Path, Step, Verdict},
    judged::Judged,
};
use crate::{
    api::messages::Names,
    ctl::{CtlError, inside::is_masqueraded, lookup::Asked, place},
    datapath::Maps,
    model::Protocol,
    policy::{
        Direction, PolicyTables,
        explain::explain,
        lookup::{Answer, Question, Reason, find, judge},
        view::LiveView,
    },
};

/// Both halves of the tables of peers.
const SIDES: [u32; 2] = [0, 1];

/// What judges.
pub(super) struct Judge<'a> {
    pub(super) maps: &'a Maps,
    pub(super) names: &'a Names,
    view: LiveView<'a>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        maps: &'a Maps,
        names: &'a Names,
        tables: &'a PolicyTables,
    ) -> Result<Self, CtlError> {
        let view = LiveView::new(tables)?;
        Ok(Self { maps, names, view })
    }

    /// What either side says of a flow that no Service translates any more; whom policy sees in the client's place.
    pub(super) fn path(&self, asked: &Asked, judged: Option<Judged>) -> Result<Path, CtlError> {
        let to = asked.to.ip();
        let from = judged
            .as_ref()
            .map_or(asked.client, |judged| judged.address);
        let steps = [
            self.step(Direction::Egress, from, to, asked)?,
            self.step(Direction::Ingress, to, from, asked)?,
        ];
        Ok(Path {
            to: place::describe(self.names, to),
            destination: asked.to,
            verdict: Verdict::default(),
            steps: steps.into(),
            judged,
            masqueraded: !self.is_pod(to)? && is_masqueraded(self.maps, self.names, from, to)?,
        })
    }

    fn step(
        &self,
        direction: Direction,
        pod: IpAddr,
        peer: IpAddr,
        asked: &Asked,
    ) -> Result<Step, CtlError> {
        let said = |verdict, because: &str| Step {
            direction,
            pod: place::describe(self.names, pod),
            address: pod,
            verdict,
            because: because.to_owned(),
            node: None,
            left_to: None,
            details: None,
            explanation: None,
        };
        let Some(endpoint) = place::endpoint(self.maps, pod)? else {
            let (verdict, because) = self.elsewhere(pod)?;
            return Ok(said(verdict, because));
        };
        if pod == peer {
            let because = "a pod always reaches itself";
            return Ok(said(Verdict::Allowed, because));
        }
        if direction == Direction::Egress && place::passes_to_own_node(self.maps, peer)? {
            let because = "pods may always reach their own node (policy.allowEgressToLocalNode)";
            return Ok(said(Verdict::Allowed, because));
        }
        let question = Question {
            endpoint,
            direction,
            peer,
            protocol: asked.protocol.number(),
            port: asked.to.port(),
        };
        let answer = judge(&self.view, &question)?;
        let rule = |cookie| self.rule(cookie);
        let explanation = explain(&self.view, &answer, &self.names.policy, rule)?;
        let verdict = if answer.allowed {
            Verdict::Allowed
        } else {
            Verdict::Denied
        };
        Ok(Step {
            details: Some(details(&question, &answer)),
            explanation: Some(explanation),
            ..said(verdict, &self.because(&question, &answer))
        })
    }

    /// Who is no pod of this node: whether policy has a say, which then is another node's.
    fn elsewhere(&self, address: IpAddr) -> Result<(Verdict, &'static str), CtlError> {
        let name = self.names.addresses.get(&address);
        let is_node = name.is_none_or(|name| name.starts_with("node/"));
        if is_node && place::node_flags(self.maps, address)? != 0 {
            let because = "the node itself is no subject of policy";
            return Ok((Verdict::Allowed, because));
        }
        Ok(match name {
            Some(_) if is_node => (Verdict::Allowed, "a node is no subject of policy"),
            Some(_) => (Verdict::Undecided, "a pod of another node, which decides"),
            None if self.is_pod(address)? => (
                Verdict::Undecided,
                "in a range of pods: the node that has it decides",
            ),
            None if self.names.addresses.is_empty() => (
                Verdict::Undecided,
                "no pod of this node, and without names it may be one of another",
            ),
            None => (Verdict::Allowed, "no pod: no policy is about it"),
        })
    }

    /// Whether the tables of policy know it for a pod's.
    fn is_pod(&self, address: IpAddr) -> Result<bool, CtlError> {
        for side in SIDES {
            let (peer, _) = find(&self.view, side, address)?;
            if peer.is_some_and(|peer| peer.flags & (PEER_POD | PEER_UNKNOWN_POD) != 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn rule(&self, cookie: u32) -> String {
        match self.names.cookies.get(&cookie) {
            Some(name) => format!("rule {name}"),
            None if cookie == 0 => "no rule".to_owned(),
            None => format!("rule #{cookie:08x}"),
        }
    }

    fn not_ready(&self, question: &Question) -> String {
        let closed = self.names.policy.closed.get(&question.endpoint);
        match closed.and_then(|by| by[question.direction as usize].as_ref()) {
            Some(why) => format!("everything is denied: {why}"),
            None => "the pod's policy is not known yet, so everything is denied".to_owned(),
        }
    }

    fn because(&self, question: &Question, answer: &Answer) -> String {
        match answer.reason {
            Reason::NotIsolated => format!("no policy isolates the pod for {}", question.direction),
            Reason::OwnNode => "the pod's own node may always reach it".to_owned(),
            Reason::NotReady => self.not_ready(question),
            Reason::NoPeer | Reason::NoColumn => "no policy knows the other side".to_owned(),
            Reason::Cell => match (answer.allowed, answer.cell) {
                (true, Some(Cell { cookie, .. })) => {
                    format!("{} allows every port", self.rule(cookie))
                }
                (true, None) => "every port is allowed".to_owned(),
                (false, _) => "the pod is isolated and no rule allows this peer".to_owned(),
            },
            Reason::Interval(interval) => {
                let word = if answer.allowed { "allows" } else { "denies" };
                let rule = self.rule(interval.cookie);
                match (interval.low, interval.high) {
                    (low, high) if low == high => format!("{rule} {word} port {low}"),
                    (low, high) => format!("{rule} {word} ports {low}-{high}"),
                }
            }
            Reason::NoInterval => format!(
                "rules allow this peer, but not port {}/{}",
                question.port,
                Protocol::name_of(question.protocol)
            ),
        }
    }
}

fn details(question: &Question, answer: &Answer) -> Details {
    Details {
        endpoint: question.endpoint,
        row: answer.row,
        epoch: answer.word.epoch,
        class: answer.peer.map(|peer| peer.class),
        range: answer.range.map(|range| range.to_string()),
    }
}
