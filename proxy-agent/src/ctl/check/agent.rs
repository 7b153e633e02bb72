//! The agent, by its own word.

use std::collections::BTreeMap;

use super::{Complaint, Fault, Verdict, scene::Scene};
use crate::{
    api::{client::ClientError, messages::Status},
    ctl::{
        CtlError,
        render::status::{Level, Row, rows},
        version::skew,
    },
};

/// What is told where nobody can be asked.
const SILENT: &str = "not known: the agent does not answer";

/// Whether it answers.
pub(super) fn answers(scene: &Scene) -> Verdict {
    match &scene.agent {
        Ok(status) => Verdict::fine(format!(
            "process {} on node {}",
            status.agent.pid, status.agent.node
        )),
        Err(error) => silent(error),
    }
}

fn silent(error: &ClientError) -> Verdict {
    let hint = CtlError::hint_for(error);
    Complaint::error(Fault::AgentSilent, error.to_string(), hint).into()
}

/// Whether it is of our version.
pub(super) fn versions(scene: &Scene) -> Verdict {
    let Ok(status) = &scene.agent else {
        return Verdict::unknown(SILENT);
    };
    let skew = skew(&status.agent.version, &status.agent.layout).map(|text| {
        let hint = "use the proxyctl of the agent's own image: kubectl --namespace kube-system exec daemonset/weir --container agent \
                    -- proxyctl";
        Complaint::warning(Fault::VersionSkew, text, hint)
    });
    Verdict::of(format!("v{}", status.agent.version), skew)
}

/// Whether kubelet and load balancers get the answers that they ask for.
pub(super) fn probes(scene: &Scene) -> Verdict {
    if scene.agent.is_err() {
        return Verdict::unknown(SILENT);
    }
    let starting = scene.agent.as_ref().is_ok_and(|status| {
        rows(status)
            .iter()
            .any(|row| matches!(row.level, Level::Starting))
    });
    judge_probes(&scene.probes, starting)
}

fn judge_probes(probes: &BTreeMap<&'static str, Result<u16, String>>, starting: bool) -> Verdict {
    let complaints = probes.iter().filter_map(|(path, answer)| match answer {
        Ok(200) => None,
        Ok(503) if starting && *path == "/readyz" => Some(Complaint::warning(
            Fault::Unhealthy,
            format!("{path} answers 503 (it is starting)"),
            "ask again in some seconds; the status below says what it waits for",
        )),
        Ok(code) => Some(Complaint::error(
            Fault::Unhealthy,
            format!("{path} answers {code}"),
            "the status below says what is not in step; the agent's log says since when",
        )),
        Err(why) => Some(Complaint::error(
            Fault::HealthSilent,
            why.clone(),
            "healthzBindAddress says where it listens: does a rule of netfilter reject it?",
        )),
    });
    let paths: Vec<&str> = probes.keys().copied().collect();
    Verdict::of(format!("{} answer 200", paths.join(", ")), complaints)
}

/// What its status says, part by part.
pub(super) fn status(scene: &Scene) -> Verdict {
    match &scene.agent {
        Ok(status) => judge_status(status),
        Err(_) => Verdict::unknown(SILENT),
    }
}

fn judge_status(status: &Status) -> Verdict {
    // It has a check of its own.
    let skew = skew(&status.agent.version, &status.agent.layout);
    let rows: Vec<Row> = rows(status);
    let complaints = rows.iter().filter_map(|row| of_row(row, skew.as_deref()));
    let complaints: Vec<Complaint> = complaints.collect();
    Verdict::of(format!("{} parts are well", rows.len()), complaints)
}

fn of_row(row: &Row, skew: Option<&str>) -> Option<Complaint> {
    let fault = fault_of(row.part)?;
    let notes: Vec<&str> = row.notes.iter().map(String::as_str).collect();
    let notes: Vec<&str> = notes
        .into_iter()
        .filter(|note| Some(*note) != skew)
        .collect();
    let only_skew = notes.is_empty() && !row.notes.is_empty();
    if row.level == Level::Ok || only_skew {
        return None;
    }
    let what = if notes.is_empty() {
        row.text.clone()
    } else {
        notes.join("; ")
    };
    let text = format!("{}: {what}", row.part);
    let hint = "the entry of this part says what to do about it; `proxyctl status` shows all parts";
    Some(match row.level {
        Level::Error => Complaint::error(fault, text, hint),
        Level::Starting if what.is_empty() => Complaint::warning(
            fault,
            format!("{} has not been looked at yet: it is starting", row.part),
            hint,
        ),
        Level::Starting => Complaint::warning(fault, format!("{text} (it is starting)"), hint),
        _ => Complaint::warning(fault, text, hint),
    })
}

/// The fault of a part of the status.
fn fault_of(part: &str) -> Option<Fault> {
    let name = format!("status-{}", part.to_lowercase().replace(' ', "-"));
    Fault::ALL
        .iter()
        .copied()
        .find(|fault| fault.anchor() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::Outcome;

    #[test]
    fn every_part_of_the_status_has_a_name() {
        for row in rows(&Status::default()) {
            assert!(fault_of(row.part).is_some(), "{}", row.part);
        }
    }

    #[test]
    fn what_the_agent_says_is_passed_on() {
        let mut status = Status::default();
        status.agent.version = "99.0.0".to_owned();
        status.agent.ready = true;
        status.sync.errors = vec!["FRONTENDS4 is full".to_owned()];
        let complaints = judge_status(&status).complaints;
        let of = |fault| complaints.iter().find(|c| c.fault == fault);
        let sync = of(Fault::StatusSync).unwrap();
        assert_eq!(
            (sync.level, sync.text.as_str()),
            (Outcome::Error, "Sync: FRONTENDS4 is full")
        );
        assert_eq!(of(Fault::StatusAgent), None, "skew is told elsewhere");
        let starting = of(Fault::StatusHost).unwrap();
        assert!(starting.text.ends_with("(it is starting)"), "{starting:?}");
    }

    #[test]
    fn a_probe_that_is_not_answered_is_not_a_bad_answer() {
        let probes = [
            ("/healthz", Ok(503)),
            ("/livez", Err("refused".to_owned())),
            ("/readyz", Ok(200)),
        ];
        let starting = [("/readyz", Ok(503))].into();
        assert!(
            judge_probes(&starting, true).complaints[0]
                .text
                .ends_with("(it is starting)")
        );
        let faults = judge_probes(&probes.into(), false).complaints.into_iter();
        let faults: Vec<Fault> = faults.map(|c| c.fault).collect();
        assert_eq!(faults, [Fault::Unhealthy, Fault::HealthSilent]);
    }
}
