//! The objects that the tests need: values.

use serde_json::{Value, json};

use super::plan::{Member, Role};
use crate::ctl::cluster::PROGRAM;

/// The only container of a pod.
pub(super) const CONTAINER: &str = "probe";
/// The Service without an address that all servers are behind.
pub(super) const HEADLESS: &str = "servers";
/// Where pods listen, and Services.
pub(super) const PORT: u16 = 8080;
pub(super) const SERVICE_PORT: u16 = 80;

/// The namespace; its name is made by the API server.
pub(super) fn namespace() -> Value {
    json!({ "metadata": { "generateName": "weir-connectivity-" } })
}

/// All pods: one for each purpose on each node.
pub(super) fn members(nodes: usize) -> impl Iterator<Item = Member> {
    (0..nodes).flat_map(|node| Role::ALL.map(|role| Member(role, node)))
}

/// A pod. It is put onto its node without a scheduler, which may think that the node should get none.
pub(super) fn pod(member: Member, node: &str, image: &str) -> Value {
    json!({
        "metadata": {
            "name": member.to_string(),
            "labels": { "role": member.0.name(), "pod": member.to_string() },
        },
        "spec": {
            "nodeName": node,
            "tolerations": [{ "operator": "Exists" }],
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 0,
            // As the strictest of the Pod Security Standards asks for.
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": CONTAINER,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": [PROGRAM, "probe", "serve", format!("--port={PORT}")],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    })
}

/// The Services: one for the server of each node, and one without an address for all of them.
pub(super) fn services(nodes: usize) -> Vec<Value> {
    let ports = json!([
        { "name": "tcp", "protocol": "TCP", "port": SERVICE_PORT, "targetPort": PORT },
        { "name": "udp", "protocol": "UDP", "port": SERVICE_PORT, "targetPort": PORT },
    ]);
    let of_node = |node: usize| {
        let name = Member(Role::Server, node).to_string();
        json!({
            "metadata": { "name": name },
            "spec": {
                "type": "NodePort", "ipFamilyPolicy": "PreferDualStack",
                "selector": { "pod": name }, "ports": ports,
            },
        })
    };
    let headless = json!({
        "metadata": { "name": HEADLESS },
        "spec": {
            "clusterIP": "None", "ipFamilyPolicy": "PreferDualStack",
            "selector": { "role": Role::Server.name() }, "ports": ports,
        },
    });
    (0..nodes).map(of_node).chain([headless]).collect()
}

/// Guarded pods let servers in, and get out to clients.
pub(super) fn policy() -> Value {
    let ports = json!([
        { "protocol": "TCP", "port": PORT },
        { "protocol": "UDP", "port": PORT },
    ]);
    let pods = |role: Role| json!([{ "podSelector": { "matchLabels": { "role": role.name() } } }]);
    json!({
        "metadata": { "name": "guarded" },
        "spec": {
            "podSelector": { "matchLabels": { "role": Role::Guarded.name() } },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "from": pods(Role::Server), "ports": ports }],
            "egress": [{ "to": pods(Role::Client), "ports": ports }],
        },
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        core::v1::{Namespace, Pod, Service},
        networking::v1::NetworkPolicy,
    };

    use super::{Member, Role, members, namespace, pod, policy, services};

    #[test]
    fn they_are_what_the_api_takes() {
        let _: Namespace = serde_json::from_value(namespace()).unwrap();
        let policy: NetworkPolicy = serde_json::from_value(policy()).unwrap();
        assert_eq!(policy.spec.unwrap().policy_types.unwrap().len(), 2);
        let names: Vec<String> = services(2)
            .into_iter()
            .map(|one| serde_json::from_value::<Service>(one).unwrap())
            .filter_map(|service| service.metadata.name)
            .collect();
        assert_eq!(names, ["server-0", "server-1", "servers"]);
        let pods: Vec<Pod> = members(2)
            .map(|member| serde_json::from_value(pod(member, "n", "i")).unwrap())
            .collect();
        assert_eq!(pods.len(), 6);
        let spec = pods[0].spec.as_ref().unwrap();
        let words = spec.containers[0].command.as_ref().unwrap();
        assert_eq!(words[..3], ["/usr/bin/proxyctl", "probe", "serve"]);
        assert_eq!(Member(Role::Guarded, 1).to_string(), "guarded-1");
    }
}
