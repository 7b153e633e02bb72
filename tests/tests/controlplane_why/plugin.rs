//! `kubectl weir`: verbs run on other nodes.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::{
    controlplane::{Exec, Kubelet, log_of_container},
    world::program,
};

use super::stage::{Stage, agent, apply, said};

/// What came of a call: exit code, standard output and error.
type Said = (i32, String, String);

/// The plugin under its name, in a folder of its own.
struct Plugin<'a> {
    stage: &'a Stage,
    folder: TempDir,
}

impl<'a> Plugin<'a> {
    fn of(stage: &'a Stage) -> Self {
        let folder = TempDir::with_prefix("weir-plugin-").unwrap();
        symlink(
            program("proxyctl").unwrap(),
            folder.path().join("kubectl-weir"),
        )
        .unwrap();
        Self { stage, folder }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.folder.path().join("kubectl-weir"));
        command.current_dir(self.folder.path()).args(words);
        command
            .arg("--kubeconfig")
            .arg(self.stage.plane.kubeconfig());
        command
    }

    async fn say(&self, words: &[&str]) -> Said {
        said(self.command(words)).await
    }

    /// The files that it has made.
    fn dumps(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let mut dumps: Vec<_> = files
            .filter(|path| path.to_string_lossy().ends_with(".tar.gz"))
            .collect();
        dumps.sort();
        dumps
    }
}

/// With agents on two nodes.
pub(crate) async fn works(stage: &Stage) {
    let plugin = Plugin::of(stage);
    one_node(&plugin).await;
    errors(&plugin).await;
    errors_are_those_of_there(&plugin).await;
    no_agent_runs(&plugin).await;
    all_nodes(&plugin).await;
    standard_input(&plugin).await;
    files(&plugin).await;
    versions(&plugin).await;
}

async fn one_node(plugin: &Plugin<'_>) {
    let why = ["policy", "why", "default/client", "default/server", "8080"];
    // Its own node alone has the pod's policy.
    for (node, wanted) in [("a", 1), ("b", 5)] {
        let (code, text, told) = plugin.say(&[&["--node", node], &why[..]].concat()).await;
        assert_eq!((code, told.as_str()), (wanted, ""), "{text}");
    }
    let (code, text, told) = plugin.say(&why).await;
    assert_eq!((code, told.as_str()), (1, ""), "{text}");
    assert!(
        text.contains(" on node a: ") && text.contains(" on node b: "),
        "{text}"
    );
    // The node of who connects, found by itself.
    for to in ["10.96.0.10:80", "default/web:80"] {
        let words = ["service", "trace", "default/client", to];
        let (code, text, told) = plugin.say(&words).await;
        assert_eq!((code, told.as_str()), (0, ""), "{text}");
        assert!(text.contains("elsewhere: allowed here"), "{text}");
    }
    let words = ["dump", "endpoints", "--node=b", "-o", "name"];
    let (code, text, told) = plugin.say(&words).await;
    assert_eq!((code, told.as_str()), (0, ""), "{text}");
    assert!(
        text.contains("default/client") && !text.contains("default/server"),
        "{text}"
    );
}

async fn errors(plugin: &Plugin<'_>) {
    let (code, text, told) = plugin.say(&["status"]).await;
    assert_eq!((code, text.as_str()), (2, ""));
    assert_eq!(
        told,
        "error: agents run on 2 nodes\nhint: name one by --node, or all of them by --all-nodes: a, b\n"
    );
    let (code, _, told) = plugin.say(&["status", "--node", "c"]).await;
    assert!(
        code == 2 && told.starts_with("error: no agent runs on node c\n"),
        "{told}"
    );
    let (code, _, told) = plugin.say(&["log-level", "--node", "a", "a,b=c=d"]).await;
    assert_eq!(code, 1, "{told}");
    assert!(
        told.starts_with("error: PUT /v1/log-level: ") && told.contains("\nhint: "),
        "{told}"
    );
    let (code, _, told) = plugin.say(&["frobnicate"]).await;
    assert!(
        code == 2
            && told.ends_with("hint: kubectl weir --help says what there is, for a verb too\n"),
        "{told}"
    );
    let words = ["diff", "--node", "a", "--context", "absent"];
    let (code, _, told) = plugin.say(&words).await;
    assert!(code == 2 && told.contains("absent"), "{told}");
    let words = ["diff", "--node", "a", "--namespace", "default"];
    let (code, _, told) = plugin.say(&words).await;
    assert!(
        code == 3 && told.starts_with("error: no agent runs in namespace default "),
        "{told}"
    );
}

