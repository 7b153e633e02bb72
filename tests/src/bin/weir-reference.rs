//! Writes the references of the book and, below `target/docs`, man pages and completions. With `--check` it writes nothing
//! and fails if a reference is not what the code makes.
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
    let check = env::args().nth(1).is_some_and(|word| word == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut differing = reference::differing(&root)?;
    if check {
        tell("not in step", &differing)?;
        return Ok(ExitCode::from(u8::from(!differing.is_empty())));
    }
    for document in &differing {
        write(&root, document)?;
    }
    tell("written", &differing)?;
    differing = reference::for_packages()?;
    for document in &differing {
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
