//! Links of Markdown, without asking the network.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use anyhow::{Result, ensure};

use super::page::{self, Page};

/// The book's folder: its pages are looked at by themselves, so they lead nowhere else.
const BOOK: &str = "docs";

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let pages = page::all()?;
    ensure!(pages.len() > 20, "{} pages", pages.len());
    let by_path: BTreeMap<&Path, &Page> = pages
        .iter()
        .map(|page| (page.path.as_path(), page))
        .collect();
    let mut wrong = Vec::new();
    for page in &pages {
        let of_page = page.links.iter().filter_map(|link| {
            let what = dead(page, link, &by_path)?;
            Some(format!("{}: {link}: {what}", page.path.display()))
        });
        wrong.extend(of_page);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What is wrong with a link.
fn dead(page: &Page, link: &str, pages: &BTreeMap<&Path, &Page>) -> Option<&'static str> {
    if link.starts_with("https://") {
        return None;
    }
    if link.contains("://") {
        return Some("not by https");
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        page.path.clone()
    } else {
        plain(&page.path.parent().unwrap_or(Path::new("")).join(path))
    };
    if page.path.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Some("leads out of the book");
    }
    if !page::root().join(&target).is_file() {
        return Some("no such file");
    }
    let missing = |target: &&Page| !target.anchors.contains(anchor);
    let target = pages.get(target.as_path()).copied();
    (!anchor.is_empty() && target.is_none_or(|target| missing(&target)))
        .then_some("no such heading")
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_page_of_the_book_is_in_its_summary() -> Result<()> {
    let pages = page::all()?;
    let summary = Path::new(BOOK).join("SUMMARY.md");
    let named = pages.iter().find(|page| page.path == summary);
    let named: Vec<PathBuf> = named
        .into_iter()
        .flat_map(|page| &page.links)
        .map(|link| Path::new(BOOK).join(link))
        .collect();
    let of_book = pages
        .iter()
        .filter(|page| page.path.starts_with(BOOK) && page.path != summary);
    for page in of_book {
        ensure!(named.contains(&page.path), "{}", page.path.display());
    }
    Ok(())
}
