//! `proxyctl` as scripts use it: exit codes, errors and hints, closed pipes. The API is the real one, served
//! from here with states of the test's choice; what needs a kernel is in `agent.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "proxyctl/silent.rs"]
mod silent;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use proxy_agent::{
    api::{
        Shared,
        log_level::LogLevel,
        messages::{LinkStatus, MapStatus, Status},
        metrics::Metrics,
        socket::{self, Handlers},
        unix::Bound,
        version,
    },
    config::Configuration,
    model::Owned,
    observe::Store,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc};
use weir_tests::world::program;

/// An API without an agent behind it.
struct Api {
    folder: TempDir,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

impl Api {
    fn serve(status: Status) -> Self {
        let folder = TempDir::with_prefix("weir-proxyctl-").unwrap();
        let config = Configuration {
            run_dir: folder.path().to_owned(),
            ..Configuration::default()
        };
        let runtime = Runtime::new().unwrap();
        let store = Store::new();
        let shared = Shared::new(config, Metrics::new(), LogLevel::default(), &store);
        let shared = Arc::new(shared);
        shared.publish(status);
        let (questions, _nobody) = mpsc::channel(1);
        let handlers = Handlers {
            shared: Arc::clone(&shared),
            questions,
        };
        let path = shared.config.socket();
        let listener = runtime.block_on(async { Bound::new(&path, Owned::AgentSocket) });
        let listener = listener.unwrap();
        runtime.spawn(async move { axum::serve(listener, socket::router(handlers)).await });
        Self {
            folder,
            shared,
            _runtime: runtime,
        }
    }

    fn ctl(&self, words: &[&str]) -> Output {
        ctl(self.folder.path(), words)
    }
}

fn fine() -> Status {
    let mut status = Status::default();
    version::VERSION.clone_into(&mut status.agent.version);
    status.agent.layout = version::layout();
    status.agent.ready = true;
    status.observe.complete = true;
    status.sync.last_full_seconds = Some(1);
    status.host.attached = true;
    status.links.links.push(LinkStatus {
        name: "eth0".to_owned(),
        ethernet: true,
        attached: Some("tcx".to_owned()),
        ..LinkStatus::default()
    });
    "configuration".clone_into(&mut status.host.source);
    status.masquerade.families = [("IPv4".to_owned(), true)].into();
    status.health.healthy = true;
    status.health.node_eligible = true;
    status
}

fn ctl(run_dir: &Path, words: &[&str]) -> Output {
    Command::new(program("proxyctl").unwrap())
        .arg("--run-dir")
        .arg(run_dir)
        .args(["--instance", "proxyctl-test-absent"])
        .args(words)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn exit_codes_without_an_agent() {
    let nowhere = TempDir::with_prefix("weir-proxyctl-").unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (&["--help"], 0, ""),
        (&["completion", "bash"], 0, ""),
        (&[], 2, "error: "),
        (&["frobnicate"], 2, "error: "),
        (&["policy", "why", "a", "b"], 2, "error: "),
        (
            &["log-level", "--kubeconfig", "x"],
            2,
            "error: --kubeconfig says nothing about this node\n",
        ),
        (
            &["diff", "--node", "a", "--all-nodes"],
            2,
            "error: --node and --all-nodes exclude each other\n",
        ),
        (
            &["diff", "--node", "a", "--kubeconfig", "/absent"],
            2,
            "error: other nodes are asked through the API server: ",
        ),
        (
            &["policy", "why", "a", "b", "1", "--kubeconfig", "x"],
            2,
            "error: ",
        ),
        (
            &[
                "policy",
                "why",
                "a",
                "b",
                "1",
                "--all-nodes",
                "--kubeconfig",
                "/absent",
            ],
            2,
            "error: other nodes are asked through the API server: ",
        ),
        (
            &["connectivity", "test", "--kubeconfig", "/absent"],
            2,
            "error: other nodes are asked through the API server: ",
        ),
        (
            &["connectivity", "test", "--all-nodes"],
            2,
            "error: --all-nodes does not go with `connectivity`\n",
        ),
        (&["connectivity", "test", "--test", "("], 2, "error: "),
        (&["dump"], 2, "error: "),
        (&["dump", "nonsense"], 2, "error: "),
        (&["-o", "xml", "status"], 2, "error: "),
        (&["status"], 3, "error: cannot reach the agent on "),
        (&["version"], 3, "error: cannot reach the agent on "),
        (&["log-level"], 3, "error: cannot reach the agent on "),
        (&["dump", "maps"], 3, "error: no datapath at "),
        (&["dump", "conntrack"], 3, "error: no datapath at "),
        (
            &["status", "--wait", "--wait-duration", "100ms"],
            4,
            "error: waited 100ms",
        ),
    ];
    for (words, wanted, said) in table {
        let output = ctl(nowhere.path(), words);
        assert_eq!(code(&output), *wanted, "{words:?}: {}", stderr(&output));
        assert!(
            stderr(&output).starts_with(said),
            "{words:?}: {}",
            stderr(&output)
        );
        if *wanted > 0 {
            // Half of what `version` has to say it knows by itself.
            let knows = words.first() == Some(&"version");
            assert_eq!(stdout(&output).is_empty(), !knows, "{words:?}");
            assert!(
                stderr(&output).contains("\nhint: "),
                "{words:?}: {}",
                stderr(&output)
            );
        }
    }
}

#[test]
fn words_that_make_no_sense_are_told_with_what_would() {
    let nowhere = TempDir::with_prefix("weir-proxyctl-").unwrap();
    let table: &[(&[&str], &str, &str)] = &[
        (
            &["policy", "why", "10.0.0.1", "10.0.0.2", "80/icmp"],
            "error: `icmp` is not tcp, udp or sctp\n",
            "for example 80",
        ),
        (
            &["policy", "why", "10.0.0.1", "10.0.0.2", "http"],
            "error: `http` is no number of a port (1 to 65535)",
            "for example 80",
        ),
        (
            &["service", "trace", "10.0.0.1", "10.0.0.2"],
            "error: `10.0.0.2` is neither address:port nor a Service\n",
            "for example 10.96.0.10:80/udp",
        ),
        (
            &["--instance", "a.b", "dump", "maps"],
            "error: instance name \"a.b\" is not usable",
            "--instance names it",
        ),
    ];
    for (words, said, hint) in table {
        let output = Command::new(program("proxyctl").unwrap())
            .arg("--run-dir")
            .arg(nowhere.path())
            .args(*words)
            .output()
            .unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 2, "{words:?}: {text}");
        assert!(text.starts_with(said), "{words:?}: {text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("hint: ") && last.contains(hint),
            "{words:?}: {text}"
        );
    }
}

