//! Sections: each names what shows what it says, or says what is not tested.
//!
//! No rule can know what a promise is; but a section that names neither has none that is shown.

use std::{fs, mem, path::PathBuf};

use anyhow::{Result, ensure};

use super::page;

/// Pages that only lead to others.
const SILENT: [&str; 2] = ["docs/SUMMARY.md", "docs/pictures.md"];
/// Lines that may stand before a page's first section without a test.
const FEW: usize = 4;
/// Verbs of xtask that show something; `test` alone says as much as nothing.
const VERBS: [&str; 7] = [
    "bench",
    "cluster",
    "conformance",
    "demo",
    "kernels",
    "lint",
    "release",
];
/// Where files named by pages are: at the root, and the modules of the agent and of the programs.
const FOLDERS: [&str; 3] = ["", "proxy-agent/src", "proxy-ebpf/src"];

/// What follows a `##`, or stands before the first one.
#[derive(Debug, Default)]
struct Section {
    /// Its heading; empty before the first one.
    name: String,
    /// Its lines out of fences, joined.
    text: String,
    /// How many these are.
    lines: usize,
    /// Whether it has commands that `blocks::commands_run` runs.
    runs: bool,
}

impl Section {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    fn add(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push(' ');
        self.lines += 1;
    }

    /// Whether it is only the few lines with which a page begins.
    fn is_short_beginning(&self) -> bool {
        self.name.is_empty() && self.lines <= FEW
    }

    fn is_told(&self) -> bool {
        self.runs
            || self.text.to_lowercase().contains("not tested")
            || self.text.split('`').skip(1).step_by(2).any(shows)
    }
}

/// The sections of a page, in its order.
fn sections(text: &str) -> Vec<Section> {
    let mut found = Vec::new();
    let mut here = Section::default();
    let mut fenced = false;
    for line in text.lines() {
        let plain = line.trim();
        if let Some(info) = plain.strip_prefix("```") {
            fenced = !fenced;
            here.runs |= fenced && info == "sh";
        } else if let Some(name) = line.strip_prefix("## ").filter(|_| !fenced) {
            found.push(mem::replace(&mut here, Section::named(name)));
        } else if !fenced && !plain.is_empty() && !plain.starts_with('#') {
            here.add(plain);
        }
    }
    found.push(here);
    found
}

/// Whether a word in code names something that shows what is said.
fn shows(word: &str) -> bool {
    is_command(word) || is_test(word) || has_unit_tests(word)
}

fn is_command(word: &str) -> bool {
    let rest = word.strip_prefix("cargo xtask ");
    let verb = rest.and_then(|rest| rest.split(' ').next());
    verb.is_some_and(|verb| VERBS.contains(&verb))
}

/// Whether a word is `TARGET::NAME`, or a `TARGET` of several words (`node` or `check` may mean anything). That what follows
/// the target exists says `words::tests_exist`.
fn is_test(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
    if !word.chars().all(plain) {
        return false;
    }
    let path = word.replace("::", "/");
    let (target, inside) = path.split_once('/').unwrap_or((path.as_str(), ""));
    let named = !inside.is_empty() || target.contains('_');
    named && is_file(target) && (is_file(&path) || module(&path).is_none())
}

/// Whether there is a file of tests.
fn is_file(path: &str) -> bool {
    let tests = page::root().join("tests/tests");
    tests.join(format!("{path}.rs")).exists()
}

/// Whether a word is a module with tests of its own, by path or by file, or a test in such a one.
fn has_unit_tests(word: &str) -> bool {
    let path = match word.strip_suffix(".rs") {
        Some(path) => path.to_owned(),
        None if word.contains("::") => word.trim_start_matches("proxy_agent::").replace("::", "/"),
        None => return false,
    };
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    let file = module(&path).or_else(|| module(above));
    let text = file.and_then(|file| fs::read_to_string(file).ok());
    text.is_some_and(|text| text.contains("#[cfg(test)]") || text.contains("#[test]"))
}

/// The file of a module, whose path has slashes.
fn module(path: &str) -> Option<PathBuf> {
    let file = format!("{path}.rs");
    let places = FOLDERS.map(|folder| page::root().join(folder).join(&file));
    places.into_iter().find(|place| place.exists())
}

fn is_asked(path: &str) -> bool {
    let of_the_book = path.starts_with("docs/") && !path.starts_with("docs/reference/");
    (of_the_book || ["README.md", "SECURITY.md"].contains(&path)) && !SILENT.contains(&path)
}

#[test]
fn sections_say_what_shows_them() -> Result<()> {
    let mut silent = Vec::new();
    for page in page::all()? {
        let path = page.path.display().to_string();
        if !is_asked(&path) {
            continue;
        }
        let text = fs::read_to_string(page::root().join(&page.path))?;
        let of_page = sections(&text).into_iter();
        let untold = of_page.filter(|one| !one.is_short_beginning() && !one.is_told());
        silent.extend(untold.map(|one| format!("{path}: {:?}", one.name)));
    }
    ensure!(
        silent.is_empty(),
        "neither a test nor the words \"not tested\":\n{}",
        silent.join("\n")
    );
    Ok(())
}

#[test]
fn a_section_must_name_what_shows_it() -> Result<()> {
    let told = |text: &str| {
        let found = sections(&format!("## Name\n{text}\n"));
        found.last().is_some_and(Section::is_told)
    };
    for text in [
        "Shown by `docs::blocks::commands_run`.",
        "Tests: `world_service`.",
        "Tests: `proxy_agent::config::duration`.",
        "Tests of `proxy-agent/src/config/duration.rs`.",
        "`cargo xtask demo` runs it.",
        "That is *not\ntested*.",
        "```sh\ntrue\n```",
    ] {
        ensure!(told(text), "{text}");
    }
    for text in [
        "It works.",
        "All of `node`.",
        "`cargo xtask build` makes it.",
        "Without code: world_service.",
        "See `proxy-agent/src/lib.rs` and `world_nothing`.",
        "```sh,norun (not tested)\n`world_service`\n```",
        "```text\n## Not tested\n```",
        "## Not tested",
    ] {
        ensure!(!told(text), "{text}");
    }
    Ok(())
}
