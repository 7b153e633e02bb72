//! What can be looked at of releases without making one: workflows, the files that `cargo xtask release` makes, licences.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use weir_tests::{controlplane::go_program, world::program};

const REPOSITORY: &str = "registry.example/weir";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn workflows() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(".github/workflows"))? {
        found.push(entry?.path());
    }
    ensure!(found.len() > 2, "{found:?}");
    Ok(found)
}

fn done(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(status.success(), "{command:?}: {}", said.concat());
    let [said, _] = said;
    Ok(said)
}

fn xtask(words: &[&str]) -> Result<String> {
    done(Command::new(program("xtask")?).args(words))
}

#[test]
fn actionlint_has_nothing_against_the_workflows() -> Result<()> {
    // There is no Python in them.
    let mut lint = Command::new(go_program("actionlint", "actionlint", "deploy")?);
    lint.current_dir(root())
        .args(["-shellcheck=shellcheck", "-pyflakes="]);
    done(lint.args(workflows()?)).map(drop)
}

#[test]
fn shellcheck_has_nothing_against_scripts() -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(root())
        .args(["ls-files", "*.sh", ".ci/run"]);
    let scripts = done(&mut git)?;
    ensure!(scripts.lines().count() > 3, "{scripts}");
    let mut lint = Command::new("shellcheck");
    lint.current_dir(root()).args(scripts.lines());
    done(&mut lint).map(drop)
}

#[test]
fn what_workflows_call_is_there() -> Result<()> {
    let mut calls = 0;
    for path in workflows()? {
        let text = fs::read_to_string(&path)?;
        for call in text
            .lines()
            .filter_map(|line| line.split("cargo xtask ").nth(1))
        {
            knows(call).with_context(|| path.display().to_string())?;
            calls += 1;
        }
    }
    ensure!(calls > 6, "{calls} calls");
    Ok(())
}

#[test]
fn others_actions_are_named_by_digest() -> Result<()> {
    let mut actions = 0;
    for path in workflows()? {
        let text = fs::read_to_string(&path)?;
        for action in text.lines().filter_map(|line| line.split("uses: ").nth(1)) {
            let (_, rest) = action.split_once('@').context("no version")?;
            let (digest, version) = rest.split_once(" # v").unwrap_or_default();
            let is_digest = digest.len() == 40 && digest.chars().all(|c| c.is_ascii_hexdigit());
            ensure!(
                is_digest && version.split('.').count() == 3,
                "{}: `{action}` is not NAME@DIGEST # vX.Y.Z",
                path.display()
            );
            actions += 1;
        }
    }
    ensure!(actions > 10, "{actions} actions");
    Ok(())
}

/// Whether `cargo xtask` has this verb, with these flags.
fn knows(call: &str) -> Result<()> {
    let words: Vec<&str> = call.split(' ').take_while(|word| *word != "&&").collect();
    let is_verb = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let verbs = words
        .iter()
        .take_while(|word| is_verb(word) && !word.starts_with('-'));
    let mut asked: Vec<&str> = verbs.copied().collect();
    asked.push("--help");
    let help = xtask(&asked)?;
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        ensure!(
            help.contains(flag),
            "cargo xtask {call}: there is no {flag}"
        );
    }
    Ok(())
}

#[test]
fn chart_and_manifests_have_the_digest() -> Result<()> {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let words = [
        "release",
        "manifests",
        "--repository",
        REPOSITORY,
        "--digest",
        &digest,
    ];
    let files = xtask(&words)?;
    let [chart, manifests] = files.lines().collect::<Vec<_>>()[..] else {
        anyhow::bail!("{files}");
    };
    let image = format!("{REPOSITORY}@{digest}");
    let mut helm = Command::new(go_program("helm", "helm", "deploy")?);
    helm.args([
        "template",
        "weir",
        chart,
        "--namespace=kube-system",
        "--kube-version=1.36.0",
    ]);
    helm.args([
        "--set",
        "config.clientConnection.apiServers={https://192.0.2.1:6443}",
    ]);
    let made = done(&mut helm)?;
    ensure!(
        made.contains(&image) && !made.contains("localhost/weir"),
        "{made}"
    );

    let folder = TempDir::new()?;
    let mut tar = Command::new("tar");
    done(
        tar.arg("--extract")
            .arg("--file")
            .arg(manifests)
            .arg("--directory")
            .arg(folder.path()),
    )?;
    let overlay = folder.path().join("deploy/overlays/cluster");
    let kustomize = || {
        let kubectl = go_program("kubernetes", "kubectl", "deploy")?;
        done(Command::new(kubectl).arg("kustomize").arg(&overlay))
    };
    let made = kustomize()?;
    ensure!(made.contains(&image) && !made.contains("cleanup"), "{made}");
    // As docs/uninstall.md says.
    let file = overlay.join("kustomization.yaml");
    let text = fs::read_to_string(&file)?;
    fs::write(&file, text + "components: [../../cleanup]\n")?;
    let made = kustomize()?;
    ensure!(made.contains("--stay"), "{made}");
    Ok(())
}

