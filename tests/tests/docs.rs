//! The documents: references are what the code makes, links lead somewhere, commands run, words that name something name what
//! exists, sections name what shows them, and the book can be made.

#[path = "docs/blocks.rs"]
mod blocks;
#[path = "docs/book.rs"]
mod book;
#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/shown.rs"]
mod shown;
#[path = "docs/words.rs"]
mod words;

use anyhow::{Result, ensure};
use weir_tests::reference;

#[test]
fn references_are_what_the_code_makes() -> Result<()> {
    let stale = reference::differing(&page::root())?;
    let paths: Vec<&str> = stale.iter().map(|one| one.path.as_str()).collect();
    ensure!(
        stale.is_empty(),
        "not in step: {paths:?}\nhint: cargo xtask docs"
    );
    Ok(())
}

#[test]
fn packages_have_man_pages_and_completions() -> Result<()> {
    let made = reference::for_packages()?;
    for path in [
        "man/proxyctl.1",
        "man/proxyctl-policy-why.1",
        "man/proxy-agent-cleanup.1",
    ] {
        let page = made.iter().find(|one| one.path.ends_with(path));
        ensure!(
            page.is_some_and(|page| page.text.contains(".SH NAME")),
            "{path}"
        );
    }
    let shells = made.iter().filter(|one| one.path.contains("completions/"));
    ensure!(shells.count() >= 4);
    Ok(())
}
