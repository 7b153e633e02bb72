//! Commands, in sentences and in blocks that are not run: programs have such verbs and flags, the chart such values.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use clap::Command as CommandLine;
use proxy_agent::{agent::command::command_line, config::definition::DEFINITION};
use serde_json::Value;
use weir_tests::reference::proxyctl;

use super::{page, words::pages};

/// All that stands as code: words in sentences, and lines of blocks of commands, those that go on in the next line as one.
fn commands() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for page in pages()? {
        let path = page.path.display().to_string();
        let blocks = page.blocks.iter();
        let blocks =
            blocks.filter(|block| block.info.as_ref().is_some_and(|i| i.starts_with("sh")));
        let whole = blocks.map(|block| block.text.replace("\\\n", " "));
        let lines: Vec<String> = whole
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        for text in page.words.iter().chain(&lines) {
            let parts = text.split(" | ").flat_map(|part| part.split(" && "));
            let parts = parts.flat_map(|part| part.split(" -- "));
            found.extend(parts.map(|part| (path.clone(), part.trim().to_owned())));
        }
    }
    Ok(found)
}

/// Looks at all of them: the check says what is wrong with one, if it is about such a command. How many are.
fn check(mut wrong: impl FnMut(&str) -> Option<Result<(), String>>) -> Result<usize> {
    let mut found = BTreeSet::new();
    let mut count = 0;
    for (path, command) in commands()? {
        if let Some(judged) = wrong(&command) {
            count += 1;
            let told = judged
                .err()
                .map(|what| format!("{path}: `{command}`: {what}"));
            found.extend(told);
        }
    }
    let found: Vec<String> = found.into_iter().collect();
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(count)
}

#[test]
fn they_are_those_of_the_programs() -> Result<()> {
    let lines = [proxyctl(), command_line()].map(|mut line| {
        line.build();
        line
    });
    let of = |command: &str| {
        lines.iter().find_map(|line| {
            let as_plugin = (line.get_name() == "proxyctl").then_some("kubectl weir ");
            let own = format!("{} ", line.get_name());
            let rest = command.strip_prefix(&own);
            let rest = rest.or_else(|| command.strip_prefix(as_plugin?))?;
            Some((line, rest.to_owned()))
        })
    };
    let count = check(|command| {
        let (line, rest) = of(command)?;
        let what = unknown(line, rest.split(' '));
        Some(what.map_or(Ok(()), |what| Err(format!("there is no {what}"))))
    })?;
    ensure!(count > 40, "{count} commands");
    Ok(())
}

/// The first word that a command line does not know.
fn unknown<'a>(line: &CommandLine, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut here = line;
    for word in words {
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or(flag);
            let knows = |command: &CommandLine| {
                let mut flags = command.get_arguments();
                flags.any(|argument| argument.get_long() == Some(flag))
            };
            if !knows(here) && !knows(line) && flag != "help" {
                return Some(format!("--{flag}"));
            }
        } else if here.has_subcommands() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        {
            match here.find_subcommand(word) {
                Some(below) => here = below,
                None => return Some(word.to_owned()),
            }
        }
    }
    None
}

#[test]
fn the_chart_has_the_values_that_helm_sets() -> Result<()> {
    let path = page::root().join("deploy/chart/values.yaml");
    let values: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)
        .with_context(|| format!("read {}", path.display()))?;
    let count = check(|command| {
        if !command.starts_with("helm ") {
            return None;
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        let set = words.windows(2).filter(|pair| pair[0] == "--set");
        let wrong: Vec<&str> = set
            .filter_map(|pair| pair[1].split('=').next())
            .map(|key| key.trim_matches('\''))
            .filter(|key| !is_value(&values, key))
            .collect();
        Some(if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("the chart has no {wrong:?}"))
        })
    })?;
    ensure!(count > 5, "{count} commands");
    Ok(())
}

/// Whether the chart has a value at this path.
fn is_value(values: &Value, path: &str) -> bool {
    if let Some(setting) = path.strip_prefix("config.") {
        return DEFINITION.setting(setting).is_some();
    }
    let found = path.split('.').try_fold(values, |here, key| here.get(key));
    found.is_some()
}

#[test]
fn what_is_wrong_is_seen() {
    let mut line = proxyctl();
    line.build();
    let judge = |words: &str| unknown(&line, words.split(' '));
    assert_eq!(judge("status --all-nodes --brief"), None);
    assert_eq!(judge("drops"), Some("drops".to_owned()));
    assert_eq!(judge("status --breif"), Some("--breif".to_owned()));
    let values = serde_json::json!({ "image": { "tag": "" } });
    assert!(is_value(&values, "image.tag") && is_value(&values, "config.cni.mtu"));
    assert!(!is_value(&values, "image.label") && !is_value(&values, "config.cni.mut"));
}
