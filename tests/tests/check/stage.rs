//! A node on which nothing of Weir is, and what `proxyctl check` says of it.

use std::process::{Command, Stdio};

use serde_json::Value;
use weir_tests::world::{Manifests, Node, Place, World, program};

/// A node, and what Weir would be told of it.
pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) world: World,
    /// Words of the command line.
    pub(crate) words: Vec<String>,
    /// What is run before it.
    pub(crate) by: Vec<String>,
    manifests: Manifests,
}

impl Stage {
    /// A node that Weir could be installed on.
    pub(crate) fn set(name: &str) -> Self {
        let world = World::new(&format!("check-{name}")).unwrap();
        let node = world.node("a").unwrap();
        let manifests = Manifests::new().unwrap();
        manifests.node(&node).unwrap();
        let folder = manifests.path().display();
        let cgroup = node.cgroup_root().path().display();
        let words = [
            "--pre".to_owned(),
            "--skip=programs".to_owned(),
            "--set=nodeName=a".to_owned(),
            format!("--set=manifests={folder}"),
            format!("--set=cgroupRoot={cgroup}"),
            "--set=cni.binDir=/run/cni/bin".to_owned(),
            "--set=cni.confDir=/run/cni/net.d".to_owned(),
        ];
        node.run(&["mkdir", "-p", "/run/cni/bin", "/run/cni/net.d"])
            .unwrap();
        // As systemd has it.
        node.run(&["mount", "--make-shared", "/sys"]).unwrap();
        Self {
            words: words.into(),
            by: Vec::new(),
            node,
            world,
            manifests,
        }
    }

    /// With further words.
    pub(crate) fn with(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(ToString::to_string));
        self
    }

    /// Another node beside it.
    pub(crate) fn neighbour(&self, name: &str) -> Node {
        let node = self.world.node(name).unwrap();
        self.manifests.node(&node).unwrap();
        node
    }

    /// Runs a script on the node.
    pub(crate) fn plant(&self, script: &str) {
        self.node.run(&["sh", "-ec", script]).unwrap();
    }

    /// Puts an object into the cluster.
    pub(crate) fn object(&self, file: &str, object: &Value) {
        let objects = [object.clone()];
        self.manifests.apply_objects(file, &objects).unwrap();
    }

    /// What is complained of.
    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        complaints(&self.node, &self.by, &self.words)
    }

    /// Nothing is complained of.
    pub(crate) fn well(&self) {
        assert_eq!(self.complaints(), []);
    }

    /// Only this is complained of.
    pub(crate) fn named(&self, fault: &str) -> Vec<Complaint> {
        let found = self.complaints();
        assert!(!found.is_empty(), "{fault} is not found");
        assert!(found.iter().all(|c| c.fault == fault), "{fault}: {found:?}");
        found
    }

    /// Only this is complained of, and no more once its remedies are applied.
    pub(crate) fn cured(mut self, fault: &str) {
        let found = self.named(fault);
        for complaint in found {
            let remedy = complaint.remedy;
            let told = remedy
                .as_ref()
                .unwrap_or_else(|| panic!("{fault} has a remedy"));
            self.apply(told);
        }
        self.well();
    }

    fn apply(&mut self, remedy: &Value) {
        if let Some(command) = remedy["command"].as_str() {
            shell(&self.node, command);
        } else {
            let setting = remedy["setting"].as_str().unwrap();
            self.words.push(format!("--set={setting}"));
        }
    }
}

/// Runs a remedy on a node, as root's shell would.
pub(crate) fn shell(node: &Node, command: &str) {
    let ours = program("proxyctl").unwrap();
    let folder = ours.parent().unwrap().display();
    let script = format!("PATH=$PATH:{folder}; {command}");
    node.run(&["sh", "-ec", &script]).unwrap();
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Complaint {
    pub(crate) fault: String,
    pub(crate) level: String,
    pub(crate) text: String,
    pub(crate) remedy: Option<Value>,
}

/// What is complained of on a node.
pub(crate) fn complaints(place: &Place, by: &[String], words: &[String]) -> Vec<Complaint> {
    let ours = program("proxyctl").unwrap();
    let mut command = command(place, by, &ours.display().to_string());
    command.args(["check", "-o", "json"]).args(words);
    let done = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    let report: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {told}{}", String::from_utf8_lossy(&done.stdout)));
    assert_eq!(report["kind"], "Check");
    let lines = report["lines"].as_array().unwrap().iter();
    let wrong = lines.filter(|line| line.get("fault").is_some());
    let found: Vec<Complaint> = wrong.map(complaint).collect();
    let count = |level: &str| found.iter().filter(|c| c.level == level).count();
    assert_eq!(report["errors"], count("error"));
    assert_eq!(report["warnings"], count("warning"));
    let failed = i32::from(count("error") > 0);
    assert_eq!(done.status.code(), Some(failed), "{found:?}{told}");
    found
}

fn command(place: &Place, by: &[String], ours: &str) -> Command {
    match by.split_first() {
        None => place.command(ours).unwrap(),
        Some((other, words)) => {
            let mut command = place.command(other).unwrap();
            command.args(words).arg(ours);
            command
        }
    }
}

fn complaint(line: &Value) -> Complaint {
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    let fault = text("fault");
    assert!(!text("hint").is_empty(), "{line}");
    assert_eq!(text("see"), format!("docs/troubleshooting.md#{fault}"));
    Complaint {
        level: text("level"),
        text: text("text"),
        remedy: line.get("remedy").cloned(),
        fault,
    }
}
