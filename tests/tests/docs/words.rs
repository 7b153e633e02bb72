//! Words in code within sentences that name something: what they name exists.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Result, ensure};
use proxy_agent::{
    api::metrics::{SERIES, Series},
    config::definition::DEFINITION,
};
use weir_tests::world::program;

use super::page::{self, Page};

/// Devices of a node, which are named like metrics.
const DEVICES: [&str; 4] = ["weir_host", "weir_net", "weir_vxlan", "weir_wg"];
/// Folders whose files are named from the root.
const FOLDERS: [&str; 8] = [
    ".github/",
    "LICENSES/",
    "cni-plugin/src/",
    "deploy/",
    "docs/",
    "proxy-agent/src/",
    "tests/",
    "xtask/src/",
];
/// First words of the names of test targets.
const TARGETS: [&str; 8] = [
    "agent_",
    "cluster_",
    "controlplane_",
    "deploy_",
    "packets_",
    "policy_",
    "processors_",
    "world_",
];

/// Pages that speak of what is there now.
pub(crate) fn pages() -> Result<Vec<Page>> {
    let mut pages = page::all()?;
    pages.retain(|page| page.path != *"CHANGELOG.md");
    Ok(pages)
}

/// Looks at all words of all pages: the check says what is wrong with one.
fn check(wrong: impl Fn(&str) -> Option<String>) -> Result<()> {
    let mut found = BTreeSet::new();
    for page in pages()? {
        let of_page = page.words.iter().filter_map(|word| wrong(word));
        found.extend(of_page.map(|what| format!("{}: {what}", page.path.display())));
    }
    let found: Vec<String> = found.into_iter().collect();
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn verbs_of_xtask_exist() -> Result<()> {
    let help = Command::new(program("xtask")?).arg("--help").output()?;
    let help = String::from_utf8(help.stdout)?;
    let verbs: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty())
        .collect();
    ensure!(verbs.contains("docs"), "{help}");
    check(|word| {
        let verb = word.strip_prefix("cargo xtask ")?.split(' ').next()?;
        (!verbs.contains(verb)).then(|| format!("`{word}`: no such verb"))
    })
}

#[test]
fn metrics_are_registered() -> Result<()> {
    let mut known: BTreeSet<String> = SERIES.iter().map(Series::full_name).collect();
    known.insert("weir_build_info".to_owned());
    check(|word| {
        let name = word.split('{').next()?;
        let ours = name.starts_with("weir_") || name.starts_with("kubeproxy_");
        let plain = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let exists = known.contains(plain) || DEVICES.contains(&name) || name.contains('-');
        (ours && !exists).then(|| format!("`{word}`: no such metric"))
    })
}

#[test]
fn settings_exist() -> Result<()> {
    let sections: BTreeSet<&str> = DEFINITION
        .sections
        .iter()
        .map(|one| one.path.as_str())
        .filter(|path| !path.is_empty())
        .collect();
    let exists = |path: &str| DEFINITION.setting(path).is_some() || sections.contains(path);
    check(|word| {
        let path = word.split([':', '=', ' ']).next()?.trim_end_matches(".*");
        let (first, rest) = path.split_once('.')?;
        let plain = rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        (plain
            && sections.contains(first)
            && !exists(path)
            && ![".yaml", ".sock"].iter().any(|end| path.ends_with(end)))
        .then(|| format!("`{word}`: no such setting"))
    })
}

#[test]
fn files_exist() -> Result<()> {
    check(|word| {
        let path = word.split([' ', ':', '*']).next()?;
        let ours = FOLDERS.iter().any(|folder| path.starts_with(folder));
        let placeholder =
            path.chars().any(|c| c.is_ascii_uppercase()) && !path.starts_with("LICENSES");
        (ours && !placeholder && !page::root().join(path).exists())
            .then(|| format!("`{word}`: no such file"))
    })
}

#[test]
fn tests_exist() -> Result<()> {
    check(|word| missing_test(word).then(|| format!("`{word}`: no such test")))
}

/// Whether a word is the name of a test, `TARGET` or `TARGET::NAME`, that is not there.
fn missing_test(word: &str) -> bool {
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
    let (target, rest) = word.split_once("::").unwrap_or((word, ""));
    let is_module = |folder: &str| {
        let module = format!("{folder}/{}.rs", word.replace("::", "/"));
        page::root().join(module).exists()
    };
    if ["proxy-agent/src", "proxy-ebpf/src"]
        .into_iter()
        .any(is_module)
    {
        return false;
    }
    let tests = page::root().join("tests/tests");
    if target == "proxy_agent" {
        let module = rest.replace("::", "/");
        let folder = page::root().join("proxy-agent/src");
        return !folder.join(format!("{module}.rs")).exists()
            && !fs::read_to_string(folder.join(format!("{}.rs", parent(&module))))
                .is_ok_and(|text| text.contains(last(rest)));
    }
    let is_target = tests.join(format!("{target}.rs")).exists();
    let named_like_one = TARGETS.iter().any(|first| target.starts_with(first));
    if !plain || !(is_target || named_like_one) || (rest.is_empty() && is_target) {
        return false;
    }
    let inside = tests
        .join(target)
        .join(format!("{}.rs", parent(&rest.replace("::", "/"))));
    let module = tests
        .join(target)
        .join(format!("{}.rs", rest.replace("::", "/")));
    let shared = tests.join(format!("{}.rs", parent(&rest.replace("::", "/"))));
    let files = [tests.join(format!("{target}.rs")), inside, shared];
    let name = format!("fn {}(", last(rest));
    let listed = format!("    {} = \"", last(rest));
    let has = |text: String| text.contains(&name) || text.contains(&listed);
    !module.exists()
        && !files
            .iter()
            .any(|file| fs::read_to_string(file).is_ok_and(has))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(parent, _)| parent)
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}