/// Whatever a verb has to complain of on a node, it is told here as there, with the exit code.
async fn errors_are_those_of_there(plugin: &Plugin<'_>) {
    let lines = [
        "policy why default/client default/server http",
        "policy why default/client default/server 99999",
        "policy why default/nobody default/server 80",
        "policy why default/client service/default/web 81",
        "service trace default/client default/web:nobody",
        "service trace default/client default/web:99999",
        "service trace default/nobody default/web:80",
        "service trace default/client nowhere",
        "check --config /nonexistent.yaml",
        "diff --run-dir /nonexistent",
        "log-level a,b=c=d",
    ];
    let node = plugin.stage.cluster.node(1);
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let mut there = node.command(program("proxyctl").unwrap()).unwrap();
        there.args(&words);
        let (wanted, _, error) = said(there).await;
        assert_ne!(wanted, 0, "{line}: {error}");
        let (code, _, told) = plugin.say(&[&["--node", "b"], &words[..]].concat()).await;
        assert_eq!((code, &told), (wanted, &error), "{line}");
        if words[0] == "policy" {
            continue; // It asks nodes by itself: `errors_of_other_nodes_are_told`.
        }
        let (code, _, told) = plugin.say(&[&["--all-nodes"], &words[..]].concat()).await;
        assert_eq!(code, wanted, "{line}: {told}");
        let of_b = told.lines().filter_map(|line| line.strip_prefix("b: "));
        assert_eq!(of_b.collect::<Vec<_>>(), error.lines().collect::<Vec<_>>());
    }
}

/// An agent that cannot begin is told of as the kubelet tells it, not as the API server refuses.
async fn no_agent_runs(plugin: &Plugin<'_>) {
    let mut crashing = agent("weir-c", "c");
    crashing["status"]["containerStatuses"] = json!([{
        "name": "agent", "image": "weir", "imageID": "", "ready": false, "restartCount": 4,
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } },
        "lastState": { "terminated": {
            "exitCode": 2, "reason": "Error", "message": "error: cni.mtu: too small\n", "containerID": "x",
        } },
    }]);
    let stage = plugin.stage;
    apply(&stage.plane, &[crashing]).await.unwrap();
    let (code, text, told) = plugin.say(&["check", "--node", "c"]).await;
    assert_eq!((code, text.as_str()), (3, ""), "{told}");
    assert!(
        told.contains(
            "error: the agent does not run: pod kube-system/weir-c on node c: container agent is waiting \
             (CrashLoopBackOff: back-off 40s); before, it ended with code 2 (Error): error: cni.mtu: too small\n\
             hint: kubectl --namespace kube-system logs weir-c --container agent --previous "
        ),
        "{told}"
    );
    let pods = "/api/v1/namespaces/kube-system/pods/weir-c?gracePeriodSeconds=0";
    let client = stage.plane.client().await.unwrap();
    let request = http::Request::delete(pods).body(Vec::new()).unwrap();
    client.request::<Value>(request).await.unwrap();
}

async fn all_nodes(plugin: &Plugin<'_>) {
    let (code, text, told) = plugin.say(&["--all-nodes", "dump", "endpoints"]).await;
    assert_eq!((code, told.as_str()), (0, ""), "{text}");
    let (a, b) = text.split_once("==> b <==\n").unwrap();
    assert!(
        a.starts_with("==> a <==\n") && a.contains("default/server"),
        "{text}"
    );
    assert!(
        b.contains("default/client") && !b.contains("default/server"),
        "{text}"
    );
    for format in ["json", "yaml"] {
        let words = ["--all-nodes", "dump", "endpoints", "-o", format];
        let (code, text, told) = plugin.say(&words).await;
        assert_eq!((code, told.as_str()), (0, ""), "{text}");
        let all: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(all["kind"], "NodeAnswerList");
        let of = |node: usize| {
            let answer = &all["items"][node];
            (
                &answer["node"],
                &answer["exitCode"],
                &answer["output"]["kind"],
            )
        };
        let kind = &json!("EndpointList");
        assert_eq!(of(0), (&json!("a"), &json!(0), kind), "{text}");
        assert_eq!(of(1), (&json!("b"), &json!(0), kind), "{text}");
    }
    let words = ["--all-nodes", "dump", "conntrack", "--watch"];
    let (code, _, told) = plugin.say(&words).await;
    assert!(
        code == 2 && told.starts_with("error: --watch does not go with --all-nodes\n"),
        "{told}"
    );
}

async fn standard_input(plugin: &Plugin<'_>) {
    let config = plugin.folder.path().join("config.yaml");
    fs::write(&config, "apiVersion: weir.dev/v1alpha1\nkind: Nonsense\n").unwrap();
    let words = [
        "check",
        "--pre",
        "--config",
        "/dev/stdin",
        "--node",
        "a",
        "--stdin",
    ];
    let mut command = plugin.command(&words);
    command.stdin(fs::File::open(&config).unwrap());
    let (code, text, told) = said(command).await;
    assert!(
        code == 1 && text.contains("Nonsense"),
        "{code} {text}{told}"
    );
}

