//! What Weir is told, and what API servers know of this node.

use super::{
    Complaint, Fault, Verdict,
    scene::{Scene, Source},
};
use crate::{
    config::{Configuration, Ipam, Platform},
    model::{Kind, Node},
    observe::kubernetes::{KubernetesError, Look},
};

/// Whether the agent would take its configuration.
pub(super) fn configuration(scene: &Scene) -> Verdict {
    let text = format!("told by {}", scene.told_by);
    let wrong = scene.wrong.as_ref().map(|why| {
        Complaint::error(
            Fault::ConfigurationWrong,
            format!("{why}; all else is looked at as if nothing were told"),
            "`proxy-agent config check FILE` says what is wrong with each line, and what may have been meant",
        )
    });
    Verdict::of(text, wrong)
}

/// Whether API servers answer.
pub(super) fn servers(scene: &Scene) -> Verdict {
    match &scene.source {
        Source::Manifests(None) => Verdict::fine("none: objects are those of a folder"),
        Source::Manifests(Some(why)) => Complaint::error(
            Fault::NoManifests,
            why.clone(),
            "`manifests` names a folder of YAML files that the agent can read",
        )
        .into(),
        Source::Servers(Err(error)) => {
            let told = scene.config.client_connection.kubeconfig.is_some();
            no_servers(error, scene.before && !told)
        }
        Source::Servers(Ok(look)) => judge_servers(look, &credentials(&scene.config)),
    }
}

/// Where addresses and credentials are from.
fn credentials(config: &Configuration) -> String {
    let shell = std::env::var("KUBECONFIG").unwrap_or_default();
    match &config.client_connection.kubeconfig {
        Some(file) => format!("of {}", file.display()),
        None if shell.is_empty() => "of the usual places".to_owned(),
        None => format!("of {shell}, which the variable KUBECONFIG names"),
    }
}

/// `nobody_told`: a Pod of Weir has credentials that nobody has before.
fn no_servers(error: &KubernetesError, nobody_told: bool) -> Verdict {
    if nobody_told && matches!(error, KubernetesError::Config(_)) {
        let text = format!("API servers were not asked: {error}");
        let hint = "name a file of credentials: --set clientConnection.kubeconfig=FILE";
        return Complaint::warning(Fault::NoApiServer, text, hint).into();
    }
    Complaint::error(Fault::NoApiServer, error.to_string(), error.hint()).into()
}

fn judge_servers(look: &Look, credentials: &str) -> Verdict {
    let answering: Vec<&str> = look.answer.keys().map(String::as_str).collect();
    let silent = look.silent.values().map(|why| {
        Complaint::error(
            Fault::ApiUnreachable,
            format!("{why} (address and credentials {credentials})"),
            "can this node reach that address and port without any Service? clientConnection.apiServers names API servers; \
             their certificates must be of the authority that the kubeconfig names",
        )
    });
    let unready = look.answer.iter().filter_map(|(url, unready)| {
        let why = unready.as_ref()?;
        Some(Complaint::warning(
            Fault::ApiNotReady,
            format!("{url} answers, but is not ready: {why}"),
            "kubectl get --raw '/readyz?verbose' says what it waits for, most often etcd",
        ))
    });
    let refused = look.unlisted.iter().map(|unlisted| {
        let code = unlisted.refused.map_or_else(String::new, |code| format!(" ({code})"));
        Complaint::error(
            Fault::ApiRefuses,
            format!("list of {}{code}: {}", unlisted.kind, unlisted.why),
            "401: token or certificate are not those of this cluster; 403: the role of the manifests (deploy/base/rbac.yaml) is not \
             bound to whom these credentials are of",
        )
    });
    Verdict::of(
        format!("{} answers", answering.join(", ")),
        silent.chain(unready).chain(refused),
    )
}

/// Whether Nodes are known here.
fn knows_nodes(scene: &Scene) -> bool {
    let unread = matches!(scene.source, Source::Manifests(Some(_)));
    !unread && scene.store.complete().has(&[Kind::Node])
}

/// Whether this node has a Node.
pub(super) fn node(scene: &Scene) -> Verdict {
    if !knows_nodes(scene) {
        return Verdict::unknown("not known");
    }
    let snapshot = scene.store.read();
    let names: Vec<&str> = snapshot
        .nodes
        .values()
        .map(|node| node.name.as_str())
        .collect();
    judge_node(&scene.config.node_name, &names)
}

fn judge_node(name: &str, names: &[&str]) -> Verdict {
    if names.contains(&name) {
        return Verdict::fine(name);
    }
    let known = match names {
        [] => "there are no Nodes".to_owned(),
        names if names.len() > 5 => format!("there are {} others", names.len()),
        names => format!("there are {}", names.join(", ")),
    };
    let hint = "nodeName is the name that the kubelet registers: the host's, or its --hostname-override; in a Pod, spec.nodeName";
    let complaint = Complaint::error(
        Fault::NoNode,
        format!("no Node is called {name}: {known}"),
        hint,
    );
    match names {
        [only] => complaint.setting("nodeName", only),
        _ => complaint,
    }
    .into()
}

