//! Values that are wrong are refused by name, before anything is changed.

use anyhow::{Context as _, Result, ensure};
use proxy_agent::config::definition::{DEFINITION, Shape};
use serde_json::{Value, json};

use super::helm::Helm;

/// Puts a value at `a.b.c`.
fn put(tree: &mut Value, path: &str, value: Value) {
    let here = path.split('.').fold(tree, |tree, name| &mut tree[name]);
    *here = value;
}

fn refusal(helm: &Helm, values: &Value) -> Result<String> {
    let error = helm.template(values).err().context("nothing is refused")?;
    Ok(error.to_string())
}

/// Whether a line of the refusal is about the value at this path.
fn names(said: &str, path: &str) -> bool {
    let place = format!("at '/{}'", path.replace('.', "/"));
    said.lines().any(|line| line.contains(&place))
}

#[test]
fn every_setting_with_a_value_of_the_wrong_type_is_refused() -> Result<()> {
    let helm = Helm::new()?;
    let mut values = json!({});
    for setting in &DEFINITION.settings {
        let wrong = match setting.shape {
            Shape::Text => json!(["x"]),
            _ => json!("x"),
        };
        put(&mut values, &format!("config.{}", setting.path), wrong);
    }
    let said = refusal(&helm, &values)?;
    for setting in &DEFINITION.settings {
        ensure!(
            names(&said, &format!("config.{}", setting.path)),
            "{} in {said}",
            setting.path
        );
    }
    Ok(())
}

#[test]
fn a_setting_that_does_not_exist_is_refused_in_every_part() -> Result<()> {
    let helm = Helm::new()?;
    let mut values = json!({});
    let mut parts: Vec<String> = DEFINITION
        .sections
        .iter()
        .map(|section| {
            format!("config.{}", section.path)
                .trim_end_matches('.')
                .to_owned()
        })
        .collect();
    parts.extend(
        [
            "image",
            "updateStrategy",
            "hostPaths",
            "metrics",
            "metrics.podMonitor",
        ]
        .map(str::to_owned),
    );
    for part in &parts {
        put(&mut values, &format!("{part}.nobodyKnows"), true.into());
    }
    values["nobodyKnows"] = true.into();
    let said = refusal(&helm, &values)?;
    for part in &parts {
        ensure!(names(&said, part), "{part} in {said}");
    }
    ensure!(
        said.contains("at '': additional properties 'nobodyKnows'"),
        "{said}"
    );
    Ok(())
}

#[test]
fn words_that_a_value_does_not_know_are_refused() -> Result<()> {
    let helm = Helm::new()?;
    let mut values = json!({ "platform": "k4s", "image": { "pullPolicy": "Sometimes" }, "metrics": { "bind": "moon" } });
    let choices = DEFINITION
        .settings
        .iter()
        .filter(|setting| !setting.choices.is_empty());
    for setting in choices.clone() {
        put(
            &mut values,
            &format!("config.{}", setting.path),
            "nonsense".into(),
        );
    }
    let said = refusal(&helm, &values)?;
    for path in ["platform", "image.pullPolicy", "metrics.bind"] {
        ensure!(names(&said, path), "{path} in {said}");
    }
    for setting in choices {
        ensure!(
            names(&said, &format!("config.{}", setting.path)),
            "{} in {said}",
            setting.path
        );
    }
    Ok(())
}

#[test]
fn what_templates_alone_can_tell_is_refused_too() -> Result<()> {
    let helm = Helm::new()?;
    for (values, why) in [
        (json!({}), "config.clientConnection.apiServers"),
        (
            json!({ "platform": "eks" }),
            "config.clientConnection.apiServers",
        ),
        (
            json!({ "platform": "eks", "config": { "clientConnection": { "apiServers": ["https://192.0.2.1"] } } }),
            "config.clusterPodCIDRs",
        ),
        (
            json!({ "platform": "rke2", "metrics": { "podMonitor": { "enabled": true } } }),
            "metrics.bind",
        ),
        (
            json!({ "metrics": { "tls": { "clientCA": true } } }),
            "metrics.tls.clientCA",
        ),
        (
            json!({
                "config": { "clientConnection": { "apiServers": ["https://192.0.2.1"] } },
                "metrics": {
                    "bind": "node",
                    "tls": { "secretName": "weir-metrics", "clientCA": true },
                    "podMonitor": { "enabled": true },
                },
            }),
            "metrics.podMonitor.tlsConfig",
        ),
    ] {
        let said = refusal(&helm, &values)?;
        ensure!(said.contains(why), "{why} in {said}");
    }
    Ok(())
}

/// Prefixes that are longer than an address of their family are refused before an agent could.
#[test]
fn ranges_that_cannot_be_are_refused() -> Result<()> {
    let helm = Helm::new()?;
    let paths = [
        "config.node.podCIDRs",
        "config.node.nodePortAddresses",
        "config.clusterPodCIDRs",
        "config.masquerade.clusterCIDRs",
        "config.routedPodCIDRs",
    ];
    let with = |range: &str| {
        let mut values = json!({ "config": { "clientConnection": { "apiServers": ["https://192.0.2.1:6443"] } } });
        for path in paths {
            put(&mut values, path, json!([range]));
        }
        let pool = json!([{ "name": "lan", "addresses": [range] }]);
        put(&mut values, "config.loadBalancer.pools", pool);
        values
    };
    for range in [
        "10.0.0.0/33",
        "300.0.0.0/8",
        "10.0.0/8",
        "fd00::/129",
        "nowhere",
    ] {
        let said = refusal(&helm, &with(range))?;
        for path in paths.into_iter().chain(["config.loadBalancer.pools"]) {
            let place = format!("at '/{}/0", path.replace('.', "/"));
            ensure!(said.contains(&place), "{range}: {place} is not in {said}");
        }
    }
    for range in [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "192.0.2.1/32",
        "fd00::/64",
        "::/0",
        "fd00::1/128",
    ] {
        helm.template(&with(range))?;
    }
    Ok(())
}
