//! An agent with the capabilities that `deploy/` gives it, and none of them too many.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::world::{
    Agent, Manifests, Node, Plugin, Process, Server, World, ask_tcp, http_get, program, until,
};

const PATIENCE: Duration = Duration::from_mins(1);
/// What an agent says that the kernel refuses something to.
const REFUSED: [&str; 2] = ["Operation not permitted", "Permission denied"];

/// With addresses that are announced on its link.
const CONFIG: &str = "
apiVersion: weir.dev/v1alpha1
kind: AgentConfiguration
loadBalancer: { pools: [{ name: lan, addresses: [172.30.0.200/32] }] }
";

/// The capabilities of the agent's container.
fn capabilities() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base/daemon-set.yaml");
    let daemon_set: Value = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
    let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    let all = container["securityContext"]["capabilities"]["add"]
        .as_array()
        .context("no capabilities")?;
    let names = all.iter().filter_map(Value::as_str);
    Ok(names.map(str::to_lowercase).collect())
}

/// An agent that does all that needs a right of its own, and the folder of its configuration.
fn agent(node: &Node, manifests: &Manifests) -> Result<(Agent, TempDir)> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    fs::write(&config, CONFIG)?;
    let config = config.to_str().context("a path of text")?;
    let agent = Agent::start(
        node,
        manifests,
        &["--map-size", "small", "--config", config],
    )?;
    Ok((agent, folder))
}

/// The agent's program with these capabilities and no others.
fn limited(agent: &Agent, capabilities: &[String]) -> Result<Command> {
    let kept: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
    let kept = format!("-all,{}", kept.join(","));
    let by = ["setpriv", "--inh-caps", "-all", "--bounding-set", &kept];
    agent.command(&by)
}

fn is_ready(node: &Node) -> bool {
    let health = http_get(node, ([127, 0, 0, 1], 10256).into(), "/readyz");
    health.is_ok_and(|(code, _)| code == 200)
}

/// Takes over from an agent with all rights, wires a pod and serves it.
#[test]
fn the_capabilities_of_the_manifest_are_enough() -> Result<()> {
    let world = World::new("agent-rights")?;
    let node = world.node("a")?;
    let manifests = Manifests::new()?;
    let (mut agent, _folder) = agent(&node, &manifests)?;
    agent.crash()?;
    let before = agent.log().len();
    let limited = Process::start(limited(&agent, &capabilities()?)?)?;
    until("the agent to be ready", PATIENCE, || {
        Ok(is_ready(&node).then_some(()))
    })
    .with_context(|| agent.log())?;
    let labels = json!({ "app": "web" });
    manifests.pending_pod(&node, "web", &labels)?;
    let pod = node
        .pod(&Plugin::weir()?, "web")
        .with_context(|| agent.log())?;
    manifests.running_pod(&pod, &labels)?;
    let _server = Server::tcp(&pod, pod.at(8080)[0], "web")?;
    until("the pod to answer", PATIENCE, || {
        Ok(ask_tcp(&node, pod.at(8080)[0]).ok())
    })?;
    let mut proxyctl: Command = node.command(program("proxyctl")?)?;
    let status = String::from_utf8(proxyctl.arg("status").output()?.stdout)?;
    let log = agent.log();
    for words in REFUSED {
        ensure!(!status.contains(words), "{status}");
        ensure!(!log[before..].contains(words), "{log}");
    }
    drop(pod);
    limited.terminate().map(drop)
}

/// What the pods run that clean up, but for the file of settings.
fn cleanup() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/chart/cleanup.yaml");
    let all: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path)?)?;
    let mut daemon_sets = all.iter().filter(|object| object["kind"] == "DaemonSet");
    let daemon_set = daemon_sets.next().context("no DaemonSet")?;
    let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    let words = container["args"].as_array().context("no arguments")?;
    let words = words.iter().filter_map(Value::as_str);
    let words = words.filter(|word| !word.starts_with("--config="));
    Ok(words.map(str::to_owned).collect())
}

/// With the same rights a pod of the `DaemonSet` cleans its node up, stays, and removes what a pod of Weir's kept once that is gone.
#[test]
fn the_capabilities_of_the_manifest_clean_up() -> Result<()> {
    let world = World::new("agent-cleans")?;
    let node = world.node("a")?;
    let manifests = Manifests::new()?;
    let (mut agent, _folder) = agent(&node, &manifests)?;
    let labels = json!({ "app": "web" });
    manifests.pending_pod(&node, "web", &labels)?;
    let pod = node.pod(&Plugin::weir()?, "web")?;
    agent.crash()?;
    let before = agent.log().len();
    let mut command = limited(&agent, &capabilities()?)?;
    command.args(cleanup()?);
    let mut cleaner = Process::start(command)?;
    let left = || -> Result<String> {
        let script = "find /sys/fs/bpf -name '*weir*'; ip -brief link | grep weir_; ip route show proto 87; ip route show proto 89; \
                      ls /run/cni/net.d";
        node.run(&["sh", "-c", script])
    };
    let is_left = |wanted: &str| {
        until(&format!("only `{wanted}` to be left"), PATIENCE, || {
            Ok((left()?.trim() == wanted).then_some(()))
        })
        .with_context(|| format!("{}\n{}", left().unwrap_or_default(), agent.log()))
    };
    is_left("zz-weir-uninstalled.conflist")?;
    // The runtime deletes it by what is left.
    drop(pod);
    is_left("")?;
    ensure!(cleaner.ended()?.is_none(), "it stays: {}", agent.log());
    for words in REFUSED {
        ensure!(!agent.log()[before..].contains(words), "{}", agent.log());
    }
    cleaner.terminate().map(drop)
}

/// Without any one of them something is refused.
#[test]
fn each_capability_of_the_manifest_is_needed() -> Result<()> {
    let world = World::new("agent-less")?;
    let node = world.node("a")?;
    let manifests = Manifests::new()?;
    let (mut agent, _folder) = agent(&node, &manifests)?;
    agent.crash()?;
    let all = capabilities()?;
    for without in &all {
        let before = agent.log().len();
        let rest: Vec<String> = all
            .iter()
            .filter(|name| *name != without)
            .cloned()
            .collect();
        let mut limited = Process::start(limited(&agent, &rest)?)?;
        until("the agent to fail", PATIENCE, || {
            let log = agent.log();
            let refused = REFUSED.iter().any(|words| log[before..].contains(words));
            let ended = limited.ended()?.is_some();
            Ok((refused || ended).then_some(()))
        })
        .with_context(|| format!("nothing needs {without}: {}", &agent.log()[before..]))?;
        if limited.ended()?.is_none() {
            limited.crash()?;
        }
    }
    agent.restart()
}