#[test]
fn the_status_decides_the_exit_code() {
    let api = Api::serve(fine());
    let output = api.ctl(&["status"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    assert_eq!(stdout(&api.ctl(&["status", "--brief"])), "OK\n");
    assert_eq!(code(&api.ctl(&["status", "--wait"])), 0);

    let mut warned = fine();
    warned.maps = vec![MapStatus {
        name: "FLOWS4".to_owned(),
        kind: "hash".to_owned(),
        entries: Some(90),
        max_entries: 100,
    }];
    api.shared.publish(warned);
    assert_eq!(code(&api.ctl(&["status"])), 0, "a warning is no failure");
    assert_eq!(code(&api.ctl(&["status", "--fail-on-warning"])), 1);
    let brief = api.ctl(&["status", "--brief"]);
    assert!(
        stdout(&brief).starts_with("Maps       WARNING   FLOWS4 90/100 (90%)\n"),
        "{}",
        stdout(&brief)
    );

    let mut failed = fine();
    failed.sync.errors = vec!["Service default/web: FRONTENDS4 is full".to_owned()];
    api.shared.publish(failed);
    let output = api.ctl(&["status"]);
    assert_eq!(code(&output), 1);
    assert!(
        stdout(&output).ends_with("ERROR Sync: Service default/web: FRONTENDS4 is full\n"),
        "errors come last: {}",
        stdout(&output)
    );
    let waited = api.ctl(&["status", "--wait", "--wait-duration", "100ms"]);
    assert_eq!(code(&waited), 4, "{}", stderr(&waited));

    let mut starting = fine();
    starting.agent.ready = false;
    starting.agent.awaiting = vec!["first sync".to_owned()];
    api.shared.publish(starting);
    let waited = api.ctl(&["status", "--wait", "--wait-duration", "100ms"]);
    assert_eq!(code(&waited), 4, "{}", stderr(&waited));
}

#[test]
fn json_is_versioned_and_without_colours() {
    let api = Api::serve(fine());
    let output = api.ctl(&["version", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let version: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(version["apiVersion"], "weir.dev/v1alpha1");
    assert_eq!(version["kind"], "Version");
    assert_eq!(version["agent"], version["client"]);
    let output = api.ctl(&["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(status["agent"]["ready"], true);
    assert!(!stdout(&output).contains('\u{1b}'));
}

#[test]
fn a_refusal_of_the_agent_is_told() {
    let api = Api::serve(fine());
    let output = api.ctl(&["log-level", "no,such=thing=level"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).starts_with("error: PUT /v1/log-level: log level `no,such=thing=level`: "),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("\nhint: "), "{}", stderr(&output));
}

#[test]
fn a_word_that_is_no_level_is_refused_with_those_that_are() {
    let api = Api::serve(fine());
    for filter in ["debg", "info,debg", "proxy_agent=debg", ""] {
        let output = api.ctl(&["log-level", filter]);
        assert_eq!(code(&output), 1, "{filter}");
        let said = stderr(&output);
        let refused = format!("error: PUT /v1/log-level: log level `{filter}`: `");
        assert!(said.starts_with(&refused), "{said}");
        assert!(said.contains("is no level"), "{said}");
        assert!(
            said.contains(
                "\nhint: levels are error, warn, info, debug, trace, off; or one for a part"
            ),
            "{said}"
        );
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = Command::new(program("proxyctl").unwrap())
        .args(["completion", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The script is longer than a pipe holds, so the write fails whenever it comes.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, ""));
}
