//! How the container of an agent is that cannot be asked, by what the kubelet says of its pod.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::{CONTAINER, node};
use crate::ctl::{CtlError, Exit};

/// What is kept of a container's last words.
const WORDS: usize = 400;

/// Why nothing can be run in an agent's container; none if it runs.
pub(super) fn why_not(pod: &Pod) -> Option<CtlError> {
    let container = container(pod)?;
    if is_running(container) {
        return None;
    }
    let (namespace, name) = names(pod);
    let previous = if container.restart_count > 0 {
        " --previous"
    } else {
        ""
    };
    Some(CtlError::new(
        Exit::Unreachable,
        format!("the agent does not run: {}", in_words(pod)),
        format!(
            "kubectl --namespace {namespace} logs {name} --container {CONTAINER}{previous} has its last words; \
             the kernel forwards on: as root on the node, proxyctl reads the maps"
        ),
    ))
}

/// A pod of an agent, its node and how its container is.
pub(super) fn in_words(pod: &Pod) -> String {
    let (namespace, name) = names(pod);
    let node = node(pod).unwrap_or_else(|| "none yet".to_owned());
    let state = match container(pod) {
        Some(container) => state(container),
        None => pod
            .status
            .as_ref()
            .and_then(|status| status.phase.clone())
            .unwrap_or_default(),
    };
    format!("pod {namespace}/{name} on node {node}: {state}")
}

fn names(pod: &Pod) -> (&str, &str) {
    (
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default(),
    )
}

/// The agent's container, or one before it that has not ended well.
fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let before = status.init_container_statuses.iter().flatten();
    let ended_well = |container: &&ContainerStatus| {
        let ended = container
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0)
    };
    let stuck = before
        .filter(|container| !ended_well(container))
        .find(|container| {
            // One that is to run beside the agent is no hindrance.
            !is_running(container)
        });
    let mut all = status.container_statuses.iter().flatten();
    stuck.or_else(|| all.find(|container| container.name == CONTAINER))
}

fn is_running(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    state.is_some_and(|state| state.running.is_some())
}

fn state(container: &ContainerStatus) -> String {
    let name = &container.name;
    let now = match container.state.as_ref() {
        Some(ContainerState {
            waiting: Some(waiting),
            ..
        }) => {
            let reason = waiting.reason.as_deref().unwrap_or("no reason given");
            let message = waiting.message.as_deref().map(|text| format!(": {text}"));
            format!("waiting ({reason}{})", message.unwrap_or_default())
        }
        Some(ContainerState {
            terminated: Some(ended),
            ..
        }) => ended_so(ended),
        Some(ContainerState {
            running: Some(_), ..
        }) => "running".to_owned(),
        _ => "not made yet".to_owned(),
    };
    let last = container.last_state.as_ref();
    let last = last.and_then(|state| state.terminated.as_ref());
    let last = last.map(|ended| format!("; before, it {}", ended_so(ended)));
    format!("container {name} is {now}{}", last.unwrap_or_default())
}

fn ended_so(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("no reason given");
    let words = ended.message.as_deref().unwrap_or_default().trim();
    let from = words.len().saturating_sub(WORDS);
    let words = &words[words.ceil_char_boundary(from)..];
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    format!("ended with code {} ({reason}){words}", ended.exit_code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(statuses: &serde_json::Value) -> Pod {
        let mut pod = json!({
            "metadata": { "namespace": "kube-system", "name": "weir-7" },
            "spec": { "nodeName": "a", "containers": [] },
            "status": { "phase": "Running" },
        });
        for (key, value) in statuses.as_object().unwrap() {
            pod["status"][key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn status(
        name: &str,
        state: &serde_json::Value,
        last: &serde_json::Value,
    ) -> serde_json::Value {
        json!({ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 4, "state": state, "lastState": last })
    }

    #[test]
    fn how_a_container_is_and_how_it_ended() {
        let waiting =
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } });
        let ended = json!({ "terminated": { "exitCode": 2, "reason": "Error", "message": "error: cni.mtu\n" } });
        let crashing = pod(&json!({ "containerStatuses": [status("agent", &waiting, &ended)] }));
        let why = why_not(&crashing).unwrap();
        assert_eq!(
            why.message,
            "the agent does not run: pod kube-system/weir-7 on node a: container agent is waiting (CrashLoopBackOff: back-off 40s); \
             before, it ended with code 2 (Error): error: cni.mtu"
        );
        let logs = "kubectl --namespace kube-system logs weir-7 --container agent --previous ";
        assert!(why.hint.starts_with(logs), "{}", why.hint);
        let before = json!({ "waiting": { "reason": "ErrImagePull" } });
        let none = json!({});
        let stuck = pod(&json!({ "initContainerStatuses": [status("bpffs", &before, &none)] }));
        assert!(in_words(&stuck).ends_with("container bpffs is waiting (ErrImagePull)"));
        let runs = json!({ "running": {} });
        let well = pod(&json!({ "containerStatuses": [status("agent", &runs, &ended)] }));
        assert_eq!(why_not(&well).map(|why| why.message), None);
        let early = pod(&json!({ "phase": "Pending" }));
        assert!(in_words(&early).ends_with("on node a: Pending"));
    }
}
