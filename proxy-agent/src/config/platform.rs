//! Where runtimes look for network plugins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which platform the manifests are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// The usual folders: kubeadm, RKE2, Talos, Bottlerocket, EKS, AKS and others.
    #[default]
    Kubernetes,
    /// Those of k3s (component `deploy/platforms/k3s`).
    K3s,
    /// Those of GKE (component `deploy/platforms/gke`).
    Gke,
    /// Those of `OpenShift` (component `deploy/platforms/openshift`).
    Openshift,
}

/// What a kubelet says of itself, what platform that is, and whose folders it has.
const SIGNS: [(&str, &str, Platform); 7] = [
    ("+k3s", "k3s", Platform::K3s),
    ("+rke2", "RKE2", Platform::Kubernetes),
    ("-gke.", "GKE", Platform::Gke),
    ("-eks-", "EKS", Platform::Kubernetes),
    (
        "Red Hat Enterprise Linux CoreOS",
        "OpenShift",
        Platform::Openshift,
    ),
    ("Talos", "Talos", Platform::Kubernetes),
    ("Bottlerocket", "Bottlerocket", Platform::Kubernetes),
];

impl Platform {
    /// By the version of the kubelet and the image of the operating system, as the Node names them: the platform's name.
    pub fn detect(kubelet: &str, image: &str) -> Option<(&'static str, Self)> {
        let mut signs = SIGNS.into_iter();
        let found = signs.find(|(sign, ..)| kubelet.contains(sign) || image.contains(sign));
        found.map(|(_, name, platform)| (name, platform))
    }

    /// Where its runtime looks for binaries and for configurations.
    pub const fn folders(self) -> [&'static str; 2] {
        match self {
            Self::Kubernetes => ["/opt/cni/bin", "/etc/cni/net.d"],
            Self::K3s => [
                "/var/lib/rancher/k3s/data/current/bin",
                "/var/lib/rancher/k3s/agent/etc/cni/net.d",
            ],
            Self::Gke => ["/home/kubernetes/bin", "/etc/cni/net.d"],
            Self::Openshift => ["/var/lib/cni/bin", "/run/multus/cni/net.d"],
        }
    }

    /// What is wrong if manifests for this platform run on another.
    pub fn mistake(self, name: &str, found: Self) -> Option<String> {
        let [bin, conf] = found.folders();
        (self != found).then(|| {
            format!(
                "this node is of {name}, whose runtime looks for plugins in {bin} and {conf}, and the manifests are for `{}`: \
                 see docs/platforms.md",
                self.word()
            )
        })
    }

    /// As files have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::K3s => "k3s",
            Self::Gke => "gke",
            Self::Openshift => "openshift",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_told_by_what_their_kubelets_say() {
        let detected = |kubelet, image| Platform::detect(kubelet, image).map(|(name, _)| name);
        let debian = "Debian GNU/Linux 12 (bookworm)";
        assert_eq!(detected("v1.33.1", debian), None);
        assert_eq!(detected("v1.33.1+k3s1", debian), Some("k3s"));
        assert_eq!(detected("v1.33.1+rke2r1", debian), Some("RKE2"));
        assert_eq!(
            detected("v1.33.1-gke.1386000", "Container-Optimized OS from Google"),
            Some("GKE")
        );
        assert_eq!(
            detected(
                "v1.33.1-eks-1de2ab1",
                "Bottlerocket OS 1.40.0 (aws-k8s-1.33)"
            ),
            Some("EKS")
        );
        assert_eq!(detected("v1.33.1", "Talos (v1.10.4)"), Some("Talos"));
        let coreos = "Red Hat Enterprise Linux CoreOS 419.96.202505";
        let (name, found) = Platform::detect("v1.32.5", coreos).unwrap();
        assert_eq!(found.mistake(name, found), None);
        let told = Platform::Kubernetes.mistake(name, found).unwrap();
        assert!(
            told.contains("of OpenShift") && told.contains("/var/lib/cni/bin"),
            "{told}"
        );
    }
}
