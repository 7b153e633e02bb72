//! The plugin is killed at every system call by which it writes, in ADD and in DEL. Whatever comes next (DEL, ADD again, GC)
//! leaves nothing of it, and no address is given twice.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use weir_tests::{
    cni::{Container, Runtime, runtime},
    length,
    world::until,
};

use super::crash::age;

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];
/// In the short form one in so many calls, but some of each verb.
const STEP: u64 = 10;
const SOME: u64 = 4;
const PATIENCE: Duration = Duration::from_mins(1);

/// What comes after the plugin that was killed.
#[derive(Clone, Copy, Debug)]
enum After {
    Del,
    /// Of the same container, in another network namespace.
    Add,
    Gc,
}

const ALL: [After; 3] = [After::Del, After::Add, After::Gc];

/// A machine with a container that nothing is done to.
struct Bed {
    runtime: Runtime,
    holder: Container,
    addresses: Vec<String>,
    calm: String,
}

impl Bed {
    fn start() -> Self {
        let runtime = Runtime::new(&DUAL).unwrap();
        let holder = Container::new("holder").unwrap();
        let added = runtime.add(&holder).unwrap();
        let addresses = added.ips();
        assert_eq!(addresses.len(), 2, "{added:?}");
        let calm = picture(&runtime);
        Self {
            runtime,
            holder,
            addresses,
            calm,
        }
    }

    /// Runs a call that dies before a writing one; gives those that it was about to make.
    fn killed(&self, verb: &str, container: &Container, target: u64) -> Vec<String> {
        let traced = self.runtime.traced(verb, container, target).unwrap();
        until("the plugin to end", PATIENCE, || {
            Ok(traced.is_over().then_some(()))
        })
        .unwrap();
        let calls = traced.calls();
        traced.end().unwrap();
        calls
    }

    fn del(&self, container: &Container) {
        let deleted = self.runtime.del(container).unwrap();
        assert_eq!(deleted.status, Some(0), "{deleted:?}");
    }

    fn add(&self, container: &Container) {
        let added = self.runtime.add(container).unwrap();
        assert_eq!(added.status, Some(0), "{added:?}");
        let ips = added.ips();
        assert!(
            ips.len() == 2 && ips.iter().all(|ip| !self.addresses.contains(ip)),
            "{ips:?} beside {:?}",
            self.addresses
        );
    }

    /// As a runtime collects garbage that knows the holder alone.
    fn collect(&self) {
        // What is younger may be at work.
        for folder in [self.runtime.paths.root(), &self.runtime.paths.attachments()] {
            age(folder);
        }
        let mut config = self.runtime.config.clone();
        config["cni.dev/valid-attachments"] =
            json!([{ "containerID": self.holder.id, "ifname": "eth0" }]);
        let collected = self.runtime.call("GC", None, &config).unwrap();
        assert_eq!(collected.status, Some(0), "{collected:?}");
    }

    /// What comes after a kill; then nothing may be left.
    fn go_on(&self, after: After, id: &str, container: &Container, told: &str) {
        match after {
            After::Del => self.del(container),
            After::Add => {
                let again = Container::new(id).unwrap();
                self.add(&again);
                self.del(&again);
            }
            After::Gc => self.collect(),
        }
        // Files that a kill left half written are nobody's until they are old.
        self.collect();
        assert_eq!(picture(&self.runtime), self.calm, "{told}, then {after:?}");
    }
}

/// All that containers have on a machine.
fn picture(runtime: &Runtime) -> String {
    let links: BTreeSet<String> = runtime.host.links().unwrap().into_iter().collect();
    let routes = ["-4", "-6"].map(|family| {
        let text = runtime.host.ip(&format!("{family} route show")).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    });
    let records: BTreeSet<String> = runtime::files(&runtime.paths.attachments())
        .unwrap()
        .into_iter()
        .collect();
    let leases = runtime.state().unwrap().leases;
    format!("{links:?}\n{routes:?}\n{records:?}\n{leases:?}")
}

/// How many calls write, if nobody is killed; which of them to kill at, and what then.
fn targets(calls: usize) -> Vec<(u64, After)> {
    let calls = calls as u64;
    assert!(calls > SOME, "{calls} calls");
    let step = (calls / SOME).min(STEP);
    let calls = 1..=calls;
    if length::steps(0, 1) == 1 {
        return calls.flat_map(|n| ALL.map(|after| (n, after))).collect();
    }
    let some = calls.filter(|n| (n - 1) % step == 0).enumerate();
    some.map(|(n, target)| (target, ALL[n % ALL.len()]))
        .collect()
}

#[test]
fn an_add_that_is_killed_at_any_call_leaves_nothing() {
    let bed = Bed::start();
    let first = Container::new("first").unwrap();
    let calls = bed.killed("ADD", &first, u64::MAX);
    bed.del(&first);
    for (target, after) in targets(calls.len()) {
        let id = format!("a{target}");
        let container = Container::new(&id).unwrap();
        let made = bed.killed("ADD", &container, target);
        let told = format!("killed before {:?}, number {target}", made.last());
        bed.go_on(after, &id, &container, &told);
    }
}

#[test]
fn a_del_that_is_killed_at_any_call_is_made_good() {
    let bed = Bed::start();
    let first = Container::new("first").unwrap();
    bed.add(&first);
    let calls = bed.killed("DEL", &first, u64::MAX);
    assert_eq!(picture(&bed.runtime), bed.calm, "{calls:?}");
    for (target, after) in targets(calls.len()) {
        let id = format!("d{target}");
        let container = Container::new(&id).unwrap();
        bed.add(&container);
        let made = bed.killed("DEL", &container, target);
        let told = format!("killed before {:?}, number {target}", made.last());
        bed.go_on(after, &id, &container, &told);
    }
}
