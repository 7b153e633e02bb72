//! The references of the book, made of the code that they are about: [`documents`]. `cargo xtask docs` writes them.

mod commands;
mod events;
mod kernel;
mod metrics;
mod plugin;
mod versions;

use std::{fs, path::Path};

use anyhow::Result;
pub use commands::{for_packages, proxyctl};

/// A file that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// From the root of the repository.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl Document {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// A page of the book.
    fn page(name: &str, title: &str, text: &str) -> Self {
        let text = format!("# {title}\n\n{MADE}\n\n{}\n", text.trim_end());
        Self::new(format!("docs/reference/{name}.md"), text)
    }
}

/// Begins each page.
const MADE: &str = "Made by `cargo xtask docs` from the code; do not edit.";

/// The pages. That of the configuration is the agent's own: `proxy-agent config reference`.
pub fn documents() -> Vec<Document> {
    vec![
        metrics::page(),
        kernel::page(),
        events::page(),
        plugin::page(),
        commands::proxyctl_page(),
        commands::agent_page(),
        versions::page(),
        Document::new(
            "docs/reference/configuration.md",
            proxy_agent::config::reference::markdown(),
        ),
    ]
}

/// Pages that are not what the code makes.
pub fn differing(root: &Path) -> Result<Vec<Document>> {
    let stale = |document: &Document| {
        let found = fs::read_to_string(root.join(&document.path));
        found.ok().as_ref() != Some(&document.text)
    };
    Ok(documents().into_iter().filter(stale).collect())
}

/// Rows of a table of Markdown, below its head.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let mut text = line(&head);
    text.extend(["|", &"---|".repeat(head.len()), "\n"]);
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&line(&cells));
    }
    text
}

fn code(word: &str) -> String {
    format!("`{word}`")
}
