//! Markdown files of the repository, read.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// A file.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// From the root of the repository.
    pub(crate) path: PathBuf,
    /// What links and pictures name.
    pub(crate) links: Vec<String>,
    /// Addresses of its headings, as GitHub and mdbook make them.
    pub(crate) anchors: BTreeSet<String>,
    /// Blocks of code.
    pub(crate) blocks: Vec<Block>,
    /// Code within sentences.
    pub(crate) words: Vec<String>,
}

/// A block of code.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// What follows its fence; nothing for one that is only indented.
    pub(crate) info: Option<String>,
    pub(crate) text: String,
    /// Where it begins.
    pub(crate) line: usize,
}

/// All of them.
pub(crate) fn all() -> Result<Vec<Page>> {
    let mut paths = Vec::new();
    files(&root(), false, &mut paths)?;
    for folder in ["docs", "deploy", "tests/cluster", ".github"] {
        files(&root().join(folder), true, &mut paths)?;
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn files(folder: &Path, below: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && below {
            files(&path, below, found)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Page> {
    let text = fs::read_to_string(path)?;
    let mut page = Page {
        path: path.strip_prefix(root())?.to_owned(),
        ..Page::default()
    };
    let (mut heading, mut block): (Option<String>, Option<Block>) = (None, None);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for (event, place) in Parser::new_ext(&text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => page.head(&heading.take().unwrap_or_default()),
            Event::Start(Tag::CodeBlock(kind)) => {
                block = Some(Block {
                    info: match kind {
                        CodeBlockKind::Fenced(info) => Some(info.into_string()),
                        CodeBlockKind::Indented => None,
                    },
                    text: String::new(),
                    line: text[..place.start].lines().count() + 1,
                });
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Text(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                } else if let Some(block) = &mut block {
                    block.text.push_str(&words);
                }
            }
            Event::Code(word) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&word);
                }
                page.words.push(word.into_string());
            }
            _ => {}
        }
    }
    Ok(page)
}

impl Page {
    fn head(&mut self, heading: &str) {
        let plain: String = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
            .collect();
        let anchor = plain.replace(' ', "-");
        let taken = |anchor: &String| self.anchors.contains(anchor);
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(numbered);
        let free = free.into_iter().find(|one| !taken(one));
        self.anchors.extend(free);
    }
}
