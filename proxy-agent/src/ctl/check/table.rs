//! All checks, in the order in which they are told.

use super::{
    Category, Check, Topic, Verdict, agent, api, detours, firewall, kernel, live, mounts,
    neighbours, net, others, plugin, ports, runtime, scene::Scene, sysctls, wiring,
};

const fn always(name: &'static str, category: Category, look: fn(&Scene) -> Verdict) -> Check {
    Check {
        topic: Topic { name, category },
        before: true,
        look,
    }
}

const fn installed(name: &'static str, category: Category, look: fn(&Scene) -> Verdict) -> Check {
    Check {
        before: false,
        ..always(name, category, look)
    }
}

/// All.
pub const CHECKS: &[Check] = &[
    always("configuration", Category::Configuration, api::configuration),
    always("features", Category::Kernel, kernel::features),
    always("programs", Category::Kernel, kernel::programs),
    always("btf", Category::Kernel, kernel::btf),
    always("devices", Category::Kernel, kernel::devices),
    always("capabilities", Category::Machine, mounts::capabilities),
    always("bpffs", Category::Machine, mounts::bpffs),
    always("cgroup", Category::Machine, mounts::cgroup),
    always("links", Category::Network, net::links),
    always("loopback", Category::Network, net::loopback),
    always("addresses", Category::Network, net::addresses),
    always("routing", Category::Network, detours::look),
    always("neighbours", Category::Network, neighbours::look),
    always("mtu", Category::Network, net::mtu),
    always("sysctls", Category::Network, sysctls::look),
    always("source ports", Category::Network, sysctls::source_ports),
    always("ports", Category::Network, ports::look),
    always("kube-proxy", Category::Others, others::kube_proxy),
    always("plugins", Category::Others, others::plugins),
    always("networks", Category::Others, others::networks),
    always("firewall", Category::Others, firewall::look),
    always("API servers", Category::Cluster, api::servers),
    always("Node", Category::Cluster, api::node),
    always("podCIDRs", Category::Cluster, api::pod_cidrs),
    always("platform", Category::Cluster, api::platform),
    always("ways", Category::Cluster, net::ways),
    always("folders", Category::Plugin, plugin::folders),
    always("runtime", Category::Plugin, runtime::look),
    installed("installed", Category::Plugin, plugin::installed),
    installed("plugin", Category::Plugin, |scene| {
        wiring::of(scene, wiring::version)
    }),
    installed("run folder", Category::Plugin, |scene| {
        wiring::of(scene, wiring::folder)
    }),
    installed("records", Category::Plugin, |scene| {
        wiring::of(scene, wiring::attachments)
    }),
    installed("pod addresses", Category::Plugin, |scene| {
        wiring::of(scene, wiring::pools)
    }),
    installed("node.json", Category::Plugin, |scene| {
        wiring::of(scene, wiring::node)
    }),
    installed("answers", Category::Agent, agent::answers),
    installed("versions", Category::Agent, agent::versions),
    installed("probes", Category::Agent, agent::probes),
    installed("status", Category::Agent, agent::status),
    installed("maps", Category::Datapath, live::maps),
    installed("attachments", Category::Datapath, live::attachments),
    installed("drift", Category::Datapath, live::drift),
];
