//! Calls the plugin.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use cni_plugin::{
    ipam::State,
    node_file::{NodeFile, boot_id},
    paths::Paths,
    wiring::{device::Device, sizes::Sizes},
};
use serde_json::{Value, json};

use super::{FakeAgent, Space};
use crate::{
    killed::{Traced, WITH_INPUT},
    world::{program, slowness},
};

/// A "machine": its network namespace and its run folder.
#[derive(Debug)]
pub struct Runtime {
    /// The host's namespace.
    pub host: Space,
    /// Files shared with the agent.
    pub paths: Paths,
    /// Its agent, which says yes to everything until it is told otherwise.
    pub agent: FakeAgent,
    /// The program.
    pub plugin: PathBuf,
    /// Keys of every configuration.
    pub config: Value,
    /// Kinds of pairs that its agent lets containers have: by itself what it would say where netkit can be had.
    pub devices: Vec<Device>,
    /// How large packets of many segments its agent lets them have.
    pub sizes: Sizes,
    _folder: tempfile::TempDir,
}

/// A container: its id and its namespace.
#[derive(Debug)]
pub struct Container {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// `CNI_NETNS`.
    pub space: Space,
}

impl Container {
    /// A new one.
    pub fn new(id: &str) -> Result<Self> {
        Ok(Self {
            id: id.to_owned(),
            space: Space::new()?,
        })
    }
}

/// What a call gave.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code, none after a signal.
    pub status: Option<i32>,
    /// The document on stdout; null if there was none.
    pub document: Value,
    /// Everything on stderr.
    pub stderr: String,
}

impl Outcome {
    /// The error code in the document, 0 after a success.
    pub fn code(&self) -> u64 {
        self.document["code"].as_u64().unwrap_or(0)
    }

    /// `msg` of the document.
    pub fn msg(&self) -> &str {
        self.document["msg"].as_str().unwrap_or_default()
    }

    /// The addresses of a result, without prefixes.
    pub fn ips(&self) -> Vec<String> {
        let ips = self.document["ips"].as_array().cloned().unwrap_or_default();
        ips.iter()
            .filter_map(|ip| ip["address"].as_str()?.split('/').next())
            .map(ToOwned::to_owned)
            .collect()
    }
}

impl Runtime {
    /// A machine whose agent is ready.
    pub fn new(ranges: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let host = Space::new()?;
        host.ip("link set lo up")?;
        // Every node has addresses; without any there is no source towards a pod.
        host.ip("addr add 192.0.2.1/32 dev lo")?;
        host.ip("addr add 2001:db8::1/128 dev lo nodad")?;
        host.sysctl("ipv4/ip_forward", "1")?;
        host.sysctl("ipv6/conf/all/forwarding", "1")?;
        let paths = Paths::new(folder.path());
        let runtime = Self {
            host,
            agent: FakeAgent::start(&paths.socket())?,
            paths,
            devices: vec![Device::Netkit, Device::Veth],
            sizes: Sizes::default(),
            plugin: program("cni-plugin")?,
            config: json!({
                "cniVersion": "1.1.0",
                "name": "weir",
                "type": "weir",
                "runDir": folder.path(),
                "timeoutSeconds": (3 * slowness()).min(60),
                "capabilities": { "portMappings": true },
            }),
            _folder: folder,
        };
        runtime.write_node(ranges)?;
        Ok(runtime)
    }

    /// Writes `node.json`.
    pub fn write_node(&self, ranges: &[&str]) -> Result<()> {
        self.write_closed(ranges, None)
    }

    /// Writes `node.json`, by which no pod may have an address for a reason.
    pub fn write_closed(&self, ranges: &[&str], why: Option<&str>) -> Result<()> {
        let pod_cidrs: Result<Vec<_>, _> = ranges.iter().map(|r| r.parse()).collect();
        let node = NodeFile {
            boot_id: boot_id()?,
            node: "n".into(),
            pod_cidrs: pod_cidrs?,
            closed: why.map(str::to_owned),
            mtu: 1400,
            devices: self.devices.clone(),
            sizes: self.sizes,
            ..NodeFile::default()
        };
        fs::write(self.paths.node(), serde_json::to_vec(&node)?).context("write node.json")
    }

    /// The agent is away: nobody answers its socket.
    pub fn stop_agent(&self) -> Result<()> {
        fs::remove_file(self.paths.socket()).context("remove the agent's socket")
    }

    /// The configuration with more keys.
    pub fn with(&self, keys: &Value) -> Value {
        let mut config = self.config.clone();
        if let (Some(config), Some(keys)) = (config.as_object_mut(), keys.as_object()) {
            config.extend(keys.clone());
        }
        config
    }

