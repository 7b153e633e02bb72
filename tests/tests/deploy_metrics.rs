//! What Prometheus makes of the metrics of a real agent, and what alerts and the dashboard make of them.

#[path = "deploy_metrics/exposed.rs"]
mod exposed;
#[path = "deploy_metrics/query.rs"]
mod query;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use exposed::Exposed;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::{
    controlplane::go_program,
    world::{Agent, Manifests, World, http_get, until},
};

/// The agent counts what is in maps a moment after its start.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn promtool(words: &[&str]) -> Result<String> {
    let done = Command::new(go_program("prometheus", "promtool", "deploy")?)
        .args(words)
        .output()
        .context("start promtool")?;
    let [out, told] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text));
    ensure!(done.status.success(), "{out}{told}");
    Ok(out.into_owned())
}

/// The text of `/metrics` of an agent that has begun.
fn metrics(world: &World) -> Result<String> {
    let node = world.node("a")?;
    let agent = Agent::start(&node, &Manifests::new()?, &["--map-size", "small"])?;
    until("flows and links to be counted", PATIENCE, || {
        let (code, text) = http_get(&node, ([127, 0, 0, 1], 10249).into(), "/metrics")?;
        ensure!(code == 200, "{code}: {text}");
        let counted = [
            "weir_flows{",
            "weir_xdp_links{",
            "weir_bpf_map_pressure{",
            "weir_source_port_pressure{",
            "weir_pod_addresses{",
        ];
        let body = text
            .split_once("\r\n\r\n")
            .map_or(text.as_str(), |(_, body)| body);
        Ok(counted
            .iter()
            .all(|name| text.contains(name))
            .then(|| body.to_owned()))
    })
    .with_context(|| agent.log())
}

/// Expressions of the alerts, by their names.
fn alerts() -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(file("deploy/chart/files/alerts.yaml"))?;
    let tree: Value = serde_saphyr::from_str(&text)?;
    let rules = tree["groups"][0]["rules"].as_array().context("no rules")?;
    let text = |rule: &Value, key: &str| rule[key].as_str().map(str::to_owned).context("no text");
    rules
        .iter()
        .map(|rule| Ok((text(rule, "alert")?, text(rule, "expr")?)))
        .collect()
}

/// Expressions of the dashboard, by their panels' titles; its variables stand for anything.
fn panels() -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(file("deploy/chart/files/dashboard.json"))?;
    let tree: Value = serde_json::from_str(&text)?;
    let mut found = Vec::new();
    for panel in tree["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
            let query = text(&target["expr"])?
                .replace("$__rate_interval", "5m")
                .replace("$instance", ".*");
            found.push((text(&panel["title"])?, query));
        }
    }
    let variable = tree["templating"]["list"][1]["query"]["query"]
        .as_str()
        .context("no query")?;
    let name = variable
        .trim_start_matches("label_values(")
        .split(',')
        .next()
        .unwrap_or_default();
    found.push(("its variable".to_owned(), name.to_owned()));
    Ok(found)
}

