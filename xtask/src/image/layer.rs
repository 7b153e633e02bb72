//! Makes layers: a few files of ours, with fixed owners and times, so that equal content has an equal digest.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A layer being written.
pub(crate) struct Layer {
    tar: tar::Builder<File>,
    path: PathBuf,
}

impl Layer {
    /// Starts a layer at `path`.
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            tar: tar::Builder::new(file),
            path,
        })
    }

    /// Adds a program.
    pub(crate) fn program(&mut self, name: &str, from: &Path) -> Result<()> {
        self.file(name, from, 0o755)
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, from: &Path, mode: u32) -> Result<()> {
        let file = File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
        let mut header = header(tar::EntryType::Regular, mode);
        header.set_size(file.metadata()?.len());
        self.tar
            .append_data(&mut header, name, file)
            .with_context(|| format!("cannot add {name}"))
    }

    /// Adds an empty folder.
    pub(crate) fn folder(&mut self, name: &str, mode: u32) -> Result<()> {
        let mut header = header(tar::EntryType::Directory, mode);
        self.tar
            .append_data(&mut header, name, std::io::empty())
            .with_context(|| format!("cannot add {name}"))
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &str) -> Result<()> {
        let mut header = header(tar::EntryType::Symlink, 0o777);
        self.tar
            .append_link(&mut header, name, target)
            .with_context(|| format!("cannot add {name}"))
    }

    /// Ends the layer; returns its path.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        self.tar
            .finish()
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.path)
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}
