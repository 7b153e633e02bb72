//! Others who do the same work: kube-proxy, other plugins, other networks.

use std::path::Path;

use super::{Complaint, Fault, Verdict, finding::quoted, scene::Scene};
use crate::{
    config::Cni,
    ctl::kube_proxy::{self, Unseen},
    node::{conflist, facts::Facts},
};

/// Whether kube-proxy runs, or has left anything.
pub(super) fn kube_proxy(_: &Scene) -> Verdict {
    let survey = kube_proxy::survey();
    let left = survey.found.iter();
    let left: Vec<String> = left.map(|l| format!("{}: {}", l.place, l.what)).collect();
    judge_kube_proxy(kube_proxy::running(), &left, survey.unseen)
}

fn judge_kube_proxy(running: Option<u32>, left: &[String], unseen: Vec<Unseen>) -> Verdict {
    let mut complaints = Vec::new();
    if let Some(pid) = running {
        let text = format!("kube-proxy runs here as process {pid}");
        let hint = "delete its DaemonSet (kubectl --namespace kube-system delete daemonset kube-proxy), or its unit or static pod";
        complaints.push(Complaint::error(Fault::KubeProxyRuns, text, hint));
    }
    if !left.is_empty() {
        let text = format!("kube-proxy has left rules: {}", left.join("; "));
        let hint = "take them away; connections that live go on";
        let complaint = Complaint::error(Fault::KubeProxyLeft, text, hint);
        complaints.push(complaint.command("proxyctl kube-proxy cleanup"));
    }
    let (fail, lack): (Vec<Unseen>, Vec<Unseen>) = unseen.into_iter().partition(|it| it.fails);
    if !fail.is_empty() {
        let text = format!("nobody knows what is in {}", kube_proxy::words(&fail));
        let hint =
            "run it as root, in the node's own network namespace, with the tools of the host";
        complaints.push(Complaint::warning(Fault::KubeProxyUnknown, text, hint));
    }
    if complaints.is_empty() && !lack.is_empty() {
        let places = kube_proxy::words(&lack);
        return Verdict::unknown(format!("not looked for in {places}"));
    }
    Verdict::of("neither runs nor has left rules", complaints)
}

/// Whether the runtime prefers another plugin.
pub(super) fn plugins(scene: &Scene) -> Verdict {
    let cni = &scene.here.cni;
    if !cni.install {
        return Verdict::unknown("not looked for: cni.install is off");
    }
    preferred(cni)
}

/// In this folder.
pub(in crate::ctl) fn preferred(cni: &Cni) -> Verdict {
    judge_plugins(
        &cni.conf_dir,
        conflist::rival(&cni.conf_dir, &cni.conf_file),
    )
}

fn judge_plugins(folder: &Path, rival: Option<String>) -> Verdict {
    let Some(rival) = rival else {
        return Verdict::fine(format!("none is preferred in {}", folder.display()));
    };
    let path = folder.join(&rival);
    let hint = "remove the other plugin (its DaemonSet first, which would put the file back), then its file";
    let to = path.with_file_name(format!("{rival}.off"));
    Complaint::error(
        Fault::AnotherPlugin,
        format!(
            "{} comes before Weir's: the runtime takes the first by name",
            path.display()
        ),
        hint,
    )
    .command(format!("mv {} {}", quoted(&path), quoted(&to)))
    .into()
}

/// Devices by which other networks are known: the beginning of their names, or all of it, and whose they are.
const DEVICES: [(&str, &str); 15] = [
    ("cilium_", "Cilium"),
    ("lxc_health", "Cilium"),
    ("flannel", "flannel"),
    ("cni0", "flannel or another plugin of kind bridge"),
    ("cali", "Calico"),
    ("vxlan.calico", "Calico"),
    ("vxlan-v6.calico", "Calico"),
    ("bpfout.cali", "Calico"),
    ("antrea-gw", "Antrea"),
    ("weave", "Weave Net"),
    ("kube-bridge", "kube-router"),
    ("kube-ipvs0", "kube-proxy (ipvs)"),
    ("ovn-k8s-mp", "OVN-Kubernetes"),
    ("ovn0", "Kube-OVN"),
    ("cbr0", "kubenet"),
];

/// Whether devices of another network are there.
pub(super) fn networks(scene: &Scene) -> Verdict {
    match &scene.facts {
        Ok(facts) => judge_networks(facts),
        Err(_) => Verdict::unknown("not known"),
    }
}

fn judge_networks(facts: &Facts) -> Verdict {
    let links = facts.interfaces.iter();
    let theirs = links.filter_map(|link| {
        let mut signs = DEVICES.into_iter();
        let (_, whose) = signs.find(|(sign, _)| link.name.starts_with(sign))?;
        Some((link.name.as_str(), whose))
    });
    let theirs: Vec<(&str, &str)> = theirs.collect();
    let Some((first, whose)) = theirs.first() else {
        return Verdict::fine("none but Weir's");
    };
    let more = match theirs.len() {
        1 => String::new(),
        more => format!(" and {} more", more - 1),
    };
    let hint = "remove the other network (its DaemonSet first), then make its pods anew or reboot the node; what is left goes by \
                `ip link delete`";
    let names = theirs
        .iter()
        .map(|(name, _)| format!("ip link delete {name}"));
    let command = names.collect::<Vec<_>>().join("; ");
    Complaint::warning(
        Fault::AnotherNetwork,
        format!("device {first}{more} is of another network, {whose}"),
        hint,
    )
    .command(command)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::facts::Interface;

    #[test]
    fn kube_proxy_and_what_it_left_are_two_things() {
        let faults = |verdict: Verdict| -> Vec<Fault> {
            verdict.complaints.into_iter().map(|c| c.fault).collect()
        };
        let left = ["nftables: table ip kube-proxy".to_owned()];
        let both = [Fault::KubeProxyRuns, Fault::KubeProxyLeft];
        assert_eq!(faults(judge_kube_proxy(Some(7), &left, Vec::new())), both);
        let unseen = |fails| {
            let why = "nft is not here".to_owned();
            let place = "nftables";
            vec![Unseen { place, why, fails }]
        };
        let none = judge_kube_proxy(None, &[], unseen(false));
        assert_eq!(none.text, "not looked for in nftables (nft is not here)");
        let none = judge_kube_proxy(None, &[], unseen(true));
        assert_eq!(faults(none), [Fault::KubeProxyUnknown]);
    }

    #[test]
    fn networks_are_known_by_their_devices() {
        let named = |names: &[&str]| {
            let interfaces = names.iter().map(|name| Interface {
                name: (*name).to_owned(),
                ..Interface::default()
            });
            let facts = Facts {
                interfaces: interfaces.collect(),
                ..Facts::default()
            };
            let complaints = judge_networks(&facts).complaints.into_iter();
            complaints.map(|c| c.text).collect::<Vec<_>>().concat()
        };
        assert_eq!(
            named(&["lo", "eth0", "weir_host", "weir1a2b", "docker0"]),
            ""
        );
        let said = "device flannel.1 and 1 more is of another network, flannel";
        assert_eq!(named(&["lo", "flannel.1", "cni0"]), said);
    }

    #[test]
    fn a_file_that_comes_first_is_moved_away() {
        let verdict = judge_plugins(Path::new("/etc/cni/net.d"), Some("00-x.conf".to_owned()));
        let remedy = verdict.complaints[0].remedy.clone().unwrap();
        let command = "mv /etc/cni/net.d/00-x.conf /etc/cni/net.d/00-x.conf.off";
        assert_eq!(
            remedy,
            crate::ctl::check::Remedy::Command(command.to_owned())
        );
    }
}
