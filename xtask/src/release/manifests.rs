//! The chart and the folders of kustomize, with the image that belongs to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{VERSION, copy, folder, pack};
use crate::run;
use crate::tools::go;

/// Which image.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Its name without a tag.
    #[arg(long)]
    repository: String,
    /// Its digest, `sha256:...`.
    #[arg(long, value_parser = digest)]
    digest: String,
}

fn digest(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    let is_one = hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit());
    if is_one {
        Ok(text.to_owned())
    } else {
        Err("must be `sha256:` and 64 hexadecimal digits".to_owned())
    }
}

/// Writes both; returns their paths.
pub(super) fn write(args: &Args) -> Result<Vec<PathBuf>> {
    let scratch = tempfile::tempdir().context("cannot create a folder to pack")?;
    let chart = chart(args, scratch.path())?;
    let manifests = kustomize(args, &scratch.path().join("manifests"))?;
    Ok(vec![chart, manifests])
}

fn chart(args: &Args, scratch: &Path) -> Result<PathBuf> {
    copy("deploy/chart", scratch)?;
    let chart = scratch.join("deploy/chart");
    change(
        &chart.join("values.yaml"),
        &[
            (
                "  repository: localhost/weir\n",
                format!("  repository: {}\n", args.repository),
            ),
            ("  digest: \"\"\n", format!("  digest: {}\n", args.digest)),
        ],
    )?;
    let folder = folder()?;
    let mut helm = Command::new(go::HELM.ensure()?);
    helm.arg("package")
        .arg(&chart)
        .args(["--version", VERSION, "--app-version", VERSION]);
    helm.arg("--destination").arg(&folder);
    run::output(&mut helm)?;
    Ok(folder.join(format!("weir-{VERSION}.tgz")))
}

/// Base, platforms, what cleans nodes up, and an overlay to be changed.
fn kustomize(args: &Args, scratch: &Path) -> Result<PathBuf> {
    for part in ["base", "platforms", "cleanup", "overlays/cluster"] {
        copy(&format!("deploy/{part}"), scratch)?;
    }
    let Args { repository, digest } = args;
    change(
        &scratch.join("deploy/overlays/cluster/kustomization.yaml"),
        &[(
            "{ name: weir, newName: registry.example/weir, newTag: \"0.1.0\" }",
            format!("{{ name: weir, newName: {repository}, digest: {digest} }}"),
        )],
    )?;
    let archive = folder()?.join(format!("weir-{VERSION}-manifests.tar.gz"));
    pack(scratch, &archive)?;
    Ok(archive)
}

/// Puts words in the place of others, each of which must be there.
fn change(path: &Path, changes: &[(&str, String)]) -> Result<()> {
    let mut text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (from, to) in changes {
        ensure!(
            text.contains(from),
            "{} has no `{}`",
            path.display(),
            from.trim()
        );
        text = text.replacen(from, to, 1);
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