/// Those, with a unit where the name has one, and Prometheus takes them all.
#[test]
fn every_metric_says_what_it_is_and_prometheus_reads_it() -> Result<()> {
    let world = World::new("deploy-metrics")?;
    let text = metrics(&world)?;
    let exposed = Exposed::read(&text)?;
    ensure!(
        exposed.families.len() > 30,
        "{} families",
        exposed.families.len()
    );
    for (name, family) in &exposed.families {
        ensure!(
            family.help.len() > 5 && family.help.ends_with('.'),
            "{name}: {}",
            family.help
        );
        let suffix = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.ends_with(unit));
        ensure!(
            family.unit.as_deref() == suffix,
            "{name} has unit {:?}",
            family.unit
        );
        for (word, unit) in [
            ("Time", "seconds"),
            ("Length", "seconds"),
            ("When", "seconds"),
            ("Bytes", "bytes"),
        ] {
            ensure!(
                !family.help.starts_with(word) || suffix == Some(unit),
                "{name}: {}",
                family.help
            );
        }
    }
    let build = exposed
        .families
        .get("weir_build")
        .context("no weir_build")?;
    ensure!(build.labels.contains("revision"), "{text}");
    let said = text
        .lines()
        .find(|line| line.starts_with("weir_build_info{"));
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    for words in [version.as_str(), "rustc=\"rustc 1."] {
        ensure!(said.is_some_and(|said| said.contains(words)), "{said:?}");
    }
    // The reader of OpenMetrics itself; blocks are made of samples that have times.
    let folder = TempDir::new()?;
    let timed: Vec<String> = text.lines().map(timed).collect();
    let path = folder.path().join("metrics");
    fs::write(&path, timed.join("\n") + "\n")?;
    let [path, blocks] =
        [path, folder.path().join("blocks")].map(|path| path.display().to_string());
    promtool(&["tsdb", "create-blocks-from", "openmetrics", &path, &blocks]).map(drop)
}

fn timed(line: &str) -> String {
    if line.starts_with('#') {
        line.to_owned()
    } else {
        format!("{line} 1700000000")
    }
}

/// By every name and label that they use.
#[test]
fn alerts_and_the_dashboard_ask_for_what_an_agent_exposes() -> Result<()> {
    let world = World::new("deploy-series")?;
    let exposed = Exposed::read(&metrics(&world)?)?;
    let mut asked = BTreeSet::new();
    for (name, query) in alerts()?.into_iter().chain(panels()?) {
        let used = query::series(&query);
        ensure!(!used.is_empty(), "{name}: {query} asks for nothing of ours");
        let mut labels = BTreeSet::from(["instance".to_owned(), "le".to_owned()]);
        for series in &used {
            let known = exposed.series.get(series);
            labels.extend(
                known
                    .with_context(|| format!("{name}: no agent exposes {series}"))?
                    .clone(),
            );
            asked.insert(series.clone());
        }
        for label in query::labels(&query) {
            ensure!(
                labels.contains(&label),
                "{name}: {used:?} have no label {label}"
            );
        }
    }
    // The dashboard shows all that there is, but for what it shows by its parts.
    let unseen: Vec<_> = exposed
        .names()
        .filter(|name| !asked.iter().any(|series| series.starts_with(name.as_str())))
        .collect();
    let known = [
        "kubeproxy_proxy_healthz",
        "kubeproxy_sync_proxy_rules_duration_seconds",
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    ];
    ensure!(unseen == known, "nobody looks at {unseen:?}");
    Ok(())
}

#[test]
fn prometheus_takes_every_alert_and_every_query() -> Result<()> {
    let rules = file("deploy/chart/files/alerts.yaml").display().to_string();
    promtool(&["check", "rules", &rules])?;
    let queries: Vec<Value> = panels()?
        .into_iter()
        .enumerate()
        .map(|(index, (_, query))| json!({ "record": format!("panel:{index}"), "expr": query }))
        .collect();
    let folder = TempDir::new()?;
    let path = folder.path().join("rules.yaml");
    fs::write(
        &path,
        json!({ "groups": [{ "name": "dashboard", "rules": queries }] }).to_string(),
    )?;
    promtool(&["check", "rules", &path.display().to_string()]).map(drop)
}

/// Each has a test, in which it fires.
#[test]
fn alerts_fire_for_what_they_are_about() -> Result<()> {
    let path = file("tests/alerts/alerts.test.yaml");
    let tree: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
    let tests = tree["tests"].as_array().context("no tests")?;
    for (name, _) in alerts()? {
        let mut cases = tests
            .iter()
            .flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten());
        let fires = |case: &Value| {
            case["alertname"] == name
                && case["exp_alerts"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty())
        };
        ensure!(cases.any(fires), "no test fires {name}");
    }
    promtool(&["test", "rules", &path.display().to_string()]).map(drop)
}