    /// ADD.
    pub fn add(&self, container: &Container) -> Result<Outcome> {
        self.call("ADD", Some(container), &self.config)
    }

    /// DEL, as after a pod's normal end.
    pub fn del(&self, container: &Container) -> Result<Outcome> {
        self.call("DEL", Some(container), &self.config)
    }

    /// CHECK, with the result of ADD.
    pub fn check(&self, container: &Container, result: &Value) -> Result<Outcome> {
        let config = self.with(&json!({ "prevResult": result }));
        self.call("CHECK", Some(container), &config)
    }

    /// Any verb for another interface than `eth0`.
    pub fn call_for(
        &self,
        verb: &str,
        container: &Container,
        ifname: &str,
        config: &Value,
    ) -> Result<Outcome> {
        let mut environment = vec![("CNI_COMMAND", verb.to_owned())];
        environment.extend(of(container));
        environment.retain(|(name, _)| *name != "CNI_IFNAME");
        environment.push(("CNI_IFNAME", ifname.to_owned()));
        self.run(&environment, config.to_string().as_bytes())
    }

    /// Any verb.
    pub fn call(
        &self,
        verb: &str,
        container: Option<&Container>,
        config: &Value,
    ) -> Result<Outcome> {
        let mut environment = vec![("CNI_COMMAND", verb.to_owned())];
        if let Some(container) = container {
            environment.extend(of(container));
        }
        self.run(&environment, config.to_string().as_bytes())
    }

    /// Any environment and any bytes on stdin.
    pub fn run(&self, environment: &[(&str, String)], stdin: &[u8]) -> Result<Outcome> {
        finish(self.start(environment, stdin)?)
    }

    /// Starts a call and does not wait.
    pub fn start(&self, environment: &[(&str, String)], stdin: &[u8]) -> Result<Child> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.host.path()))
            .arg(&self.plugin)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("start the plugin")?;
        let mut pipe = child.stdin.take().context("no stdin")?;
        // A plugin that refuses the environment does not read.
        drop(pipe.write_all(stdin));
        Ok(child)
    }

    /// Starts a call that is killed before its `target`th writing system call.
    pub fn traced(&self, verb: &str, container: &Container, target: u64) -> Result<Traced> {
        let input = self.paths.root().join("input.json");
        fs::write(&input, self.config.to_string()).context("write the configuration")?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.host.path()))
            .args(WITH_INPUT)
            .arg(&self.plugin)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("WEIR_INPUT", &input)
            .env("CNI_COMMAND", verb)
            .envs(of(container))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Traced::start(command, target, true)
    }

    /// The addresses given out.
    pub fn state(&self) -> Result<State> {
        Ok(State::read(&self.paths.ipam(), &boot_id()?)?.unwrap_or_default())
    }

    /// Fails if anything is left of any container: links, leases, records, temporary files.
    pub fn nothing_left(&self) -> Result<()> {
        anyhow::ensure!(
            self.host.links()? == ["lo"],
            "links: {:?}",
            self.host.links()?
        );
        let state = self.state()?;
        anyhow::ensure!(state.leases.is_empty(), "leases: {:?}", state.leases);
        let mut files = files(&self.paths.attachments())?;
        files.extend(files_named(self.paths.root(), ".")?);
        anyhow::ensure!(files.is_empty(), "files: {files:?}");
        Ok(())
    }
}

/// Waits for a call.
pub fn finish(child: Child) -> Result<Outcome> {
    let done = child.wait_with_output()?;
    let out = String::from_utf8(done.stdout).context("stdout")?;
    let document = if out.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&out).with_context(|| format!("not one document: {out:?}"))?
    };
    Ok(Outcome {
        status: done.status.code(),
        document,
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

/// The environment of a container.
pub fn of(container: &Container) -> Vec<(&'static str, String)> {
    vec![
        ("CNI_CONTAINERID", container.id.clone()),
        ("CNI_NETNS", container.space.path()),
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_PATH", "/opt/cni/bin".to_owned()),
        (
            "CNI_ARGS",
            format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME={};K8S_POD_UID=u",
                container.id
            ),
        ),
    ]
}

/// Names in a folder, which may be absent.
pub fn files(folder: &Path) -> Result<Vec<String>> {
    files_named(folder, "")
}

fn files_named(folder: &Path, prefix: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("list {}", folder.display()))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) {
            names.push(name);
        }
    }
    Ok(names)
}
