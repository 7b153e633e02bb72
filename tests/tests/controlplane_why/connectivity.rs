//! `connectivity test` before any pod runs: what is planned, what is made, and that it is taken away however it ends.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use weir_tests::world::program;

use super::stage::{Stage, said};

fn command(stage: &Stage, words: &[&str]) -> Command {
    let mut command = Command::new(program("proxyctl").unwrap());
    command.args(["connectivity", "test", "--kubeconfig"]);
    command.arg(stage.plane.kubeconfig()).args(words);
    command
}

/// Namespaces that it has made.
async fn namespaces(stage: &Stage) -> Vec<String> {
    let client = stage.plane.client().await.unwrap();
    let request = http::Request::get("/api/v1/namespaces");
    let request = request.body(Vec::new()).unwrap();
    let list: Value = client.request(request).await.unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
    names
        .filter(|name| name.starts_with("weir-connectivity-"))
        .collect()
}

pub(crate) async fn cleans_up(stage: &Stage) {
    plan(stage).await;
    rights(stage).await;
    pods_that_do_not_run(stage).await;
    interrupted(stage).await;
}

async fn plan(stage: &Stage) {
    let (code, text, told) = said(command(stage, &["--list", "-o", "name"])).await;
    assert_eq!((code, told.as_str()), (0, ""), "{text}");
    for name in [
        "pod-to-pod/ipv4/a/b",
        "hairpin/ipv6/b/b",
        "policy-deny/ipv4/b/a",
    ] {
        assert!(text.lines().any(|line| line == name), "{name}: {text}");
    }
    assert!(!text.contains("dns"), "there is no Service for it: {text}");
    let words = [
        "--list",
        "-o",
        "name",
        "--test",
        "^hairpin.*ipv4",
        "--max-nodes=1",
    ];
    let (_, text, _) = said(command(stage, &words)).await;
    assert_eq!(text, "hairpin/ipv4/a/a\n");
    let (code, _, told) = said(command(stage, &["--test", "nonsense"])).await;
    assert!(
        code == 2 && told.starts_with("error: no test is selected\n"),
        "{told}"
    );
    assert_eq!(namespaces(stage).await, [""; 0]);
}

/// Of a user who may see nodes and pods, and nothing else.
async fn rights(stage: &Stage) {
    let mut command = Command::new(program("proxyctl").unwrap());
    command.args(["connectivity", "test", "--kubeconfig"]);
    command.arg(stage.plane.limited_kubeconfig().unwrap());
    let (code, text, told) = said(command).await;
    assert_eq!((code, text.as_str()), (3, ""), "{told}");
    assert!(
        told.starts_with("error: list Services in kube-system: "),
        "{told}"
    );
    assert!(
        told.contains("\nhint: ") && told.contains("rights"),
        "{told}"
    );
}

/// There is no kubelet that starts them.
async fn pods_that_do_not_run(stage: &Stage) {
    let (code, text, told) = said(command(stage, &["--wait-duration", "2s"])).await;
    assert_eq!((code, text.as_str()), (4, ""), "{told}");
    assert!(
        told.contains("\nerror: pod client-0 does not run on node a: Pending\n"),
        "{told}"
    );
    assert_eq!(namespaces(stage).await, [""; 0], "{told}");
}

async fn interrupted(stage: &Stage) {
    let mut command = command(stage, &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let deadline = Instant::now() + Duration::from_mins(1);
    while namespaces(stage).await.is_empty() {
        assert!(Instant::now() < deadline, "no namespace is made");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kill(pid, Signal::SIGINT).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let Output { status, stderr, .. } = ended.await.unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("\nerror: interrupted\n"), "{told}");
    assert_eq!(namespaces(stage).await, [""; 0], "{told}");
}
