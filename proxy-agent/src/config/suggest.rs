//! What somebody may have meant who named a setting that there is none of.

use std::fmt;

use super::definition::DEFINITION;

/// Names of kube-proxy's configuration, and of Weir's former ones, whose settings are called otherwise here.
const CALLED_HERE: [(&str, &str); 5] = [
    ("node.uplink", "node.links.include"),
    ("hostnameOverride", "nodeName"),
    ("minSyncPeriod", "sync.minPeriod"),
    ("syncPeriod", "sync.fullPeriod"),
    ("maxPerCore", "conntrack.maxPerCore"),
];
/// Names of kube-proxy's configuration whose settings nothing needs here.
const NOT_NEEDED: [&str; 12] = [
    "mode",
    "clusterCIDR",
    "detectLocal",
    "detectLocalMode",
    "featureGates",
    "iptables",
    "ipvs",
    "nftables",
    "winkernel",
    "oomScoreAdj",
    "showHiddenMetricsForVersion",
    "windowsRunAsService",
];

/// What to do about an unknown name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// This setting is near it.
    Meant(String),
    /// It is kube-proxy's, and Weir has no use for it.
    NotNeeded,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meant(path) => write!(f, "did you mean `{path}`?"),
            Self::NotNeeded => {
                f.write_str("kube-proxy has it, Weir does not need it: leave it out")
            }
        }
    }
}

/// The nearest setting or part, if any is near.
pub(super) fn suggest(path: &str) -> Option<Hint> {
    let name = last(path);
    if let Some((_, here)) = CALLED_HERE
        .iter()
        .find(|(of, _)| *of == path || *of == name)
    {
        return Some(Hint::Meant((*here).to_owned()));
    }
    if NOT_NEEDED.contains(&path) {
        return Some(Hint::NotNeeded);
    }
    let paths = || {
        let settings = DEFINITION.settings.iter().map(|setting| &setting.path);
        settings.chain(DEFINITION.sections.iter().map(|section| &section.path))
    };
    // Told at another place; else misspelt at this one; else misspelt anywhere.
    let elsewhere = paths().filter(|known| plain(last(known)) == plain(name));
    let beside = paths().filter(|known| known.len() - last(known).len() == path.len() - name.len());
    let beside = beside.filter(|known| near(last(known), name));
    let anywhere = paths().filter(|known| near(known, path));
    let far = |known: &&String| distance(known, path);
    elsewhere
        .min_by_key(far)
        .or_else(|| beside.min_by_key(far))
        .or_else(|| anywhere.min_by_key(far))
        .map(|known| Hint::Meant(known.clone()))
}

/// The name without what it is part of.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Without what differs between ways of writing: `pod_cidrs`, `podCidrs`, `podCIDRs`.
fn plain(name: &str) -> String {
    let letters = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.');
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

pub(super) fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(&plain(one), &plain(other))
}

/// A slip or two, not another word.
fn near(one: &str, other: &str) -> bool {
    distance(one, other) <= (other.len() / 4).clamp(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_meant() {
        for (told, meant) in [
            ("cni.mut", Some("cni.mtu")),
            ("mtu", Some("cni.mtu")),
            ("nodePortAddresses", Some("node.nodePortAddresses")),
            ("node.pod_cidrs", Some("node.podCIDRs")),
            ("node.link", Some("node.links")),
            ("node.links.exlude", Some("node.links.exclude")),
            ("node.uplink", Some("node.links.include")),
            ("conntrak.udpTimeout", Some("conntrack.udpTimeout")),
            ("hostnameOverride", Some("nodeName")),
            ("iptables.minSyncPeriod", Some("sync.minPeriod")),
            ("metricsBindAdress", Some("metricsBindAddress")),
            ("colour", None),
        ] {
            let meant = meant.map(|path| Hint::Meant(path.to_owned()));
            assert_eq!(suggest(told), meant, "{told}");
        }
        assert_eq!(suggest("clusterCIDR"), Some(Hint::NotNeeded));
    }

    #[test]
    fn what_things_are_called_here_is_there() {
        for (_, here) in CALLED_HERE {
            assert!(DEFINITION.setting(here).is_some(), "{here}");
        }
    }
}
