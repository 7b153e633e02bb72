//! `proxyctl connectivity test` on the cluster, as a user runs it; and with a fault planted, which it must find by name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::lab::{Lab, Node};
use super::place::Place;
use super::routes::PodCidrs;
use super::shape::Network;
use crate::{build, run, say};

/// The table of the rule that is planted.
const FAULT: &str = "weir_fault";
/// To which node nothing gets that has a pod's IPv4 address.
const CUT_OFF: Node = Node(2);

/// What the program prints with `-o json`.
#[derive(Deserialize)]
struct Tests {
    items: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    test: String,
    passed: bool,
}

/// Runs it on a sound cluster, with arguments of its own; its exit code.
pub(super) fn sound(lab: &Lab, args: &[String]) -> Result<ExitCode> {
    lab.must_be_up()?;
    super::pass_on(proxyctl(lab).args(args))
}

/// Plants the fault and looks at what is found.
pub(super) fn with_fault(lab: &Lab) -> Result<()> {
    lab.must_be_up()?;
    let shape = lab.shape()?.context("the cluster has no shape")?;
    ensure!(
        shape.nodes > 1 && shape.families.has()[0] && shape.network == Network::L2,
        "a fault between nodes needs two of them on one link, and IPv4\nhint: cargo xtask cluster up"
    );
    let cidrs = PodCidrs::read(lab, shape)?;
    let of_node = cidrs.iter().filter(|of| of.node == CUT_OFF);
    let range = of_node
        .flat_map(|of| &of.cidrs)
        .find(|range| !range.contains(':'));
    let range = range.context("the node has no range of IPv4")?;
    let folder = tempfile::tempdir()?;
    say::step(&format!("drop what goes to {range}"), || plant(lab, range))?;
    let found = say::step("test who reaches whom", || tests(lab, folder.path()));
    say::step("take the fault away", || take_away(lab))?;
    judge(&found?, folder.path())
}

fn proxyctl(lab: &Lab) -> Command {
    // As the cluster was brought up with.
    let program = build::place("lab").join("proxyctl");
    let mut command = Place::fabric(lab).command(program);
    command.args(["connectivity", "test"]);
    command.arg(format!("--kubeconfig={}", lab.kubeconfig().display()));
    command
}

/// As a network does that knows the addresses of nodes only.
fn plant(lab: &Lab, range: &str) -> Result<()> {
    let rule = format!(
        "nft add table bridge {FAULT}
         nft add chain bridge {FAULT} between '{{ type filter hook forward priority 0; }}'
         nft add rule bridge {FAULT} between ip daddr {range} drop"
    );
    Place::fabric(lab).script(&rule).map(drop)
}

fn take_away(lab: &Lab) -> Result<()> {
    let removed = format!("nft delete table bridge {FAULT}");
    Place::fabric(lab).script(&removed).map(drop)
}

fn tests(lab: &Lab, folder: &Path) -> Result<Vec<Test>> {
    let mut command = proxyctl(lab);
    command
        .args([
            "--timeout=6s",
            "--test=^(pod-to-(pod|service)|policy-deny)",
            "-o",
            "json",
        ])
        .arg(format!("--dump={}", folder.join("dump").display()))
        .arg(format!("--junit={}", folder.join("junit.xml").display()))
        .stderr(Stdio::inherit());
    let shown = run::shown(&command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(
        output.status.code() == Some(1),
        "`{shown}` ended with {}, and not with 1",
        output.status
    );
    let tests: Tests = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`{shown}` printed no list of tests"))?;
    Ok(tests.items)
}

/// All tests that cross the fault have failed, no other, and what the nodes say of it has been gathered.
fn judge(tests: &[Test], folder: &Path) -> Result<()> {
    let to = format!("/{}", CUT_OFF.name());
    let own = format!("{to}{to}");
    let (mut crossing, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for test in tests {
        let touches = test.test.contains(&format!("{to}/")) || test.test.ends_with(&to);
        let crosses = test.test.contains("/ipv4/") && touches && !test.test.ends_with(&own);
        // Who is denied anyway hears nothing either way.
        if crosses && !test.test.starts_with("policy-") {
            crossing.insert(test.test.as_str());
        }
        if !test.passed {
            failed.insert(test.test.as_str());
        }
    }
    ensure!(
        failed == crossing,
        "failed: {failed:?}\nwhat crosses the fault: {crossing:?}"
    );
    let wanted = "pod-to-pod/ipv4/";
    let named = failed
        .iter()
        .find(|name| name.starts_with(wanted) && name.ends_with(&to));
    let named = named.with_context(|| format!("no {wanted}…{to} failed: {failed:?}"))?;
    let dump = folder.join("dump");
    let of_test = dump.join(format!("{}.txt", named.replace('/', "_")));
    let text = fs::read_to_string(&of_test)
        .with_context(|| format!("no dump of it: {}", of_test.display()))?;
    ensure!(
        text.contains("no answer") && text.contains("policy why"),
        "{text}"
    );
    for file in ["status.txt", "conntrack.txt", "sysdump.tar.gz"] {
        let path = dump.join(CUT_OFF.name()).join(file);
        ensure!(
            fs::metadata(&path).is_ok_and(|file| file.len() > 0),
            "no {}",
            path.display()
        );
    }
    let junit = fs::read_to_string(folder.join("junit.xml"))?;
    let failures = format!(r#"failures="{}""#, failed.len());
    ensure!(junit.contains(&failures), "no {failures} in {junit}");
    for name in &failed {
        say::data(format!("found: {name}"));
    }
    Ok(())
}
