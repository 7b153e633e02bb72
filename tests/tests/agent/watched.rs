//! All that the watchdog watches is stopped in turn, and named. What there is the agent itself lists, so that nothing new is
//! forgotten: work that this test does not know how to have done is not named, and fails it.

use std::{cell::RefCell, fs, path::PathBuf, time::Duration};

use serde_json::json;
use weir_tests::world::{Cluster, Node, Pod, until};

use super::{
    fixture::{PATIENCE, get},
    unhealthy::{HEALTHZ, LIVEZ, answers},
};

/// Nobody can tell of that one: who asks gets no answer.
const TELLS: &str = "health server";
/// Done at the start, and once in a minute.
const SWEEP: &str = "sweep for lost pods";

/// What has some work done. Pods go before their node.
struct Stage {
    pods: RefCell<Vec<Pod>>,
    cluster: Cluster,
    configuration: tempfile::NamedTempFile,
}

impl Stage {
    fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    fn configure(&self, more: &str) {
        let kind = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n";
        fs::write(self.configuration.path(), format!("{kind}{more}")).unwrap();
    }

    fn fault(&self, task: &str) -> PathBuf {
        self.node().file(&format!("/run/weir/faults/{task}"))
    }

    /// All tasks, as the agent that runs has registered them.
    fn tasks(&self) -> Vec<String> {
        let list = fs::read_to_string(self.fault(".tasks")).unwrap();
        list.lines().map(ToOwned::to_owned).collect()
    }

    fn add_pod(&self) {
        let mut pods = self.pods.borrow_mut();
        let name = format!("pod-{}", pods.len());
        pods.push(self.cluster.pod(0, &name).unwrap());
    }

    /// Has a work done that is done only when there is something to do.
    fn cause(&self, task: &str) {
        match task {
            "records of pods" | "hardware addresses of pods" | "lifting of pods' programs" => {
                self.add_pod();
            }
            "resizing of maps" => self.configure("maps: { frontends: 8192 }\n"),
            "building of Maglev tables" => {
                self.add_pod();
                self.add_pod();
                let pods = self.pods.borrow();
                let [.., first, second] = &pods[..] else {
                    panic!("there are two");
                };
                // Clients of other machines choose by tables.
                let more = json!({
                    "type": "NodePort",
                    "ports": [{
                        "name": "tcp", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30080,
                    }],
                });
                self.cluster
                    .service("web", 1, &[first, second], &more)
                    .unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_stands_still_is_named() {
    let configuration = tempfile::NamedTempFile::new().unwrap();
    let path = configuration.path().to_str().unwrap().to_owned();
    fs::write(
        &path,
        "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n",
    )
    .unwrap();
    let flags = [
        "--map-size",
        "small",
        "--log-drops",
        "true",
        "--config",
        &path,
    ];
    let cluster = Cluster::start("watchdog", &["a"], &flags).unwrap();
    let mut stage = Stage {
        cluster,
        configuration,
        pods: RefCell::default(),
    };
    stage
        .node()
        .run(&["mkdir", "-p", "/run/weir/faults"])
        .unwrap();
    fs::write(stage.fault(SWEEP), "2").unwrap();
    stage.cluster.agent_mut(0).crash().unwrap();
    stage.cluster.agent_mut(0).restart().unwrap();
    stop(&stage, SWEEP);

    let tasks = stage.tasks();
    assert!(tasks.len() > 20, "{tasks:?}");
    for task in tasks
        .iter()
        .filter(|task| ![SWEEP, TELLS].contains(&task.as_str()))
    {
        stop(&stage, task);
    }
    fs::write(stage.fault(TELLS), "2").unwrap();
    until("no answer", PATIENCE, || {
        Ok(get(stage.node(), 10256, "/livez").is_err().then_some(()))
    })
    .unwrap();
    fs::remove_file(stage.fault(TELLS)).unwrap();
    answers(stage.node(), LIVEZ, 200, "nodeEligible");
}

/// Stops it, sees it named, and lets it go on.
fn stop(stage: &Stage, task: &str) {
    let node = stage.node();
    if !stage.fault(task).exists() {
        answers(node, LIVEZ, 200, "nodeEligible");
        fs::write(stage.fault(task), "2").unwrap();
    }
    stage.cause(task);
    let text = answers(node, LIVEZ, 503, &format!("{task} has stood still for "));
    assert_eq!(text.matches("has stood still").count(), 1, "{text}");
    answers(node, (10256, "/readyz"), 503, task);
    answers(node, HEALTHZ, 200, "nodeEligible");
    fs::remove_file(stage.fault(task)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
}
