//! Whether netfilter drops what the kernel forwards for pods: chains of the hook `forward` that end in a drop, as Docker and firewalld
//! make them, and let no pods pass.

mod legacy;
mod nftables;

use ipnetwork::IpNetwork;

use super::{Complaint, Fault, Verdict, scene::Scene};

/// How much of a chain's traffic a rule lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lets {
    /// Packets from these pods.
    out: bool,
    /// Packets to them.
    back: bool,
}

impl Lets {
    const ALL: Self = Self {
        out: true,
        back: true,
    };

    const fn and(self, other: Self) -> Self {
        Self {
            out: self.out || other.out,
            back: self.back || other.back,
        }
    }
}

/// A chain that drops, for a range of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dropping {
    /// Table and chain, as its tool names them.
    chain: String,
    range: IpNetwork,
    /// What lets the range pass.
    remedy: String,
}

/// What was found with the tools that are here.
#[derive(Debug, Default)]
struct Found {
    dropping: Vec<Dropping>,
    /// Tools that are not here.
    lacking: Vec<&'static str>,
    /// Those that fail, and why.
    failed: Vec<String>,
}

/// Looks at all that the kernel asks before it forwards.
pub(super) fn look(scene: &Scene) -> Verdict {
    let Some(desired) = scene.desired().filter(|desired| !desired.pods.is_empty()) else {
        return Verdict::unknown(if scene.node().is_none() {
            "not known: what this node's range of pods is stands at its Node, which was not seen"
        } else {
            "not known: this node has no range of pods yet"
        });
    };
    let mut found = Found::default();
    nftables::look(&desired.pods, &mut found);
    legacy::look(&desired.pods, &mut found);
    judge(&found)
}

fn judge(found: &Found) -> Verdict {
    let complaints = found.dropping.iter().map(|one| {
        let text = format!(
            "{} drops what the kernel forwards from and to the pods of {}: they do not reach other nodes' NodePorts, nor what else goes by the host's stack",
            one.chain, one.range
        );
        let hint = "let pods pass it, for good where the firewall keeps its rules (Docker: chain DOCKER-USER; firewalld: a zone with the pods' ranges as sources, target ACCEPT)";
        Complaint::warning(Fault::ForwardDropped, text, hint).command(&one.remedy)
    });
    let failed = found.failed.iter().map(|why| {
        let text = format!("nobody knows whether netfilter drops what pods send: {why}");
        let hint =
            "run it as root, in the node's own network namespace, with the tools of the host";
        Complaint::warning(Fault::ForwardUnknown, text, hint)
    });
    let complaints: Vec<Complaint> = complaints.chain(failed).collect();
    if complaints.is_empty() && !found.lacking.is_empty() {
        let lacking = found.lacking.join(", ");
        return Verdict::unknown(format!("not looked for: {lacking} is not here"));
    }
    Verdict::of("no chain drops what is forwarded for pods", complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_not_here_is_no_complaint_and_one_that_fails_is() {
        let lacking = Found {
            lacking: vec!["nft"],
            ..Found::default()
        };
        let verdict = judge(&lacking);
        assert!(!verdict.looked && verdict.complaints.is_empty());
        let failed = Found {
            failed: vec!["`nft`: not root".to_owned()],
            ..Found::default()
        };
        assert_eq!(judge(&failed).complaints[0].fault, Fault::ForwardUnknown);
        assert!(judge(&Found::default()).looked);
    }
}