/// Whether somebody gives this node a range for its pods.
pub(super) fn pod_cidrs(scene: &Scene) -> Verdict {
    match scene.node() {
        Some(node) => judge_pod_cidrs(&scene.config, &node),
        None => Verdict::unknown("not known"),
    }
}

fn judge_pod_cidrs(config: &Configuration, node: &Node) -> Verdict {
    let words = |ranges: &[ipnetwork::IpNetwork]| {
        let words: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        words.join(", ")
    };
    match config.ipam {
        _ if !config.node.pod_cidrs.is_empty() => Verdict::fine(words(&config.node.pod_cidrs)),
        Ipam::Cluster => Verdict::fine(format!("claimed of {}", words(&config.cluster_pod_cidrs))),
        Ipam::Node if !node.spec_pod_cidrs.is_empty() => Verdict::fine(words(&node.spec_pod_cidrs)),
        Ipam::Node => Complaint::error(
            Fault::NoPodCidrs,
            format!("Node {} has no spec.podCIDRs, and nobody else gives its pods addresses", node.name),
            "kube-controller-manager fills it in (--allocate-node-cidrs=true --cluster-cidr=RANGE; kubeadm init \
             --pod-network-cidr=RANGE); or let agents claim ranges: ipam=cluster and clusterPodCIDRs=RANGE on all nodes",
        )
        .into(),
    }
}

/// Whether the manifests are for this platform.
pub(super) fn platform(scene: &Scene) -> Verdict {
    match scene.node() {
        Some(node) => judge_platform(&scene.config, &node),
        None => Verdict::unknown("not known"),
    }
}

fn judge_platform(config: &Configuration, node: &Node) -> Verdict {
    let [kubelet, image] = &node.kubelet_and_image;
    let Some((name, found)) = Platform::detect(kubelet, image) else {
        return Verdict::fine(config.platform.word());
    };
    let mistake = config.platform.mistake(name, found);
    let mistake = mistake.filter(|_| config.cni.install).map(|text| {
        let hint = "install with the chart's preset for it (platform), which sets the folders too";
        Complaint::error(Fault::AnotherPlatform, text, hint).setting("platform", found.word())
    });
    Verdict::of(name, mistake)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ctl::check::Outcome, observe::kubernetes::Unlisted};

    fn faults(verdict: Verdict) -> Vec<Fault> {
        let complaints = verdict.complaints.into_iter();
        complaints.map(|complaint| complaint.fault).collect()
    }

    #[test]
    fn each_api_server_is_judged_by_itself() {
        let mut look = Look::default();
        look.answer.insert("https://a".to_owned(), None);
        assert_eq!(faults(judge_servers(&look, "of a test")), []);
        let why = Some("/readyz says 500".to_owned());
        look.answer.insert("https://b".to_owned(), why);
        look.silent
            .insert("https://c".to_owned(), "https://c: refused".to_owned());
        look.unlisted.push(Unlisted {
            kind: Kind::Node,
            refused: Some(403),
            why: "forbidden".to_owned(),
        });
        let all = [Fault::ApiUnreachable, Fault::ApiNotReady, Fault::ApiRefuses];
        assert_eq!(faults(judge_servers(&look, "of a test")), all);
    }

    #[test]
    fn only_before_anybody_has_named_credentials_they_may_be_missing() {
        let level = |nobody_told| {
            let error = KubernetesError::Config("none".to_owned());
            no_servers(&error, nobody_told).complaints.remove(0).level
        };
        assert_eq!([true, false].map(level), [Outcome::Warning, Outcome::Error]);
    }

    #[test]
    fn a_node_has_a_name_and_a_range() {
        assert_eq!(faults(judge_node("a", &["b", "a"])), []);
        assert_eq!(faults(judge_node("a", &["b"])), [Fault::NoNode]);
        let mut config = Configuration::default();
        let node = Node::default();
        assert_eq!(faults(judge_pod_cidrs(&config, &node)), [Fault::NoPodCidrs]);
        config.ipam = Ipam::Cluster;
        assert_eq!(faults(judge_pod_cidrs(&config, &node)), []);
    }

    #[test]
    fn another_platform_matters_where_the_plugin_is_installed() {
        let mut config = Configuration::default();
        let node = Node {
            kubelet_and_image: ["v1.33.1+k3s1".to_owned(), "Debian".to_owned()],
            ..Node::default()
        };
        assert_eq!(faults(judge_platform(&config, &node)), []);
        config.cni.install = true;
        assert_eq!(
            faults(judge_platform(&config, &node)),
            [Fault::AnotherPlatform]
        );
    }
}
