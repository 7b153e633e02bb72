//! A file of configuration that an agent follows.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// The file, with small maps; gone when dropped.
#[derive(Debug)]
pub struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    /// With these fields of `maps`.
    pub fn new(maps: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let path = folder.path().join("agent.yaml");
        let file = Self { folder, path };
        file.tell(maps)?;
        Ok(file)
    }

    /// Flags of an agent that follows it.
    pub fn flags(&self) -> Result<[&str; 2]> {
        Ok(["--config", self.path.to_str().context("an odd path")?])
    }

    /// Changes these fields of `maps`.
    pub fn tell(&self, maps: &str) -> Result<()> {
        let text = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\nmaps: {{ size: small, {maps} }}\n"
        );
        let new = self.folder.path().join("new");
        fs::write(&new, text).context("write the configuration")?;
        // In one step, as a ConfigMap changes.
        fs::rename(new, &self.path).context("change the configuration")
    }
}
