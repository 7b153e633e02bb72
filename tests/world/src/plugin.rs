//! The CNI plugin, run as a container runtime runs it: environment, configuration on standard input.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    manifests::pod_uid,
    node::Node,
    place::Place,
    pod::{Pod, Wiring},
    programs::program,
};

/// Interface that every pod gets.
const INTERFACE: &str = "eth0";

/// A CNI plugin and its configuration.
#[derive(Clone, Debug)]
pub struct Plugin {
    path: PathBuf,
    configuration: Value,
    uid: Option<String>,
}

/// What an ADD made, and so what its DEL names.
pub struct Attachment {
    plugin: Plugin,
    id: String,
    netns: String,
    configuration: Value,
}

impl Plugin {
    /// Our plugin with the configuration that the agent installs.
    pub fn weir() -> Result<Self> {
        Ok(Self::weir_of(program("cni-plugin")?))
    }

    /// As [`Plugin::weir`], of another version.
    pub fn weir_of(path: impl Into<PathBuf>) -> Self {
        let configuration = json!({
            "cniVersion": "1.1.0",
            "name": "weir",
            "type": "weir",
        });
        Self::new(path, configuration)
    }

    /// Any plugin.
    pub fn new(path: impl Into<PathBuf>, configuration: Value) -> Self {
        Self {
            path: path.into(),
            configuration,
            uid: None,
        }
    }

    /// The same, telling this UID of the pod: that of a Pod object in an API server.
    #[must_use]
    pub fn with_uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// The same for a pod with `hostPort`s: `runtimeConfig.portMappings`, as containerd writes them.
    #[must_use]
    pub fn with_ports(mut self, ports: &Value) -> Self {
        self.configuration["runtimeConfig"] = json!({ "portMappings": ports });
        self
    }

    /// The same for a pod with limits of bandwidth: `runtimeConfig.bandwidth`, as containerd writes it.
    #[must_use]
    pub fn with_bandwidth(mut self, bandwidth: &Value) -> Self {
        self.configuration["runtimeConfig"] = json!({ "bandwidth": bandwidth });
        self
    }

    /// Calls the plugin once; gives its standard output as JSON (null when empty).
    pub fn call(
        &self,
        node: &Place,
        command: &str,
        environment: &[(&str, &str)],
        configuration: &Value,
    ) -> Result<Value> {
        let mut child = node
            .command(&self.path)?
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_IFNAME", INTERFACE)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env(
                "CNI_PATH",
                self.path.parent().context("plugin has no folder")?,
            )
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.path.display()))?;
        let input = child.stdin.take().context("plugin has no stdin")?;
        // A plugin that fails before it reads says why by its output.
        serde_json::to_writer(input, configuration).ok();
        let done = child.wait_with_output()?;
        let out = String::from_utf8_lossy(&done.stdout);
        ensure!(
            done.status.success(),
            "{command}: {}: {out}{}",
            done.status,
            String::from_utf8_lossy(&done.stderr)
        );
        if out.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&out).with_context(|| format!("{command} printed {out:?}"))
    }

    /// Makes a netns and wires it by ADD.
    pub(super) fn pod(&self, node: &Node, name: &str) -> Result<Pod> {
        let place = Pod::netns(node, name)?;
        let attachment = Attachment {
            plugin: self.clone(),
            id: pod_uid(node, name),
            netns: format!("/run/netns/{name}"),
            configuration: self.configuration.clone(),
        };
        let result = match attachment.add(node, name) {
            Ok(result) => result,
            Err(error) => {
                // As runtimes do: a failed ADD is followed by a DEL.
                attachment.delete(node)?;
                return Err(error);
            }
        };
        let addresses = addresses(&result)?;
        let mut attachment = attachment;
        attachment.configuration["prevResult"] = result;
        node.wire();
        Ok(Pod::new(
            name,
            node,
            place,
            Wiring::Plugin(attachment),
            addresses,
        ))
    }
}

impl Attachment {
    fn add(&self, node: &Node, pod: &str) -> Result<Value> {
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
            self.id,
            self.plugin.uid.as_deref().unwrap_or(&self.id)
        );
        self.call(node, "ADD", &arguments)
    }

    /// Calls DEL.
    pub fn delete(&self, node: &Node) -> Result<()> {
        self.call(node, "DEL", "IgnoreUnknown=1").map(drop)
    }

    /// Calls CHECK.
    pub fn check(&self, node: &Node) -> Result<()> {
        self.call(node, "CHECK", "IgnoreUnknown=1").map(drop)
    }

    fn call(&self, node: &Node, command: &str, arguments: &str) -> Result<Value> {
        self.plugin.call(
            node,
            command,
            &[
                ("CNI_CONTAINERID", self.id.as_str()),
                ("CNI_NETNS", self.netns.as_str()),
                ("CNI_ARGS", arguments),
            ],
            &self.configuration,
        )
    }
}

/// One address of each family out of an ADD result; an absent IPv6 one (IPv4-only plugins) is `::`.
fn addresses(result: &Value) -> Result<(Ipv4Addr, Ipv6Addr)> {
    let (mut v4, mut v6) = (None, Ipv6Addr::UNSPECIFIED);
    let listed = result["ips"].as_array().context("ADD gave no ips")?;
    for address in listed.iter().filter_map(|ip| ip["address"].as_str()) {
        let bare = address.split('/').next().unwrap_or(address);
        match bare.parse() {
            Ok(std::net::IpAddr::V4(found)) => v4 = Some(found),
            Ok(std::net::IpAddr::V6(found)) => v6 = found,
            Err(error) => bail!("ADD gave address {address}: {error}"),
        }
    }
    Ok((v4.context("ADD gave no IPv4 address")?, v6))
}
