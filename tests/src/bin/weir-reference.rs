//! Writes the references of the book and, below `target/docs`, man pages and completions. With `--check` it writes nothing
//! and fails if a reference is not what the code makes; with `--packages` it leaves the book alone.
#![forbid(unsafe_code)]

use std::{
    env, fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use weir_tests::reference::{self, Document};

fn main() -> Result<ExitCode> {
    let told = env::args().nth(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let stale = match told.as_deref() {
        Some("--packages") => Vec::new(),
        _ => reference::differing(&root)?,
    };
    if told.as_deref() == Some("--check") {
        tell("not in step", &stale)?;
        return Ok(ExitCode::from(u8::from(!stale.is_empty())));
    }
    tell("written", &stale)?;
    let packages = reference::for_packages()?;
    for document in stale.iter().chain(&packages) {
        write(&root, document)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(root: &Path, document: &Document) -> Result<()> {
    let path = root.join(&document.path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(&path, &document.text).with_context(|| format!("cannot write {}", path.display()))
}

fn tell(what: &str, documents: &[Document]) -> io::Result<()> {
    let mut terminal = io::stderr().lock();
    for document in documents {
        writeln!(terminal, "{what}: {}", document.path)?;
    }
    Ok(())
}
