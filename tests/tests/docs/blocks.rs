//! Blocks of code: commands run, configurations are configurations.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use weir_tests::{controlplane::go_program, world::program};

use super::page::{self, Block};

/// Marks commands that are not run; why stands behind it in brackets.
const NOT_RUN: &str = "sh,norun (";
/// What a block of settings without its first lines lacks.
const HEAD: &str = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n";

fn blocks() -> Result<Vec<(PathBuf, Block)>> {
    let pages = page::all()?.into_iter();
    let blocks = pages.flat_map(|page| {
        let path = page.path;
        page.blocks
            .into_iter()
            .map(move |block| (path.clone(), block))
    });
    Ok(blocks.collect())
}

#[test]
fn each_says_what_it_is() -> Result<()> {
    let known = ["sh", "yaml", "yaml,settings", "json", "text"];
    for (path, block) in blocks()? {
        let place = format!("{}:{}", path.display(), block.line);
        let info = block
            .info
            .with_context(|| format!("{place}: a block without a fence"))?;
        let not_run = info
            .strip_prefix(NOT_RUN)
            .and_then(|why| why.strip_suffix(')'));
        let is_told = not_run.is_some_and(|why| why.len() > 5);
        ensure!(
            known.contains(&info.as_str()) || is_told,
            "{place}: {info:?}"
        );
    }
    Ok(())
}

#[test]
fn commands_run() -> Result<()> {
    let folder = TempDir::new()?;
    for name in ["proxyctl", "proxy-agent", "cni-plugin"] {
        symlink(program(name)?, folder.path().join(name))?;
    }
    for (module, name) in [("helm", "helm"), ("kubernetes", "kubectl")] {
        symlink(
            go_program(module, name, "deploy")?,
            folder.path().join(name),
        )?;
    }
    let path = format!(
        "{}:{}",
        folder.path().display(),
        env::var("PATH").unwrap_or_default()
    );
    let runnable: Vec<_> = blocks()?
        .into_iter()
        .filter(|(_, block)| block.info.as_deref() == Some("sh"))
        .collect();
    ensure!(runnable.len() > 3, "{} blocks", runnable.len());
    for (page, block) in runnable {
        let done = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block.text])
            .current_dir(page::root())
            .env("PATH", &path)
            .env("KUBECONFIG", "/nonexistent")
            .env("HELM_CACHE_HOME", folder.path())
            .env("HELM_CONFIG_HOME", folder.path())
            .env("HELM_DATA_HOME", folder.path())
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(
            done.status.success(),
            "{}:{}: {said}",
            page.display(),
            block.line
        );
    }
    Ok(())
}

#[test]
fn settings_are_taken_by_the_agent() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("config.yaml");
    let mut looked_at = 0;
    for (page, block) in blocks()? {
        let text = match block.info.as_deref() {
            Some("yaml,settings") => format!("{HEAD}{}", block.text),
            Some("yaml") if block.text.contains("kind: AgentConfiguration") => block.text,
            _ => continue,
        };
        fs::write(&file, text)?;
        let checked = Command::new(program("proxy-agent")?)
            .args(["config", "check"])
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&checked.stderr);
        ensure!(
            checked.status.success(),
            "{}:{}: {said}",
            page.display(),
            block.line
        );
        looked_at += 1;
    }
    ensure!(looked_at > 1, "{looked_at} configurations");
    Ok(())
}