async fn files(plugin: &Plugin<'_>) {
    events(plugin).await;
    let (code, text, told) = plugin.say(&["sysdump", "--all-nodes", "--limit=1"]).await;
    assert_eq!((code, told.as_str()), (0, ""), "{text}");
    let dumps = plugin.dumps();
    assert_eq!(dumps.len(), 2, "{text}");
    for (dump, node) in dumps.iter().zip(["a", "b"]) {
        let name = dump.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("weir-sysdump-{node}-")), "{name}");
        assert!(text.contains(name), "{text}");
        let mode = fs::metadata(dump).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        what_the_api_server_has(dump, node);
    }
}

/// The agents of these nodes run in no container, so nothing else has their logs.
fn what_the_api_server_has(dump: &Path, node: &str) {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(dump).unwrap()));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name.replace("weir-sysdump/", ""), text)
    });
    let files: BTreeMap<String, String> = files.collect();
    let pod = format!("weir-{node}");
    let log = log_of_container(&pod).replace("planted-password", "(redacted)");
    assert_eq!(files["logs/agent.log"], log);
    let object = |name: &str| serde_json::from_str::<Value>(&files[name]).unwrap();
    assert_eq!(object("objects/node.json")["metadata"]["name"], node);
    assert_eq!(object("objects/pod.json")["metadata"]["name"], *pod);
    let told = |name: &str| object(name)[0]["message"].clone();
    assert_eq!(told("events/weir.json"), "by Weir");
    assert_eq!(told("events/pod.json"), *format!("of {pod}"));
    // Made there, and still here.
    assert!(files.contains_key("agent/status.json") && files.contains_key("maps/maps.json"));
    let list = &files["contents.txt"];
    assert_eq!(list.matches("logs/agent.log: ").count(), 1, "{list}");
    let former = "logs/agent-previous.log: not collected: ";
    assert!(
        list.contains(former) && list.contains("not found"),
        "{list}"
    );
}

/// Events by Weir about a Service, and by others about the agents' pods.
async fn events(plugin: &Plugin<'_>) {
    let event = |name: &str, (kind, of, by, message): (&str, &str, &str, &str)| {
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": name, "namespace": "kube-system" },
            "involvedObject": { "kind": kind, "namespace": "kube-system", "name": of },
            "reportingComponent": by, "reportingInstance": "x", "type": "Warning",
            "reason": "Test", "action": "Test", "message": message,
            "eventTime": "2026-01-01T00:00:00.000000Z",
        })
    };
    let events = [
        event("s", ("Service", "web", "weir", "by Weir")),
        event("a", ("Pod", "weir-a", "kubelet", "of weir-a")),
        event("b", ("Pod", "weir-b", "kubelet", "of weir-b")),
        event("c", ("Pod", "other", "kubelet", "of nobody's")),
    ];
    apply(&plugin.stage.plane, &events).await.unwrap();
}

/// A third node has another version.
async fn versions(plugin: &Plugin<'_>) {
    let run = |exec: &Exec| -> anyhow::Result<Output> {
        let versions = json!({ "client": "9.9.1", "clientLayout": "v9" }).to_string();
        let text = if exec.words[1] == "version" {
            versions.as_str()
        } else {
            "all is well"
        };
        let mut command = Command::new("echo");
        Ok(command.arg(text).stdin(Stdio::null()).output()?)
    };
    let kubelet = Kubelet::start(run).await.unwrap();
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "c" },
        "status": kubelet.status("192.0.2.9"),
    });
    let objects = [node, agent("weir-c", "c")];
    apply(&plugin.stage.plane, &objects).await.unwrap();
    let (code, text, told) = plugin.say(&["status", "--node", "c"]).await;
    assert_eq!((code, text.as_str()), (0, "all is well\n"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        told,
        format!("warning: node c: proxyctl is v{version}, the agent is v9.9.1\n")
    );
    let pods = "/api/v1/namespaces/kube-system/pods/weir-c?gracePeriodSeconds=0";
    let client = plugin.stage.plane.client().await.unwrap();
    let request = http::Request::delete(pods).body(Vec::new()).unwrap();
    client.request::<Value>(request).await.unwrap();
}

/// One of the two cannot be reached any more.
pub(crate) async fn goes_on_without_a_node(stage: &Stage) {
    let plugin = Plugin::of(stage);
    let (code, text, told) = plugin.say(&["--all-nodes", "dump", "maps"]).await;
    assert_eq!(code, 3, "{text}{told}");
    assert!(
        text.starts_with("==> b <==\n") && !text.contains("==> a <=="),
        "{text}"
    );
    assert!(
        told.starts_with("a: error: ") && told.contains("\na: hint: "),
        "{told}"
    );
    let words = ["--all-nodes", "dump", "maps", "-o", "json"];
    let (code, text, _) = plugin.say(&words).await;
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &all["items"][0]["exitCode"]),
        (3, &json!(3)),
        "{text}"
    );
    assert!(
        all["items"][0]["error"].is_string() && all["items"][1]["output"].is_object(),
        "{text}"
    );
}