/// Packs programs for an architecture; the paths of what is made.
fn package(target: &str) -> Result<String> {
    let programs = TempDir::new()?;
    for name in ["proxy-agent", "proxyctl", "cni-plugin"] {
        // What is packed is the same whatever is in them.
        fs::write(programs.path().join(name), name)?;
    }
    // What `cargo xtask docs` runs.
    done(Command::new(program("weir-reference")?).arg("--packages"))?;
    let from = programs.path().display().to_string();
    let words = ["release", "package", "--from", &from, "--target", target];
    xtask(&words)
}

/// A release puts all files into one folder: `cp` of two of one name fails, and `gh release create` too.
#[test]
fn files_of_a_release_have_names_of_their_own() -> Result<()> {
    let made = [package("amd64")?, package("arm64")?];
    let names = made.iter().flat_map(|files| files.lines());
    let names: Vec<_> = names
        .filter_map(|path| Path::new(path).file_name())
        .collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    ensure!(names.len() == 6 && distinct.len() == 6, "{names:?}");
    Ok(())
}

#[test]
fn a_package_has_programs_pages_licences_and_a_list_of_crates() -> Result<()> {
    let files = package("amd64")?;
    let mut files = files.lines();
    let archive = files.next().context("no archive")?;
    let listed = done(Command::new("tar").args(["--list", "--file", archive]))?;
    for path in [
        "bin/proxy-agent",
        "bin/proxyctl",
        "bin/kubectl-weir",
        "bin/cni-plugin",
        "share/man/proxyctl.1",
        "share/completions/proxyctl.bash",
        "LICENSES/GPL-2.0-only.txt",
    ] {
        ensure!(
            listed.lines().any(|line| line.ends_with(path)),
            "{path}: {listed}"
        );
    }
    let mut lists = 0;
    for list in files {
        let list: serde_json::Value = serde_json::from_str(&fs::read_to_string(list)?)?;
        let crates = list["components"].as_array().context("no components")?;
        ensure!(
            crates.iter().any(|one| one["name"] == "serde_json"),
            "{list}"
        );
        lists += 1;
    }
    ensure!(lists == 2);
    Ok(())
}

#[test]
fn a_tag_needs_its_section_and_its_version() -> Result<()> {
    let wrong = Command::new(program("xtask")?)
        .args(["release", "notes", "v9.9.9"])
        .output()?;
    let said = String::from_utf8_lossy(&wrong.stderr);
    ensure!(
        !wrong.status.success() && said.contains("another version"),
        "{said}"
    );
    Ok(())
}

/// What manifests of crates, REUSE.toml and the object in the kernel say of licences is what lies in LICENSES.
#[test]
fn licences_are_there_and_those_that_the_code_names() -> Result<()> {
    let mut named = BTreeSet::new();
    for file in [
        "Cargo.toml",
        "proxy-ebpf/Cargo.toml",
        "proxy-common/Cargo.toml",
        "REUSE.toml",
    ] {
        let text = fs::read_to_string(root().join(file))?;
        let lines = text.lines().filter(|line| {
            line.starts_with("license = ") || line.starts_with("SPDX-License-Identifier = ")
        });
        for line in lines {
            let expression = line.split('"').nth(1).context("no licence")?;
            named.extend(expression.split(" OR ").map(str::to_owned));
        }
    }
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(root().join("LICENSES"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        there.insert(name.trim_end_matches(".txt").to_owned());
    }
    ensure!(named == there, "{named:?}, {there:?}");
    // "Dual MIT/GPL" is MIT or GPL-2.0 (include/linux/license.h).
    let object = fs::read_to_string(root().join("proxy-ebpf/src/main.rs"))?;
    ensure!(object.contains(r#"*b"Dual MIT/GPL\0""#));
    let manifest = fs::read_to_string(root().join("proxy-ebpf/Cargo.toml"))?;
    ensure!(manifest.contains("MIT OR GPL-2.0-only"));
    let [whole, copy] = ["LICENSE", "LICENSES/Apache-2.0.txt"].map(|path| root().join(path));
    ensure!(fs::read(whole)? == fs::read(copy)?);
    Ok(())
}
