//! API servers, and what they say of the node. They are served from here: what Weir has to tell apart are their answers.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::stage::Stage;

/// What an API server answers.
#[derive(Clone, Debug)]
struct Answers {
    ready: StatusCode,
    lists: StatusCode,
    nodes: Value,
}

/// An API server outside of the cluster.
struct Api {
    answers: Arc<Mutex<Answers>>,
    folder: TempDir,
    _runtime: Runtime,
}

const URL: &str = "http://172.30.0.1:6443";

impl Api {
    /// Serves, and has the stage ask it.
    fn serve(stage: Stage) -> (Self, Stage) {
        let answers = Answers {
            ready: StatusCode::OK,
            lists: StatusCode::OK,
            nodes: json!([node("a", "172.30.0.11", json!(["10.244.1.0/24"]))]),
        };
        let answers = Arc::new(Mutex::new(answers));
        let listener = stage.world.outside().listen(([172, 30, 0, 1], 6443).into());
        let listener = listener.unwrap();
        listener.set_nonblocking(true).unwrap();
        let router = Router::new()
            .route("/readyz", get(ready))
            .route("/api/v1/nodes", get(nodes))
            .route("/api/v1/services", get(services))
            .with_state(Arc::clone(&answers));
        let runtime = Runtime::new().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        });
        let folder = TempDir::with_prefix("weir-check-").unwrap();
        let api = Self {
            answers,
            folder,
            _runtime: runtime,
        };
        let file = api.kubeconfig();
        let mut stage = stage.with(&[&format!("--set=clientConnection.kubeconfig={file}")]);
        stage
            .words
            .retain(|word| !word.starts_with("--set=manifests="));
        (api, stage)
    }

    fn kubeconfig(&self) -> String {
        let path = self.folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{ "name": "x", "cluster": { "server": URL } }],
            "users": [{ "name": "x", "user": { "token": "t" } }],
            "contexts": [{ "name": "x", "context": { "cluster": "x", "user": "x" } }],
        });
        fs::write(&path, text.to_string()).unwrap();
        path.display().to_string()
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers.lock().unwrap());
    }
}

fn node(name: &str, ip: &str, ranges: Value) -> Value {
    let mut node = json!({
        "metadata": { "name": name, "uid": name },
        "spec": {},
        "status": {
            "addresses": [{ "type": "InternalIP", "address": ip }],
            "nodeInfo": {
                "kubeletVersion": "v1.33.1", "osImage": "Debian", "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
                "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "systemUUID": "",
            },
        },
    });
    node["spec"]["podCIDRs"] = ranges;
    node
}

async fn ready(State(answers): State<Arc<Mutex<Answers>>>) -> StatusCode {
    answers.lock().unwrap().ready
}

async fn nodes(State(answers): State<Arc<Mutex<Answers>>>) -> impl IntoResponse {
    let answers = answers.lock().unwrap().clone();
    list("NodeList", answers.lists, &answers.nodes)
}

async fn services(State(answers): State<Arc<Mutex<Answers>>>) -> impl IntoResponse {
    let lists = answers.lock().unwrap().lists;
    list("ServiceList", lists, &json!([]))
}

fn list(kind: &str, code: StatusCode, items: &Value) -> (StatusCode, Json<Value>) {
    let body = if code.is_success() {
        json!({ "apiVersion": "v1", "kind": kind, "metadata": {}, "items": items })
    } else {
        json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "who are you", "reason": "Forbidden",
            "code": code.as_u16(), "metadata": {},
        })
    };
    (code, Json(body))
}

#[test]
fn an_api_server_does_not_answer() {
    let (_api, mut stage) = Api::serve(Stage::set("silent"));
    stage.well();
    let both = format!("--set=clientConnection.apiServers={URL},http://172.30.0.1:6444");
    stage.words.push(both);
    let [found] = stage.named("api-unreachable").try_into().unwrap();
    assert!(found.text.contains("172.30.0.1:6444"), "{found:?}");
    stage.words.pop();
    stage.well();
}

#[test]
fn an_api_server_is_not_ready() {
    let (api, stage) = Api::serve(Stage::set("unready"));
    api.change(|answers| answers.ready = StatusCode::INTERNAL_SERVER_ERROR);
    stage.named("api-not-ready");
    api.change(|answers| answers.ready = StatusCode::OK);
    stage.well();
}

#[test]
fn an_api_server_refuses() {
    let (api, stage) = Api::serve(Stage::set("refuses"));
    api.change(|answers| answers.lists = StatusCode::FORBIDDEN);
    let found = stage.named("api-refuses");
    assert_eq!(found.len(), 2, "Nodes and Services: {found:?}");
    api.change(|answers| answers.lists = StatusCode::OK);
    stage.well();
}

#[test]
fn the_kubeconfig_that_is_named_is_not_there() {
    let (_api, mut stage) = Api::serve(Stage::set("nowhere"));
    let usual = stage.words.clone();
    stage
        .words
        .push("--set=clientConnection.kubeconfig=/absent".to_owned());
    let [found] = stage.named("no-api-server").try_into().unwrap();
    assert_eq!(found.level, "error");
    stage.words = usual;
    stage.well();
}

#[test]
fn no_folder_of_manifests() {
    let mut stage = Stage::set("manifests").with(&["--set=manifests=/absent"]);
    stage.named("no-manifests");
    stage.words.pop();
    stage.well();
}

#[test]
fn no_node_has_our_name() {
    let (_api, stage) = Api::serve(Stage::set("name"));
    stage.with(&["--set=nodeName=other"]).cured("no-node");
}

#[test]
fn nobody_gives_pods_addresses() {
    let (api, stage) = Api::serve(Stage::set("ranges"));
    api.change(|answers| answers.nodes = json!([node("a", "172.30.0.11", Value::Null)]));
    stage.named("no-pod-cidrs");
    // Both of the ways that the hint names.
    let cluster = ["--set=ipam=cluster", "--set=clusterPodCIDRs=10.244.0.0/16"];
    let stage = stage.with(&cluster);
    stage.well();
    let (api, stage) = Api::serve(Stage::set("given"));
    let given = json!([node("a", "172.30.0.11", json!(["10.244.1.0/24"]))]);
    api.change(|answers| answers.nodes = given);
    stage.well();
}

#[test]
fn manifests_of_another_platform() {
    let (api, stage) = Api::serve(Stage::set("platform"));
    api.change(|answers| {
        answers.nodes[0]["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.33.1+k3s1");
    });
    stage.cured("another-platform");
}

#[test]
fn a_node_that_is_not_reached() {
    let (api, stage) = Api::serve(Stage::set("ways"));
    let far = json!([
        node("a", "172.30.0.11", json!(["10.244.1.0/24"])),
        node("b", "198.51.100.2", json!(["10.244.2.0/24"])),
    ]);
    api.change(|answers| answers.nodes = far);
    stage
        .with(&["--set=routing=direct"])
        .cured("node-unreachable");
}
