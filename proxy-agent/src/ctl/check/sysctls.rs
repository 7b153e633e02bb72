//! Kernel settings of the network. The agent sets what it needs, so before it is there they only have to be writable.

use std::{fs::File, io, path::Path};

use super::{Complaint, Fault, Verdict, finding::quoted, plugin::remount, scene::Scene};
use crate::node::{source_ports, sysctls};

/// Where a node has them, for who writes them by hand there: containers see them elsewhere, and some have no shell.
const ON_NODE: &str = "/proc/sys/net";
/// Keys without which nothing is forwarded, below `net`.
const FORWARDING: [&str; 2] = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];

/// What a node has.
struct Values {
    /// Writing fails.
    read_only: Option<io::Error>,
    /// Of [`FORWARDING`].
    forwarding: [Option<String>; 2],
    /// `rp_filter`, by scope.
    rp_filter: Vec<(String, String)>,
}

/// Whether the node forwards.
pub(super) fn look(scene: &Scene) -> Verdict {
    let root = sysctls::root();
    let desired = scene.desired().unwrap_or_default();
    let links = desired.links.chosen.values().map(|link| link.name.as_str());
    let rp_filter = ["all"].into_iter().chain(links).filter_map(|scope| {
        let key = format!("ipv4/conf/{scope}/rp_filter");
        Some((scope.to_owned(), sysctls::get(&root, &key).ok()?))
    });
    let values = Values {
        read_only: File::options()
            .write(true)
            .open(root.join(FORWARDING[0]))
            .err(),
        forwarding: FORWARDING.map(|key| sysctls::get(&root, key).ok()),
        rp_filter: rp_filter.collect(),
    };
    judge(&values, scene.before, &root)
}

fn judge(values: &Values, before: bool, root: &Path) -> Verdict {
    let mut complaints = Vec::new();
    if let Some(error) = &values.read_only {
        complaints.push(read_only(error, root));
    }
    let wrong: Vec<Complaint> = unset(values).collect();
    // Who can set them does.
    if !before {
        complaints.extend(wrong);
        return Verdict::of("the node forwards", complaints);
    }
    let text = match wrong.len() {
        0 => "the node forwards".to_owned(),
        _ => format!("{} to be set by the agent", wrong.len()),
    };
    Verdict::of(text, complaints)
}

fn read_only(error: &io::Error, root: &Path) -> Complaint {
    Complaint::error(
        Fault::SysctlsReadOnly,
        format!("write {}: {error}", root.join(FORWARDING[0]).display()),
        "run as root; in a container, mount the node's /proc/sys/net at /host/proc/sys/net, as the manifests do",
    )
    .command(remount("rw", root))
}

fn unset(values: &Values) -> impl Iterator<Item = Complaint> {
    let forwarding = FORWARDING.into_iter().zip(&values.forwarding);
    let forwarding = forwarding
        .filter(|(_, value)| value.as_deref() == Some("0"))
        .map(|(key, _)| {
            let text = format!("net/{key} is 0: the node does not forward, and another program has set it so");
            let hint = "find who writes it (a file of /etc/sysctl.d, a configuration manager), and turn it on";
            Complaint::error(Fault::ForwardingOff, text, hint).command(write("1", key))
        });
    let strict = values.rp_filter.iter().filter(|(_, value)| value == "1");
    let strict = strict.map(|(scope, _)| {
        let key = format!("ipv4/conf/{scope}/rp_filter");
        let text = format!("net/{key} is 1 (strict): what comes back another way than it went is dropped");
        let hint = "find who writes it (a file of /etc/sysctl.d, a configuration manager), and make it loose";
        Complaint::error(Fault::StrictRpFilter, text, hint).command(write("2", &key))
    });
    forwarding.chain(strict)
}

fn write(value: &str, key: &str) -> String {
    format!("echo {value} > {}", quoted(&Path::new(ON_NODE).join(key)))
}

/// Whether sockets of the host get ports that Weir translates to.
pub(super) fn source_ports(scene: &Scene) -> Verdict {
    let ports = scene.config.node.source_ports;
    let Some(note) = source_ports::note(ports) else {
        return Verdict::fine(format!("{ports}, apart from the host's own"));
    };
    let first = u32::from(ports.max) + 1;
    let complaint = Complaint::warning(
        Fault::SourcePortsMeet,
        note,
        "let the kernel give other ports to sockets, or set node.sourcePorts to a range apart from them",
    );
    let key = quoted(&Path::new(ON_NODE).join("ipv4/ip_local_port_range"));
    match first {
        0..50_000 => complaint.command(format!("echo '{} 60999' > {key}", first.max(32768))),
        _ => complaint,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::Remedy;

    fn faults(values: &Values, before: bool) -> Vec<Fault> {
        let verdict = judge(values, before, Path::new("/host/proc/sys/net"));
        let complaints = verdict.complaints.into_iter();
        complaints.map(|complaint| complaint.fault).collect()
    }

    #[test]
    fn what_the_agent_sets_is_no_fault_before_it_is_there() {
        let mut values = Values {
            read_only: None,
            forwarding: [Some("0".to_owned()), None],
            rp_filter: vec![
                ("all".to_owned(), "1".to_owned()),
                ("eth0".to_owned(), "2".to_owned()),
            ],
        };
        assert_eq!(faults(&values, true), []);
        let both = [Fault::ForwardingOff, Fault::StrictRpFilter];
        assert_eq!(faults(&values, false), both);
        values.read_only = Some(io::Error::from_raw_os_error(libc::EROFS));
        assert_eq!(faults(&values, true), [Fault::SysctlsReadOnly]);
    }

    #[test]
    fn what_is_to_be_run_can_be_run_on_the_node() {
        let values = Values {
            read_only: None,
            forwarding: [Some("0".to_owned()), None],
            rp_filter: Vec::new(),
        };
        let all: Vec<Complaint> = unset(&values).collect();
        let [Complaint { remedy, .. }] = all.as_slice() else {
            panic!("{all:?}");
        };
        let told = Some(Remedy::Command(
            "echo 1 > /proc/sys/net/ipv4/ip_forward".to_owned(),
        ));
        assert_eq!(*remedy, told);
    }
}
