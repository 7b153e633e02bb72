//! How the container of an agent is that cannot be asked, by what the kubelet says of its pod.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::{CONTAINER, exec::Call, node};
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

/// Why nothing could be run in a container that the API server still takes for running.
pub(super) fn just_ended(call: &Call, error: &kube::Error) -> Option<CtlError> {
    let Call { namespace, pod, .. } = call;
    error.to_string().contains("container not found").then(|| {
        CtlError::new(
            Exit::Unreachable,
            format!("the agent of pod {namespace}/{pod} has ended a moment ago: {error}"),
            format!(
                "the kubelet starts it anew within seconds, and the kernel forwards on; \
                 kubectl --namespace {namespace} logs {pod} --container {CONTAINER} --previous has its last words"
            ),
        )
    })
}

/// Why nothing could be run in a pod of a node that the API server does not know: it is by the Node that it finds the kubelet.
pub(super) fn without_node(node: &str, call: &Call, error: &kube::Error) -> Option<CtlError> {
    let kube::Error::Api(status) = error else {
        return None;
    };
    let is_it = status.code == 404 && status.message.contains(&format!("\"{node}\" not found"));
    let Call { namespace, pod, .. } = call;
    is_it.then(|| {
        CtlError::new(
            Exit::Unreachable,
            format!(
                "node {node} is not there: the API server has no Node of this name, by which it would reach the agent's pod {namespace}/{pod}: {}",
                status.message
            ),
            format!(
                "try: kubectl get node {node}; the kubelet of a machine that is to stay registers it again when it is started anew; \
                 meanwhile proxyctl works as root on the node"
            ),
        )
    })
}

/// Whether a pod of the `DaemonSet` runs no agent, but `proxy-agent cleanup`.
pub(super) fn cleans_up(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut first = containers.filter_map(|container| container.args.as_ref()?.first());
    first.any(|word| word == "cleanup")
}

/// That is why it cannot be asked.
pub(super) fn leaves(pod: &Pod) -> CtlError {
    let (namespace, name) = names(pod);
    CtlError::new(
        Exit::Unreachable,
        format!(
            "no agent runs: the pods of the DaemonSet, such as {namespace}/{name}, clean up (cleanup=true)"
        ),
        format!(
            "kubectl --namespace {namespace} logs {name} --container {CONTAINER} says how far they are; then comes helm uninstall, or cleanup=false"
        ),
    )
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
            format!("is waiting ({reason}{})", message.unwrap_or_default())
        }
        Some(ContainerState {
            terminated: Some(ended),
            ..
        }) => return format!("container {name} has {}", ended_so(ended)),
        Some(ContainerState {
            running: Some(_), ..
        }) => "is running".to_owned(),
        _ => "is not made yet".to_owned(),
    };
    let last = container.last_state.as_ref();
    let last = last.and_then(|state| state.terminated.as_ref());
    let last = last.map(|ended| format!("; before, it {}", ended_so(ended)));
    format!("container {name} {now}{}", last.unwrap_or_default())
}

fn ended_so(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("no reason given");
    let words = last_words(ended.message.as_deref().unwrap_or_default());
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    let code = match ended.exit_code {
        137 => "137, killed (SIGKILL)".to_owned(),
        code => code.to_string(),
    };
    format!("ended with code {code} ({reason}){words}")
}

/// Of what a container said last: why it ended, as far as it said so. What the kubelet keeps may begin in the middle of a line.
fn last_words(said: &str) -> &str {
    let said = said.trim();
    let error = said.rfind("\nerror: ").map(|at| at + 1);
    let last = || said.rfind('\n').map_or(0, |at| at + 1);
    let begin = if said.starts_with("error: ") {
        0
    } else {
        error.unwrap_or_else(last)
    };
    let words = &said[begin..];
    &words[..words.floor_char_boundary(WORDS)]
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
    fn a_node_that_is_not_there_is_named() {
        let call = Call {
            namespace: "kube-system".to_owned(),
            pod: "weir-7".to_owned(),
            container: CONTAINER,
            words: Vec::new(),
            stdin: false,
        };
        let said = |message: &str| {
            let status = json!({ "code": 404, "reason": "NotFound", "message": message });
            let error = kube::Error::Api(serde_json::from_value(status).unwrap());
            without_node("n3", &call, &error)
        };
        for message in ["pods \"n3\" not found", "nodes \"n3\" not found"] {
            let error = said(message).unwrap();
            assert!(
                error.message.starts_with("node n3 is not there: "),
                "{error:?}"
            );
            assert!(error.message.ends_with(message), "{error:?}");
            assert!(error.hint.contains("kubectl get node n3"), "{error:?}");
        }
        assert!(said("pods \"weir-7\" not found").is_none());
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
        let killed = json!({ "terminated": { "exitCode": 137, "reason": "Error", "message": "amp\":1}\n{\"level\":\"INFO\"}\n" } });
        let killed = pod(&json!({ "containerStatuses": [status("agent", &killed, &ended)] }));
        assert!(
            in_words(&killed).ends_with(
                "container agent has ended with code 137, killed (SIGKILL) (Error): {\"level\":\"INFO\"}"
            ),
            "what was before that is no matter: {}",
            in_words(&killed)
        );
        let said = "x\nerror: cni.mtu\n  hint: y";
        assert_eq!(last_words(said), "error: cni.mtu\n  hint: y");
        let before = json!({ "waiting": { "reason": "ErrImagePull" } });
        let none = json!({});
        let stuck = pod(&json!({ "initContainerStatuses": [status("bpffs", &before, &none)] }));
        assert!(in_words(&stuck).ends_with("container bpffs is waiting (ErrImagePull)"));
        let runs = json!({ "running": {} });
        let well = pod(&json!({ "containerStatuses": [status("agent", &runs, &ended)] }));
        assert_eq!(why_not(&well).map(|why| why.message), None);
        let mut leaving = well.clone();
        assert!(!cleans_up(&leaving));
        let args = vec!["cleanup".to_owned(), "--stay".to_owned()];
        leaving.spec.as_mut().unwrap().containers = vec![k8s_openapi::api::core::v1::Container {
            args: Some(args),
            ..Default::default()
        }];
        assert!(cleans_up(&leaving));
        let early = pod(&json!({ "phase": "Pending" }));
        assert!(in_words(&early).ends_with("on node a: Pending"));
    }
}
