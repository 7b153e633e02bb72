//! What is collected.

use super::{archive::Keep, host};
use crate::ctl::{
    args::{CheckArgs, Subject},
    check::{self, scene::Scene},
};

use super::data;

/// Where something is from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// The agent's API.
    Agent(&'static str),
    /// The agent's metrics.
    Metrics,
    /// What `proxyctl check` finds.
    Check,
    /// What `proxyctl dump` prints.
    Dump(Subject),
    /// Loaded programs.
    Programs,
    /// Links of programs.
    Attachments,
    /// Links, addresses and routes, without any tool.
    Facts,
    /// The effective configuration, and who told it.
    Configuration,
    /// What a tool of the host prints.
    Tool(&'static [&'static str]),
    /// A file.
    File(&'static str),
    /// Kernel settings of the network.
    Sysctls,
}

/// Something that is collected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) name: &'static str,
    pub(super) keep: Keep,
    pub(super) from: From,
}

const fn item(name: &'static str, from: From) -> Item {
    Item {
        name,
        keep: Keep::Beginning,
        from,
    }
}

/// All but what differs from node to node.
pub(super) const ITEMS: &[Item] = &[
    item("check.json", From::Check),
    item("agent/status.json", From::Agent("/v1/status")),
    item("agent/names.json", From::Agent("/v1/names")),
    item("agent/diff.json", From::Agent("/v1/diff")),
    item("agent/log-level.json", From::Agent("/v1/log-level")),
    item("agent/metrics.txt", From::Metrics),
    item("configuration.json", From::Configuration),
    item("maps/services.json", From::Dump(Subject::Services)),
    item("maps/backends.json", From::Dump(Subject::Backends)),
    item("maps/conntrack.json", From::Dump(Subject::Conntrack)),
    item("maps/endpoints.json", From::Dump(Subject::Endpoints)),
    item("maps/policy.json", From::Dump(Subject::Policy)),
    item("maps/maps.json", From::Dump(Subject::Maps)),
    item("maps/affinity.json", From::Dump(Subject::Affinity)),
    item("maps/maglev.json", From::Dump(Subject::Maglev)),
    item("maps/sources.json", From::Dump(Subject::Sources)),
    item("maps/inside.json", From::Dump(Subject::Inside)),
    item("maps/tunnels.json", From::Dump(Subject::Tunnels)),
    item("maps/addresses.json", From::Dump(Subject::Addresses)),
    item("programs/programs.json", From::Programs),
    item("programs/attachments.json", From::Attachments),
    item("network/facts.txt", From::Facts),
    item(
        "network/links.json",
        From::Tool(&["ip", "-j", "-d", "-s", "link"]),
    ),
    item(
        "network/addresses.json",
        From::Tool(&["ip", "-j", "address"]),
    ),
    item(
        "network/routes4.json",
        From::Tool(&["ip", "-j", "-4", "route", "show", "table", "all"]),
    ),
    item(
        "network/routes6.json",
        From::Tool(&["ip", "-j", "-6", "route", "show", "table", "all"]),
    ),
    item(
        "network/rules4.json",
        From::Tool(&["ip", "-j", "-4", "rule"]),
    ),
    item(
        "network/rules6.json",
        From::Tool(&["ip", "-j", "-6", "rule"]),
    ),
    item(
        "network/neighbours.json",
        From::Tool(&["ip", "-j", "-s", "neighbour"]),
    ),
    item(
        "network/qdiscs.json",
        From::Tool(&["tc", "-j", "-s", "qdisc"]),
    ),
    item("network/nft.txt", From::Tool(&["nft", "list", "ruleset"])),
    item("network/iptables.txt", From::Tool(&["iptables-save", "-c"])),
    item(
        "network/ip6tables.txt",
        From::Tool(&["ip6tables-save", "-c"]),
    ),
    item("network/sysctls.txt", From::Sysctls),
    item("network/snmp.txt", From::File("/proc/self/net/snmp")),
    item("network/netstat.txt", From::File("/proc/self/net/netstat")),
    item("host/release.txt", From::File("/etc/os-release")),
    item("host/kernel.txt", From::File("/proc/version")),
    item("host/boot.txt", From::File("/proc/cmdline")),
    item("host/memory.txt", From::File("/proc/meminfo")),
    item("host/mounts.txt", From::File("/proc/self/mounts")),
    item("host/cgroup.txt", From::File("/proc/self/cgroup")),
    Item {
        name: "host/kernel.log",
        keep: Keep::End,
        from: From::Tool(&["dmesg"]),
    },
];

impl From {
    /// Collects it, or says why not.
    pub(super) async fn get(self, scene: &Scene, looks: &CheckArgs) -> Result<Vec<u8>, String> {
        match self {
            Self::Agent(path) => data::agent(scene, path).await,
            Self::Metrics => {
                let text = scene.context.client.text("/metrics").await;
                Ok(text.map_err(|error| error.to_string())?.to_vec())
            }
            Self::Check => data::json(&check::judge(scene, looks)),
            Self::Dump(subject) => data::dump(scene, subject).await,
            Self::Programs => data::programs(),
            Self::Attachments => data::attachments(scene),
            Self::Facts => match &scene.facts {
                Ok(facts) => Ok(format!("{facts:#?}\n").into_bytes()),
                Err(error) => Err(error.clone()),
            },
            Self::Configuration => data::json(&serde_json::json!({
                "toldBy": scene.told_by,
                "wrong": scene.wrong,
                "agentConfiguration": scene.config,
            })),
            Self::Tool(words) => host::tool(words),
            Self::File(path) => host::file(path.as_ref()),
            Self::Sysctls => Ok(host::sysctls("/proc/sys/net".as_ref())),
        }
    }
}
