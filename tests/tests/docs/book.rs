//! The book as mdbook makes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use weir_tests::controlplane::mdbook;

use super::page;

/// Values of an attribute in a page.
fn attribute<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=\"");
    let mut rest = html;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&begin)?;
        let (value, after) = after.split_once('"')?;
        rest = after;
        Some(value)
    })
}

/// Every page with its text; not that for addresses that do not exist, which does not know where it is.
fn pages(folder: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            pages(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "html")
            && !path.ends_with("404.html")
        {
            let text = fs::read_to_string(&path)?;
            found.insert(path, text);
        }
    }
    Ok(())
}

#[test]
fn it_is_made_and_its_links_lead_somewhere() -> Result<()> {
    let folder = TempDir::new()?;
    let made = Command::new(mdbook()?)
        .arg("build")
        .arg(page::root())
        .arg("--dest-dir")
        .arg(folder.path())
        .output()?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "{said}");
    ensure!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let mut found = BTreeMap::new();
    pages(&folder.path().canonicalize()?, &mut found)?;
    ensure!(found.len() > 20, "{} pages", found.len());
    for path in found.keys() {
        follow(path, &found)?;
    }
    Ok(())
}

fn follow(path: &Path, all: &BTreeMap<PathBuf, String>) -> Result<()> {
    let folder = path.parent().context("a page has no folder")?;
    let links = attribute(&all[path], "href").chain(attribute(&all[path], "src"));
    let links: BTreeSet<&str> = links.filter(|link| !link.contains("://")).collect();
    for link in links {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() {
            path.to_owned()
        } else {
            folder.join(file)
        };
        let target = target
            .canonicalize()
            .with_context(|| format!("{}: {link}", path.display()))?;
        let is_there = anchor.is_empty()
            || all
                .get(&target)
                .is_some_and(|html| attribute(html, "id").any(|id| id == anchor));
        ensure!(is_there, "{}: {link}", path.display());
    }
    Ok(())
}
